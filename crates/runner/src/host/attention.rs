//! Attention of some queries over one head's entries.

use std::cell::RefCell;
use std::ops::Range;

use super::store::{Head, width};
use crate::kernels::{CHUNK, Isa, KEYS, Number, ask_for_parts, cut};

/// Of a chunk, values that are widened at a time, as many as the nearest cache holds.
const PART: usize = 64;

/// Numbers that a query has of some entries: its largest score, the sum of weights, and weighted values.
pub(super) const fn partial(width: usize) -> usize {
    2 + width
}

/// Buffers of a thread.
#[derive(Debug, Default)]
pub(super) struct Scratch {
    pub(super) weights: Vec<[f32; CHUNK]>, // (queries,)
    queries: Vec<f32>,                     // block by block, (head_dim, queries of the block)
    keys: Vec<[f32; KEYS]>,                // (head_dim,)
    values: Vec<f32>,                      // (PART, width)
}

/// What is done with a thread's buffers.
pub(super) fn with_scratch<R>(work: impl FnOnce(&mut Scratch) -> R) -> R {
    thread_local! {
        static SCRATCH: RefCell<Scratch> = RefCell::default();
    }
    SCRATCH.with_borrow_mut(work)
}

impl Scratch {
    /// Takes in the queries that will go over chunks: those of a block channel by channel, as keys are.
    ///
    /// # Shapes
    /// - `rows`: `(head_dim,)` each, scaled
    pub(super) fn take_in(&mut self, isa: Isa, rows: &[&[f32]]) {
        self.weights.resize(self.weights.len().max(rows.len()), [0.0; CHUNK]);
        let head_dim = rows.first().map_or(0, |row| row.len());
        self.queries.resize(rows.len() * head_dim, 0.0);
        let (mut rest, mut cells) = (rows, self.queries.as_mut_slice());
        while !rest.is_empty() {
            let (block, others) = rest.split_at(block(isa, rest.len()));
            let channels = cut(&mut cells, block.len() * head_dim);
            for (place, row) in block.iter().enumerate() {
                for (cells, x) in channels.chunks_exact_mut(block.len()).zip(*row) {
                    cells[place] = *x;
                }
            }
            rest = others;
        }
    }
}

/// Of so many queries that are left, those that a loop takes at once.
fn block(isa: Isa, left: usize) -> usize {
    match left {
        6.. if isa.queries() == 6 => 6,
        3.. => 3,
        _ => left,
    }
}

impl<T: Number> Head<T> {
    /// Weights of a chunk's entries, relative to each query's largest score, into `scratch`, which has taken the queries in, and that score and their sum
    /// into `partials`.
    ///
    /// # Shapes
    /// - `seen`: `(queries,)`, entries that each of them sees, from the first on
    /// - `partials`: `(queries, 2 + width)`; values become nought
    pub(super) fn weigh_chunk(
        &self,
        isa: Isa,
        chunk: usize,
        seen: &[usize],
        scratch: &mut Scratch,
        partials: &mut [f32],
    ) {
        let entries = Self::entries(chunk, seen);
        let Scratch { weights, queries, keys, .. } = scratch;
        let weights = &mut weights[..seen.len()];
        let tiles = self.keys()[chunk * CHUNK / KEYS * self.head_dim()..].chunks(self.head_dim());
        let mut following = tiles.clone().skip(1);
        let widened = !T::IS_FLOAT && seen.len() > isa.queries();
        for (tile, first) in tiles.zip((0..entries).step_by(KEYS)) {
            let next = following.next().unwrap_or_default();
            if widened {
                keys.resize(tile.len(), [0.0; KEYS]);
                isa.widen(tile.as_flattened(), keys.as_flattened_mut());
                scores(isa, keys, queries, (first, weights), &Reading::Near(next.as_flattened()));
            } else {
                scores(isa, tile, queries, (first, weights), &Reading::<T>::Far);
            }
        }
        let values = self.part(chunk * CHUNK, entries.min(PART));
        let padded = entries.next_multiple_of(KEYS);
        let rows = weights.iter_mut().zip(partials.chunks_mut(self.partial())).zip(seen);
        for (place, ((weights, partial), seen_by)) in rows.enumerate() {
            ask_for_parts(values, place..place + 1, seen.len());
            let seen = seen_by.saturating_sub(chunk * CHUNK).min(entries);
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
        seen: &[usize],
        scratch: &mut Scratch,
        partials: &mut [f32],
    ) {
        let entries = Self::entries(chunk, seen);
        let Scratch { weights, values: floats, .. } = scratch;
        let (weights, width) = (&weights[..seen.len()], width(self.head_dim()));
        let widened = !T::IS_FLOAT && seen.len() > isa.queries();
        for first in (0..entries).step_by(PART) {
            let count = PART.min(entries - first);
            let values = self.part(chunk * CHUNK + first, count);
            let weights = (weights, first..first + count);
            if widened {
                let next = self.part(chunk * CHUNK + first + count, PART);
                floats.resize(values.len(), 0.0);
                isa.widen(values, floats);
                weigh(isa, floats, width, weights, partials, &Reading::Near(next));
            } else {
                weigh(isa, values, width, weights, partials, &Reading::<T>::Far);
            }
        }
    }

    /// Numbers of a query's partial result.
    pub(super) fn partial(&self) -> usize {
        partial(width(self.head_dim()))
    }

    /// Values from a slot on, as many as there are.
    fn part(&self, first: usize, count: usize) -> &[T] {
        let [_, values] = self.between(first..first + count);
        values
    }

    /// How many of a chunk's entries any of the queries sees.
    fn entries(chunk: usize, seen: &[usize]) -> usize {
        let seen = seen.iter().copied().max().unwrap_or(0);
        seen.saturating_sub(chunk * CHUNK).min(CHUNK)
    }
}

/// Where numbers that a loop goes over come from.
#[derive(Debug)]
enum Reading<'a, T> {
    /// The memory: the loop asks for those that follow.
    Far,
    /// The nearest cache: these, which will be wanted next, are asked for meanwhile.
    Near(&'a [T]),
}

impl<T> Reading<'_, T> {
    /// Before some of so many queries: whether the loop should ask.
    fn begin(&self, rows: Range<usize>, of: usize) -> bool {
        match self {
            Self::Far => rows.start == 0,
            Self::Near(next) => {
                ask_for_parts(next, rows, of);
                false
            }
        }
    }
}

/// Calls a loop for a block of queries, as many as they are.
macro_rules! for_block {
    ($block:expr, $count:ident => $what:expr) => {
        match $block {
            6 => {
                const $count: usize = 6;
                $what
            }
            3 => {
                const $count: usize = 3;
                $what
            }
            2 => {
                const $count: usize = 2;
                $what
            }
            _ => {
                const $count: usize = 1;
                $what
            }
        }
    };
}

/// Scores of a tile's keys.
///
/// # Shapes
/// - `queries`: as in [`Scratch`]
/// - `chunk`: `(queries, CHUNK)`, from an entry on
fn scores<T: Number, U>(
    isa: Isa,
    tile: &[[T; KEYS]],
    queries: &[f32],
    (first, chunk): (usize, &mut [[f32; CHUNK]]),
    reading: &Reading<'_, U>,
) {
    let (mut row, count) = (0, chunk.len());
    while row < count {
        let block = block(isa, count - row);
        let far = reading.begin(row..row + block, count);
        let queries = &queries[row * tile.len()..];
        for_block!(block, N => if let Some(chunk) = chunk[row..].first_chunk_mut::<N>() {
            isa.scores(tile, &queries.as_chunks::<N>().0[..tile.len()], (first, chunk), far);
        });
        row += block;
    }
}

/// Adds some of a chunk's values, by each query's weights.
///
/// # Shapes
/// - `values`: `(entries, width)`
/// - `weights`: `(queries, CHUNK)`
/// - `partials`: `(queries, 2 + width)`
fn weigh<T: Number, U>(
    isa: Isa,
    values: &[T],
    width: usize,
    (weights, entries): (&[[f32; CHUNK]], Range<usize>),
    partials: &mut [f32],
    reading: &Reading<'_, U>,
) {
    let (mut row, stride) = (0, partial(width));
    while row < weights.len() {
        let block = block(isa, weights.len() - row);
        let far = reading.begin(row..row + block, weights.len());
        let out = (&mut partials[row * stride + 2..], stride);
        for_block!(block, N => if let Some(weights) = weights[row..].first_chunk::<N>() {
            isa.weigh(values, width, (weights, entries.clone()), out, far);
        });
        row += block;
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
    fn over<T: Number>(isa: Isa, heads: &[Head<T>], queries: &[&[f32]], entries: usize) -> f32 {
        let (mut last, seen) = (0.0, vec![entries; queries.len()]);
        for head in heads {
            let mut partials = vec![0.0; queries.len() * head.partial()];
            with_scratch(|scratch| {
                scratch.take_in(isa, queries);
                for chunk in 0..entries.div_ceil(CHUNK) {
                    head.weigh_chunk(isa, chunk, &seen, scratch, &mut partials);
                    head.add_values(isa, chunk, &seen, scratch, &mut partials);
                }
            });
            last += partials[2];
        }
        last
    }
    super::store::with_heads!(store, heads => over(isa, heads, queries, entries))
}
