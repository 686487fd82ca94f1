//! Straight axes with few round ticks and a light grid.

use anyhow::Result;
use plotters::prelude::*;

use super::canvas::{Anchor, Canvas};
use super::ink::{FAINT, GRID, TEXT};

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
        let step = step(last - first, |step| (last - first) / step);
        let decimals = (0..6).find(|&decimals| step * 10_f64.powi(decimals) >= 0.999).unwrap_or(6);
        let decimals = usize::try_from(decimals).unwrap_or_default();
        (0_u8..=8)
            .map(|tick| first + f64::from(tick) * step)
            .take_while(|tick| *tick <= last + step * 1e-6)
            .map(|tick| (tick, format!("{tick:.decimals$}")))
            .collect()
    }

    /// An axis title that says so if the axis does not start at 0.
    pub(crate) fn title(&self, title: &str) -> String {
        match self.ticks().first() {
            Some((value, text)) if *value > 0.0 => format!("{title} (axis starts at {text})"),
            _ => title.to_owned(),
        }
    }
}

/// The smallest of 1, 2 or 5 times a power of ten that makes at most eight steps of about `span`.
fn step(span: f64, steps: impl Fn(f64) -> f64) -> f64 {
    let unit = 10_f64.powf((span / 8.0).log10().floor());
    let mut candidates = [1.0, 2.0, 5.0, 10.0].into_iter().map(|step| step * unit);
    candidates.find(|step| steps(*step) <= 8.001).unwrap_or(20.0 * unit)
}

/// A round number at or above a value, so that an axis from 0 ends on a tick; at least `least`.
pub(crate) fn round_up(value: f64, least: f64) -> f64 {
    let value = value.max(least);
    let unit = 10_f64.powf(value.log10().floor());
    let steps = [1.0, 1.2, 1.6, 2.0, 2.5, 3.0, 3.5, 4.0, 5.0, 6.0, 7.0, 8.0, 10.0];
    let step = steps.into_iter().find(|step| step * unit >= value - 1e-9 * unit);
    step.unwrap_or(10.0) * unit
}

/// Round numbers around two values that are not below 0, so that an axis starts and ends on a tick.
pub(crate) fn round_around(low: f64, high: f64) -> (f64, f64) {
    let high = high.max(1.02 * low).max(low + 1e-3);
    let ends = |step: f64| ((low / step + 1e-6).floor(), (high / step - 1e-6).ceil());
    let step = step(high - low, |step| ends(step).1 - ends(step).0);
    (ends(step).0 * step, ends(step).1 * step)
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
        canvas.text(y, (16, top - 26), Anchor::Left, 17, TEXT)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_axis_far_from_0_has_round_ends_and_says_so() {
        let values = round_around(2048.0, 3111.0);
        let axis = Scale { values, pixels: (0, 100) };
        assert_eq!(values, (2000.0, 3200.0));
        assert_eq!(axis.title("entries"), "entries (axis starts at 2000)");
        assert_eq!(axis.ticks().len(), 7);
        // Neither equal values nor zeros make an axis of no length.
        assert_eq!(round_around(50.0, 50.0), (50.0, 51.0));
        let nothing = Scale { values: round_around(0.0, 0.0), pixels: (0, 100) };
        assert_eq!((nothing.at(0.0), nothing.title("bytes").as_str()), (0, "bytes"));
    }
}
