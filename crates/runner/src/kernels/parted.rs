use std::io;
use std::ops::Range;

use super::items::part_of;
use super::region::{Plain, Run, Shelf};

/// Groups of tiles in contiguous parts, one to a thread.
///
/// A thread's parts of all matrices stand one behind the other, on a shelf of its own, so that it goes along nearly one piece of memory for a whole step, and what
/// it asks for ahead where one matrix ends is mostly what it reads next. Not where two matrices are gone along side by side, as gate and up are; nor quite where
/// groups do not divide by threads, and work is shared out a group or two beside the edge.
#[derive(Debug)]
pub(super) struct Parted<T> {
    parts: Vec<Run<T>>, // (groups of the part, size)
    groups: usize,
    size: usize,
}

impl<T: Plain> Parted<T> {
    /// Noughts, in so many groups of `size` tiles, with a part on each shelf, of which there is one at least.
    ///
    /// # Errors
    /// The system has no memory left.
    pub(super) fn new(groups: usize, size: usize, shelves: &mut [Shelf]) -> io::Result<Self> {
        let count = shelves.len();
        let part = |(part, shelf): (usize, &mut Shelf)| {
            shelf.run(part_of(groups, part, count).len() * size)
        };
        let parts = shelves.iter_mut().enumerate().map(part).collect::<io::Result<_>>()?;
        Ok(Self { parts, groups, size })
    }

    /// A group's tiles.
    pub(super) fn group(&self, group: usize) -> &[T] {
        let (part, tiles) = self.place(group);
        &self.parts[part][tiles]
    }

    pub(super) fn group_mut(&mut self, group: usize) -> &mut [T] {
        let (part, tiles) = self.place(group);
        &mut self.parts[part][tiles]
    }

    /// A group's part, and where its tiles stand there.
    fn place(&self, group: usize) -> (usize, Range<usize>) {
        let parts = self.parts.len();
        // The last one that begins with this group or one before it.
        let part = ((group + 1) * parts - 1) / self.groups;
        let within = group - part_of(self.groups, part, parts).start;
        (part, within * self.size..(within + 1) * self.size)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_group_has_a_place_of_its_own_on_the_shelf_of_its_part() {
        for parts in 1..=5 {
            let mut shelves: Vec<Shelf> = (0..parts).map(|_| Shelf::default()).collect();
            for groups in 1..=12 {
                let mut tiles = Parted::<f32>::new(groups, 3, &mut shelves).unwrap();
                for (number, group) in (1u8..).zip(0..groups) {
                    tiles.group_mut(group).fill(f32::from(number));
                }
                for (part, tiles) in tiles.parts.iter().enumerate() {
                    let expected = part_of(groups, part, parts);
                    let expected: Vec<f32> =
                        expected.flat_map(|group| [(group + 1) as f32; 3]).collect();
                    assert_eq!(tiles[..], expected, "part {part} of {parts}, {groups} groups");
                }
            }
        }
    }
}
