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

use crate::kernels::{Activations, Host};
use crate::rope::Rotation;

/// Where a layer's keys and values go, and what its queries see: the one seam in the decoder.
pub(crate) trait Attend {
    /// Makes each row ready, takes its keys and values in, and fills its activations with what its queries find.
    ///
    /// # Shapes
    /// - `out`: `(rows, query_heads * head_dim)`
    fn attend(
        &mut self,
        host: &Host,
        layer: usize,
        rows: Rows<'_>,
        out: &mut Activations,
    ) -> crate::Result<()>;
}

/// Queries, keys and values of some rows, side by side in each.
#[derive(Debug)]
pub(crate) struct Rows<'a> {
    cells: &'a mut [f32], // (rows, query_width + 2 * kv_width)
    layout: Layout,
    finish: Option<Finish<'a>>,
}

/// One of them.
#[derive(Debug)]
struct Row<'a> {
    cells: &'a mut [f32], // (query_width + 2 * kv_width,)
    number: usize,
    layout: Layout,
    finish: Option<Finish<'a>>,
}

/// What products leave to be done to a row: a bias to be added to all of it, and its queries and keys to be rotated.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Finish<'a> {
    pub(crate) bias: Option<&'a [f32]>, // (query_width + 2 * kv_width,)
    pub(crate) rotation: &'a Rotation,
}

/// Where things stand in a row.
#[derive(Debug, Clone, Copy)]
struct Layout {
    query_width: usize,
    kv_width: usize,
    head_dim: usize,
}

impl<'a> Rows<'a> {
    /// Rows that are still to be finished, if it is said how.
    ///
    /// # Shapes
    /// - `cells`: `(rows, (query_heads + 2 * kv_heads) * head_dim)`
    pub(crate) fn new(
        cells: &'a mut [f32],
        (query_heads, kv_heads, head_dim): (usize, usize, usize),
        finish: Option<Finish<'a>>,
    ) -> Self {
        let [query_width, kv_width] = [query_heads, kv_heads].map(|heads| heads * head_dim);
        Self { cells, layout: Layout { query_width, kv_width, head_dim }, finish }
    }

    /// How many there are.
    fn len(&self) -> usize {
        self.cells.len() / self.layout.width()
    }

    /// All of them, to be made ready.
    fn each(&mut self) -> impl ExactSizeIterator<Item = Row<'_>> {
        let (layout, finish) = (self.layout, self.finish);
        let rows = self.cells.chunks_mut(layout.width()).enumerate();
        rows.map(move |(number, cells)| Row { cells, number, layout, finish })
    }

    /// One that was made ready, `(query_width + 2 * kv_width,)`.
    fn row(&self, row: usize) -> &[f32] {
        &self.cells[row * self.layout.width()..][..self.layout.width()]
    }

    /// A query of one that was made ready, `(head_dim,)`.
    fn query(&self, row: usize, query_head: usize) -> &[f32] {
        &self.row(row)[query_head * self.layout.head_dim..][..self.layout.head_dim]
    }
}

impl Row<'_> {
    /// Finishes it, and scales its queries by `1/√head_dim`: once.
    fn make_ready(&mut self) {
        let Layout { query_width, kv_width, head_dim } = self.layout;
        if let Some(Finish { bias, rotation }) = self.finish {
            decoder::add_bias(self.cells, bias);
            rotation.apply(self.number, &mut self.cells[..query_width + kv_width]);
        }
        let scale = 1.0 / (head_dim as f32).sqrt();
        self.cells[..query_width].iter_mut().for_each(|query| *query *= scale);
    }

    /// As [`Layout::entry`].
    fn entry(&self, head: usize, heads: usize) -> (&[f32], &[f32]) {
        self.layout.entry(self.cells, head, heads)
    }
}

impl Layout {
    fn width(self) -> usize {
        self.query_width + 2 * self.kv_width
    }

    /// A row's key and value for one of `heads` heads, which are the KV heads, or several to each of them; `(head_dim,)` each.
    fn entry(self, row: &[f32], head: usize, heads: usize) -> (&[f32], &[f32]) {
        let kv_heads = self.kv_width / self.head_dim;
        let start = self.query_width + head / (heads / kv_heads) * self.head_dim;
        (&row[start..][..self.head_dim], &row[start + self.kv_width..][..self.head_dim])
    }
}
