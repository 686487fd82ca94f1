use super::lanes::{Lanes, sum};
use super::{BLOCK, Isa};

/// Rows of activations in blocks of 32: whole numbers of 8 bits, and a scale for each block.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Activations {
    blocks: Vec<ActivationBlock>, // (rows, blocks)
    blocks_per_row: usize,
}

/// Thirty-two activations: `quants · scale`.
#[derive(Debug, Clone, Copy, PartialEq)]
#[repr(C)]
pub(super) struct ActivationBlock {
    pub(super) quants: [i8; BLOCK],
    pub(super) scale: f32,
    /// The sum of all thirty-two.
    pub(super) sum: f32,
}

impl Activations {
    /// Quantises rows: the largest number of a block becomes ±127, halves go to the even neighbour.
    ///
    /// # Shapes
    /// - `x`: `(rows, inputs)`; `inputs` is a multiple of [`BLOCK`]
    pub(crate) fn quantise(&mut self, x: &[f32], inputs: usize, isa: Isa) {
        debug_assert!(inputs.is_multiple_of(BLOCK) && x.len().is_multiple_of(inputs));
        self.blocks_per_row = inputs / BLOCK;
        self.blocks.clear();
        isa.quantise(x.as_chunks().0, &mut self.blocks);
    }

    pub(super) fn rows(&self) -> usize {
        self.blocks.len() / self.blocks_per_row.max(1)
    }

    pub(super) fn row(&self, row: usize) -> &[ActivationBlock] {
        &self.blocks[row * self.blocks_per_row..][..self.blocks_per_row]
    }
}

#[inline(always)]
pub(super) fn quantised(x: &[[f32; BLOCK]], blocks: &mut Vec<ActivationBlock>) {
    blocks.reserve(x.len());
    // A loop, so that it becomes AVX2 where it is called from.
    for x in x {
        blocks.push(ActivationBlock::new(x));
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
