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
    /// # Shapes
    /// - `out`: `(rows, query_heads * head_dim)`, filled
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
    turn: Option<Turn<'a>>,
}

/// One of them.
#[derive(Debug)]
pub(crate) struct Row<'a> {
    cells: &'a mut [f32], // (query_width + 2 * kv_width,)
    number: usize,
    layout: Layout,
    turn: Option<Turn<'a>>,
}

/// What a row still lacks when products have left it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Turn<'a> {
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
    /// Rows that lack their turn, if any is given.
    ///
    /// # Shapes
    /// - `cells`: `(rows, (query_heads + 2 * kv_heads) * head_dim)`
    pub(crate) fn new(
        cells: &'a mut [f32],
        (query_heads, kv_heads, head_dim): (usize, usize, usize),
        turn: Option<Turn<'a>>,
    ) -> Self {
        let [query_width, kv_width] = [query_heads, kv_heads].map(|heads| heads * head_dim);
        Self { cells, layout: Layout { query_width, kv_width, head_dim }, turn }
    }

    /// How many there are.
    fn len(&self) -> usize {
        self.cells.len() / self.layout.width()
    }

    /// All of them, to be made ready.
    fn each(&mut self) -> impl ExactSizeIterator<Item = Row<'_>> {
        let (layout, turn) = (self.layout, self.turn);
        let rows = self.cells.chunks_mut(layout.width()).enumerate();
        rows.map(move |(number, cells)| Row { cells, number, layout, turn })
    }

    /// One that was made ready, `(query_width + 2 * kv_width,)`.
    fn row(&self, row: usize) -> &[f32] {
        &self.cells[row * self.layout.width()..][..self.layout.width()]
    }

    /// A query of one that was made ready, `(head_dim,)`.
    fn query(&self, row: usize, head: usize) -> &[f32] {
        &self.row(row)[head * self.layout.head_dim..][..self.layout.head_dim]
    }
}

impl Row<'_> {
    /// Gives it its turn, and scales its queries by `1/√head_dim`.
    fn make_ready(&mut self) {
        let Layout { query_width, kv_width, head_dim } = self.layout;
        if let Some(Turn { bias, rotation }) = self.turn {
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
