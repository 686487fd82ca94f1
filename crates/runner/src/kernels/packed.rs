//! Matrices, laid out for the dot products, and their product with rows of activations.

use std::io;
use std::ops::Range;

use half::f16;

use super::activations::ActivationBlock;
use super::columns::Columns;
use super::items::part_of;
use super::parted::Parted;
use super::region::{Plain, Shelf};
use super::stored::{Blocks, Stored, least_of_q4_0};
use super::{Activations, BLOCK, Host, Isa, OUTPUTS};

/// Rows of activations that are taken through all weights before the next, at most.
const ROWS: usize = 64;

/// Bytes that they take at most where a row is short, so that they stay in the nearest cache, of some 48 KB, beside the weights that pass by and what is found.
const ROW_BYTES: usize = 36 << 10;

/// Rows that it must be worth to go through the weights for: of fewer, the weights cost more than the rows gain.
const FEWEST_ROWS: usize = 16;

/// A matrix in tiles.
#[derive(Debug)]
pub(crate) struct Packed {
    tiles: Tiles,
    outputs: usize,
    inputs: usize,
}

#[derive(Debug)]
enum Tiles {
    Four(Parted<Tile4>),   // (outputs / 16, inputs / 32)
    Eight(Parted<Tile8>),  // (outputs / 16, inputs / 32)
    Floats(Parted<Group>), // (outputs / 16, inputs)
}

/// A number for each of the outputs that are computed together.
pub(super) type Group = [f32; OUTPUTS];

/// Sixteen rows by 32 columns of `scale · nibble + least`. Four neighbouring columns of a row lie side by side, then those of the next row.
#[derive(Debug, Clone, Copy)]
#[repr(C, align(64))]
pub(super) struct Tile4 {
    pub(super) scales: [u16; OUTPUTS], // f16
    pub(super) leasts: [u16; OUTPUTS], // f16
    /// Columns `4 · quad ..` in the low nibbles, `16 + 4 · quad ..` in the high ones.
    pub(super) quants: [[u8; 4 * OUTPUTS]; 4],
}

/// The same of `scale · byte`.
#[derive(Debug, Clone, Copy)]
#[repr(C, align(32))]
pub(super) struct Tile8 {
    pub(super) scales: [u16; OUTPUTS], // f16
    pub(super) quants: [[i8; 4 * OUTPUTS]; 8],
}

// SAFETY: integers, and no more aligned than a line.
#[allow(unsafe_code, reason = "see above")]
unsafe impl Plain for Tile4 {}
// SAFETY: as above.
#[allow(unsafe_code, reason = "see above")]
unsafe impl Plain for Tile8 {}

impl Packed {
    /// Packs a matrix, with a part of it on each shelf; `inputs` must be a multiple of [`BLOCK`], and `bytes` as many as that takes.
    ///
    /// # Errors
    /// Too little memory.
    pub(crate) fn new(stored: &Stored, shelves: &mut [Shelf]) -> io::Result<Self> {
        let Stored { blocks: kind, outputs, inputs, .. } = *stored;
        assert!(inputs.is_multiple_of(BLOCK), "rows of whole blocks");
        let blocks = inputs / BLOCK;
        assert_eq!(stored.bytes.len(), outputs * blocks * kind.bytes(), "bytes of a matrix");
        let groups = outputs.div_ceil(OUTPUTS);
        // Rows that are missing in the last tile weigh nothing.
        let tiles = match kind {
            Blocks::Q8_0 => {
                let mut tiles = Parted::<Tile8>::new(groups, blocks, shelves)?;
                for row in 0..outputs {
                    for (block, tile) in tiles.group_mut(row / OUTPUTS).iter_mut().enumerate() {
                        tile.set(row % OUTPUTS, stored.block(row, block));
                    }
                }
                Tiles::Eight(tiles)
            }
            Blocks::Q4_0 | Blocks::Q4_1 => {
                let mut tiles = Parted::<Tile4>::new(groups, blocks, shelves)?;
                for row in 0..outputs {
                    for (block, tile) in tiles.group_mut(row / OUTPUTS).iter_mut().enumerate() {
                        tile.set(row % OUTPUTS, kind, stored.block(row, block));
                    }
                }
                Tiles::Four(tiles)
            }
        };
        Ok(Self { tiles, outputs, inputs })
    }

    /// Packs an unquantised matrix, `(outputs, inputs)`.
    ///
    /// # Errors
    /// Too little memory.
    pub(crate) fn floats(
        weights: &[f32],
        (outputs, inputs): (usize, usize),
        shelves: &mut [Shelf],
    ) -> io::Result<Self> {
        assert_eq!(weights.len(), outputs * inputs, "weights of a matrix");
        let mut tiles = Parted::<Group>::new(outputs.div_ceil(OUTPUTS), inputs, shelves)?;
        for (output, row) in weights.chunks(inputs).enumerate() {
            for (tile, weight) in tiles.group_mut(output / OUTPUTS).iter_mut().zip(row) {
                tile[output % OUTPUTS] = *weight;
            }
        }
        Ok(Self { tiles: Tiles::Floats(tiles), outputs, inputs })
    }

    /// Rows of the matrix.
    pub(crate) fn outputs(&self) -> usize {
        self.outputs
    }

    /// Columns of the matrix.
    #[cfg(any(test, feature = "testing"))]
    pub(crate) fn inputs(&self) -> usize {
        self.inputs
    }

    /// Whether it is multiplied by activations in blocks.
    pub(crate) fn is_quantised(&self) -> bool {
        !matches!(self.tiles, Tiles::Floats(_))
    }

    /// A row of the matrix, `(inputs,)`.
    pub(crate) fn row(&self, row: usize, out: &mut [f32]) {
        let (group, lane) = (row / OUTPUTS, row % OUTPUTS);
        match &self.tiles {
            Tiles::Four(tiles) => {
                for (tile, out) in tiles.group(group).iter().zip(out.as_chunks_mut().0) {
                    tile.row(lane, out);
                }
            }
            Tiles::Eight(tiles) => {
                for (tile, out) in tiles.group(group).iter().zip(out.as_chunks_mut().0) {
                    tile.row(lane, out);
                }
            }
            Tiles::Floats(tiles) => {
                for (tile, out) in tiles.group(group).iter().zip(out) {
                    *out = tile[lane];
                }
            }
        }
    }

    fn groups(&self) -> usize {
        self.outputs.div_ceil(OUTPUTS)
    }

    /// Where a group's outputs lie among all.
    fn outputs_of(&self, group: usize) -> Range<usize> {
        group * OUTPUTS..(group * OUTPUTS + OUTPUTS).min(self.outputs)
    }

    /// Dot products of a group of outputs with rows of activations.
    fn dots(
        &self,
        isa: Isa,
        group: usize,
        x: &Activations,
        rows: Range<usize>,
        found: &mut [Group],
    ) {
        let (mut row, mut rest) = (rows.start, &mut found[..rows.len()]);
        // A row's sums are the same whichever of these it is in.
        loop {
            rest = match rest {
                [] => return,
                [_, _, _, _, _, _, _, _, ..] if isa.rows(self.is_quantised()) == 8 => {
                    self.dots_of::<8>(isa, group, x, &mut row, rest)
                }
                [_, _, _, _, ..] => self.dots_of::<4>(isa, group, x, &mut row, rest),
                [_, _, ..] => self.dots_of::<2>(isa, group, x, &mut row, rest),
                [_] => self.dots_of::<1>(isa, group, x, &mut row, rest),
            };
        }
    }

    /// The same for `N` rows, of which there are as many; returns what has still to be found.
    fn dots_of<'a, const N: usize>(
        &self,
        isa: Isa,
        group: usize,
        x: &Activations,
        row: &mut usize,
        found: &'a mut [Group],
    ) -> &'a mut [Group] {
        let Some((found, rest)) = found.split_first_chunk_mut::<N>() else { return &mut [] };
        let first = *row;
        *row += N;
        match &self.tiles {
            Tiles::Four(tiles) => isa.four(tiles.group(group), x.blocks(first), found),
            Tiles::Eight(tiles) => isa.eight(tiles.group(group), x.blocks(first), found),
            Tiles::Floats(tiles) => isa.dense(tiles.group(group), x.floats(first), found),
        }
        rest
    }
}

impl Tile4 {
    /// What stands in one of its rows.
    fn row(&self, lane: usize, out: &mut [f32; BLOCK]) {
        let [scale, least] =
            [self.scales[lane], self.leasts[lane]].map(|bits| f16::from_bits(bits).to_f32());
        for (quad, bytes) in self.quants.iter().enumerate() {
            for (place, byte) in bytes[4 * lane..4 * lane + 4].iter().enumerate() {
                out[4 * quad + place] = f32::from(byte & 15) * scale + least;
                out[16 + 4 * quad + place] = f32::from(byte >> 4) * scale + least;
            }
        }
    }

    fn set(&mut self, lane: usize, kind: Blocks, block: &[u8]) {
        let half = |at: usize| u16::from_le_bytes([block[at], block[at + 1]]);
        self.scales[lane] = half(0);
        let nibbles = if kind == Blocks::Q4_0 {
            self.leasts[lane] = least_of_q4_0(f16::from_bits(half(0))).to_bits();
            &block[2..]
        } else {
            self.leasts[lane] = half(2);
            &block[4..]
        };
        for (quants, nibbles) in self.quants.iter_mut().zip(nibbles.as_chunks::<4>().0) {
            quants[4 * lane..4 * lane + 4].copy_from_slice(nibbles);
        }
    }
}

impl Tile8 {
    /// What stands in one of its rows.
    fn row(&self, lane: usize, out: &mut [f32; BLOCK]) {
        let scale = f16::from_bits(self.scales[lane]).to_f32();
        for (bytes, out) in self.quants.iter().zip(out.as_chunks_mut::<4>().0) {
            for (out, byte) in out.iter_mut().zip(&bytes[4 * lane..]) {
                *out = f32::from(*byte) * scale;
            }
        }
    }

    fn set(&mut self, lane: usize, block: &[u8]) {
        self.scales[lane] = u16::from_le_bytes([block[0], block[1]]);
        for (quants, bytes) in self.quants.iter_mut().zip(block[2..].as_chunks::<4>().0) {
            quants[4 * lane..4 * lane + 4].copy_from_slice(&bytes.map(u8::cast_signed));
        }
    }
}

/// What becomes of a product's results.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Then {
    /// They replace what is there.
    Replace,
    /// They are added to it.
    Add,
}

impl Then {
    /// Puts a group's results, or as many as there are cells.
    fn put(self, dots: &Group, cells: &mut [f32]) {
        match (self, cells.as_chunks_mut().0) {
            // Of a length that is known: no call.
            (Self::Replace, [cells]) => *cells = *dots,
            (Self::Replace, _) => cells.copy_from_slice(&dots[..cells.len()]),
            (Self::Add, _) => cells.iter_mut().zip(dots).for_each(|(it, dot)| *it += dot),
        }
    }
}

/// Products of the same activations with several matrices, side by side in each row of `out`.
///
/// # Shapes
/// - `x`: `(rows, inputs)`
/// - `out`: `(rows, outputs of all)`
pub(crate) fn products(
    host: &Host,
    matrices: &[&Packed],
    x: &Activations,
    (out, then): (&mut [f32], Then),
) {
    let out = Columns::new(out, matrices.iter().map(|matrix| matrix.outputs).sum());
    let mut places = Vec::with_capacity(matrices.iter().map(|matrix| matrix.groups()).sum());
    let threads = host.team.threads();
    for thread in 0..threads {
        let mut first = 0;
        for matrix in matrices {
            let groups = part_of(matrix.groups(), thread, threads);
            places.extend(groups.map(|group| (*matrix, group, first)));
            first += matrix.outputs;
        }
    }
    host.team.share(
        places.len(),
        || vec![[0.0; OUTPUTS]; x.rows().min(ROWS)],
        |found, part| {
            for rows in row_blocks(x) {
                for &(matrix, group, first) in &places[part.clone()] {
                    let outputs = matrix.outputs_of(group);
                    matrix.dots(host.isa, group, x, rows.clone(), found);
                    for (row, dots) in rows.clone().zip(&*found) {
                        #[allow(unsafe_code, reason = "columns of this thread")]
                        // SAFETY: a column belongs to one place, and a place to one thread.
                        let cells = unsafe { out.cells(row, first + outputs.start, outputs.len()) };
                        then.put(dots, cells);
                    }
                }
            }
        },
    );
}

/// `gate(x) · sigmoid(gate(x)) · up(x)`, as activations for the matrix that comes next.
///
/// # Shapes
/// - `gate` and `up`: one shape, of as many outputs as `next` has inputs
pub(crate) fn gated(
    host: &Host,
    [gate, up]: [&Packed; 2],
    x: &Activations,
    next: &Packed,
) -> Activations {
    debug_assert_eq!((gate.outputs, gate.inputs), (up.outputs, up.inputs), "one shape");
    let mut all = Activations::blank(x.rows(), gate.outputs, &[next]);
    let columns = all.columns();
    host.team.share(
        gate.outputs.div_ceil(BLOCK),
        || Gating::of(x),
        |own, part| {
            let Gating { gates, ups, gated, quantised } = own;
            for rows in row_blocks(x) {
                let count = rows.len();
                for block in part.clone() {
                    let groups = (block * BLOCK / OUTPUTS..gate.groups()).take(BLOCK / OUTPUTS);
                    for (place, group) in groups.enumerate() {
                        gate.dots(host.isa, group, x, rows.clone(), gates);
                        up.dots(host.isa, group, x, rows.clone(), ups);
                        host.isa.gated(&mut gates[..count], ups);
                        for (gated, gates) in gated.iter_mut().zip(&gates[..count]) {
                            gated.as_chunks_mut().0[place] = *gates;
                        }
                    }
                    let place = (rows.clone(), block);
                    #[allow(unsafe_code, reason = "columns of this thread")]
                    // SAFETY: a block of columns belongs to one thread.
                    unsafe {
                        columns.fill(host.isa, place, &gated[..count], quantised);
                    }
                }
            }
        },
    );
    all
}

/// A thread's buffers, for as many rows as are taken at a time.
#[derive(Debug)]
struct Gating {
    gates: Vec<Group>,
    ups: Vec<Group>,
    gated: Vec<[f32; BLOCK]>,
    quantised: Vec<ActivationBlock>,
}

impl Gating {
    fn of(x: &Activations) -> Self {
        let rows = x.rows().min(ROWS);
        Self {
            gates: vec![[0.0; OUTPUTS]; rows],
            ups: vec![[0.0; OUTPUTS]; rows],
            gated: vec![[0.0; BLOCK]; rows],
            quantised: vec![ActivationBlock::default(); rows],
        }
    }
}

/// The rows of some activations, a few at a time.
fn row_blocks(x: &Activations) -> impl Iterator<Item = Range<usize>> {
    let rows = x.rows();
    // A multiple of the rows that are multiplied at once.
    let near = ROW_BYTES / x.row_bytes() / 8 * 8;
    let size = if near < FEWEST_ROWS { ROWS } else { near.min(ROWS) };
    (0..rows).step_by(size).map(move |start| start..(start + size).min(rows))
}

#[cfg(test)]
mod tests;
