use std::ops::Range;

use super::columns::Columns;
use super::packed::Packed;
use super::{BLOCK, Host, Isa, cut};

/// Rows of activations, in the forms that the matrices to come multiply: as they are, and in blocks of 32.
#[derive(Debug, PartialEq)]
pub(crate) struct Activations {
    floats: Vec<f32>,             // (rows, inputs); none if none are wanted
    blocks: Vec<ActivationBlock>, // (rows, inputs / 32); the same
    rows: usize,
    inputs: usize,
}

/// A row of activations, to be filled.
#[derive(Debug)]
pub(crate) struct Row<'a> {
    floats: &'a mut [f32],
    blocks: &'a mut [ActivationBlock],
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

/// Activations that threads fill side by side, each its own columns, 32 at a time.
#[derive(Debug)]
pub(super) struct ActivationColumns<'a> {
    floats: Columns<'a, f32>,
    blocks: Columns<'a, ActivationBlock>,
    inputs: usize,
}

/// What a layer's input is brought to one size by.
#[derive(Debug, Clone)]
pub(crate) struct Norm {
    pub(crate) weight: Vec<f32>,
    pub(crate) epsilon: f32,
}

impl Activations {
    /// Rows to be filled, for some matrices of as many inputs, or as they are if there is none.
    ///
    /// # Panics
    /// If a matrix is quantised and `inputs` is no multiple of [`BLOCK`].
    pub(crate) fn blank(rows: usize, inputs: usize, matrices: &[&Packed]) -> Self {
        let quantised = matrices.iter().any(|matrix| matrix.is_quantised());
        let floats = matrices.is_empty() || matrices.iter().any(|matrix| !matrix.is_quantised());
        assert!(!quantised || inputs.is_multiple_of(BLOCK), "rows of whole blocks");
        let of = |numbers: usize, wanted: bool| if wanted { rows * numbers } else { 0 };
        Self {
            floats: vec![0.0; of(inputs, floats)],
            blocks: vec![ActivationBlock::default(); of(inputs / BLOCK, quantised)],
            rows,
            inputs,
        }
    }

    /// All rows, to be filled.
    pub(crate) fn rows_mut(&mut self) -> impl ExactSizeIterator<Item = Row<'_>> {
        let widths = [self.floats.len(), self.blocks.len()].map(|all| all / self.rows.max(1));
        let (mut floats, mut blocks) = (&mut *self.floats, &mut *self.blocks);
        (0..self.rows).map(move |_| Row {
            floats: cut(&mut floats, widths[0]),
            blocks: cut(&mut blocks, widths[1]),
        })
    }

    /// Rows brought to one size.
    ///
    /// # Shapes
    /// - `x`: `(rows, inputs)`
    pub(crate) fn normed(host: &Host, x: &[f32], norm: &Norm, matrices: &[&Packed]) -> Self {
        let inputs = norm.weight.len();
        let mut all = Self::blank(x.len() / inputs, inputs, matrices);
        let rows = x.chunks(inputs).zip(all.rows_mut());
        host.team.each_with(
            rows,
            || vec![0.0; inputs],
            |own, (x, row)| {
                host.isa.normed(x, &norm.weight, norm.epsilon, own);
                row.fill(host.isa, own);
            },
        );
        all
    }

    /// Rows as they are.
    #[cfg(any(test, feature = "testing"))]
    pub(crate) fn of(host: &Host, x: &[f32], matrix: &Packed) -> Self {
        let inputs = matrix.inputs();
        let mut all = Self::blank(x.len() / inputs, inputs, &[matrix]);
        host.team.each(x.chunks(inputs).zip(all.rows_mut()), |(x, row)| row.fill(host.isa, x));
        all
    }

    /// All of them, for threads that fill them side by side.
    pub(super) fn columns(&mut self) -> ActivationColumns<'_> {
        ActivationColumns {
            blocks: Columns::new(&mut self.blocks, self.inputs / BLOCK),
            floats: Columns::new(&mut self.floats, self.inputs),
            inputs: self.inputs,
        }
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

    /// Rows in blocks, from one on.
    pub(super) fn blocks<const N: usize>(&self, row: usize) -> [&[ActivationBlock]; N] {
        rows_of(&self.blocks, self.inputs / BLOCK, row)
    }

    /// Rows as they are, from one on.
    pub(super) fn floats<const N: usize>(&self, row: usize) -> [&[f32]; N] {
        rows_of(&self.floats, self.inputs, row)
    }
}

/// Rows of so many things each, from one on.
fn rows_of<T, const N: usize>(things: &[T], width: usize, row: usize) -> [&[T]; N] {
    let mut rest = &things[row * width..][..N * width];
    std::array::from_fn(|_| {
        let (row, others) = rest.split_at(width);
        rest = others;
        row
    })
}

impl Row<'_> {
    /// Fills it, in the forms that are wanted: of a block in whole numbers, the largest becomes ±127, and halves go to the even neighbour.
    ///
    /// # Shapes
    /// - `x`: `(inputs,)`
    pub(crate) fn fill(self, isa: Isa, x: &[f32]) {
        if !self.floats.is_empty() {
            self.floats.copy_from_slice(x);
        }
        isa.quantise(x.as_chunks().0, self.blocks);
    }
}

impl ActivationColumns<'_> {
    /// Fills the same block of some rows, as [`Row::fill`]; of a row's last block only what there is of it.
    ///
    /// # Shapes
    /// - `x`: `(rows, BLOCK)`
    /// - `quantised`: `(rows,)`, a buffer
    ///
    /// # Safety
    /// No other thread fills this block of columns meanwhile.
    #[allow(unsafe_code, reason = "columns of one thread")]
    pub(super) unsafe fn fill(
        &self,
        isa: Isa,
        (rows, block): (Range<usize>, usize),
        x: &[[f32; BLOCK]],
        quantised: &mut [ActivationBlock],
    ) {
        if !self.blocks.is_empty() {
            isa.quantise(x, quantised);
            for (row, quantised) in rows.clone().zip(quantised) {
                // SAFETY: the caller promises it.
                unsafe { self.blocks.cells(row, block, 1) }.fill(*quantised);
            }
        }
        if !self.floats.is_empty() {
            let (first, count) = (block * BLOCK, BLOCK.min(self.inputs - block * BLOCK));
            for (row, x) in rows.zip(x) {
                // SAFETY: as above.
                unsafe { self.floats.cells(row, first, count) }.copy_from_slice(&x[..count]);
            }
        }
    }
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
