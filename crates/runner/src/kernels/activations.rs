use std::borrow::Cow;

use super::lanes::{Lanes, sum};
use super::packed::Packed;
use super::{BLOCK, Host};

/// Rows that a thread takes at a time.
const PART: usize = 8;

/// Rows of activations, in the forms that the matrices to come multiply: as they are, and in blocks of 32.
#[derive(Debug, PartialEq)]
pub(crate) struct Activations<'a> {
    floats: Cow<'a, [f32]>,       // (rows, inputs)
    blocks: Vec<ActivationBlock>, // (rows, blocks); none if none are wanted
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
        let blocks = if matrices.iter().any(|matrix| matrix.is_quantised()) {
            let mut blocks = vec![ActivationBlock::default(); x.len() / BLOCK];
            let parts = x.chunks(PART * inputs).zip(blocks.chunks_mut(PART * inputs / BLOCK));
            host.team.each(parts, |(x, blocks)| host.isa.quantise(x.as_chunks().0, blocks));
            blocks
        } else {
            Vec::new()
        };
        Self { floats: Cow::Borrowed(x), blocks, inputs }
    }

    /// The same of rows brought to one size.
    pub(crate) fn normed(
        host: &Host,
        x: &[f32],
        norm: &Norm,
        matrices: &[&Packed],
    ) -> Activations<'static> {
        let Norm { weight, epsilon } = norm;
        let inputs = weight.len();
        let mut floats = vec![0.0; x.len()];
        let quantised = matrices.iter().any(|matrix| matrix.is_quantised());
        let per_part = if quantised { PART * inputs / BLOCK } else { 0 };
        let mut blocks = vec![ActivationBlock::default(); per_part * x.len() / (PART * inputs)];
        let mut rest = blocks.as_mut_slice();
        let parts =
            x.chunks(PART * inputs).zip(floats.chunks_mut(PART * inputs)).map(|(x, out)| {
                let (blocks, others) =
                    std::mem::take(&mut rest).split_at_mut(per_part * x.len() / (PART * inputs));
                rest = others;
                (x, out, blocks)
            });
        host.team.each(parts, |(x, out, blocks)| {
            for (x, out) in x.chunks(inputs).zip(out.chunks_mut(inputs)) {
                host.isa.normed(x, weight, *epsilon, out);
            }
            if !blocks.is_empty() {
                host.isa.quantise(out.as_chunks().0, blocks);
            }
        });
        Activations { floats: Cow::Owned(floats), blocks, inputs }
    }

    pub(super) fn rows(&self) -> usize {
        self.floats.len() / self.inputs
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

/// Quantises blocks, as many of each.
#[inline(always)]
pub(super) fn quantised(x: &[[f32; BLOCK]], blocks: &mut [ActivationBlock]) {
    // A loop, so that it becomes AVX2 where it is called from.
    for (block, x) in blocks.iter_mut().zip(x) {
        *block = ActivationBlock::new(x);
    }
}

impl ActivationBlock {
    #[inline(always)]
    fn new(x: &[f32; BLOCK]) -> Self {
        let mut most: Lanes = [0.0; 8];
        for part in x.as_chunks::<8>().0 {
            for (most, x) in most.iter_mut().zip(part) {
                *most = most.max(x.abs());
            }
        }
        let mut largest = 0.0f32;
        for most in most {
            largest = largest.max(most);
        }
        let most = largest;
        let inverse = 127.0 / most;
        let inverse = if inverse.is_finite() { inverse } else { 0.0 };
        let mut quants = [0; BLOCK];
        let mut sums: Lanes = [0.0; 8];
        for (part, x) in quants.as_chunks_mut::<8>().0.iter_mut().zip(x.as_chunks::<8>().0) {
            for ((quant, x), sum) in part.iter_mut().zip(x).zip(&mut sums) {
                let rounded = (x * inverse).round_ties_even();
                *sum += rounded; // whole numbers: exact
                *quant = rounded as i8;
            }
        }
        let scale = most / 127.0;
        Self { quants, scale, sum: scale * sum(sums) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_is_within_half_a_step_of_what_it_stands_for() {
        let x: [f32; BLOCK] = std::array::from_fn(|i| (i as f32 - 11.0) * 0.37);
        let block = ActivationBlock::new(&x);
        assert_eq!(block.quants[31], 127);
        for (quant, x) in block.quants.iter().zip(x) {
            assert!((f32::from(*quant) * block.scale - x).abs() <= block.scale * 0.5001);
        }
        let sum: f32 = block.quants.iter().map(|quant| f32::from(*quant) * block.scale).sum();
        assert!((block.sum - sum).abs() < 1e-4);
    }

    #[test]
    fn nothing_becomes_nothing() {
        for x in [0.0, f32::from_bits(1)] {
            let block = ActivationBlock::new(&[x; BLOCK]);
            assert_eq!((block.quants, block.sum.to_bits()), ([0; BLOCK], 0));
        }
    }
}
