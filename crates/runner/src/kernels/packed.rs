//! Matrices, laid out for the dot products, and their product with rows of activations.

use std::ops::Range;

use candle_core::quantized::{GgmlDType, QTensor};
use candle_core::{Device, Tensor};
use half::f16;

use super::columns::Columns;
use super::lanes::Lanes;
use super::{Activations, BLOCK, Host, Isa, LANES};
use crate::Result;

/// Rows of activations that are taken through all weights before the next: few enough to stay in the nearest caches.
const ROWS: usize = 64;

/// Kinds of blocks, as GGUF files store them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Blocks {
    /// A scale `d` and 32 nibbles: `d · (nibble - 8)`.
    Q4_0,
    /// A scale `d`, a least value `m` and 32 nibbles: `d · nibble + m`.
    Q4_1,
    /// A scale `d` and 32 signed bytes: `d · byte`.
    Q8_0,
}

/// A matrix as a file stores it, `(outputs, inputs)`.
#[derive(Debug, Clone)]
pub(crate) struct Stored {
    pub(crate) blocks: Blocks,
    pub(crate) bytes: Vec<u8>,
    pub(crate) outputs: usize,
    pub(crate) inputs: usize,
}

/// A matrix in tiles.
#[derive(Debug)]
pub(crate) struct Packed {
    tiles: Tiles,
    outputs: usize,
    inputs: usize,
}

#[derive(Debug)]
enum Tiles {
    Four(Vec<Tile4>),     // (outputs / 8, inputs / 32)
    Eight(Vec<Tile8>),    // (outputs / 8, inputs / 32)
    Floats(Vec<TileF32>), // (outputs / 16, inputs)
}

/// Sixteen rows by one column of unquantised weights.
pub(super) type TileF32 = [f32; 2 * LANES];

/// Eight rows by 32 columns of `scale · nibble + least`. Four neighbouring columns of a row lie side by side, then those of the next row.
#[derive(Debug, Clone, Copy)]
#[repr(C, align(32))]
pub(super) struct Tile4 {
    pub(super) scales: [u16; LANES], // f16
    pub(super) leasts: [u16; LANES], // f16
    /// Columns `4 · quad ..` in the low nibbles, `16 + 4 · quad ..` in the high ones.
    pub(super) quants: [[u8; BLOCK]; 4],
}

/// The same of `scale · byte`.
#[derive(Debug, Clone, Copy)]
#[repr(C, align(16))]
pub(super) struct Tile8 {
    pub(super) scales: [u16; LANES], // f16
    pub(super) quants: [[i8; BLOCK]; 8],
}

impl Blocks {
    /// Bytes of a block.
    pub(crate) const fn bytes(self) -> usize {
        match self {
            Self::Q4_0 => 18,
            Self::Q4_1 => 20,
            Self::Q8_0 => 34,
        }
    }
}

impl Stored {
    /// A quantised tensor, `(outputs, inputs)`, as it is, if it is in blocks of 32; else in 8 bits.
    pub(crate) fn of(tensor: &QTensor) -> Result<Self> {
        let blocks = match tensor.dtype() {
            GgmlDType::Q4_0 => Blocks::Q4_0,
            GgmlDType::Q4_1 => Blocks::Q4_1,
            GgmlDType::Q8_0 => Blocks::Q8_0,
            _ => return Self::in_8_bits(&tensor.dequantize(&Device::Cpu)?),
        };
        let (outputs, inputs) = tensor.shape().dims2()?;
        Ok(Self { blocks, bytes: tensor.data()?.into_owned(), outputs, inputs })
    }

    /// A matrix in f32 on the host, `(outputs, inputs)`, requantised to 8 bits.
    pub(crate) fn in_8_bits(weight: &Tensor) -> Result<Self> {
        Self::of(&QTensor::quantize(weight, GgmlDType::Q8_0)?)
    }

    /// The same rows in another order.
    pub(crate) fn reordered(self, rows: impl Iterator<Item = usize>) -> Self {
        let row = self.inputs / BLOCK * self.blocks.bytes();
        let bytes = rows.flat_map(|from| &self.bytes[from * row..(from + 1) * row]).copied();
        Self { bytes: bytes.collect(), ..self }
    }

    /// Whether all that it stands for is finite.
    pub(crate) fn is_finite(&self) -> bool {
        let halves = if self.blocks == Blocks::Q4_1 { 2 } else { 1 };
        self.bytes.chunks(self.blocks.bytes()).all(|block| {
            let halves = block.as_chunks::<2>().0[..halves].iter();
            halves.copied().all(|bytes| f16::from_le_bytes(bytes).is_finite())
        })
    }

    fn block(&self, row: usize, block: usize) -> &[u8] {
        let bytes = self.blocks.bytes();
        let start = (row * (self.inputs / BLOCK) + block) * bytes;
        &self.bytes[start..start + bytes]
    }
}

impl Packed {
    /// Packs a matrix; `inputs` must be a multiple of [`BLOCK`], and `bytes` as many as that takes.
    pub(crate) fn new(stored: &Stored) -> Self {
        let Stored { blocks: kind, outputs, inputs, .. } = *stored;
        assert!(inputs.is_multiple_of(BLOCK), "rows of whole blocks");
        let blocks = inputs / BLOCK;
        assert_eq!(stored.bytes.len(), outputs * blocks * kind.bytes(), "bytes of a matrix");
        // Rows that are missing in the last tile weigh nothing.
        let rows = |group: usize| (0..LANES).take_while(move |lane| group * LANES + lane < outputs);
        let places = (0..outputs.div_ceil(LANES))
            .flat_map(|group| (0..blocks).map(move |block| (group, block)));
        let tiles = match kind {
            Blocks::Q8_0 => {
                let tile = |(group, block)| {
                    let mut tile = Tile8 { scales: [0; LANES], quants: [[0; BLOCK]; 8] };
                    rows(group).for_each(|lane| {
                        tile.set(lane, stored.block(group * LANES + lane, block));
                    });
                    tile
                };
                Tiles::Eight(places.map(tile).collect())
            }
            Blocks::Q4_0 | Blocks::Q4_1 => {
                let tile = |(group, block)| {
                    let empty = [0; LANES];
                    let mut tile = Tile4 { scales: empty, leasts: empty, quants: [[0; BLOCK]; 4] };
                    rows(group).for_each(|lane| {
                        tile.set(lane, kind, stored.block(group * LANES + lane, block));
                    });
                    tile
                };
                Tiles::Four(places.map(tile).collect())
            }
        };
        Self { tiles, outputs, inputs }
    }

    /// Packs an unquantised matrix, `(outputs, inputs)`.
    pub(crate) fn floats(weights: &[f32], outputs: usize, inputs: usize) -> Self {
        const WIDTH: usize = 2 * LANES;
        assert_eq!(weights.len(), outputs * inputs, "weights of a matrix");
        let mut tiles = vec![[0.0; WIDTH]; outputs.div_ceil(WIDTH) * inputs];
        for (output, row) in weights.chunks(inputs).enumerate() {
            for (tile, weight) in tiles[output / WIDTH * inputs..].iter_mut().zip(row) {
                tile[output % WIDTH] = *weight;
            }
        }
        Self { tiles: Tiles::Floats(tiles), outputs, inputs }
    }

    /// Rows of the matrix.
    pub(crate) fn outputs(&self) -> usize {
        self.outputs
    }

    /// Columns of the matrix.
    pub(crate) fn inputs(&self) -> usize {
        self.inputs
    }

    /// Whether it is multiplied by activations in blocks.
    pub(crate) fn is_quantised(&self) -> bool {
        !matches!(self.tiles, Tiles::Floats(_))
    }

    /// A row of the matrix, `(inputs,)`.
    pub(crate) fn row(&self, row: usize, out: &mut [f32]) {
        let (group, lane) = (row / self.width(), row % self.width());
        let blocks = group * (self.inputs / BLOCK)..(group + 1) * (self.inputs / BLOCK);
        match &self.tiles {
            Tiles::Four(tiles) => {
                for (tile, out) in tiles[blocks].iter().zip(out.as_chunks_mut().0) {
                    tile.row(lane, out);
                }
            }
            Tiles::Eight(tiles) => {
                for (tile, out) in tiles[blocks].iter().zip(out.as_chunks_mut().0) {
                    tile.row(lane, out);
                }
            }
            Tiles::Floats(tiles) => {
                for (tile, out) in tiles[group * self.inputs..].iter().zip(out) {
                    *out = tile[lane];
                }
            }
        }
    }

    /// Outputs of a group, which are computed together.
    fn width(&self) -> usize {
        if self.is_quantised() { LANES } else { 2 * LANES }
    }

    fn groups(&self) -> usize {
        self.outputs.div_ceil(self.width())
    }

    /// Dot products of a group of outputs with rows of activations, handed on row by row and eight by eight, with the first output of the eight.
    fn each_row(
        &self,
        isa: Isa,
        group: usize,
        x: &Activations<'_>,
        rows: Range<usize>,
        mut each: impl FnMut(usize, usize, Lanes),
    ) {
        let mut row = rows.start;
        // A row's sums are the same whichever of these it is in.
        while row + 4 <= rows.end {
            self.dots(isa, group, x, [0, 1, 2, 3].map(|next| row + next), &mut each);
            row += 4;
        }
        if row + 2 <= rows.end {
            self.dots(isa, group, x, [row, row + 1], &mut each);
            row += 2;
        }
        if row < rows.end {
            self.dots(isa, group, x, [row], &mut each);
        }
    }

    fn dots<const N: usize>(
        &self,
        isa: Isa,
        group: usize,
        x: &Activations<'_>,
        rows: [usize; N],
        each: &mut impl FnMut(usize, usize, Lanes),
    ) {
        let output = group * self.width();
        let blocks = group * (self.inputs / BLOCK)..(group + 1) * (self.inputs / BLOCK);
        match &self.tiles {
            Tiles::Four(tiles) => {
                let dots = isa.four(&tiles[blocks], rows.map(|row| x.row(row)));
                rows.into_iter().zip(dots).for_each(|(row, dots)| each(row, output, dots));
            }
            Tiles::Eight(tiles) => {
                let dots = isa.eight(&tiles[blocks], rows.map(|row| x.row(row)));
                rows.into_iter().zip(dots).for_each(|(row, dots)| each(row, output, dots));
            }
            Tiles::Floats(tiles) => {
                let tiles = &tiles[group * self.inputs..(group + 1) * self.inputs];
                let dots = isa.dense(tiles, rows.map(|row| x.floats(row)));
                for (row, dots) in rows.into_iter().zip(dots) {
                    for (half, dots) in dots.as_chunks::<LANES>().0.iter().enumerate() {
                        each(row, output + half * LANES, *dots);
                    }
                }
            }
        }
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
            // Eight times a half is one, or overflows as its product with a nibble would.
            self.leasts[lane] = f16::from_f32(-8.0 * f16::from_bits(half(0)).to_f32()).to_bits();
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

/// Products of the same activations with several matrices, side by side in each row of `out`.
///
/// # Shapes
/// - `x`: `(rows, inputs)`
/// - `out`: `(rows, outputs of all)`
pub(crate) fn products(
    host: &Host,
    matrices: &[&Packed],
    x: &Activations<'_>,
    (out, then): (&mut [f32], Then),
) {
    let out = Columns::new(out, matrices.iter().map(|matrix| matrix.outputs).sum());
    let mut places = Vec::with_capacity(matrices.iter().map(|matrix| matrix.groups()).sum());
    let mut first = 0;
    for matrix in matrices {
        places.extend((0..matrix.groups()).map(|group| (*matrix, group, first)));
        first += matrix.outputs;
    }
    host.team.share(places.len(), |part| {
        for rows in row_blocks(x) {
            for &(matrix, group, first) in &places[part.clone()] {
                matrix.each_row(host.isa, group, x, rows.clone(), |row, output, dots| {
                    let count = LANES.min(matrix.outputs.saturating_sub(output));
                    #[allow(unsafe_code, reason = "columns of this thread")]
                    // SAFETY: a column belongs to one place, and a place to one thread.
                    let cells =
                        unsafe { out.cells(row, first + output.min(matrix.outputs), count) };
                    match then {
                        Then::Replace => cells.copy_from_slice(&dots[..count]),
                        Then::Add => cells.iter_mut().zip(dots).for_each(|(it, dot)| *it += dot),
                    }
                });
            }
        }
    });
}

/// `gate(x) · sigmoid(gate(x)) · up(x)`, replacing what is there.
///
/// # Shapes
/// - `x`: `(rows, inputs)`
/// - `out`: `(rows, outputs)`, of two matrices of one shape and kind
pub(crate) fn gated(host: &Host, [gate, up]: [&Packed; 2], x: &Activations<'_>, out: &mut [f32]) {
    debug_assert_eq!((gate.outputs, gate.width()), (up.outputs, up.width()), "one shape and kind");
    let out = Columns::new(out, gate.outputs);
    host.team.share(gate.groups(), |part| {
        let mut gates = [[[0.0; LANES]; 2]; ROWS];
        for rows in row_blocks(x) {
            for group in part.clone() {
                let (start, first) = (rows.start, group * gate.width());
                gate.each_row(host.isa, group, x, rows.clone(), |row, output, dots| {
                    gates[row - start][(output - first) / LANES] = dots;
                });
                up.each_row(host.isa, group, x, rows.clone(), |row, output, dots| {
                    let gated = host.isa.gated(gates[row - start][(output - first) / LANES], dots);
                    let count = LANES.min(gate.outputs.saturating_sub(output));
                    #[allow(unsafe_code, reason = "columns of this thread")]
                    // SAFETY: a group belongs to one thread.
                    let cells = unsafe { out.cells(row, output.min(gate.outputs), count) };
                    cells.copy_from_slice(&gated[..count]);
                });
            }
        }
    });
}

/// The rows of some activations, a few at a time.
fn row_blocks(x: &Activations<'_>) -> impl Iterator<Item = Range<usize>> {
    let rows = x.rows();
    (0..rows).step_by(ROWS).map(move |start| start..(start + ROWS).min(rows))
}

#[cfg(test)]
mod tests;
