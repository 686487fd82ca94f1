//! Dot products for AVX2, FMA and F16C.
//!
//! `maddubs` multiplies four neighbouring columns of eight rows by four activations, broadcast, and so needs no sum across a register. Each block's
//! sum is a whole number, so only the additions over blocks round, and those stand in the same order as in the scalar loops.

#[allow(clippy::wildcard_imports, reason = "instructions")]
use std::arch::x86_64::*;

use super::activations::{ActivationBlock, quantised};
use super::lanes::{self, Lanes};
use super::packed::{Tile4, Tile8};

// Arrays become registers by their value: loads through pointers are checked where debug assertions are on, which costs half of the speed.

#[allow(unsafe_code, reason = "an array as a register")]
#[target_feature(enable = "avx2")]
#[inline]
fn unsigned(bytes: [u8; 32]) -> __m256i {
    // SAFETY: both are 32 bytes, and any bits are a value of either.
    unsafe { std::mem::transmute::<[u8; 32], __m256i>(bytes) }
}

#[allow(unsafe_code, reason = "an array as a register")]
#[target_feature(enable = "avx2")]
#[inline]
fn signed(bytes: [i8; 32]) -> __m256i {
    // SAFETY: both are 32 bytes, and any bits are a value of either.
    unsafe { std::mem::transmute::<[i8; 32], __m256i>(bytes) }
}

/// Eight halves as floats.
#[allow(unsafe_code, reason = "an array as a register")]
#[target_feature(enable = "avx2,f16c")]
#[inline]
fn floats(halves: [u16; 8]) -> __m256 {
    // SAFETY: both are 16 bytes, and any bits are a value of either.
    _mm256_cvtph_ps(unsafe { std::mem::transmute::<[u16; 8], __m128i>(halves) })
}

#[allow(unsafe_code, reason = "a register as an array")]
#[target_feature(enable = "avx2")]
#[inline]
fn lanes_of(x: __m256) -> Lanes {
    // SAFETY: both are 32 bytes, and any bits are a value of either.
    unsafe { std::mem::transmute::<__m256, Lanes>(x) }
}

/// Four activations, eight times.
#[target_feature(enable = "avx2")]
#[inline]
fn broadcast(quants: &[i8; 32], quad: usize) -> __m256i {
    let four = quants.as_chunks::<4>().0[quad].map(|quant| quant.to_ne_bytes()[0]);
    _mm256_set1_epi32(i32::from_ne_bytes(four))
}

/// As [`super::scalar::four`].
#[target_feature(enable = "avx2,fma,f16c")]
#[inline]
pub(super) fn four<const N: usize>(tiles: &[Tile4], rows: [&[ActivationBlock]; N]) -> [Lanes; N] {
    let (nibble, ones) = (_mm256_set1_epi8(15), _mm256_set1_epi16(1));
    let mut sums = [_mm256_setzero_ps(); N];
    let rows = rows.map(|row| &row[..tiles.len()]);
    for (block, tile) in tiles.iter().enumerate() {
        // Eight products of 15 · 127 · 2 fit 16 bits.
        let mut dots = [_mm256_setzero_si256(); N];
        for (quad, pairs) in tile.quants.iter().enumerate() {
            let pairs = unsigned(*pairs);
            let low = _mm256_and_si256(pairs, nibble);
            let high = _mm256_and_si256(_mm256_srli_epi16::<4>(pairs), nibble);
            for (dots, row) in dots.iter_mut().zip(rows) {
                let quants = &row[block].quants;
                let low = _mm256_maddubs_epi16(low, broadcast(quants, quad));
                let high = _mm256_maddubs_epi16(high, broadcast(quants, 4 + quad));
                *dots = _mm256_add_epi16(*dots, _mm256_add_epi16(low, high));
            }
        }
        let (scales, leasts) = (floats(tile.scales), floats(tile.leasts));
        for ((sums, dots), row) in sums.iter_mut().zip(dots).zip(rows) {
            let x = &row[block];
            let dots = _mm256_cvtepi32_ps(_mm256_madd_epi16(dots, ones));
            *sums = _mm256_fmadd_ps(dots, _mm256_mul_ps(scales, _mm256_set1_ps(x.scale)), *sums);
            *sums = _mm256_fmadd_ps(leasts, _mm256_set1_ps(x.sum), *sums);
        }
    }
    sums.map(|sums| lanes_of(sums))
}

/// As [`super::scalar::eight`].
#[target_feature(enable = "avx2,fma,f16c")]
#[inline]
pub(super) fn eight<const N: usize>(tiles: &[Tile8], rows: [&[ActivationBlock]; N]) -> [Lanes; N] {
    let ones = _mm256_set1_epi16(1);
    let mut sums = [_mm256_setzero_ps(); N];
    let rows = rows.map(|row| &row[..tiles.len()]);
    for (block, tile) in tiles.iter().enumerate() {
        let mut dots = [_mm256_setzero_si256(); N];
        for (quad, weights) in tile.quants.iter().enumerate() {
            let weights = signed(*weights);
            // One factor must have no sign: the other takes it.
            let sizes = _mm256_abs_epi8(weights);
            for (dots, row) in dots.iter_mut().zip(rows) {
                let x = _mm256_sign_epi8(broadcast(&row[block].quants, quad), weights);
                let pairs = _mm256_madd_epi16(_mm256_maddubs_epi16(sizes, x), ones);
                *dots = _mm256_add_epi32(*dots, pairs);
            }
        }
        let scales = floats(tile.scales);
        for ((sums, dots), row) in sums.iter_mut().zip(dots).zip(rows) {
            let scales = _mm256_mul_ps(scales, _mm256_set1_ps(row[block].scale));
            *sums = _mm256_fmadd_ps(_mm256_cvtepi32_ps(dots), scales, *sums);
        }
    }
    sums.map(|sums| lanes_of(sums))
}

/// As [`lanes::gated`].
#[target_feature(enable = "avx2,fma")]
pub(super) fn gated(gate: Lanes, up: Lanes) -> Lanes {
    lanes::gated(gate, up)
}

/// As [`quantised`].
#[target_feature(enable = "avx2,fma")]
pub(super) fn quantise(x: &[[f32; 32]], blocks: &mut Vec<ActivationBlock>) {
    quantised(x, blocks);
}
