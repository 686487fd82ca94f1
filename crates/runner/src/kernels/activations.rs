use std::borrow::Cow;

use super::packed::Packed;
use super::{BLOCK, Host, cut};

/// Rows that a thread takes at a time.
const PART: usize = 2;

/// Rows of activations, in the forms that the matrices to come multiply: as they are, and in blocks of 32.
#[derive(Debug, PartialEq)]
pub(crate) struct Activations<'a> {
    floats: Cow<'a, [f32]>,       // (rows, inputs); none if none are wanted
    blocks: Vec<ActivationBlock>, // (rows, inputs / 32); the same
    rows: usize,
    inputs: usize,
}

/// Thirty-two activations: `quants · scale`.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
#[repr(C)]
pub(super) struct ActivationBlock {
    pub(super) quants: [i8; BLOCK],
    pub(super) scale: f32,
    /// The sum of all thirty-two.
    pub(super) sum: f32,
    /// -128 times the sum of `quants`: what it takes to undo that 128 was added to each weight that they are multiplied by.
    pub(super) offset: i32,
}

/// What a layer's input is brought to one size by.
#[derive(Debug, Clone)]
pub(crate) struct Norm {
    pub(crate) weight: Vec<f32>,
    pub(crate) epsilon: f32,
}

impl<'a> Activations<'a> {
    /// Rows as they are, quantised where one of `matrices` is: the largest number of a block becomes ±127, halves go to the even neighbour.
    ///
    /// # Shapes
    /// - `x`: `(rows, inputs)`; `inputs` is a multiple of [`BLOCK`] if a matrix is quantised
    pub(crate) fn of(host: &Host, x: &'a [f32], matrices: &[&Packed]) -> Self {
        let inputs = matrices.first().map_or(1, |matrix| matrix.inputs());
        let mut blocks = blocks(x.len(), matrices);
        if !blocks.is_empty() {
            let parts = x.chunks(PART * inputs).zip(blocks.chunks_mut(PART * inputs / BLOCK));
            host.team.each(parts, |(x, blocks)| host.isa.quantise(x.as_chunks().0, blocks));
        }
        Self { floats: Cow::Borrowed(x), blocks, rows: x.len() / inputs, inputs }
    }

    /// The same of rows brought to one size.
    pub(crate) fn normed(
        host: &Host,
        x: &[f32],
        norm: &Norm,
        matrices: &[&Packed],
    ) -> Activations<'static> {
        let inputs = norm.weight.len();
        let mut blocks = blocks(x.len(), matrices);
        let stays = matrices.iter().any(|matrix| !matrix.is_quantised());
        let mut floats = vec![0.0; if stays { x.len() } else { 0 }];
        let (mut rest, mut rest_of_blocks) = (floats.as_mut_slice(), blocks.as_mut_slice());
        let parts = x.chunks(PART * inputs).map(|x| {
            let floats = cut(&mut rest, if stays { x.len() } else { 0 });
            let quantised = !rest_of_blocks.is_empty();
            (x, floats, cut(&mut rest_of_blocks, if quantised { x.len() / BLOCK } else { 0 }))
        });
        host.team.each(parts, |(x, floats, blocks)| {
            let mut own = vec![0.0; if stays { 0 } else { x.len() }];
            let out = if stays { floats } else { own.as_mut_slice() };
            for (x, out) in x.chunks(inputs).zip(out.chunks_mut(inputs)) {
                host.isa.normed(x, &norm.weight, norm.epsilon, out);
            }
            host.isa.quantise(out.as_chunks().0, blocks);
        });
        Activations { floats: Cow::Owned(floats), blocks, rows: x.len() / inputs, inputs }
    }

    pub(super) fn rows(&self) -> usize {
        self.rows
    }

    /// Bytes of a row: in blocks, where any matrix wants them.
    pub(super) fn row_bytes(&self) -> usize {
        if self.blocks.is_empty() {
            size_of::<f32>() * self.inputs
        } else {
            size_of::<ActivationBlock>() * self.inputs / BLOCK
        }
    }

    /// A row in blocks.
    pub(super) fn row(&self, row: usize) -> &[ActivationBlock] {
        let blocks = self.inputs / BLOCK;
        &self.blocks[row * blocks..][..blocks]
    }

    /// A row as it is.
    pub(super) fn floats(&self, row: usize) -> &[f32] {
        &self.floats[row * self.inputs..][..self.inputs]
    }
}

/// Blocks for so many numbers, if one of the matrices wants any.
fn blocks(numbers: usize, matrices: &[&Packed]) -> Vec<ActivationBlock> {
    let wanted = matrices.iter().any(|matrix| matrix.is_quantised());
    vec![ActivationBlock::default(); if wanted { numbers / BLOCK } else { 0 }]
}

impl ActivationBlock {
    /// What whole numbers are multiplied by, and what the numbers of a block were, given the largest of them.
    #[inline(always)]
    pub(super) fn scales(most: f32) -> [f32; 2] {
        let inverse = 127.0 / most;
        [most / 127.0, if inverse.is_finite() { inverse } else { 0.0 }]
    }

    #[inline(always)]
    pub(super) fn new(quants: [i8; BLOCK], scale: f32, sum: i32) -> Self {
        Self { quants, scale, sum: scale * sum as f32, offset: -128 * sum }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::Isa;

    fn quantised(x: [f32; BLOCK]) -> [ActivationBlock; 1] {
        let of = |isa: Isa| {
            let mut blocks = [ActivationBlock::default()];
            isa.quantise(&[x], &mut blocks);
            blocks
        };
        assert!(Isa::all().into_iter().all(|isa| of(isa) == of(Isa::Scalar)));
        of(Isa::Scalar)
    }

    #[test]
    fn a_block_is_within_half_a_step_of_what_it_stands_for() {
        let x: [f32; BLOCK] = std::array::from_fn(|i| (i as f32 - 11.0) * 0.37);
        let [block] = quantised(x);
        assert_eq!(block.quants[31], 127);
        for (quant, x) in block.quants.iter().zip(x) {
            assert!((f32::from(*quant) * block.scale - x).abs() <= block.scale * 0.5001);
        }
        let sum: f32 = block.quants.iter().map(|quant| f32::from(*quant) * block.scale).sum();
        assert!((block.sum - sum).abs() < 1e-4);
    }

    #[test]
    fn what_is_not_a_number_becomes_nothing() {
        let mut x = [1.0; BLOCK];
        (x[3], x[9]) = (f32::NAN, -2.0);
        let [block] = quantised(x);
        assert_eq!((block.quants[3], block.quants[9], block.quants[10]), (0, -127, 64));
    }

    #[test]
    fn nothing_becomes_nothing() {
        for x in [0.0, f32::from_bits(1)] {
            let [block] = quantised([x; BLOCK]);
            assert_eq!((block.quants, block.sum.to_bits()), ([0; BLOCK], 0));
        }
    }
}
