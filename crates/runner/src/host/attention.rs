//! Attention of some queries over one head's entries.

use std::cell::RefCell;

use super::store::{Head, width};
use crate::kernels::{Isa, KEYS, Number};

/// Entries that are gone through at a time: what is summed up within a chunk does not depend on what other entries there are.
pub(super) const CHUNK: usize = 256;
/// Of a chunk, values that are widened at a time, as many as the nearest cache holds.
const PART: usize = 64;

/// Numbers that a query has of some entries: its largest score, the sum of weights, and weighted values.
pub(super) const fn partial(width: usize) -> usize {
    2 + width
}

/// Buffers of a thread.
#[derive(Debug, Default)]
pub(super) struct Scratch {
    pub(super) weights: Vec<f32>, // (queries, CHUNK)
    keys: Vec<[f32; KEYS]>,       // (head_dim,)
    values: Vec<f32>,             // (PART, width)
}

/// What is done with a thread's buffers.
pub(super) fn with_scratch<R>(work: impl FnOnce(&mut Scratch) -> R) -> R {
    thread_local! {
        static SCRATCH: RefCell<Scratch> = RefCell::default();
    }
    SCRATCH.with_borrow_mut(work)
}

/// Queries that go over one head's entries.
#[derive(Debug, Clone, Copy)]
pub(super) struct Queries<'a> {
    /// `(head_dim,)` each, scaled.
    pub(super) rows: &'a [&'a [f32]],
    /// Entries that each of them sees, from the first on.
    pub(super) seen: &'a [usize],
}

impl<T: Number> Head<T> {
    /// Weights of a chunk's entries, relative to each query's largest score, into `scratch`, and that score and their sum into `partials`.
    ///
    /// # Shapes
    /// - `partials`: `(queries, 2 + width)`; values become nought
    pub(super) fn weigh_chunk(
        &self,
        isa: Isa,
        chunk: usize,
        queries: Queries<'_>,
        scratch: &mut Scratch,
        partials: &mut [f32],
    ) {
        let (first, entries) = Self::chunk(chunk, queries);
        let Scratch { weights, keys, .. } = scratch;
        weights.resize(weights.len().max(queries.rows.len() * CHUNK), 0.0);
        let tiles = self.keys()[first / KEYS * self.head_dim()..].chunks(self.head_dim());
        for (tile, first) in tiles.zip((0..entries).step_by(KEYS)) {
            let weights = &mut weights[first..];
            if T::IS_FLOAT || queries.rows.len() <= isa.queries() {
                scores(isa, tile, queries.rows, weights);
            } else {
                keys.resize(tile.len(), [0.0; KEYS]);
                isa.widen(tile.as_flattened(), keys.as_flattened_mut());
                scores(isa, keys, queries.rows, weights);
            }
        }
        let padded = entries.next_multiple_of(KEYS);
        let rows = weights.chunks_mut(CHUNK).zip(partials.chunks_mut(self.partial()));
        for ((weights, partial), seen) in rows.zip(queries.seen) {
            let seen = seen.saturating_sub(chunk * CHUNK).min(entries);
            let [largest, sum] = isa.soften(&mut weights[..padded], seen);
            partial[0] = largest;
            partial[1] = sum;
            partial[2..].fill(0.0);
        }
    }

    /// Adds a chunk's values, by the weights in `scratch`, to `partials`.
    pub(super) fn add_values(
        &self,
        isa: Isa,
        chunk: usize,
        queries: Queries<'_>,
        scratch: &mut Scratch,
        partials: &mut [f32],
    ) {
        let (first, entries) = Self::chunk(chunk, queries);
        let Scratch { weights, values: floats, .. } = scratch;
        let width = width(self.head_dim());
        let shape = (width, queries.rows.len());
        let values = self.values()[first * width..][..entries * width].chunks(PART * width);
        for (values, first) in values.zip((0..entries).step_by(PART)) {
            let weights = (&weights[first..], values.len() / width);
            if T::IS_FLOAT || queries.rows.len() <= isa.queries() {
                weigh(isa, values, shape, weights, partials);
            } else {
                floats.resize(values.len(), 0.0);
                isa.widen(values, floats);
                weigh(isa, floats, shape, weights, partials);
            }
        }
    }

    /// Numbers of a query's partial result.
    pub(super) fn partial(&self) -> usize {
        partial(width(self.head_dim()))
    }

    /// A chunk's first entry, and how many of its entries any of the queries sees.
    fn chunk(chunk: usize, queries: Queries<'_>) -> (usize, usize) {
        let seen = queries.seen.iter().copied().max().unwrap_or(0);
        (chunk * CHUNK, seen.saturating_sub(chunk * CHUNK).min(CHUNK))
    }
}

/// Scores of a tile's keys, a row of [`CHUNK`] for each query.
fn scores<T: Number>(isa: Isa, tile: &[[T; KEYS]], queries: &[&[f32]], weights: &mut [f32]) {
    let mut put = |row: usize, found: &[[f32; KEYS]]| {
        for (row, found) in (row..).zip(found) {
            weights[row * CHUNK..][..KEYS].copy_from_slice(found);
        }
        found.len()
    };
    let mut row = 0;
    while row < queries.len() {
        row += match queries[row..] {
            [a, b, c, d, e, f, ..] if isa.queries() == 6 => {
                put(row, &isa.scores(tile, [a, b, c, d, e, f]))
            }
            [a, b, c, ..] => put(row, &isa.scores(tile, [a, b, c])),
            [a, b] => put(row, &isa.scores(tile, [a, b])),
            [a] => put(row, &isa.scores(tile, [a])),
            [] => return,
        };
    }
}

/// Adds `count` values, by a row of [`CHUNK`] weights for each query.
fn weigh<T: Number>(
    isa: Isa,
    values: &[T],
    (width, queries): (usize, usize),
    (weights, count): (&[f32], usize),
    partials: &mut [f32],
) {
    let stride = partial(width);
    let mut row = 0;
    while row < queries {
        let of = |next: usize| &weights[(row + next) * CHUNK..][..count];
        let out = (&mut partials[row * stride + 2..], stride);
        row += match queries - row {
            6.. if isa.queries() == 6 => {
                isa.weigh(values, width, [0, 1, 2, 3, 4, 5].map(of), out);
                6
            }
            3.. => {
                isa.weigh(values, width, [0, 1, 2].map(of), out);
                3
            }
            2 => {
                isa.weigh(values, width, [0, 1].map(of), out);
                2
            }
            _ => {
                isa.weigh(values, width, [of(0)], out);
                1
            }
        };
    }
}

/// Goes over all entries of all heads of a store; returns a number that depends on all that was done.
///
/// # Shapes
/// - `queries`: `(queries, head_dim)`
#[cfg(feature = "testing")]
pub(crate) fn over_all_heads(
    isa: Isa,
    store: &super::Store,
    queries: &[&[f32]],
    entries: usize,
) -> f32 {
    fn over<T: Number>(isa: Isa, heads: &[Head<T>], queries: Queries<'_>, entries: usize) -> f32 {
        let mut last = 0.0;
        for head in heads {
            let mut partials = vec![0.0; queries.rows.len() * head.partial()];
            with_scratch(|scratch| {
                for chunk in 0..entries.div_ceil(CHUNK) {
                    head.weigh_chunk(isa, chunk, queries, scratch, &mut partials);
                    head.add_values(isa, chunk, queries, scratch, &mut partials);
                }
            });
            last += partials[2];
        }
        last
    }
    let seen = vec![entries; queries.len()];
    let queries = Queries { rows: queries, seen: &seen };
    super::store::with_heads!(store, heads => over(isa, heads, queries, entries))
}
