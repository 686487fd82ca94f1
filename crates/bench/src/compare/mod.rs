//! Two runs of one experiment: did anything get worse?
//!
//! Scores are compared prompt by prompt. A run is deterministic on one machine, but the last digits of a sum differ between machines,
//! and with them, rarely, a text. So a lower score is called a regression only if it is lower by more than a tolerance and chance
//! would not make such a fall in one of twenty whole comparisons: one-sided sign-flip tests over prompts, made stricter by Holm's rule for the number of tests.
//! What was kept and what was allocated is counted, not drawn: there a tolerance alone decides, on texts that are as long as they were.

use std::path::Path;

use anyhow::Result;

use self::judge::{Comparison, Tolerance};
use crate::cli::CompareArgs;
use crate::command::print;
use crate::fault::{Class, Fault};
use crate::summary::Summary;
use crate::whole_file;

mod judge;
mod render;
#[cfg(test)]
mod tests;

/// `bench compare`
pub(crate) fn compare(args: &CompareArgs) -> Result<()> {
    let tolerance = Tolerance::new(args.tolerance, args.size_tolerance)?;
    let [baseline, candidate] = [&args.baseline, &args.candidate].map(|path| Summary::read(path));
    let comparison = Comparison::new(&baseline?, &candidate?, tolerance)
        .map_err(|difference| refused(&args.baseline, &args.candidate, &difference))?;
    let markdown = comparison.markdown(&args.baseline, &args.candidate);
    if let Some(path) = &args.markdown {
        whole_file::write(path, markdown.as_bytes())?;
    }
    if let Some(path) = &args.junit {
        whole_file::write(path, comparison.junit()?.as_bytes())?;
    }
    print(&markdown)?;
    match comparison.regressions() {
        regressions if regressions.is_empty() => Ok(()),
        regressions => {
            let message = format!(
                "{} of {} checks found a regression: {}",
                regressions.len(),
                comparison.checks.len(),
                regressions.join("; ")
            );
            let hint = "if the change is meant, replace the baseline's `summary.json` by the new one, and say why";
            Err(Fault::new(Class::Gate, message).hint(hint).into())
        }
    }
}

/// The refusal of runs that are not of the same thing.
fn refused(baseline: &Path, candidate: &Path, difference: &str) -> Fault {
    let (baseline, candidate) = (baseline.display(), candidate.display());
    let message = format!("`{baseline}` and `{candidate}` are not runs of the same: {difference}");
    Fault::usage(message).hint("compare runs of one experiment with the same settings and prompts")
}
