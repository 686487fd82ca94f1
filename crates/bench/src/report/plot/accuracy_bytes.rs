//! Accuracy against the memory it took.

use anyhow::Result;
use plotters::prelude::*;

use super::Picture;
use super::accuracy::{Intervals, heading};
use super::axes::{Axes, Scale, round_around, round_up};
use super::canvas::{Anchor, Canvas};
use super::ink::{Ink, PALE};
use super::legend::{Legend, Sample, alike};
use crate::row::Row;

const WIDTH: i32 = 1000;
const TOP: i32 = 118;
/// Points nearer than this cannot be told apart and share a marker.
const TOUCHING: i32 = 6;

/// One point per arm, each at its place; arms whose points coincide share one marker and one entry of the legend.
#[derive(Debug)]
pub(crate) struct AccuracyBytes<'a> {
    pub(crate) rows: &'a [Row],
    pub(crate) subtitle: &'a str,
}

impl Picture for AccuracyBytes<'_> {
    fn size(&self) -> (u32, u32) {
        (WIDTH.unsigned_abs(), self.height().unsigned_abs())
    }

    fn draw<DB: DrawingBackend>(&self, canvas: &Canvas<DB>) -> Result<()>
    where
        DB::ErrorType: 'static,
    {
        let official = self.rows.iter().map(|row| row.official_ci_low.zip(row.official_ci_high));
        let intervals = Intervals::of(official);
        canvas.title(&heading("Accuracy against cache size", intervals), self.subtitle)?;
        // How wide the legend is depends on its names only, not on which of them share an entry.
        let apart: Vec<_> = (0..self.rows.len()).map(|place| vec![place]).collect();
        let widest = self.legend(canvas, &apart)?.width().max(SHARED);
        let axes = self.axes((WIDTH - widest - 50).max(300));
        let x_title = axes.x.title("cache bytes allocated at the peak, MiB, mean over prompts");
        axes.draw(canvas, (&x_title, &axes.x.ticks()), "official score, %")?;
        if let Some(full) = self.rows.iter().find(|row| row.is_reference()) {
            full_cache(canvas, &axes, mebibytes(full))?;
        }
        let points: Vec<_> =
            self.rows.iter().map(|row| axes.at(mebibytes(row), row.official)).collect();
        let touching = |a: &(i32, i32), b: &(i32, i32)| {
            (a.0 - b.0).pow(2) + (a.1 - b.1).pow(2) <= TOUCHING.pow(2)
        };
        let groups = alike(&points, touching);
        for group in &groups {
            let colour = Ink::of(group[0]).colour;
            for &place in group {
                let row = &self.rows[place];
                let x = points[place].0;
                if let Some((low, high)) = row.official_ci_low.zip(row.official_ci_high) {
                    canvas.whisker((x, axes.y.at(low)), (x, axes.y.at(high)), colour)?;
                }
            }
        }
        // The first arm is the reference: it goes on top.
        for group in groups.iter().rev() {
            canvas.marker(points[group[0]], Ink::of(group[0]))?;
        }
        self.legend(canvas, &groups)?.draw(canvas, (axes.x.pixels.1 + 24, TOP + 10))
    }
}

/// The least room for a legend, so that names which share an entry fit in.
const SHARED: i32 = 230;

impl AccuracyBytes<'_> {
    fn height(&self) -> i32 {
        (TOP + Legend::most_height(self.rows.len())).max(600)
    }

    fn legend<DB: DrawingBackend>(
        &self,
        canvas: &Canvas<DB>,
        groups: &[Vec<usize>],
    ) -> Result<Legend>
    where
        DB::ErrorType: 'static,
    {
        let name = |&place: &usize| self.rows[place].arm.as_str();
        let looks =
            groups.iter().map(|group| (Ink::of(group[0]), group.iter().map(name).collect()));
        Legend::new(
            canvas,
            Sample::Marker,
            &looks.collect::<Vec<_>>(),
            &["= drawn as one: their points", "are at most 6 pixels apart"],
        )
    }

    fn axes(&self, right: i32) -> Axes {
        let bytes = || self.rows.iter().map(mebibytes);
        let (least, most) = (bytes().fold(f64::INFINITY, f64::min), bytes().fold(0.0, f64::max));
        let margin = 0.04 * (most - least);
        let score = self.rows.iter().map(|row| row.official_ci_high.unwrap_or(row.official));
        Axes {
            x: Scale {
                values: round_around((least - margin).max(0.0), most + margin),
                pixels: (70, right),
            },
            y: Scale {
                values: (0.0, round_up(score.fold(0.0, f64::max), 10.0).min(100.0)),
                pixels: (self.height() - 70, TOP),
            },
        }
    }
}

/// A dashed line at the full cache's size, named above the plot.
fn full_cache<DB: DrawingBackend>(canvas: &Canvas<DB>, axes: &Axes, size: f64) -> Result<()>
where
    DB::ErrorType: 'static,
{
    let (x, (bottom, top)) = (axes.x.at(size), axes.y.pixels);
    canvas.dashed(&[(x, top - 6), (x, bottom)], (5, 4), (PALE, 1))?;
    let text = format!("full cache, {size:.1} MiB");
    let half = canvas.text_width(&text, 15)? / 2;
    let (left, right) = axes.x.pixels;
    let middle = x.min(right + 16 - half).max(left + half);
    canvas.text(&text, (middle, top - 16), Anchor::Centre, 15, PALE)
}

fn mebibytes(row: &Row) -> f64 {
    row.kv_bytes_peak_mean / f64::from(1 << 20)
}
