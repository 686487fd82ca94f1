//! Dot products for AVX2, FMA and F16C.
//!
//! `maddubs` multiplies four neighbouring columns of eight rows by four activations, broadcast, and so needs no sum across a register. Each block's
//! sum is a whole number, so only the additions over blocks round, and those stand in the same order as in the scalar loops.

#[allow(clippy::wildcard_imports, reason = "instructions")]
use std::arch::x86_64::*;

use std::f32::consts::LOG2_E;
use std::ops::Range;

use super::activations::ActivationBlock;
use super::lanes::{self, EXPONENTS, LN_2, POLYNOMIAL, WHOLE};
use super::number::{Eight, Number};
use super::packed::{Group, Tile4, Tile8};
use super::registers::{
    cut_rows, cut_to, fetch_ahead, fetch_line, floats, halves, lanes_of, largest, quad_of,
    quants_of, register, signed, sum_of, unsigned,
};
use super::{CHUNK, KEYS, LANES};

/// A function that multiplies tiles and goes on with one half of their outputs at a time, by `add`.
macro_rules! over_tiles {
    ($(#[$doc:meta])* $name:ident, $tile:ty, $add:ident) => {
        $(#[$doc])*
        #[target_feature(enable = "avx2,fma,f16c")]
        pub(super) fn $name<const N: usize>(
            tiles: &[$tile],
            rows: [&[ActivationBlock]; N],
            found: &mut [Group; N],
        ) {
            let mut sums = [[_mm256_setzero_ps(); N]; 2];
            let rows = cut_to(tiles.len(), rows);
            if N == 1 {
                // One row waits for the memory, and goes along it once.
                for (block, tile) in tiles.iter().enumerate() {
                    $add::<N, 0>((tile, 0), rows.map(|row| &row[block]), &mut sums[0]);
                    $add::<N, 1>((tile, 0), rows.map(|row| &row[block]), &mut sums[1]);
                }
            } else {
                // Many need the registers for one half of the outputs. The first time asks for the even lines of what is ahead, and the second for the odd ones of
                // what is as far ahead of the next group.
                for (block, tile) in tiles.iter().enumerate() {
                    $add::<N, 0>((tile, 0), rows.map(|row| &row[block]), &mut sums[0]);
                }
                let bytes = size_of_val(tiles);
                for (block, tile) in tiles.iter().enumerate() {
                    $add::<N, 1>((tile, bytes), rows.map(|row| &row[block]), &mut sums[1]);
                }
            }
            put(sums, found);
        }
    };
}

over_tiles! {
    /// As [`super::scalar::four`].
    four, Tile4, add_four
}

over_tiles! {
    /// As [`super::scalar::eight`].
    eight, Tile8, add_eight
}

/// Goes on with one half of the outputs. Asks for every second line ahead of the tile, even ones or odd ones, or of what is so many bytes further.
#[target_feature(enable = "avx2,fma,f16c")]
#[inline]
fn add_four<const N: usize, const HALF: usize>(
    (tile, further): (&Tile4, usize),
    x: [&ActivationBlock; N],
    sums: &mut [__m256; N],
) {
    let (nibble, ones) = (_mm256_set1_epi8(15), _mm256_set1_epi16(1));
    // Eight products of 15 · 127 · 2 fit 16 bits.
    let mut dots = [_mm256_setzero_si256(); N];
    for (quad, pairs) in tile.quants.iter().enumerate() {
        fetch_line(tile, 2 * quad + HALF, further);
        let pairs = unsigned(pairs.as_chunks().0[HALF]);
        let low = _mm256_and_si256(pairs, nibble);
        let high = _mm256_and_si256(_mm256_srli_epi16::<4>(pairs), nibble);
        for (dots, x) in dots.iter_mut().zip(x) {
            let low = _mm256_maddubs_epi16(low, _mm256_set1_epi32(quad_of(&x.quants, quad)));
            let high = _mm256_maddubs_epi16(high, _mm256_set1_epi32(quad_of(&x.quants, 4 + quad)));
            *dots = _mm256_add_epi16(*dots, _mm256_add_epi16(low, high));
        }
    }
    let scales = floats(tile.scales.as_chunks().0[HALF]);
    let leasts = floats(tile.leasts.as_chunks().0[HALF]);
    for ((sum, dots), x) in sums.iter_mut().zip(dots).zip(x) {
        let dots = _mm256_cvtepi32_ps(_mm256_madd_epi16(dots, ones));
        *sum = _mm256_fmadd_ps(dots, _mm256_mul_ps(scales, _mm256_set1_ps(x.scale)), *sum);
        *sum = _mm256_fmadd_ps(leasts, _mm256_set1_ps(x.sum), *sum);
    }
}

/// As [`add_four`].
#[target_feature(enable = "avx2,fma,f16c")]
#[inline]
fn add_eight<const N: usize, const HALF: usize>(
    (tile, further): (&Tile8, usize),
    x: [&ActivationBlock; N],
    sums: &mut [__m256; N],
) {
    let ones = _mm256_set1_epi16(1);
    let mut dots = [_mm256_setzero_si256(); N];
    for (quad, weights) in tile.quants.iter().enumerate() {
        fetch_line(tile, 2 * quad + HALF, further);
        let weights = signed(weights.as_chunks().0[HALF]);
        // One factor must have no sign: the other takes it.
        let sizes = _mm256_abs_epi8(weights);
        for (dots, x) in dots.iter_mut().zip(x) {
            let x = _mm256_sign_epi8(_mm256_set1_epi32(quad_of(&x.quants, quad)), weights);
            let pairs = _mm256_madd_epi16(_mm256_maddubs_epi16(sizes, x), ones);
            *dots = _mm256_add_epi32(*dots, pairs);
        }
    }
    let scales = floats(tile.scales.as_chunks().0[HALF]);
    for ((sum, dots), x) in sums.iter_mut().zip(dots).zip(x) {
        let scales = _mm256_mul_ps(scales, _mm256_set1_ps(x.scale));
        *sum = _mm256_fmadd_ps(_mm256_cvtepi32_ps(dots), scales, *sum);
    }
}

/// Puts both halves of the outputs down, row by row.
#[target_feature(enable = "avx2")]
#[inline]
fn put<const N: usize>([low, high]: [[__m256; N]; 2], found: &mut [Group; N]) {
    for (found, (low, high)) in found.iter_mut().zip(low.into_iter().zip(high)) {
        let parts = found.as_chunks_mut::<LANES>().0;
        parts[0] = lanes_of(low);
        parts[1] = lanes_of(high);
    }
}

/// As [`super::scalar::dense`].
#[target_feature(enable = "avx2,fma")]
pub(super) fn dense<const N: usize>(tiles: &[Group], rows: [&[f32]; N], found: &mut [Group; N]) {
    let mut sums = [[_mm256_setzero_ps(); 2]; N];
    let rows = cut_to(tiles.len(), rows);
    for (column, tile) in tiles.iter().enumerate() {
        let [low, high] = halves(tile);
        for (sums, row) in sums.iter_mut().zip(rows) {
            let x = _mm256_set1_ps(row[column]);
            sums[0] = _mm256_fmadd_ps(low, x, sums[0]);
            sums[1] = _mm256_fmadd_ps(high, x, sums[1]);
        }
    }
    put([sums.map(|[low, _]| low), sums.map(|[_, high]| high)], found);
}

/// As [`super::scalar::scores`].
#[target_feature(enable = "avx2,fma,f16c")]
pub(super) fn scores<T: Number, const N: usize>(
    tile: &[[T; KEYS]],
    queries: [&[f32]; N],
    (first, chunk): (usize, &mut [[f32; CHUNK]; N]),
    ahead: &[T],
) {
    let queries = cut_to(tile.len(), queries);
    let mut sums = [[_mm256_setzero_ps(); KEYS / LANES]; N];
    let mut ahead = ahead.chunks_exact(KEYS);
    for (channel, keys) in tile.iter().enumerate() {
        if let Some(ahead) = ahead.next() {
            fetch_ahead(keys, ahead);
        }
        let mut x = [_mm256_setzero_ps(); N];
        for (x, query) in x.iter_mut().zip(queries) {
            *x = _mm256_set1_ps(query[channel]);
        }
        for (part, keys) in keys.as_chunks::<LANES>().0.iter().enumerate() {
            let keys = register(T::eight(keys));
            for (sums, x) in sums.iter_mut().zip(x) {
                sums[part] = _mm256_fmadd_ps(keys, x, sums[part]);
            }
        }
    }
    for (row, sums) in chunk.iter_mut().zip(sums) {
        let row = row[first..first + KEYS].as_chunks_mut::<LANES>().0;
        for (found, sums) in row.iter_mut().zip(sums) {
            *found = lanes_of(sums);
        }
    }
}

/// As [`super::scalar::weigh`].
#[target_feature(enable = "avx2,fma,f16c")]
pub(super) fn weigh<T: Number, const N: usize>(
    values: &[T],
    width: usize,
    (weights, entries): (&[[f32; CHUNK]; N], Range<usize>),
    (out, stride): (&mut [f32], usize),
    ahead: &[T],
) {
    let mut column = 0;
    while column + 4 * LANES <= width {
        let weights = (weights, entries.clone());
        weigh_columns::<T, N, 4>((values, width), column, weights, (out, stride), ahead);
        column += 4 * LANES;
    }
    while column < width {
        let weights = (weights, entries.clone());
        weigh_columns::<T, N, 1>((values, width), column, weights, (out, stride), ahead);
        column += LANES;
    }
}

/// [`weigh`] in `8 · PARTS` columns.
#[target_feature(enable = "avx2,fma,f16c")]
#[inline]
pub(super) fn weigh_columns<T: Number, const N: usize, const PARTS: usize>(
    (values, width): (&[T], usize),
    column: usize,
    (weights, entries): (&[[f32; CHUNK]; N], Range<usize>),
    (out, stride): (&mut [f32], usize),
    ahead: &[T],
) {
    let mut sums = [[_mm256_setzero_ps(); PARTS]; N];
    for (row, sums) in sums.iter_mut().enumerate() {
        let out = &out[row * stride + column..][..PARTS * LANES];
        for (sum, out) in sums.iter_mut().zip(out.as_chunks::<LANES>().0) {
            *sum = register(Eight::Floats(out));
        }
    }
    let weights = cut_rows(weights, entries);
    let mut ahead = ahead.chunks_exact(width);
    for (value, entry) in values.chunks_exact(width).zip(0..weights[0].len()) {
        let value = &value[column..][..PARTS * LANES];
        if let Some(ahead) = ahead.next() {
            fetch_ahead(value, &ahead[column..][..PARTS * LANES]);
        }
        let mut x = [_mm256_setzero_ps(); N];
        for (x, weights) in x.iter_mut().zip(weights) {
            *x = _mm256_set1_ps(weights[entry]);
        }
        for (part, value) in value.as_chunks::<LANES>().0.iter().enumerate() {
            let value = register(T::eight(value));
            for (sums, x) in sums.iter_mut().zip(x) {
                sums[part] = _mm256_fmadd_ps(value, x, sums[part]);
            }
        }
    }
    for (row, sums) in sums.iter().enumerate() {
        let out = &mut out[row * stride + column..][..PARTS * LANES];
        for (sum, out) in sums.iter().zip(out.as_chunks_mut::<LANES>().0) {
            *out = lanes_of(*sum);
        }
    }
}

/// As [`super::scalar::widen`].
#[target_feature(enable = "avx2,f16c")]
pub(super) fn widen<T: Number>(from: &[T], to: &mut [f32]) {
    let to = to.as_chunks_mut::<LANES>().0.iter_mut();
    for (from, to) in from.as_chunks::<LANES>().0.iter().zip(to) {
        *to = lanes_of(register(T::eight(from)));
    }
}

/// As [`super::scalar::soften`].
#[target_feature(enable = "avx2,fma,f16c")]
pub(super) fn soften(scores: &mut [f32], count: usize) -> [f32; 2] {
    if count == 0 {
        scores.fill(0.0);
        return [f32::MIN, 0.0];
    }
    let (parts, beyond) = scores.split_at_mut(count.next_multiple_of(2 * LANES));
    beyond.fill(0.0);
    let parts = parts.as_chunks_mut::<LANES>().0;
    let mut most = _mm256_set1_ps(f32::MIN);
    for (place, part) in parts.iter().enumerate() {
        let (score, none) = (register(Eight::Floats(part)), _mm256_set1_ps(f32::MIN));
        most = _mm256_max_ps(_mm256_blendv_ps(none, score, within(count, place)), most);
    }
    let largest = largest(most);
    let mut sums = [_mm256_setzero_ps(); 2];
    for (pair, parts) in parts.as_chunks_mut::<2>().0.iter_mut().enumerate() {
        for (place, (part, sum)) in parts.iter_mut().zip(&mut sums).enumerate() {
            let below = _mm256_sub_ps(register(Eight::Floats(part)), _mm256_set1_ps(largest));
            let weights = _mm256_and_ps(exp(below), within(count, 2 * pair + place));
            *sum = _mm256_add_ps(*sum, weights);
            *part = lanes_of(weights);
        }
    }
    [largest, lanes::sum(lanes_of(_mm256_add_ps(sums[0], sums[1])))]
}

/// Of a part of eight, those that are among the first `count` of all.
#[target_feature(enable = "avx2")]
#[inline]
fn within(count: usize, part: usize) -> __m256 {
    let left = _mm256_set1_ps(count.saturating_sub(part * LANES) as f32);
    let lanes = _mm256_setr_ps(0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0);
    _mm256_cmp_ps::<_CMP_LT_OQ>(lanes, left)
}

/// As [`lanes::exp`].
#[target_feature(enable = "avx2,fma")]
#[inline]
fn exp(x: __m256) -> __m256 {
    let [least, most] = EXPONENTS.map(|bound| _mm256_set1_ps(bound));
    // The second operand is what comes out where one is no number.
    let x = _mm256_min_ps(most, _mm256_max_ps(least, x));
    let whole = _mm256_set1_ps(WHOLE);
    let shifted = _mm256_add_ps(_mm256_mul_ps(x, _mm256_set1_ps(LOG2_E)), whole);
    let n = _mm256_sub_ps(shifted, whole);
    let r = _mm256_fnmadd_ps(n, _mm256_set1_ps(LN_2[0]), x);
    let r = _mm256_fnmadd_ps(n, _mm256_set1_ps(LN_2[1]), r);
    let mut p = _mm256_set1_ps(POLYNOMIAL[0]);
    for c in &POLYNOMIAL[1..] {
        p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(*c));
    }
    let p = _mm256_add_ps(_mm256_fmadd_ps(_mm256_mul_ps(r, r), p, r), _mm256_set1_ps(1.0));
    let exponent = _mm256_slli_epi32::<23>(_mm256_castps_si256(shifted));
    let power = _mm256_add_epi32(exponent, _mm256_set1_epi32(127 << 23));
    _mm256_mul_ps(p, _mm256_castsi256_ps(power))
}

/// As [`lanes::merge`].
#[target_feature(enable = "avx2,fma")]
pub(super) fn merge(into: &mut [f32], from: &[f32]) {
    lanes::merge(into, from);
}

/// As [`lanes::add_scaled`].
#[target_feature(enable = "avx2,fma")]
pub(super) fn add_scaled(into: &mut [f32], from: &[f32], factor: f32) {
    lanes::add_scaled(into, from, factor);
}

/// As [`lanes::normed`].
#[target_feature(enable = "avx2,fma")]
pub(super) fn normed(x: &[f32], weight: &[f32], epsilon: f32, out: &mut [f32]) {
    lanes::normed(x, weight, epsilon, out);
}

/// As [`super::scalar::gated`].
#[target_feature(enable = "avx2,fma,f16c")]
pub(super) fn gated(gates: &mut [Group], ups: &[Group]) {
    let ups = ups.as_flattened().as_chunks::<LANES>().0;
    for (gate, up) in gates.as_flattened_mut().as_chunks_mut::<LANES>().0.iter_mut().zip(ups) {
        let x = register(Eight::Floats(gate));
        let negated = _mm256_xor_ps(x, _mm256_set1_ps(-0.0));
        let below = _mm256_add_ps(_mm256_set1_ps(1.0), exp(negated));
        *gate = lanes_of(_mm256_mul_ps(_mm256_div_ps(x, below), register(Eight::Floats(up))));
    }
}

/// As [`super::scalar::quantise`].
#[target_feature(enable = "avx2,f16c")]
pub(super) fn quantise(x: &[[f32; 32]], blocks: &mut [ActivationBlock]) {
    let sign = _mm256_set1_ps(-0.0);
    for (block, x) in blocks.iter_mut().zip(x) {
        let mut parts = [_mm256_setzero_ps(); 4];
        let mut most = _mm256_setzero_ps();
        for (part, x) in parts.iter_mut().zip(x.as_chunks::<LANES>().0) {
            *part = register(Eight::Floats(x));
            // What is not a number does not count.
            most = _mm256_max_ps(_mm256_andnot_ps(sign, *part), most);
        }
        let [scale, inverse] = ActivationBlock::scales(largest(most));
        let inverse = _mm256_set1_ps(inverse);
        let mut whole = [_mm256_setzero_si256(); 4];
        let mut sum = _mm256_setzero_si256();
        for (whole, part) in whole.iter_mut().zip(parts) {
            let product = _mm256_mul_ps(part, inverse);
            let number = _mm256_cmp_ps::<_CMP_ORD_Q>(product, product);
            *whole = _mm256_cvtps_epi32(_mm256_and_ps(product, number));
            sum = _mm256_add_epi32(sum, *whole);
        }
        let halves =
            [_mm256_packs_epi32(whole[0], whole[1]), _mm256_packs_epi32(whole[2], whole[3])];
        // Packing leaves fours in the order of its two halves.
        let order = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);
        let quants = _mm256_permutevar8x32_epi32(_mm256_packs_epi16(halves[0], halves[1]), order);
        *block = ActivationBlock::new(quants_of(quants), scale, sum_of(sum));
    }
}
