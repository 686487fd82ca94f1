//! One line per arm: accuracy by place in the prompt, and cache entries over decode steps.

use anyhow::Result;
use evaluator::statistics::by_position;
use plotters::prelude::*;

use super::Picture;
use super::axes::{Axes, Scale, Tick, round_around, round_up};
use super::canvas::{Anchor, Canvas};
use super::ink::{Ink, TEXT};
use super::legend::{Legend, Sample, alike};
use crate::report::study::{ArmSamples, Setting};

/// Questions per point, as in the published figure.
const GROUP: usize = 5;
/// Markers on a line of many points.
const MARKERS: usize = 8;
const TOP: i32 = 100;
const WIDTH: i32 = 1000;
/// Curves that differ by no more than this share of their values are drawn once.
const SAME: f64 = 0.005;
/// Where the smallest value is more than this share of the largest, an axis need not start at 0.
const FAR_FROM_0: f64 = 0.3;

/// A line chart with a legend beside it.
#[derive(Debug)]
pub(crate) struct Lines<'a> {
    title: &'static str,
    subtitle: &'a str,
    x_title: &'static str,
    y_title: &'static str,
    /// Said where there is no point to draw.
    nothing: &'static str,
    /// What `=` in the legend means.
    note: &'static [&'static str],
    /// None where any round numbers will do.
    x_ticks: Option<Vec<Tick>>,
    x_range: (f64, f64),
    y_range: (f64, f64),
    curves: Vec<Curve<'a>>,
    arms: usize,
    /// Pixels between neighbouring curves at one x, so that equal values can be told apart.
    dodge: i32,
}

/// Runs of points without a gap.
type Runs = Vec<Vec<(f64, f64)>>;

/// One line, and all arms that it stands for.
#[derive(Debug)]
struct Curve<'a> {
    arms: Vec<&'a str>,
    ink: Ink,
    runs: Runs,
}

impl<'a> Lines<'a> {
    /// Accuracy by groups of five questions, by the rule of figure 4a of Wu et al. 2024: the published score, among
    /// questions for which an answer was found.
    pub(crate) fn question_groups(setting: &'a Setting, subtitle: &'a str) -> Self {
        let mut ticks: Vec<Tick> = Vec::new();
        let mut lines = Vec::new();
        for arm in &setting.arms {
            let marks: Vec<_> =
                arm.samples.iter().map(|sample| sample.scores.marks.clone()).collect();
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
            lines.push(runs(points));
        }
        // Equal curves have points at the same places.
        let curves = curves(setting, &lines, |a, b| a.len() == b.len() && near(a, b));
        Self {
            title: "Accuracy by question position, among answers found",
            subtitle,
            x_title: "questions of the prompt, in groups of five; no marker where no answer was found",
            y_title: "right answers among those found (official rule), %",
            nothing: "no answer was found in any text",
            note: &["= equal to within 0.5 %"],
            x_range: (-0.5, ticks.len().max(1) as f64 - 0.5),
            y_range: (0.0, round_up(extremes(&curves, |point| point.1).1, 10.0).min(100.0)),
            x_ticks: Some(ticks),
            curves,
            arms: setting.arms.len(),
            dodge: 4,
        }
    }

    /// Entries per KV head over decode steps, mean over the prompts that are still running.
    pub(crate) fn entries(setting: &'a Setting, subtitle: &'a str) -> Self {
        let lines: Vec<Runs> = setting.arms.iter().map(|arm| vec![trace(arm)]).collect();
        // Texts end at different steps, so equal curves may be of different lengths.
        let curves = curves(setting, &lines, near);
        let (least, most) = extremes(&curves, |point| point.1);
        let y_range = if least > FAR_FROM_0 * most {
            round_around(least, most)
        } else {
            (0.0, round_up(most, 10.0))
        };
        Self {
            title: "Cache entries while decoding",
            subtitle,
            x_title: "decode step, to the end of the longest text; mean over the prompts still running",
            y_title: "entries per KV head, mean over layers",
            nothing: "nothing was recorded",
            note: &["= equal to within 0.5 %, as far", "as both texts go"],
            x_range: (0.0, extremes(&curves, |point| point.0).1.max(10.0)),
            y_range,
            x_ticks: None,
            curves,
            arms: setting.arms.len(),
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
fn runs(points: impl Iterator<Item = Option<(f64, f64)>>) -> Runs {
    let mut runs = vec![Vec::new()];
    for point in points {
        match (point, runs.last_mut()) {
            (Some(point), Some(run)) => run.push(point),
            _ => runs.push(Vec::new()),
        }
    }
    runs
}

/// Puts arms together whose points are the same. Their curve is the longest of theirs, in the look of the first.
fn curves<'a>(
    setting: &'a Setting,
    lines: &[Runs],
    same: impl Fn(&[(f64, f64)], &[(f64, f64)]) -> bool,
) -> Vec<Curve<'a>> {
    let points: Vec<_> = lines.iter().map(|runs| runs.concat()).collect();
    let groups = alike(&points, |a, b| same(a, b));
    let curve = |group: Vec<usize>| {
        let longest = group.iter().rev().max_by_key(|&&place| points[place].len());
        Curve {
            arms: group.iter().map(|&place| setting.arms[place].arm.as_str()).collect(),
            ink: Ink::of(group[0]),
            runs: longest.map(|&place| lines[place].clone()).unwrap_or_default(),
        }
    };
    groups.into_iter().map(curve).collect()
}

/// Whether the points that both have are at the same x and at nearly the same y. Curves without points are not compared,
/// so they are not called equal.
fn near(a: &[(f64, f64)], b: &[(f64, f64)]) -> bool {
    let close = |a: f64, b: f64, share: f64| (a - b).abs() <= share * a.abs().max(b.abs());
    let mut shared = a.iter().zip(b);
    shared.len() > 0 && shared.all(|(a, b)| close(a.0, b.0, 1e-9) && close(a.1, b.1, SAME))
}

/// The least and the most of a coordinate; zeros if there is no point.
fn extremes(curves: &[Curve], coordinate: fn(&(f64, f64)) -> f64) -> (f64, f64) {
    let values = curves.iter().flat_map(|curve| curve.runs.iter().flatten()).map(coordinate);
    values
        .map(|value| (value, value))
        .reduce(|all, one| (all.0.min(one.0), all.1.max(one.1)))
        .unwrap_or_default()
}

impl Picture for Lines<'_> {
    fn size(&self) -> (u32, u32) {
        (WIDTH.unsigned_abs(), self.height().unsigned_abs())
    }

    fn draw<DB: DrawingBackend>(&self, canvas: &Canvas<DB>) -> Result<()>
    where
        DB::ErrorType: 'static,
    {
        canvas.title(self.title, self.subtitle)?;
        let looks = self.curves.iter().map(|curve| (curve.ink, curve.arms.clone()));
        let legend = Legend::new(canvas, Sample::Line, &looks.collect::<Vec<_>>(), self.note)?;
        let (right, bottom) = ((WIDTH - legend.width() - 44).max(300), self.height() - 70);
        let axes = Axes {
            x: Scale { values: self.x_range, pixels: (70, right) },
            y: Scale { values: self.y_range, pixels: (bottom, TOP) },
        };
        let round = axes.x.ticks();
        let ticks = self.x_ticks.as_ref().unwrap_or(&round);
        axes.draw(canvas, (self.x_title, ticks), &axes.y.title(self.y_title))?;
        // The first arm is the reference: it goes on top.
        for (place, curve) in self.curves.iter().enumerate().rev() {
            self.curve(canvas, &axes, curve, place)?;
        }
        if self.curves.iter().all(|curve| curve.runs.iter().all(Vec::is_empty)) {
            let middle = (i32::midpoint(70, right), i32::midpoint(TOP, bottom));
            canvas.text(self.nothing, middle, Anchor::Centre, 17, TEXT)?;
        }
        legend.draw(canvas, (right + 24, TOP + 10))
    }
}

impl Lines<'_> {
    fn height(&self) -> i32 {
        (TOP + Legend::most_height(self.arms)).max(600)
    }

    fn curve<DB: DrawingBackend>(
        &self,
        canvas: &Canvas<DB>,
        axes: &Axes,
        curve: &Curve,
        place: usize,
    ) -> Result<()>
    where
        DB::ErrorType: 'static,
    {
        let curves = i32::try_from(self.curves.len())?;
        let shift = (2 * i32::try_from(place)? - (curves - 1)) * self.dodge / 2;
        for run in &curve.runs {
            let points: Vec<_> =
                run.iter().map(|&(x, y)| axes.at(x, y)).map(|(x, y)| (x + shift, y)).collect();
            canvas.path(&points, curve.ink)?;
            // Markers of different curves start at different points, so that they do not cover each other.
            let step = (points.len() / MARKERS).max(1);
            for point in points.iter().skip(place * step / self.curves.len()).step_by(step) {
                canvas.marker(*point, curve.ink)?;
            }
        }
        Ok(())
    }
}
