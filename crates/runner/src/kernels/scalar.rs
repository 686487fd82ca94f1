//! Dot products in plain Rust: what the fast ones must equal, and what other machines run.

use std::ops::Range;

use half::f16;

use super::activations::ActivationBlock;
use super::lanes::{exp, sum};
use super::number::Number;
use super::packed::{Group, Tile4, Tile8};
use super::{BLOCK, CHUNK, KEYS, LANES};

/// Sixteen rows of 4-bit weights with `N` rows of activations.
pub(super) fn four<const N: usize>(
    tiles: &[Tile4],
    rows: [&[ActivationBlock]; N],
    found: &mut [Group; N],
) {
    *found = sums(tiles, rows, |tile, output, x, sum| {
        let mut dot = 0i32;
        for (quad, bytes) in tile.quants.iter().enumerate() {
            for i in 0..4 {
                let byte = bytes[output * 4 + i];
                dot += i32::from(byte & 15) * i32::from(x.quants[quad * 4 + i]);
                dot += i32::from(byte >> 4) * i32::from(x.quants[16 + quad * 4 + i]);
            }
        }
        let [scale, least] =
            [tile.scales[output], tile.leasts[output]].map(|bits| f16::from_bits(bits).to_f32());
        least.mul_add(x.sum, (dot as f32).mul_add(scale * x.scale, sum))
    });
}

/// The same for weights of 8 bits.
pub(super) fn eight<const N: usize>(
    tiles: &[Tile8],
    rows: [&[ActivationBlock]; N],
    found: &mut [Group; N],
) {
    *found = sums(tiles, rows, |tile, output, x, sum| {
        let mut dot = 0i32;
        for (quad, weights) in tile.quants.iter().enumerate() {
            for i in 0..4 {
                dot += i32::from(weights[output * 4 + i]) * i32::from(x.quants[quad * 4 + i]);
            }
        }
        let scale = f16::from_bits(tile.scales[output]).to_f32();
        (dot as f32).mul_add(scale * x.scale, sum)
    });
}

/// Goes on with each sum from tile to tile: `add` is given a tile, a row of it, a block of activations and the sum so far.
fn sums<T, const N: usize>(
    tiles: &[T],
    rows: [&[ActivationBlock]; N],
    add: impl Fn(&T, usize, &ActivationBlock, f32) -> f32,
) -> [Group; N] {
    rows.map(|row| {
        std::array::from_fn(|output| {
            tiles.iter().zip(row).fold(0.0, |sum, (tile, x)| add(tile, output, x, sum))
        })
    })
}

/// Quantises blocks, as many of each: the largest number becomes ±127, halves go to the even neighbour, what is no number to nought.
pub(super) fn quantise(x: &[[f32; BLOCK]], blocks: &mut [ActivationBlock]) {
    for (block, x) in blocks.iter_mut().zip(x) {
        let most = x.iter().fold(0.0f32, |most, x| most.max(x.abs()));
        let [scale, inverse] = ActivationBlock::scales(most);
        let quants = x.map(|x| (x * inverse).round_ties_even() as i8);
        let sum = quants.iter().map(|quant| i32::from(*quant)).sum();
        *block = ActivationBlock::new(quants, scale, sum);
    }
}

/// Sixteen rows of unquantised weights with `N` rows of activations.
pub(super) fn dense<const N: usize>(tiles: &[Group], rows: [&[f32]; N], found: &mut [Group; N]) {
    *found = rows.map(|row| {
        std::array::from_fn(|lane| {
            tiles.iter().zip(row).fold(0.0, |sum, (tile, x)| tile[lane].mul_add(*x, sum))
        })
    });
}

/// Dot products of `N` queries with the keys of a tile, put where its first entry stands in a chunk.
///
/// # Shapes
/// - `tile`: `(head_dim, KEYS)`
/// - `queries`: `(head_dim,)` each
/// - `chunk`: `(N, CHUNK)`
pub(super) fn scores<T: Number, const N: usize>(
    tile: &[[T; KEYS]],
    queries: [&[f32]; N],
    (first, chunk): (usize, &mut [[f32; CHUNK]; N]),
) {
    let mut sums = [[0.0; KEYS]; N];
    for (channel, keys) in tile.iter().enumerate() {
        for (part, keys) in keys.as_chunks::<LANES>().0.iter().enumerate() {
            let keys = T::eight(keys).lanes();
            for (sums, query) in sums.iter_mut().zip(queries) {
                for (sum, key) in sums[part * LANES..].iter_mut().zip(keys) {
                    *sum = key.mul_add(query[channel], *sum);
                }
            }
        }
    }
    for (row, sums) in chunk.iter_mut().zip(sums) {
        row[first..first + KEYS].copy_from_slice(&sums);
    }
}

/// Adds some of a chunk's values, weighted, to what `N` queries have.
///
/// # Shapes
/// - `values`: `(entries, width)`, `width` a multiple of eight
/// - `weights`: `(N, CHUNK)`
/// - `out`: `N` rows of `width`, `stride` apart
pub(super) fn weigh<T: Number, const N: usize>(
    values: &[T],
    width: usize,
    (weights, entries): (&[[f32; CHUNK]; N], Range<usize>),
    (out, stride): (&mut [f32], usize),
) {
    for (value, entry) in values.chunks_exact(width).zip(entries) {
        for (part, value) in value.as_chunks::<LANES>().0.iter().enumerate() {
            let value = T::eight(value).lanes();
            for (row, weights) in weights.iter().enumerate() {
                let out = &mut out[row * stride + part * LANES..];
                for (out, value) in out.iter_mut().zip(value) {
                    *out = value.mul_add(weights[entry], *out);
                }
            }
        }
    }
}

/// Numbers of a cache as floats, as many of each.
pub(super) fn widen<T: Number>(from: &[T], to: &mut [f32]) {
    for (from, to) in
        from.as_chunks::<LANES>().0.iter().zip(to.as_chunks_mut::<LANES>().0.iter_mut())
    {
        *to = T::eight(from).lanes();
    }
}

/// Turns the first `count` scores into weights relative to the largest, `e^(score - largest)`, and the others into nought. Returns the largest and the
/// sum of all weights.
///
/// # Shapes
/// - `scores`: a multiple of sixteen
pub(super) fn soften(scores: &mut [f32], count: usize) -> [f32; 2] {
    if count == 0 {
        scores.fill(0.0);
        return [f32::MIN, 0.0];
    }
    scores[count..].fill(f32::MIN);
    let largest = scores.iter().fold(f32::MIN, |most, score| most.max(*score));
    let mut sums = [[0.0; LANES]; 2];
    for (place, part) in scores.as_chunks_mut::<LANES>().0.iter_mut().enumerate() {
        *part = exp(part.map(|score| score - largest));
        let within = count.saturating_sub(place * LANES).min(LANES);
        part[within..].fill(0.0);
        for (sum, weight) in sums[place % 2].iter_mut().zip(part) {
            *sum += *weight;
        }
    }
    let [even, odd] = sums;
    [largest, sum(std::array::from_fn(|lane| even[lane] + odd[lane]))]
}

/// `gate · sigmoid(gate) · up` in place of each gate.
pub(super) fn gated(gates: &mut [Group], ups: &[Group]) {
    for (gate, up) in gates.iter_mut().zip(ups) {
        let mut below = gate.map(|gate| -gate);
        for part in below.as_chunks_mut::<LANES>().0 {
            *part = exp(*part);
        }
        for (gate, (below, up)) in gate.iter_mut().zip(below.iter().zip(up)) {
            *gate = *gate / (1.0 + below) * up;
        }
    }
}
