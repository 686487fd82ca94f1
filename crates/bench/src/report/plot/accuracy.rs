//! Scores by arm, with their intervals: by both rules side by side, or by kind of question.

use anyhow::Result;
use evaluator::synthetic::Kind;
use plotters::prelude::*;

use super::Picture;
use super::axes::{Scale, round_up};
use super::canvas::{Anchor, Canvas};
use super::ink::{FAINT, GRID, Ink, PALE, TEXT};
use crate::report::kinds::KindRow;
use crate::report::table::with_interval;
use crate::row::Row;

const TOP: i32 = 96;
const BOTTOM: i32 = 64;
const WIDTH: i32 = 1100;
/// Up to so many rows are set wide.
const FEW: usize = 9;

/// Which arms have intervals; with a single prompt there are none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Intervals {
    None,
    Some,
    All,
}

impl Intervals {
    pub(crate) fn of(mut ends: impl Iterator<Item = Option<(f64, f64)>> + Clone) -> Self {
        match (ends.clone().any(|ends| ends.is_some()), ends.all(|ends| ends.is_some())) {
            (false, _) => Self::None,
            (true, false) => Self::Some,
            (true, true) => Self::All,
        }
    }
}

/// A title that promises only the intervals that are there.
pub(crate) fn heading(title: &str, intervals: Intervals) -> String {
    match intervals {
        Intervals::All => format!("{title}, with 95 % intervals over prompts"),
        Intervals::Some => format!("{title}, with 95 % intervals where there are prompts enough"),
        Intervals::None => format!("{title}; too few prompts for intervals"),
    }
}

/// Dots and whiskers, one row per arm and one panel per score; the full cache is a dashed line through all rows.
#[derive(Debug)]
pub(crate) struct Accuracy<'a> {
    title: &'static str,
    subtitle: &'a str,
    arms: Vec<&'a str>,
    /// The arm that keeps the full cache.
    reference: Option<usize>,
    panels: Vec<Scores>,
    /// Whether the scores stand as numbers beside their dots.
    numbers: bool,
}

/// A score of every arm, in percent, with the ends of its interval.
#[derive(Debug)]
struct Scores {
    title: String,
    arms: Vec<(f64, Option<f64>, Option<f64>)>,
}

/// Where scores are drawn.
struct Panel<'a> {
    scores: &'a Scores,
    left: i32,
    right: i32,
    /// Above the numbers.
    numbers: Option<&'static str>,
}

impl<'a> Accuracy<'a> {
    /// By both rules.
    pub(crate) fn by_rule(rows: &'a [Row], subtitle: &'a str) -> Self {
        let official = |row: &Row| (row.official, row.official_ci_low, row.official_ci_high);
        let aligned = |row: &Row| (row.aligned, row.aligned_ci_low, row.aligned_ci_high);
        let scores = |title: &str, score: &dyn Fn(&Row) -> _| Scores {
            title: title.to_owned(),
            arms: rows.iter().map(score).collect(),
        };
        Self {
            title: "Accuracy by arm",
            subtitle,
            arms: rows.iter().map(|row| row.arm.as_str()).collect(),
            reference: rows.iter().position(Row::is_reference),
            panels: vec![
                scores("official score (k-th answer, k-th key), %", &official),
                scores("aligned score (by answer number), %", &aligned),
            ],
            numbers: true,
        }
    }

    /// By kind of question, answers paired by number; none where kinds are not told, or an arm lacks one.
    pub(crate) fn by_kind(rows: &'a [Row], kinds: &[KindRow], subtitle: &'a str) -> Option<Self> {
        let all = Self::by_rule(rows, subtitle);
        let scores = |kind| {
            let of_kind = kinds.iter().filter(|row| row.kind == kind);
            let score = |row: &KindRow| (row.aligned, row.aligned_ci_low, row.aligned_ci_high);
            Scores { title: format!("{kind}, %"), arms: of_kind.map(score).collect() }
        };
        let panels = Kind::ALL.into_iter().map(scores).filter(|panel| !panel.arms.is_empty());
        let panels: Vec<_> = panels.collect();
        let whole = panels.iter().all(|panel| panel.arms.len() == rows.len());
        let title = "Accuracy by arm and kind of question, answers paired by number";
        (whole && !panels.is_empty()).then_some(Self { title, panels, numbers: false, ..all })
    }
}

impl Picture for Accuracy<'_> {
    fn size(&self) -> (u32, u32) {
        (WIDTH.unsigned_abs(), (self.bottom() + BOTTOM).unsigned_abs())
    }

    fn draw<DB: DrawingBackend>(&self, canvas: &Canvas<DB>) -> Result<()>
    where
        DB::ErrorType: 'static,
    {
        let scores = || self.panels.iter().flat_map(|panel| &panel.arms);
        let intervals = Intervals::of(scores().map(|(_, low, high)| low.zip(*high)));
        canvas.title(&heading(self.title, intervals), self.subtitle)?;
        // Room right of each panel: for the numbers, and what they are, or for the last label of its axis.
        let (room, numbers) = match (self.numbers, intervals) {
            (false, _) => (30, None),
            (true, Intervals::None) => (72, Some("score")),
            (true, _) => (158, Some("score [interval]")),
        };
        let mut label = 0;
        for arm in &self.arms {
            label = label.max(canvas.text_width(arm, 17)?);
        }
        let labels = (label + 36).clamp(90, 380);
        let width = (WIDTH - labels - 10) / i32::try_from(self.panels.len().max(1))?;
        for (arm, y) in self.arms.iter().zip(self.ys()) {
            canvas.text(arm, (labels - 16, y), Anchor::Right, 17, TEXT)?;
        }
        let most = scores().map(|(score, _, high)| high.unwrap_or(*score)).fold(0.0, f64::max);
        let most = round_up(most, 10.0).min(100.0);
        (0..).zip(&self.panels).try_for_each(|(place, scores)| {
            let left = labels + place * width;
            self.panel(canvas, &Panel { scores, left, right: left + width - room, numbers }, most)
        })
    }
}

impl Accuracy<'_> {
    /// Pixels between rows.
    const fn pitch(&self) -> i32 {
        if self.arms.len() > FEW { 30 } else { 42 }
    }

    /// The middle of each row.
    fn ys(&self) -> impl Iterator<Item = i32> + use<> {
        let pitch = self.pitch();
        (0..).map(move |row| TOP + pitch * row + pitch / 2)
    }

    /// Where the rows end.
    fn bottom(&self) -> i32 {
        TOP + self.pitch() * i32::try_from(self.arms.len()).unwrap_or(i32::from(i16::MAX))
    }

    fn panel<DB: DrawingBackend>(&self, canvas: &Canvas<DB>, panel: &Panel, most: f64) -> Result<()>
    where
        DB::ErrorType: 'static,
    {
        let bottom = self.bottom();
        let scale = Scale { values: (0.0, most), pixels: (panel.left, panel.right) };
        let x = |score: f64| scale.at(score);
        for (score, text) in scale.ticks() {
            canvas.line((x(score), TOP), (x(score), bottom), GRID, 1)?;
            canvas.text(&text, (x(score), bottom + 14), Anchor::Centre, 16, TEXT)?;
        }
        canvas.line((panel.left, bottom), (panel.right, bottom), FAINT, 1)?;
        canvas.text(&panel.scores.title, (panel.left, bottom + 40), Anchor::Left, 17, TEXT)?;
        if let Some(numbers) = panel.numbers {
            canvas.text(numbers, (panel.right + 14, TOP - 12), Anchor::Left, 15, TEXT)?;
        }
        let scores = &panel.scores.arms;
        if let Some((score, _, _)) = self.reference.and_then(|place| scores.get(place)) {
            canvas.dashed(&[(x(*score), TOP - 4), (x(*score), bottom)], (4, 4), (PALE, 1))?;
        }
        for ((place, &(score, low, high)), y) in scores.iter().enumerate().zip(self.ys()) {
            let ink = Ink::of(place);
            if let Some((low, high)) = low.zip(high) {
                canvas.whisker((x(low), y), (x(high), y), ink.colour)?;
            }
            canvas.marker((x(score), y), ink)?;
            if panel.numbers.is_some() {
                let number = with_interval(score, low, high);
                canvas.text(&number, (panel.right + 14, y), Anchor::Left, 16, TEXT)?;
            }
        }
        Ok(())
    }
}
