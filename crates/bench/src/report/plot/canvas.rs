//! A drawing area addressed in pixels, and what goes on it.

use anyhow::Result;
use plotters::coord::Shift;
use plotters::element::DashedPathElement;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use super::FONT;
use super::ink::{Ink, Marker, PALE, TEXT};

/// A point in pixels.
pub(crate) type Pixel = (i32, i32);

/// Where a text stands from its point.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Anchor {
    Left,
    Centre,
    Right,
}

/// A drawing area whose pixels are those of the picture, however finely it is drawn.
pub(crate) struct Canvas<'a, DB: DrawingBackend> {
    area: &'a DrawingArea<DB, Shift>,
    /// Pixels of the area along each side of a pixel of the picture.
    fine: i32,
}

impl<'a, DB: DrawingBackend> Canvas<'a, DB>
where
    DB::ErrorType: 'static,
{
    /// A canvas with `fine` pixels of the area along each side of one of the picture.
    pub(crate) const fn new(area: &'a DrawingArea<DB, Shift>, fine: i32) -> Self {
        Self { area, fine }
    }

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
        let at = self.fine((at.0, at.1 + 2));
        let size = f64::from(size) * f64::from(self.fine);
        let side = match anchor {
            Anchor::Left => HPos::Left,
            Anchor::Centre => HPos::Center,
            Anchor::Right => HPos::Right,
        };
        let style = (FONT, size).into_font().color(&colour).pos(Pos::new(side, VPos::Center));
        Ok(self.area.draw_text(text, &style, at)?)
    }

    pub(crate) fn title(&self, title: &str, subtitle: &str) -> Result<()> {
        self.text(title, (16, 20), Anchor::Left, 23, TEXT)?;
        self.text(subtitle, (16, 42), Anchor::Left, 16, PALE)
    }

    pub(crate) fn text_width(&self, text: &str, size: u32) -> Result<i32> {
        Ok(floor(self.advance(text, f64::from(size))?))
    }

    /// How far a text moves the pen. The back end knows whole pixels only, so it is asked for a large size.
    fn advance(&self, text: &str, size: f64) -> Result<f64> {
        const LARGE: u32 = 2000;
        let style = (FONT, LARGE).into_font().color(&TEXT);
        let (width, _) = self.area.estimate_text_size(text, &style)?;
        Ok(f64::from(width) * size / f64::from(LARGE))
    }

    pub(crate) fn line(&self, from: Pixel, to: Pixel, colour: RGBColor, width: u32) -> Result<()> {
        let ends = vec![self.fine(from), self.fine(to)];
        Ok(self.area.draw(&PathElement::new(ends, self.stroke(colour, width)))?)
    }

    /// A line of dashes, `dash` pixels on and off.
    pub(crate) fn dashed(
        &self,
        points: &[Pixel],
        dash: (i32, i32),
        (colour, width): (RGBColor, u32),
    ) -> Result<()> {
        let points: Vec<_> = points.iter().map(|point| self.fine(*point)).collect();
        let (on, off) = self.fine(dash);
        let style = self.stroke(colour, width);
        Ok(self.area.draw(&DashedPathElement::new(points, on, off, style))?)
    }

    /// An arm's line through points.
    pub(crate) fn path(&self, points: &[Pixel], ink: Ink) -> Result<()> {
        if let Some(dash) = ink.dash {
            return self.dashed(points, dash, (ink.colour, 2));
        }
        let points: Vec<_> = points.iter().map(|point| self.fine(*point)).collect();
        Ok(self.area.draw(&PathElement::new(points, self.stroke(ink.colour, 2)))?)
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
        let disc = |radius: i32, style| {
            self.area.draw(&Circle::new(self.fine((x, y)), radius * self.fine, style))
        };
        let square = |half, style| {
            let corners = [(x - half, y - half), (x + half, y + half)];
            self.area.draw(&Rectangle::new(corners.map(|corner| self.fine(corner)), style))
        };
        let polygon = |points: &[Pixel]| {
            let points = points.iter().map(|(dx, dy)| self.fine((x + dx, y + dy)));
            self.area.draw(&Polygon::new(points.collect::<Vec<_>>(), full))
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
            Marker::Up => polygon(&[(-6, 5), (6, 5), (0, -6)])?,
            Marker::Down => polygon(&[(-6, -5), (6, -5), (0, 6)])?,
            Marker::Diamond => polygon(&[(-6, 0), (0, -6), (6, 0), (0, 6)])?,
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

    const fn fine(&self, (x, y): Pixel) -> Pixel {
        (x * self.fine, y * self.fine)
    }

    fn stroke(&self, colour: RGBColor, width: u32) -> ShapeStyle {
        colour.stroke_width(width * self.fine.unsigned_abs())
    }
}

#[allow(clippy::cast_possible_truncation, reason = "pictures are a few thousand pixels wide")]
fn floor(value: f64) -> i32 {
    value.floor() as i32
}
