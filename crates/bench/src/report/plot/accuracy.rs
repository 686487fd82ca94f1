//! Scores by arm, with their intervals, by both rules side by side.

use anyhow::Result;
use plotters::prelude::*;

use super::Picture;
use super::axes::{Scale, round_up};
use super::canvas::{Anchor, Canvas};
use super::ink::{FAINT, GRID, Ink, PALE, TEXT};
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

/// Dots and whiskers, one row per arm; the full cache is a dashed line through all rows.
#[derive(Debug)]
pub(crate) struct Accuracy<'a> {
    pub(crate) rows: &'a [Row],
    pub(crate) subtitle: &'a str,
}

/// One rule's scores.
struct Panel {
    title: &'static str,
    scores: Vec<(f64, Option<f64>, Option<f64>)>,
    left: i32,
    right: i32,
    /// Above the numbers.
    numbers: &'static str,
}

impl Picture for Accuracy<'_> {
    fn size(&self) -> (u32, u32) {
        (WIDTH.unsigned_abs(), (self.bottom() + BOTTOM).unsigned_abs())
    }

    fn draw<DB: DrawingBackend>(&self, canvas: &Canvas<DB>) -> Result<()>
    where
        DB::ErrorType: 'static,
    {
        let ends = self.rows.iter().map(|row| row.official_ci_low.zip(row.official_ci_high));
        let intervals = Intervals::of(ends);
        canvas.title(&heading("Accuracy by arm", intervals), self.subtitle)?;
        // Room for the numbers right of each panel, and what they are.
        let (room, numbers) = match intervals {
            Intervals::None => (72, "score"),
            _ => (158, "score [interval]"),
        };
        let mut label = 0;
        for row in self.rows {
            label = label.max(canvas.text_width(&row.arm, 17)?);
        }
        let labels = (label + 36).clamp(90, 380);
        let width = (WIDTH - labels - 10) / 2;
        for (row, y) in self.rows.iter().zip(self.ys()) {
            canvas.text(&row.arm, (labels - 16, y), Anchor::Right, 17, TEXT)?;
        }
        let official = |row: &Row| (row.official, row.official_ci_low, row.official_ci_high);
        let aligned = |row: &Row| (row.aligned, row.aligned_ci_low, row.aligned_ci_high);
        let panel = |title, score: &dyn Fn(&Row) -> _, left: i32| Panel {
            title,
            scores: self.rows.iter().map(score).collect(),
            left,
            right: left + width - room,
            numbers,
        };
        let panels = [
            panel("official score (k-th answer, k-th key), %", &official, labels),
            panel("aligned score (by answer number), %", &aligned, labels + width),
        ];
        let scores = panels.iter().flat_map(|panel| &panel.scores);
        let most = scores.map(|(score, _, high)| high.unwrap_or(*score)).fold(0.0, f64::max);
        panels
            .iter()
            .try_for_each(|panel| self.panel(canvas, panel, round_up(most, 10.0).min(100.0)))
    }
}

impl Accuracy<'_> {
    /// Pixels between rows.
    const fn pitch(&self) -> i32 {
        if self.rows.len() > FEW { 30 } else { 42 }
    }

    /// The middle of each row.
    fn ys(&self) -> impl Iterator<Item = i32> + use<> {
        let pitch = self.pitch();
        (0..).map(move |row| TOP + pitch * row + pitch / 2)
    }

    /// Where the rows end.
    fn bottom(&self) -> i32 {
        TOP + self.pitch() * i32::try_from(self.rows.len()).unwrap_or(i32::from(i16::MAX))
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
        canvas.text(panel.title, (panel.left, bottom + 40), Anchor::Left, 17, TEXT)?;
        canvas.text(panel.numbers, (panel.right + 14, TOP - 12), Anchor::Left, 15, TEXT)?;
        let reference = self.rows.iter().position(Row::is_reference);
        if let Some((score, _, _)) = reference.and_then(|place| panel.scores.get(place)) {
            canvas.dashed(&[(x(*score), TOP - 4), (x(*score), bottom)], (4, 4), (PALE, 1))?;
        }
        for ((place, &(score, low, high)), y) in panel.scores.iter().enumerate().zip(self.ys()) {
            let ink = Ink::of(place);
            if let Some((low, high)) = low.zip(high) {
                canvas.whisker((x(low), y), (x(high), y), ink.colour)?;
            }
            canvas.marker((x(score), y), ink)?;
            canvas.text(
                &with_interval(score, low, high),
                (panel.right + 14, y),
                Anchor::Left,
                16,
                TEXT,
            )?;
        }
        Ok(())
    }
}
