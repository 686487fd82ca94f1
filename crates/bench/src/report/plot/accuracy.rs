//! Scores by arm, with their intervals, by both rules side by side.

use anyhow::Result;
use plotters::prelude::*;

use super::Picture;
use super::axes::Scale;
use super::ink::{Anchor, Canvas, FAINT, GRID, Ink, Pixel, TEXT, round_up};
use crate::report::table::with_interval;
use crate::row::Row;

const TOP: i32 = 96;
const ROW: i32 = 42;
const BOTTOM: i32 = 64;
/// Room for the numbers right of each panel.
const NUMBERS: i32 = 158;

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
}

impl Picture for Accuracy<'_> {
    fn size(&self) -> (u32, u32) {
        (1100, (TOP + ROW * self.arms() + BOTTOM).unsigned_abs())
    }

    fn draw<DB: DrawingBackend>(&self, canvas: &Canvas<DB>) -> Result<()>
    where
        DB::ErrorType: 'static,
    {
        canvas.title("Accuracy by arm, with 95 % intervals over prompts", self.subtitle)?;
        let mut label = 0;
        for row in self.rows {
            label = label.max(canvas.text_width(&row.arm, 17)?);
        }
        let labels = (label + 36).clamp(90, 380);
        let width = (1100 - labels - 10) / 2;
        for (row, y) in self.rows.iter().zip(ys()) {
            canvas.text(&row.arm, (labels - 16, y), Anchor::Right, 17, TEXT)?;
        }
        let official = |row: &Row| (row.official, row.official_ci_low, row.official_ci_high);
        let aligned = |row: &Row| (row.aligned, row.aligned_ci_low, row.aligned_ci_high);
        let panel = |title, score: &dyn Fn(&Row) -> _, left: i32| Panel {
            title,
            scores: self.rows.iter().map(score).collect(),
            left,
            right: left + width - NUMBERS,
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

/// The middle of each row.
fn ys() -> impl Iterator<Item = i32> {
    (0..).map(|row| TOP + ROW * row + ROW / 2)
}

impl Accuracy<'_> {
    fn arms(&self) -> i32 {
        i32::try_from(self.rows.len()).unwrap_or(i32::MAX / ROW / 2)
    }

    fn panel<DB: DrawingBackend>(&self, canvas: &Canvas<DB>, panel: &Panel, most: f64) -> Result<()>
    where
        DB::ErrorType: 'static,
    {
        let bottom = TOP + ROW * self.arms();
        let scale = Scale { values: (0.0, most), pixels: (panel.left, panel.right) };
        let x = |score: f64| scale.at(score);
        for (score, text) in scale.ticks() {
            canvas.line((x(score), TOP), (x(score), bottom), GRID, 1)?;
            canvas.text(&text, (x(score), bottom + 14), Anchor::Centre, 16, TEXT)?;
        }
        canvas.line((panel.left, bottom), (panel.right, bottom), FAINT, 1)?;
        canvas.text(panel.title, (panel.left, bottom + 40), Anchor::Left, 17, TEXT)?;
        canvas.text("score [interval]", (panel.right + 14, TOP - 12), Anchor::Left, 15, TEXT)?;
        let reference = self.rows.iter().position(Row::is_reference);
        if let Some((score, _, _)) = reference.and_then(|place| panel.scores.get(place)) {
            let ends: Vec<Pixel> = vec![(x(*score), TOP - 4), (x(*score), bottom)];
            canvas.dashed(ends, (4, 4), RGBColor(90, 90, 90).stroke_width(1))?;
        }
        for ((place, &(score, low, high)), y) in panel.scores.iter().enumerate().zip(ys()) {
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
