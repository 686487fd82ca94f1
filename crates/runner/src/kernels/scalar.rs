//! Dot products in plain Rust: what the fast ones must equal, and what other machines run.

use half::f16;

use super::activations::ActivationBlock;
use super::lanes::Lanes;
use super::packed::{Tile4, Tile8};

/// Eight rows of weights with `N` rows of activations.
pub(super) fn four<const N: usize>(tiles: &[Tile4], rows: [&[ActivationBlock]; N]) -> [Lanes; N] {
    sums(tiles, rows, |tile, lane, x, sum| {
        let mut dot = 0i32;
        for (quad, bytes) in tile.quants.iter().enumerate() {
            for i in 0..4 {
                let byte = bytes[lane * 4 + i];
                dot += i32::from(byte & 15) * i32::from(x.quants[quad * 4 + i]);
                dot += i32::from(byte >> 4) * i32::from(x.quants[16 + quad * 4 + i]);
            }
        }
        let [scale, least] =
            [tile.scales[lane], tile.leasts[lane]].map(|bits| f16::from_bits(bits).to_f32());
        least.mul_add(x.sum, (dot as f32).mul_add(scale * x.scale, sum))
    })
}

/// The same for weights of 8 bits.
pub(super) fn eight<const N: usize>(tiles: &[Tile8], rows: [&[ActivationBlock]; N]) -> [Lanes; N] {
    sums(tiles, rows, |tile, lane, x, sum| {
        let mut dot = 0i32;
        for (quad, weights) in tile.quants.iter().enumerate() {
            for i in 0..4 {
                dot += i32::from(weights[lane * 4 + i]) * i32::from(x.quants[quad * 4 + i]);
            }
        }
        let scale = f16::from_bits(tile.scales[lane]).to_f32();
        (dot as f32).mul_add(scale * x.scale, sum)
    })
}

/// Goes on with each sum from tile to tile: `add` is given a tile, a row of it, a block of activations and the sum so far.
fn sums<T, const N: usize>(
    tiles: &[T],
    rows: [&[ActivationBlock]; N],
    add: impl Fn(&T, usize, &ActivationBlock, f32) -> f32,
) -> [Lanes; N] {
    rows.map(|row| {
        std::array::from_fn(|lane| {
            tiles.iter().zip(row).fold(0.0, |sum, (tile, x)| add(tile, lane, x, sum))
        })
    })
}
