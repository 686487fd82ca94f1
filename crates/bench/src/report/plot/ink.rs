//! Colours, markers and dashes that stay readable without colour.

use plotters::prelude::*;

pub(crate) const TEXT: RGBColor = RGBColor(34, 34, 34);
pub(crate) const FAINT: RGBColor = RGBColor(150, 150, 150);
pub(crate) const GRID: RGBColor = RGBColor(226, 226, 226);
pub(crate) const PALE: RGBColor = RGBColor(90, 90, 90);

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
    pub(crate) marker: Marker,
    /// Pixels on and off; none for a solid line.
    pub(crate) dash: Option<(i32, i32)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Marker {
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

const DASHES: [(i32, i32); 5] = [(10, 4), (5, 3), (14, 3), (2, 3), (7, 5)];

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
