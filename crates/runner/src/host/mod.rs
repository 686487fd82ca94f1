//! The host's back end: a decoder, caches and attention made of our own kernels.
//!
//! A row gives the same bits in any company and on any number of threads: every sum stands in an order that the row alone decides. Attention goes over entries
//! in chunks of a fixed length, which are merged in their order.

mod attention;
mod decoder;
mod lanes;
mod reader;
mod store;

#[cfg(feature = "testing")]
pub(crate) use attention::over_all_heads;
pub(crate) use decoder::Decoder;
pub(crate) use lanes::Lanes;
pub(crate) use reader::Reader;
pub(crate) use store::{Numbers, Store};

use crate::kernels::Host;

/// Where a layer's keys and values go, and what its queries see: the one seam in the decoder.
pub(crate) trait Attend {
    /// # Shapes
    /// - `out`: `(rows, query_heads * head_dim)`, replaced
    fn attend(
        &mut self,
        host: &Host,
        layer: usize,
        rows: Rows<'_>,
        out: &mut [f32],
    ) -> crate::Result<()>;
}

/// Queries, keys and values of some rows, side by side in each; queries and keys are rotated.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rows<'a> {
    cells: &'a [f32], // (rows, query_width + 2 * kv_width)
    query_width: usize,
    kv_width: usize,
    head_dim: usize,
}

impl<'a> Rows<'a> {
    /// # Shapes
    /// - `cells`: `(rows, (query_heads + 2 * kv_heads) * head_dim)`
    pub(crate) fn new(
        cells: &'a [f32],
        (query_heads, kv_heads, head_dim): (usize, usize, usize),
    ) -> Self {
        Self { cells, query_width: query_heads * head_dim, kv_width: kv_heads * head_dim, head_dim }
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.cells.len() / (self.query_width + 2 * self.kv_width)
    }

    fn row(&self, row: usize) -> &'a [f32] {
        let width = self.query_width + 2 * self.kv_width;
        &self.cells[row * width..][..width]
    }

    /// A row's queries, times `1/√head_dim`, `(query_heads, head_dim)`.
    pub(crate) fn scaled_queries(&self, row: usize, out: &mut [f32]) {
        let scale = 1.0 / (self.head_dim as f32).sqrt();
        for (out, query) in out.iter_mut().zip(&self.row(row)[..self.query_width]) {
            *out = query * scale;
        }
    }

    /// Numbers of a row's queries.
    pub(crate) fn query_width(&self) -> usize {
        self.query_width
    }

    /// A row's key and value for one of `heads` heads, which are the KV heads, or several to each of them; `(head_dim,)` each.
    pub(crate) fn entry(&self, row: usize, head: usize, heads: usize) -> (&'a [f32], &'a [f32]) {
        let kv_heads = self.kv_width / self.head_dim;
        let start = self.query_width + head / (heads / kv_heads) * self.head_dim;
        let row = self.row(row);
        (&row[start..][..self.head_dim], &row[start + self.kv_width..][..self.head_dim])
    }
}
