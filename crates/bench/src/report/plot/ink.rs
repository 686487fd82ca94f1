//! Colours, markers, dashes and text that stay readable without colour, and the canvas they go on.

use anyhow::Result;
use plotters::coord::Shift;
use plotters::element::DashedPathElement;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

/// A point in pixels.
pub(crate) type Pixel = (i32, i32);

pub(crate) const TEXT: RGBColor = RGBColor(34, 34, 34);
pub(crate) const FAINT: RGBColor = RGBColor(150, 150, 150);
pub(crate) const GRID: RGBColor = RGBColor(226, 226, 226);
const FONT: &str = "sans-serif";

/// The palette of Okabe and Ito 2008 without its yellow, which is lost on white, and with a grey. Black is for the first
/// arm alone.
const COLOURS: [RGBColor; 7] = [
    RGBColor(213, 94, 0),
    RGBColor(0, 114, 178),
    RGBColor(0, 158, 115),
    RGBColor(230, 159, 0),
    RGBColor(204, 121, 167),
    RGBColor(86, 180, 233),
    RGBColor(110, 110, 110),
];

/// How one arm looks in every plot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Ink {
    pub(crate) colour: RGBColor,
    marker: Marker,
    /// Pixels on and off; none for a solid line.
    dash: Option<(u32, u32)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Marker {
    Disc,
    Square,
    Up,
    Diamond,
    Down,
    Ring,
    Cross,
    Plus,
    Frame,
}

const MARKERS: [Marker; 8] = [
    Marker::Square,
    Marker::Up,
    Marker::Diamond,
    Marker::Down,
    Marker::Cross,
    Marker::Frame,
    Marker::Plus,
    Marker::Ring,
];

const DASHES: [(u32, u32); 5] = [(10, 4), (5, 3), (14, 3), (2, 3), (7, 5)];

impl Ink {
    /// The look of the arm at a place: black and solid for the first, which by custom is the full cache. Colours, markers
    /// and dashes of the others repeat at different periods, so that no two of 280 look the same.
    pub(crate) const fn of(place: usize) -> Self {
        let Some(place) = place.checked_sub(1) else {
            return Self { colour: BLACK, marker: Marker::Disc, dash: None };
        };
        Self {
            colour: COLOURS[place % COLOURS.len()],
            marker: MARKERS[place % MARKERS.len()],
            dash: Some(DASHES[place % DASHES.len()]),
        }
    }
}

/// Where a text stands from its point.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Anchor {
    Left,
    Centre,
    Right,
}

/// A drawing area addressed in pixels.
pub(crate) struct Canvas<'a, DB: DrawingBackend>(pub(crate) &'a DrawingArea<DB, Shift>);

impl<DB: DrawingBackend> Canvas<'_, DB>
where
    DB::ErrorType: 'static,
{
    /// Draws a text whose middle is at the height of its point.
    pub(crate) fn text(
        &self,
        text: &str,
        at: Pixel,
        anchor: Anchor,
        size: u32,
        colour: RGBColor,
    ) -> Result<()> {
        // The line box reaches further above the letters than below.
        let at = (at.0, at.1 + 2);
        let side = match anchor {
            Anchor::Left => HPos::Left,
            Anchor::Centre => HPos::Center,
            Anchor::Right => HPos::Right,
        };
        let style = (FONT, size).into_font().color(&colour).pos(Pos::new(side, VPos::Center));
        Ok(self.0.draw_text(text, &style, at)?)
    }

    pub(crate) fn title(&self, title: &str, subtitle: &str) -> Result<()> {
        self.text(title, (16, 20), Anchor::Left, 23, TEXT)?;
        self.text(subtitle, (16, 42), Anchor::Left, 16, RGBColor(90, 90, 90))
    }

    pub(crate) fn text_width(&self, text: &str, size: u32) -> Result<i32> {
        let style = (FONT, size).into_font().color(&TEXT);
        let (width, _) = self.0.estimate_text_size(text, &style)?;
        Ok(i32::try_from(width)?)
    }

    pub(crate) fn line(&self, from: Pixel, to: Pixel, colour: RGBColor, width: u32) -> Result<()> {
        Ok(self.0.draw(&PathElement::new(vec![from, to], colour.stroke_width(width)))?)
    }

    pub(crate) fn dashed(
        &self,
        points: Vec<Pixel>,
        dash: (u32, u32),
        style: ShapeStyle,
    ) -> Result<()> {
        Ok(self.0.draw(&DashedPathElement::new(points, dash.0, dash.1, style))?)
    }

    /// An arm's line through points.
    pub(crate) fn path(&self, points: Vec<Pixel>, ink: Ink) -> Result<()> {
        let style = ink.colour.stroke_width(2);
        match ink.dash {
            None => Ok(self.0.draw(&PathElement::new(points, style))?),
            Some(dash) => self.dashed(points, dash, style),
        }
    }

    /// An interval with caps, along x or along y.
    pub(crate) fn whisker(&self, from: Pixel, to: Pixel, colour: RGBColor) -> Result<()> {
        let (dx, dy) = if from.1 == to.1 { (0, 5) } else { (5, 0) };
        self.line(from, to, colour, 2)?;
        for (x, y) in [from, to] {
            self.line((x - dx, y - dy), (x + dx, y + dy), colour, 2)?;
        }
        Ok(())
    }

    /// An arm's marker, on a white rim that sets it off from what lies below.
    pub(crate) fn marker(&self, (x, y): Pixel, ink: Ink) -> Result<()> {
        let full = ink.colour.filled();
        let disc = |radius, style| self.0.draw(&Circle::new((x, y), radius, style));
        let square = |half, style| {
            self.0.draw(&Rectangle::new([(x - half, y - half), (x + half, y + half)], style))
        };
        let polygon = |points: &[Pixel]| {
            Polygon::new(points.iter().map(|(dx, dy)| (x + dx, y + dy)).collect::<Vec<_>>(), full)
        };
        let stroke =
            |a: Pixel, b: Pixel| self.line((x + a.0, y + a.1), (x + b.0, y + b.1), ink.colour, 3);
        disc(7, WHITE.filled())?;
        match ink.marker {
            Marker::Disc => disc(5, full)?,
            Marker::Ring => {
                disc(6, full)?;
                disc(3, WHITE.filled())?;
            }
            Marker::Square => square(5, full)?,
            Marker::Frame => {
                square(6, full)?;
                square(3, WHITE.filled())?;
            }
            Marker::Up => self.0.draw(&polygon(&[(-6, 5), (6, 5), (0, -6)]))?,
            Marker::Down => self.0.draw(&polygon(&[(-6, -5), (6, -5), (0, 6)]))?,
            Marker::Diamond => self.0.draw(&polygon(&[(-6, 0), (0, -6), (6, 0), (0, 6)]))?,
            Marker::Cross => {
                stroke((-4, -4), (4, 4))?;
                stroke((-4, 4), (4, -4))?;
            }
            Marker::Plus => {
                stroke((-5, 0), (5, 0))?;
                stroke((0, -5), (0, 5))?;
            }
        }
        Ok(())
    }

    /// One line per arm below each other: its line, its marker, its name.
    pub(crate) fn legend(&self, at: Pixel, entries: &[(&str, Ink)]) -> Result<()> {
        for (row, (name, ink)) in (0..).zip(entries) {
            let y = at.1 + 24 * row;
            self.path(vec![(at.0, y), (at.0 + 40, y)], *ink)?;
            self.marker((at.0 + 20, y), *ink)?;
            self.text(name, (at.0 + 48, y), Anchor::Left, 17, TEXT)?;
        }
        Ok(())
    }
}

/// A round number at or above a value, so that an axis ends on a tick; at least `least`.
pub(crate) fn round_up(value: f64, least: f64) -> f64 {
    let value = value.max(least);
    let unit = 10_f64.powf(value.log10().floor());
    let steps = [1.0, 1.2, 1.6, 2.0, 2.5, 3.0, 3.5, 4.0, 5.0, 6.0, 7.0, 8.0, 10.0];
    let step = steps.into_iter().find(|step| step * unit >= value - 1e-9 * unit);
    step.unwrap_or(10.0) * unit
}
