use std::marker::PhantomData;

/// A matrix that threads fill side by side, each its own columns.
#[derive(Debug)]
pub(super) struct Columns<'a, T> {
    cells: *mut T, // (rows, width)
    rows: usize,
    width: usize,
    matrix: PhantomData<&'a mut [T]>,
}

// SAFETY: a pointer into a matrix that is borrowed for as long as this lives. Cells are reached through `cells` alone, whose callers promise to
// keep to columns of their own.
#[allow(unsafe_code, reason = "see above")]
unsafe impl<T: Send> Sync for Columns<'_, T> {}

impl<'a, T> Columns<'a, T> {
    /// # Shapes
    /// - `cells`: `(rows, width)`
    pub(super) fn new(cells: &'a mut [T], width: usize) -> Self {
        let rows = cells.len() / width.max(1);
        Self { cells: cells.as_mut_ptr(), rows, width, matrix: PhantomData }
    }

    /// Whether there are no cells.
    pub(super) fn is_empty(&self) -> bool {
        self.rows == 0
    }

    /// Some cells of a row, from `column` on.
    ///
    /// # Safety
    /// No other thread is in these columns meanwhile, and no other cells of them are held.
    #[allow(unsafe_code, clippy::mut_from_ref, reason = "cells of one row that nobody else is in")]
    pub(super) unsafe fn cells(&self, row: usize, column: usize, count: usize) -> &mut [T] {
        assert!(row < self.rows && column + count <= self.width, "outside the matrix");
        // SAFETY: the cells are inside the matrix, all in one row, and the caller promises that nobody else is here.
        unsafe { std::slice::from_raw_parts_mut(self.cells.add(row * self.width + column), count) }
    }
}
