use std::marker::PhantomData;

/// A matrix that threads fill side by side, each its own columns.
#[derive(Debug)]
pub(super) struct Columns<'a> {
    cells: *mut f32, // (rows, width)
    rows: usize,
    width: usize,
    matrix: PhantomData<&'a mut [f32]>,
}

// SAFETY: a pointer into a matrix that is borrowed for as long as this lives. Cells are reached through `cells` alone, whose callers promise to
// keep to columns of their own.
#[allow(unsafe_code, reason = "see above")]
unsafe impl Sync for Columns<'_> {}

impl<'a> Columns<'a> {
    /// # Shapes
    /// - `cells`: `(rows, width)`
    pub(super) fn new(cells: &'a mut [f32], width: usize) -> Self {
        let rows = cells.len() / width.max(1);
        Self { cells: cells.as_mut_ptr(), rows, width, matrix: PhantomData }
    }

    /// Some cells of a row, from `column` on.
    ///
    /// # Safety
    /// No other thread is in these columns meanwhile, and no other cells of them are held.
    #[allow(unsafe_code, clippy::mut_from_ref, reason = "cells of one row that nobody else is in")]
    pub(super) unsafe fn cells(&self, row: usize, column: usize, count: usize) -> &mut [f32] {
        assert!(row < self.rows && column + count <= self.width, "outside the matrix");
        // SAFETY: the cells are inside the matrix, all in one row, and the caller promises that nobody else is here.
        unsafe { std::slice::from_raw_parts_mut(self.cells.add(row * self.width + column), count) }
    }
}
