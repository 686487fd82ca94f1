//! What the user sees of a run while it runs.

use std::cell::Cell;
use std::time::Instant;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::journal::Record;
use crate::plan::Plan;

/// A bar on a terminal, a line per cell elsewhere.
pub(crate) struct Progress {
    bar: ProgressBar,
    lines: bool,
    started: Instant,
    tokens: Cell<usize>,
}

impl Progress {
    pub(crate) fn new(plan: &Plan, quiet: bool) -> Self {
        let target =
            if quiet { ProgressDrawTarget::hidden() } else { ProgressDrawTarget::stderr() };
        let bar = ProgressBar::with_draw_target(Some(plan.cells() as u64), target);
        let lines = !quiet && bar.is_hidden();
        let style = "{bar:30} {pos}/{len} cells  {elapsed_precise} gone, {eta_precise} left  {msg}";
        if let Ok(style) = ProgressStyle::with_template(style) {
            bar.set_style(style);
        }
        Self { bar, lines, started: Instant::now(), tokens: Cell::new(0) }
    }

    #[allow(clippy::print_stderr, reason = "progress of a run without a terminal")]
    pub(crate) fn reading(&self, prompt: usize) {
        let message = format!("reading prompt {prompt}");
        if self.lines {
            eprintln!("{message}");
        }
        self.bar.set_message(message);
    }

    pub(crate) fn skip(&self) {
        self.bar.inc(1);
        self.bar.reset_eta();
    }

    /// A step advances so many cells, which share so many lanes.
    pub(crate) fn step(&self, cells: usize, lanes: usize) {
        self.tokens.set(self.tokens.get() + cells);
        let rate = self.tokens.get() as f64 / self.started.elapsed().as_secs_f64().max(1e-3);
        self.bar.set_message(format!("{cells} cells in {lanes} lanes, {rate:.0} tokens/s in all"));
    }

    #[allow(clippy::print_stderr, reason = "progress of a run without a terminal")]
    pub(crate) fn done(&self, record: &Record) {
        self.bar.inc(1);
        if self.lines {
            let rate = 1e3 * record.tokens.len() as f64 / record.decode_ms.max(1e-3);
            eprintln!(
                "{}/{} prompt {} {}: {} tokens ({}), {rate:.1} tokens/s in one of {:.1} lanes",
                self.bar.position(),
                self.bar.length().unwrap_or(0),
                record.sample,
                record.arm,
                record.tokens.len(),
                record.stop,
                record.lanes,
            );
        }
    }

    pub(crate) fn finish(&self) {
        self.bar.finish_and_clear();
    }
}
