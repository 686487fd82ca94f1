//! Which arms look alike, and the legend that names them.

use anyhow::Result;
use plotters::prelude::*;

use super::canvas::{Anchor, Canvas, Pixel};
use super::ink::{Ink, PALE, TEXT};

const FONT: u32 = 17;
/// Pixels between the lines of one entry.
const LINE: i32 = 19;
/// Pixels between entries, on top of that.
const GAP: i32 = 7;
/// Room for the names of an entry that has several.
const SEVERAL: i32 = 205;

/// Puts each item with the first items that are all the same as it; returns places, in order.
pub(crate) fn alike<T>(items: &[T], same: impl Fn(&T, &T) -> bool) -> Vec<Vec<usize>> {
    let mut groups: Vec<Vec<usize>> = Vec::new();
    for (place, item) in items.iter().enumerate() {
        let fits = |group: &&mut Vec<usize>| group.iter().all(|&other| same(&items[other], item));
        match groups.iter_mut().find(fits) {
            Some(group) => group.push(place),
            None => groups.push(vec![place]),
        }
    }
    groups
}

/// What an entry shows beside its names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sample {
    Marker,
    Line,
}

impl Sample {
    const fn width(self) -> i32 {
        match self {
            Self::Marker => 24,
            Self::Line => 48,
        }
    }
}

/// One entry per look, below each other; it names all arms that have the look.
#[derive(Debug)]
pub(crate) struct Legend {
    sample: Sample,
    entries: Vec<(Ink, Vec<String>)>,
    note: Vec<&'static str>,
    room: i32,
}

impl Legend {
    /// Breaks names over lines. The note says what `=` means and is left out where no entry has several names.
    pub(crate) fn new<DB: DrawingBackend>(
        canvas: &Canvas<DB>,
        sample: Sample,
        looks: &[(Ink, Vec<&str>)],
        note: &[&'static str],
    ) -> Result<Self>
    where
        DB::ErrorType: 'static,
    {
        let several = looks.iter().any(|(_, names)| names.len() > 1);
        let note = if several { note.to_vec() } else { Vec::new() };
        let mut room = if several { SEVERAL } else { 0 };
        for name in looks.iter().flat_map(|(_, names)| names) {
            room = room.max(canvas.text_width(name, FONT)? + if several { 16 } else { 0 });
        }
        let mut entries = Vec::new();
        for (ink, names) in looks {
            let mut lines: Vec<String> = Vec::new();
            for name in names {
                let Some(line) = lines.last_mut() else {
                    lines.push((*name).to_owned());
                    continue;
                };
                line.push_str(" =");
                let longer = format!("{line} {name}");
                // Room for the sign that may follow.
                if canvas.text_width(&longer, FONT)? + 16 <= room {
                    *line = longer;
                } else {
                    lines.push((*name).to_owned());
                }
            }
            entries.push((*ink, lines));
        }
        Ok(Self { sample, entries, note, room })
    }

    /// Pixels from left to right.
    pub(crate) fn width(&self) -> i32 {
        self.sample.width() + self.room
    }

    /// The most pixels from top to bottom that a legend of so many arms takes.
    pub(crate) fn most_height(arms: usize) -> i32 {
        (LINE + GAP) * i32::try_from(arms).unwrap_or(i32::from(i16::MAX)) + 3 * LINE
    }

    /// Draws it below and right of a point.
    pub(crate) fn draw<DB: DrawingBackend>(&self, canvas: &Canvas<DB>, at: Pixel) -> Result<()>
    where
        DB::ErrorType: 'static,
    {
        let (left, mut y) = at;
        let names = left + self.sample.width();
        for (ink, lines) in &self.entries {
            match self.sample {
                Sample::Marker => canvas.marker((left + 8, y), *ink)?,
                Sample::Line => {
                    canvas.path(&[(left, y), (left + 40, y)], *ink)?;
                    canvas.marker((left + 20, y), *ink)?;
                }
            }
            for line in lines {
                canvas.text(line, (names, y), Anchor::Left, FONT, TEXT)?;
                y += LINE;
            }
            y += GAP;
        }
        for line in &self.note {
            canvas.text(line, (names, y), Anchor::Left, 15, PALE)?;
            y += LINE;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_item_joins_a_group_only_if_it_is_like_all_of_it() {
        let close = |a: &i32, b: &i32| (a - b).abs() <= 2;
        assert_eq!(alike(&[0, 2, 9, 1, 3, 4], close), [vec![0, 1, 3], vec![2], vec![4, 5]]);
    }
}
