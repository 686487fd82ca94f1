//! Attention of some queries over one head's entries.

use std::cell::RefCell;
use std::ops::Range;

use super::store::{Head, width};
use crate::kernels::{CHUNK, Isa, KEYS, Number, ask_for_parts};

/// Of a chunk, values that are widened at a time, as many as the nearest cache holds.
const PART: usize = 64;

/// Tiles of keys between the one that is read and what is asked for: some 8 KB of halves, as many as of values.
const TILES_AHEAD: usize = PART / KEYS;

/// Numbers that a query has of some entries: its largest score, the sum of weights, and weighted values.
pub(super) const fn partial(width: usize) -> usize {
    2 + width
}

/// Does the same for a block of queries, however many they are.
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

/// Buffers of a thread.
#[derive(Debug, Default)]
pub(super) struct Scratch {
    pub(super) weights: Vec<[f32; CHUNK]>, // (queries,)
    keys: Vec<[f32; KEYS]>,                // (head_dim,)
    values: Vec<f32>,                      // (PART, width)
    pub(super) out: Vec<f32>,              // of rows, (rows, query_width)
}

/// What is done with a thread's buffers.
pub(super) fn with_scratch<R>(work: impl FnOnce(&mut Scratch) -> R) -> R {
    thread_local! {
        static SCRATCH: RefCell<Scratch> = RefCell::default();
    }
    SCRATCH.with_borrow_mut(work)
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
    /// Weights of a chunk's entries, relative to each query's largest score, into `scratch`, and that score and their sum into `partials`.
    ///
    /// # Shapes
    /// - `queries`: `(head_dim,)` each, scaled
    /// - `seen`: `(queries,)`, entries that each of them sees, from the first on
    /// - `partials`: `(queries, 2 + width)`; values become nought
    pub(super) fn weigh_chunk(
        &self,
        isa: Isa,
        chunk: usize,
        (queries, seen): (&[&[f32]], &[usize]),
        scratch: &mut Scratch,
        partials: &mut [f32],
    ) {
        debug_assert_eq!(queries.len(), seen.len(), "what each query sees");
        let entries = Self::entries(chunk, seen);
        let Scratch { weights, keys, .. } = scratch;
        weights.resize(weights.len().max(seen.len()), [0.0; CHUNK]);
        let weights = &mut weights[..seen.len()];
        let tiles = self.keys_from(chunk).chunks(self.head_dim()).take(entries.div_ceil(KEYS));
        let widened = !T::IS_FLOAT && seen.len() > isa.queries();
        for (place, tile) in tiles.enumerate() {
            let ahead = self.ahead_of_keys(chunk, place, entries);
            let chunk = (place * KEYS, &mut *weights);
            if widened {
                keys.resize(tile.len(), [0.0; KEYS]);
                isa.widen(tile.as_flattened(), keys.as_flattened_mut());
                scores(isa, keys, queries, chunk, &Reading::Near(ahead));
            } else {
                scores(isa, tile, queries, chunk, &Reading::<T, T>::Far(ahead));
            }
        }
        let padded = entries.next_multiple_of(KEYS);
        let rows = weights.iter_mut().zip(partials.chunks_mut(self.partial())).zip(seen);
        for ((weights, partial), seen) in rows {
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
        seen: &[usize],
        scratch: &mut Scratch,
        partials: &mut [f32],
    ) {
        let entries = Self::entries(chunk, seen);
        let Scratch { weights, values: floats, .. } = scratch;
        let (weights, width) = (&weights[..seen.len()], width(self.head_dim()));
        let widened = !T::IS_FLOAT && seen.len() > isa.queries();
        for first in (0..entries).step_by(PART) {
            let part = first..(first + PART).min(entries);
            let values = &self.values_from(chunk)[part.start * width..part.end * width];
            let ahead = self.ahead_of_values(chunk, part.end, entries);
            let weights = (weights, part);
            if widened {
                floats.resize(values.len(), 0.0);
                isa.widen(values, floats);
                weigh(isa, floats, width, weights, partials, &Reading::Near(ahead));
            } else {
                weigh(isa, values, width, weights, partials, &Reading::<T, T>::Far(ahead));
            }
        }
    }

    /// Numbers of a query's partial result.
    pub(super) fn partial(&self) -> usize {
        partial(width(self.head_dim()))
    }

    /// Keys from a chunk on, of all that there is room for.
    fn keys_from(&self, chunk: usize) -> &[[T; KEYS]] {
        self.keys().get(chunk * CHUNK / KEYS * self.head_dim()..).unwrap_or_default()
    }

    /// Values from a chunk on.
    fn values_from(&self, chunk: usize) -> &[T] {
        &self.values()[chunk * CHUNK * width(self.head_dim())..]
    }

    /// What is read some time after one of the tiles of a chunk's first `entries`: another tile, or the values that come after all of them.
    fn ahead_of_keys(&self, chunk: usize, tile: usize, entries: usize) -> &[T] {
        let tiles = entries.div_ceil(KEYS);
        let later = tile + TILES_AHEAD.min(tiles);
        let (rest, size) = if later < tiles {
            let keys = self.keys_from(chunk).as_flattened();
            (&keys[later * KEYS * self.head_dim()..], KEYS * self.head_dim())
        } else {
            let size = KEYS * width(self.head_dim());
            (&self.values_from(chunk)[(later - tiles) * size..], size)
        };
        &rest[..rest.len().min(size)]
    }

    /// What is read after the values before `end`: others, or the next chunk's keys, if there is one.
    fn ahead_of_values(&self, chunk: usize, end: usize, entries: usize) -> &[T] {
        let rest = if end < entries {
            &self.values_from(chunk)[end * width(self.head_dim())..]
        } else if entries == CHUNK {
            self.keys_from(chunk + 1).as_flattened()
        } else {
            &[]
        };
        &rest[..rest.len().min(PART * width(self.head_dim()))]
    }

    /// How many of a chunk's entries any of the queries sees.
    fn entries(chunk: usize, seen: &[usize]) -> usize {
        let seen = seen.iter().copied().max().unwrap_or(0);
        seen.saturating_sub(chunk * CHUNK).min(CHUNK)
    }
}

/// Where numbers that a loop goes over come from, and what will be wanted some time later, which is asked for meanwhile.
#[derive(Debug)]
enum Reading<'a, T, U> {
    /// The memory: the loop asks, as it goes.
    Far(&'a [T]),
    /// The nearest cache: there is time to ask between two loops.
    Near(&'a [U]),
}

impl<'a, T, U> Reading<'a, T, U> {
    /// Before some of so many queries: what the loop should ask for.
    fn begin(&self, rows: Range<usize>, of: usize) -> &'a [T] {
        match self {
            Self::Far(ahead) if rows.start == 0 => ahead,
            Self::Far(_) => &[],
            Self::Near(ahead) => {
                ask_for_parts(ahead, rows, of);
                &[]
            }
        }
    }
}

/// Scores of a tile's keys.
///
/// # Shapes
/// - `queries`: `(head_dim,)` each
/// - `chunk`: `(queries, CHUNK)`, from an entry on
fn scores<T: Number, U>(
    isa: Isa,
    tile: &[[T; KEYS]],
    queries: &[&[f32]],
    (first, chunk): (usize, &mut [[f32; CHUNK]]),
    reading: &Reading<'_, T, U>,
) {
    let (mut row, count) = (0, chunk.len());
    while row < count {
        let block = block(isa, count - row);
        let ahead = reading.begin(row..row + block, count);
        let of_block = (&queries[row..], &mut chunk[row..]);
        for_block!(block, N => if let (Some(queries), Some(chunk)) = (of_block.0.first_chunk::<N>(), of_block.1.first_chunk_mut::<N>()) {
            isa.scores(tile, *queries, (first, chunk), ahead);
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
    reading: &Reading<'_, T, U>,
) {
    let (mut row, stride) = (0, partial(width));
    while row < weights.len() {
        let block = block(isa, weights.len() - row);
        let ahead = reading.begin(row..row + block, weights.len());
        let out = (&mut partials[row * stride + 2..], stride);
        for_block!(block, N => if let Some(weights) = weights[row..].first_chunk::<N>() {
            isa.weigh(values, width, (weights, entries.clone()), out, ahead);
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
                for chunk in 0..entries.div_ceil(CHUNK) {
                    head.weigh_chunk(isa, chunk, (queries, &seen), scratch, &mut partials);
                    head.add_values(isa, chunk, &seen, scratch, &mut partials);
                }
            });
            last += partials[2];
        }
        last
    }
    super::store::with_heads!(store, heads => over(isa, heads, queries, entries))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cache::Slots;
    use crate::host::{Numbers, Store, store::with_heads};
    use crate::kernels::Region;

    fn random(count: usize, seed: u64) -> Vec<f32> {
        let number =
            |i: usize| (zoo::stream(&[seed, i as u64]) >> 40) as f32 / (1u64 << 23) as f32 - 1.0;
        (0..count).map(number).collect()
    }

    /// What queries find in each chunk, bit by bit: `(queries, chunks, 2 + width)`.
    fn found<T: Number>(
        isa: Isa,
        head: &Head<T>,
        queries: &[Vec<f32>],
        entries: usize,
        scratch: &mut Scratch,
    ) -> Vec<Vec<u32>> {
        let (seen, stride) = (vec![entries; queries.len()], head.partial());
        let mut found = vec![Vec::new(); queries.len()];
        let queries: Vec<&[f32]> = queries.iter().map(Vec::as_slice).collect();
        for chunk in 0..entries.div_ceil(CHUNK) {
            let mut partials = vec![7.0; queries.len() * stride];
            head.weigh_chunk(isa, chunk, (&queries, &seen), scratch, &mut partials);
            head.add_values(isa, chunk, &seen, scratch, &mut partials);
            for (found, partial) in found.iter_mut().zip(partials.chunks(stride)) {
                found.extend(partial.iter().map(|number| number.to_bits()));
            }
        }
        found
    }

    #[test]
    fn a_query_finds_the_same_alone_and_in_company_by_any_instructions() {
        // Buffers are a thread's, whatever it does next.
        let mut scratch = Scratch::default();
        for (head_dim, numbers) in [(64, Numbers::F16), (20, Numbers::F16), (24, Numbers::F32)] {
            let entries = 300usize;
            let room = entries.next_multiple_of(KEYS);
            let mut store = Store::new((1, head_dim), numbers);
            store.move_to(&mut Region::new(store.bytes_of(room), true).unwrap(), 0, room);
            for slot in 0..entries {
                let (key, value) =
                    (random(head_dim, slot as u64), random(head_dim, 1000 + slot as u64));
                store.write(&Slots::Behind(slot), |_| (&key, &value));
            }
            let queries: Vec<Vec<f32>> =
                (0..48).map(|query| random(head_dim, 2000 + query)).collect();
            for entries in [1, 31, 64, 65, 256, 300] {
                let mut of = |isa, queries: &[Vec<f32>]| with_heads!(&store, heads => found(isa, &heads[0], queries, entries, &mut scratch));
                let alone: Vec<Vec<u32>> = queries
                    .iter()
                    .flat_map(|query| of(Isa::Scalar, std::slice::from_ref(query)))
                    .collect();
                for isa in Isa::all() {
                    for count in [1, 2, 3, 4, 5, 6, 7, 13, 48] {
                        let together = of(isa, &queries[..count]);
                        assert!(together == alone[..count], "{isa:?}, {count} over {entries}");
                    }
                }
            }
        }
    }
}
