//! Straight axes with few round ticks and a light grid.

use anyhow::Result;
use plotters::prelude::*;

use super::ink::{Anchor, Canvas, FAINT, GRID, TEXT};

/// Maps values to pixels along one axis.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Scale {
    pub(crate) values: (f64, f64),
    pub(crate) pixels: (i32, i32),
}

/// Where a tick stands and what it says.
pub(crate) type Tick = (f64, String);

impl Scale {
    /// The nearest pixel of a value.
    #[allow(
        clippy::cast_possible_truncation,
        reason = "rounded, and plots are a thousand pixels wide"
    )]
    pub(crate) fn at(&self, value: f64) -> i32 {
        let ((first, last), (from, to)) = (self.values, self.pixels);
        let share = (value - first) / (last - first);
        (f64::from(from) + share * f64::from(to - from)).round() as i32
    }

    /// Ticks from the first value to the last, four to eight steps of 1, 2 or 5 times a power of ten.
    pub(crate) fn ticks(&self) -> Vec<Tick> {
        let (first, last) = self.values;
        let unit = 10_f64.powf(((last - first) / 8.0).log10().floor());
        let step = [1.0, 2.0, 5.0, 10.0].map(|step| step * unit);
        let step =
            step.into_iter().find(|step| (last - first) / step <= 8.001).unwrap_or(10.0 * unit);
        let ticks = (0_u8..=8).map(|tick| first + f64::from(tick) * step);
        let decimals = if step >= 0.999 {
            0
        } else if step >= 0.0999 {
            1
        } else {
            2
        };
        ticks
            .take_while(|tick| *tick <= last + step * 1e-6)
            .map(|tick| (tick, format!("{tick:.decimals$}")))
            .collect()
    }
}

/// A plot's area.
#[derive(Debug)]
pub(crate) struct Axes {
    pub(crate) x: Scale,
    pub(crate) y: Scale,
}

impl Axes {
    pub(crate) fn at(&self, x: f64, y: f64) -> (i32, i32) {
        (self.x.at(x), self.y.at(y))
    }

    /// Draws grid, ticks and titles. The title of y stands above the axis, where it reads without turning the head.
    pub(crate) fn draw<DB: DrawingBackend>(
        &self,
        canvas: &Canvas<DB>,
        x: (&str, &[Tick]),
        y: &str,
    ) -> Result<()>
    where
        DB::ErrorType: 'static,
    {
        let ((left, right), (bottom, top)) = (self.x.pixels, self.y.pixels);
        for (value, text) in self.y.ticks() {
            let at = self.y.at(value);
            canvas.line((left, at), (right, at), GRID, 1)?;
            canvas.text(&text, (left - 10, at), Anchor::Right, 16, TEXT)?;
        }
        for (value, text) in x.1 {
            let at = self.x.at(*value);
            canvas.line((at, bottom), (at, bottom + 5), FAINT, 1)?;
            canvas.text(text, (at, bottom + 16), Anchor::Centre, 16, TEXT)?;
        }
        canvas.line((left, bottom), (right, bottom), FAINT, 1)?;
        canvas.line((left, bottom), (left, top), FAINT, 1)?;
        canvas.text(x.0, (i32::midpoint(left, right), bottom + 42), Anchor::Centre, 17, TEXT)?;
        canvas.text(y, (16, top - 24), Anchor::Left, 17, TEXT)
    }
}
