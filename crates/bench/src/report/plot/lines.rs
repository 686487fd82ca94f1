//! One line per arm: accuracy by place in the prompt, and cache entries over decode steps.

use anyhow::Result;
use evaluator::statistics::by_position;
use plotters::prelude::*;

use super::Picture;
use super::axes::{Axes, Scale, Tick};
use super::ink::{Anchor, Canvas, Ink, TEXT, round_up};
use crate::report::study::{ArmSamples, Setting};

/// Questions per point, as in the published figure.
const GROUP: usize = 5;
/// Markers on a line of many points.
const MARKERS: usize = 8;
const BOTTOM: i32 = 530;
const TOP: i32 = 100;
const WIDTH: i32 = 1000;

/// A line chart with a legend beside it.
#[derive(Debug)]
pub(crate) struct Lines<'a> {
    title: &'static str,
    subtitle: &'a str,
    x_title: String,
    y_title: &'static str,
    /// Said where there is no point to draw.
    nothing: &'static str,
    /// None where any round numbers will do.
    x_ticks: Option<Vec<Tick>>,
    x_range: (f64, f64),
    y_most: f64,
    series: Vec<Line<'a>>,
    /// Pixels between neighbouring arms at one x, so that equal values can be told apart.
    dodge: i32,
}

#[derive(Debug)]
struct Line<'a> {
    arm: &'a str,
    /// Runs of points without a gap.
    runs: Vec<Vec<(f64, f64)>>,
}

impl<'a> Lines<'a> {
    /// Accuracy by groups of five questions, by the rule of figure 4a of Wu et al. 2024: the published score, among
    /// questions for which an answer was found.
    pub(crate) fn question_groups(setting: &'a Setting, subtitle: &'a str) -> Self {
        let mut ticks: Vec<Tick> = Vec::new();
        let mut lines = Vec::new();
        for arm in &setting.arms {
            let marks: Vec<_> = arm.samples.iter().map(|sample| sample.marks.clone()).collect();
            let groups = by_position(&marks, GROUP);
            if groups.len() > ticks.len() {
                let tick = |(place, group): (u32, &evaluator::statistics::Group)| {
                    (f64::from(place), format!("{}–{}", group.first, group.last))
                };
                ticks = (0..).zip(&groups).map(tick).collect();
            }
            let points = groups.iter().zip(0_u32..).map(|(group, place)| {
                group.accuracy_of_found().map(|share| (f64::from(place), 100.0 * share))
            });
            lines.push(Line { arm: &arm.arm, runs: runs(points) });
        }
        Self {
            title: "Accuracy by question position, among answers found",
            subtitle,
            x_title:
                "questions of the prompt, in groups of five; no marker where no answer was found"
                    .to_owned(),
            y_title: "right answers among those found (official rule), %",
            nothing: "no answer was found in any text",
            x_range: (-0.5, ticks.len().max(1) as f64 - 0.5),
            y_most: round_up(most(&lines), 10.0).min(100.0),
            x_ticks: Some(ticks),
            series: lines,
            dodge: 4,
        }
    }

    /// Entries per KV head over decode steps, mean over the prompts that are still running.
    pub(crate) fn entries(setting: &'a Setting, subtitle: &'a str) -> Self {
        let lines: Vec<_> =
            setting.arms.iter().map(|arm| Line { arm: &arm.arm, runs: vec![trace(arm)] }).collect();
        let steps = lines.iter().flat_map(|line| line.runs.iter().flatten()).map(|point| point.0);
        Self {
            title: "Cache entries while decoding",
            subtitle,
            x_title: "decode step; mean over the prompts still running at that step".to_owned(),
            y_title: "entries per KV head, mean over layers",
            nothing: "nothing was recorded",
            x_range: (0.0, round_up(steps.fold(0.0, f64::max), 10.0)),
            y_most: round_up(most(&lines), 10.0),
            x_ticks: None,
            series: lines,
            dodge: 0,
        }
    }
}

/// Points of one arm: (step, mean entries).
fn trace(arm: &ArmSamples) -> Vec<(f64, f64)> {
    let longest =
        arm.samples.iter().map(|sample| sample.record.trace.len()).max().unwrap_or_default();
    let stride = arm.samples.iter().map(|sample| sample.record.trace_steps).max().unwrap_or(1);
    let point = |place: usize| {
        let running = arm.samples.iter().filter_map(|sample| sample.record.trace.get(place));
        let (sum, count) = running
            .fold((0.0, 0_u32), |(sum, count), &entries| (sum + f64::from(entries), count + 1));
        ((1 + place * stride) as f64, sum / f64::from(count.max(1)))
    };
    (0..longest).map(point).collect()
}

/// Splits points at the missing ones.
fn runs(points: impl Iterator<Item = Option<(f64, f64)>>) -> Vec<Vec<(f64, f64)>> {
    let mut runs = vec![Vec::new()];
    for point in points {
        match (point, runs.last_mut()) {
            (Some(point), Some(run)) => run.push(point),
            _ => runs.push(Vec::new()),
        }
    }
    runs
}

fn most(lines: &[Line]) -> f64 {
    lines
        .iter()
        .flat_map(|line| line.runs.iter().flatten())
        .map(|point| point.1)
        .fold(0.0, f64::max)
}

impl Picture for Lines<'_> {
    fn size(&self) -> (u32, u32) {
        (WIDTH.unsigned_abs(), 600)
    }

    fn draw<DB: DrawingBackend>(&self, canvas: &Canvas<DB>) -> Result<()>
    where
        DB::ErrorType: 'static,
    {
        canvas.title(self.title, self.subtitle)?;
        let mut names = 0;
        for line in &self.series {
            names = names.max(canvas.text_width(line.arm, 17)?);
        }
        let right = WIDTH - (names + 90).clamp(140, 420);
        let axes = Axes {
            x: Scale { values: self.x_range, pixels: (70, right) },
            y: Scale { values: (0.0, self.y_most), pixels: (BOTTOM, TOP) },
        };
        let round = axes.x.ticks();
        axes.draw(canvas, (&self.x_title, self.x_ticks.as_ref().unwrap_or(&round)), self.y_title)?;
        // The first arm is the reference: it goes on top.
        for (place, line) in self.series.iter().enumerate().rev() {
            self.line(canvas, &axes, line, place)?;
        }
        if self.series.iter().all(|line| line.runs.iter().all(Vec::is_empty)) {
            let middle = (i32::midpoint(70, right), i32::midpoint(TOP, BOTTOM));
            canvas.text(self.nothing, middle, Anchor::Centre, 17, TEXT)?;
        }
        let legend: Vec<_> =
            self.series.iter().zip(0..).map(|(line, place)| (line.arm, Ink::of(place))).collect();
        canvas.legend((right + 24, TOP + 10), &legend)
    }
}

impl Lines<'_> {
    fn line<DB: DrawingBackend>(
        &self,
        canvas: &Canvas<DB>,
        axes: &Axes,
        line: &Line,
        place: usize,
    ) -> Result<()>
    where
        DB::ErrorType: 'static,
    {
        let ink = Ink::of(place);
        let arms = i32::try_from(self.series.len())?;
        let shift = (2 * i32::try_from(place)? - (arms - 1)) * self.dodge / 2;
        for run in &line.runs {
            let points: Vec<_> =
                run.iter().map(|&(x, y)| axes.at(x, y)).map(|(x, y)| (x + shift, y)).collect();
            canvas.path(points.clone(), ink)?;
            // Markers of different arms start at different points, so that they do not cover each other.
            let step = (points.len() / MARKERS).max(1);
            for point in points.iter().skip(place * step / self.series.len()).step_by(step) {
                canvas.marker(*point, ink)?;
            }
        }
        Ok(())
    }
}
