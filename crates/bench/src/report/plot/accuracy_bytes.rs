//! Accuracy against the memory it took.

use anyhow::Result;
use plotters::prelude::*;

use super::Picture;
use super::axes::{Axes, Scale};
use super::ink::{Anchor, Canvas, FAINT, Ink, Pixel, TEXT, round_up};
use crate::row::Row;

const SIZE: (i32, i32) = (1000, 600);
const FONT: u32 = 17;
/// Pixels between points of equal size, which are drawn side by side.
const DODGE: i32 = 13;

/// Up to here a label needs no line to its point.
const NEAR: i32 = 15;
/// A label that reaches left must be nearer by this than one that does not.
const LEFT: i32 = 160;

/// One point per arm, named beside it.
#[derive(Debug)]
pub(crate) struct AccuracyBytes<'a> {
    pub(crate) rows: &'a [Row],
    pub(crate) subtitle: &'a str,
}

/// A rectangle that no label may cover: left, top, right, bottom.
type Taken = (i32, i32, i32, i32);

impl Picture for AccuracyBytes<'_> {
    fn size(&self) -> (u32, u32) {
        (SIZE.0.unsigned_abs(), SIZE.1.unsigned_abs())
    }

    fn draw<DB: DrawingBackend>(&self, canvas: &Canvas<DB>) -> Result<()>
    where
        DB::ErrorType: 'static,
    {
        canvas.title(
            "Accuracy against cache size, with 95 % intervals over prompts",
            self.subtitle,
        )?;
        let axes = self.axes();
        let x_title = "bytes allocated for the cache at its peak, MiB, mean over prompts (like sizes are drawn side by side)";
        axes.draw(canvas, (x_title, &axes.x.ticks()), "official score, %")?;
        let points = self.points(&axes);
        let mut taken = Vec::new();
        for (place, (row, &(x, y))) in self.rows.iter().zip(&points).enumerate() {
            let ends = row.official_ci_low.zip(row.official_ci_high);
            let (low, high) = ends.map_or((y, y), |(low, high)| (axes.y.at(low), axes.y.at(high)));
            if ends.is_some() {
                canvas.whisker((x, low), (x, high), Ink::of(place).colour)?;
            }
            canvas.marker((x, y), Ink::of(place))?;
            taken.push((x - 5, high - 3, x + 5, low + 3));
            taken.push((x - 6, y - 6, x + 6, y + 6));
        }
        let mut named: Vec<_> = self.rows.iter().zip(points).collect();
        // From the right: the masts of later labels then stand left of all earlier labels.
        named.sort_by_key(|(_, (x, y))| (-x, *y));
        for (row, point) in named {
            let width = canvas.text_width(&row.arm, FONT)?;
            let label = place_label(point, width, &axes, &taken);
            taken.push(label.area);
            taken.extend(leader(point, label.end));
            draw_label(canvas, &row.arm, point, label)?;
        }
        Ok(())
    }
}

impl AccuracyBytes<'_> {
    fn axes(&self) -> Axes {
        let bytes = self.rows.iter().map(mebibytes).fold(0.0, f64::max);
        let score = self.rows.iter().map(|row| row.official_ci_high.unwrap_or(row.official));
        Axes {
            x: Scale { values: (0.0, round_up(1.08 * bytes, 1e-3)), pixels: (70, SIZE.0 - 40) },
            y: Scale {
                values: (0.0, round_up(score.fold(0.0, f64::max), 10.0).min(100.0)),
                pixels: (530, 100),
            },
        }
    }

    /// Where the points go: neighbours that would cover each other are spread around their middle.
    fn points(&self, axes: &Axes) -> Vec<Pixel> {
        let mut points: Vec<_> =
            self.rows.iter().map(|row| axes.at(mebibytes(row), row.official)).collect();
        let mut order: Vec<usize> = (0..points.len()).collect();
        order.sort_by_key(|&place| points[place].0);
        let clusters = order.chunk_by(|&a, &b| points[b].0 - points[a].0 < DODGE);
        let clusters: Vec<Vec<usize>> = clusters.map(<[usize]>::to_vec).collect();
        for cluster in clusters {
            let middle = i32::midpoint(points[cluster[0]].0, points[cluster[cluster.len() - 1]].0);
            let mut offset = -DODGE * (i32::try_from(cluster.len()).unwrap_or(1) - 1) / 2;
            for place in cluster {
                points[place].0 = (middle + offset).max(axes.x.pixels.0 + 8);
                offset += DODGE;
            }
        }
        points
    }
}

fn mebibytes(row: &Row) -> f64 {
    row.kv_bytes_peak_mean / f64::from(1 << 20)
}

/// A label's rectangle, and the end of the line that ties it to its point.
#[derive(Debug, Clone, Copy)]
struct Label {
    area: Taken,
    end: Pixel,
}

/// The free place nearest to the point where a label of some width fits, beside, above or below it, so that neither it nor
/// its line covers anything.
fn place_label(point: Pixel, width: i32, axes: &Axes, taken: &[Taken]) -> Label {
    let ((left, right), (bottom, top)) = (axes.x.pixels, axes.y.pixels);
    let inside = |area: &Taken| {
        area.0 > left + 4 && area.2 < right + 36 && area.1 > top - 12 && area.3 < bottom - 2
    };
    let covers = |a: &Taken, b: &Taken, gap: i32| {
        a.0 < b.2 + gap && b.0 < a.2 + gap && a.1 < b.3 && b.1 < a.3
    };
    let clear = |area: &Taken, gap: i32| !taken.iter().any(|other| covers(area, other, gap));
    let free = |label: &Label| {
        let mut leader = leader(point, label.end).into_iter();
        inside(&label.area) && clear(&label.area, 4) && leader.all(|square| clear(&square, 0))
    };
    let mut labels: Vec<Label> = candidates(point, width).collect();
    // A label that reaches left is likely to stand over the points that are named next.
    let far = |label: &Label| {
        let (dx, dy) = (label.end.0 - point.0, label.end.1 - point.1);
        let left = if label.area.0 < point.0 - 4 { LEFT * LEFT } else { 0 };
        dx * dx + dy * dy + left
    };
    labels.sort_by_key(far);
    let fallback = labels[0];
    labels.into_iter().find(free).unwrap_or(fallback)
}

/// Places right and left of a point, and flags on a mast above and below it.
fn candidates((x, y): Pixel, width: i32) -> impl Iterator<Item = Label> {
    let offsets = (0..30).flat_map(|across| (-26..=26).map(move |up| (14 + 8 * across, 8 * up)));
    let beside = offsets.flat_map(move |(dx, dy)| {
        let area = |from: i32| (from, y + dy - 9, from + width, y + dy + 9);
        [
            Label { area: area(x + dx), end: (x + dx - 3, y + dy) },
            Label { area: area(x - dx - width), end: (x - dx + 3, y + dy) },
        ]
    });
    let flags = (2..30).flat_map(|up| [-10 * up, 10 * up]).map(move |dy| {
        let near = if dy < 0 { 9 } else { -9 };
        Label { area: (x - 3, y + dy - 9, x - 3 + width, y + dy + 9), end: (x, y + dy + near) }
    });
    beside.chain(flags)
}

/// The squares that a line from a point to its label runs through beyond the point's marker.
fn leader(point: Pixel, end: Pixel) -> Vec<Taken> {
    let (dx, dy) = (end.0 - point.0, end.1 - point.1);
    let length = dx.abs().max(dy.abs());
    let squares = (12..length)
        .step_by(4)
        .map(|done| (point.0 + dx * done / length, point.1 + dy * done / length));
    squares.map(|(x, y)| (x - 1, y - 1, x + 1, y + 1)).collect()
}

/// A label, and a thin line to its point if it stands apart.
fn draw_label<DB: DrawingBackend>(
    canvas: &Canvas<DB>,
    name: &str,
    point: Pixel,
    label: Label,
) -> Result<()>
where
    DB::ErrorType: 'static,
{
    let Label { area, end } = label;
    let (dx, dy) = (end.0 - point.0, end.1 - point.1);
    let length = dx.abs().max(dy.abs());
    if length > NEAR {
        canvas.line((point.0 + dx * 10 / length, point.1 + dy * 10 / length), end, FAINT, 1)?;
    }
    canvas.text(name, (area.0, i32::midpoint(area.1, area.3)), Anchor::Left, FONT, TEXT)
}
