//! The same loops for AVX-512 with VNNI, where they gain by it: sixteen numbers at a time, and dot products of bytes in one instruction. Numbers side by side
//! do not meet, and dot products are whole numbers, so the bits are AVX2's.

#[allow(clippy::wildcard_imports, reason = "instructions")]
use std::arch::x86_64::*;

use std::f32::consts::LOG2_E;
use std::ops::Range;

use half::f16;

use super::activations::ActivationBlock;
use super::avx2::weigh_columns;
use super::lanes::{self, EXPONENTS, LN_2, POLYNOMIAL, WHOLE};
use super::number::{Number, Sixteen};
use super::packed::{Group, Tile4, Tile8};
use super::registers::{cut_rows, cut_to, fetch_ahead, fetch_line, lanes_of, quad_of};
use super::{CHUNK, KEYS, LANES};

/// Numbers in a register.
const WIDE: usize = 16;

/// Sixteen numbers of a cache as floats.
#[allow(unsafe_code, reason = "an array as a register")]
#[target_feature(enable = "avx512f")]
#[inline]
fn register(x: Sixteen<'_>) -> __m512 {
    match x {
        // SAFETY: both are 64 bytes, and any bits are a value of either.
        Sixteen::Floats(x) => unsafe { std::mem::transmute::<[f32; 16], __m512>(*x) },
        Sixteen::Halves(x) => {
            // SAFETY: both are 32 bytes, and any bits are a value of either.
            let halves = unsafe { std::mem::transmute::<[f16; 16], __m256i>(*x) };
            widen_halves(halves)
        }
    }
}

#[allow(unsafe_code, reason = "a register as an array")]
#[target_feature(enable = "avx512f")]
#[inline]
fn array_of(x: __m512) -> [f32; WIDE] {
    // SAFETY: both are 64 bytes, and any bits are a value of either.
    unsafe { std::mem::transmute::<__m512, [f32; WIDE]>(x) }
}

#[allow(unsafe_code, reason = "an array as a register")]
#[target_feature(enable = "avx512f")]
#[inline]
fn unsigned(bytes: [u8; 64]) -> __m512i {
    // SAFETY: both are 64 bytes, and any bits are a value of either.
    unsafe { std::mem::transmute::<[u8; 64], __m512i>(bytes) }
}

#[allow(unsafe_code, reason = "an array as a register")]
#[target_feature(enable = "avx512f")]
#[inline]
fn signed(bytes: [i8; 64]) -> __m512i {
    // SAFETY: both are 64 bytes, and any bits are a value of either.
    unsafe { std::mem::transmute::<[i8; 64], __m512i>(bytes) }
}

/// Sixteen halves as floats.
#[allow(unsafe_code, reason = "an array as a register")]
#[target_feature(enable = "avx512f")]
#[inline]
fn floats(halves: [u16; 16]) -> __m512 {
    // SAFETY: both are 32 bytes, and any bits are a value of either.
    let halves = unsafe { std::mem::transmute::<[u16; 16], __m256i>(halves) };
    widen_halves(halves)
}

/// As `_mm512_cvtph_ps`, which is made to raise no exceptions; that form takes no operand from memory, and so needs a load of its own.
#[target_feature(enable = "avx512f")]
#[inline]
fn widen_halves(halves: __m256i) -> __m512 {
    _mm512_cvt_roundph_ps::<_MM_FROUND_CUR_DIRECTION>(halves)
}

/// Puts registers down.
#[target_feature(enable = "avx512f")]
#[inline]
fn put<const N: usize>(sums: [__m512; N], found: &mut [Group; N]) {
    for (found, sums) in found.iter_mut().zip(sums) {
        *found = array_of(sums);
    }
}

/// As [`super::scalar::four`].
#[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
pub(super) fn four<const N: usize>(
    tiles: &[Tile4],
    rows: [&[ActivationBlock]; N],
    found: &mut [Group; N],
) {
    let nibble = _mm512_set1_epi8(15);
    let mut sums = [_mm512_setzero_ps(); N];
    let rows = cut_to(tiles.len(), rows);
    for (block, tile) in tiles.iter().enumerate() {
        let x = rows.map(|row| &row[block]);
        let mut dots = [_mm512_setzero_si512(); N];
        for (quad, pairs) in tile.quants.iter().enumerate() {
            fetch_line(tile, quad, 0);
            let pairs = unsigned(*pairs);
            let low = _mm512_and_si512(pairs, nibble);
            let high = _mm512_and_si512(_mm512_srli_epi16::<4>(pairs), nibble);
            // All rows before the high nibbles, so that no product waits for the one before it.
            for (dots, x) in dots.iter_mut().zip(x) {
                let x = _mm512_set1_epi32(quad_of(&x.quants, quad));
                *dots = _mm512_dpbusd_epi32(*dots, low, x);
            }
            for (dots, x) in dots.iter_mut().zip(x) {
                let x = _mm512_set1_epi32(quad_of(&x.quants, 4 + quad));
                *dots = _mm512_dpbusd_epi32(*dots, high, x);
            }
        }
        fetch_line(tile, 4, 0);
        let (scales, leasts) = (floats(tile.scales), floats(tile.leasts));
        for ((sums, dots), x) in sums.iter_mut().zip(dots).zip(x) {
            let dots = _mm512_cvtepi32_ps(dots);
            *sums = _mm512_fmadd_ps(dots, _mm512_mul_ps(scales, _mm512_set1_ps(x.scale)), *sums);
            *sums = _mm512_fmadd_ps(leasts, _mm512_set1_ps(x.sum), *sums);
        }
    }
    put(sums, found);
}

/// As [`super::scalar::eight`].
#[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
pub(super) fn eight<const N: usize>(
    tiles: &[Tile8],
    rows: [&[ActivationBlock]; N],
    found: &mut [Group; N],
) {
    let sign = _mm512_set1_epi8(i8::MIN);
    let mut sums = [_mm512_setzero_ps(); N];
    let rows = cut_to(tiles.len(), rows);
    for (block, tile) in tiles.iter().enumerate() {
        // One factor must have no sign: 128 is added to the weights, and made up for.
        let mut dots = [_mm512_setzero_si512(); N];
        for (dots, row) in dots.iter_mut().zip(rows) {
            *dots = _mm512_set1_epi32(row[block].offset);
        }
        for (quad, weights) in tile.quants.iter().enumerate() {
            fetch_line(tile, quad, 0);
            let weights = _mm512_xor_si512(signed(*weights), sign);
            for (dots, row) in dots.iter_mut().zip(rows) {
                let x = _mm512_set1_epi32(quad_of(&row[block].quants, quad));
                *dots = _mm512_dpbusd_epi32(*dots, weights, x);
            }
        }
        fetch_line(tile, 8, 0);
        let scales = floats(tile.scales);
        for ((sums, dots), row) in sums.iter_mut().zip(dots).zip(rows) {
            let scales = _mm512_mul_ps(scales, _mm512_set1_ps(row[block].scale));
            *sums = _mm512_fmadd_ps(_mm512_cvtepi32_ps(dots), scales, *sums);
        }
    }
    put(sums, found);
}

/// As [`super::scalar::gated`].
#[target_feature(enable = "avx512f,avx512dq")]
pub(super) fn gated(gates: &mut [Group], ups: &[Group]) {
    for (gate, up) in gates.iter_mut().zip(ups) {
        let x = register(Sixteen::Floats(gate));
        let negated = _mm512_xor_ps(x, _mm512_set1_ps(-0.0));
        let below = _mm512_add_ps(_mm512_set1_ps(1.0), exp(negated));
        *gate = array_of(_mm512_mul_ps(_mm512_div_ps(x, below), register(Sixteen::Floats(up))));
    }
}

/// As [`super::scalar::dense`].
#[target_feature(enable = "avx512f")]
pub(super) fn dense<const N: usize>(tiles: &[Group], rows: [&[f32]; N], found: &mut [Group; N]) {
    let mut sums = [_mm512_setzero_ps(); N];
    let rows = cut_to(tiles.len(), rows);
    for (column, tile) in tiles.iter().enumerate() {
        fetch_line(tile, 0, 0);
        let tile = register(Sixteen::Floats(tile));
        for (sums, row) in sums.iter_mut().zip(rows) {
            *sums = _mm512_fmadd_ps(tile, _mm512_set1_ps(row[column]), *sums);
        }
    }
    put(sums, found);
}

/// As [`super::scalar::scores`].
#[target_feature(enable = "avx512f")]
pub(super) fn scores<T: Number, const N: usize>(
    tile: &[[T; KEYS]],
    queries: [&[f32]; N],
    (first, chunk): (usize, &mut [[f32; CHUNK]; N]),
    ahead: &[T],
) {
    let queries = cut_to(tile.len(), queries);
    let mut sums = [[_mm512_setzero_ps(); KEYS / WIDE]; N];
    let mut ahead = ahead.chunks_exact(KEYS);
    for (channel, keys) in tile.iter().enumerate() {
        if let Some(ahead) = ahead.next() {
            fetch_ahead(keys, ahead);
        }
        let keys = keys.as_chunks::<WIDE>().0;
        let keys = [register(T::sixteen(&keys[0])), register(T::sixteen(&keys[1]))];
        for (sums, query) in sums.iter_mut().zip(queries) {
            let x = _mm512_set1_ps(query[channel]);
            sums[0] = _mm512_fmadd_ps(keys[0], x, sums[0]);
            sums[1] = _mm512_fmadd_ps(keys[1], x, sums[1]);
        }
    }
    for (row, sums) in chunk.iter_mut().zip(sums) {
        let row = row[first..first + KEYS].as_chunks_mut::<WIDE>().0;
        for (found, sums) in row.iter_mut().zip(sums) {
            *found = array_of(sums);
        }
    }
}

/// As [`super::scalar::weigh`].
#[target_feature(enable = "avx2,fma,f16c,avx512f")]
pub(super) fn weigh<T: Number, const N: usize>(
    values: &[T],
    width: usize,
    (weights, entries): (&[[f32; CHUNK]; N], Range<usize>),
    (out, stride): (&mut [f32], usize),
    ahead: &[T],
) {
    let mut column = 0;
    while column + 4 * WIDE <= width {
        let weights = (weights, entries.clone());
        weigh_wide::<T, N, 4>((values, width), column, weights, (out, stride), ahead);
        column += 4 * WIDE;
    }
    while column + WIDE <= width {
        let weights = (weights, entries.clone());
        weigh_wide::<T, N, 1>((values, width), column, weights, (out, stride), ahead);
        column += WIDE;
    }
    if column < width {
        let weights = (weights, entries);
        weigh_columns::<T, N, 1>((values, width), column, weights, (out, stride), ahead);
    }
}

/// [`weigh`] in `16 · PARTS` columns.
#[target_feature(enable = "avx512f")]
#[inline]
fn weigh_wide<T: Number, const N: usize, const PARTS: usize>(
    (values, width): (&[T], usize),
    column: usize,
    (weights, entries): (&[[f32; CHUNK]; N], Range<usize>),
    (out, stride): (&mut [f32], usize),
    ahead: &[T],
) {
    let mut sums = [[_mm512_setzero_ps(); PARTS]; N];
    for (row, sums) in sums.iter_mut().enumerate() {
        let out = &out[row * stride + column..][..PARTS * WIDE];
        for (sum, out) in sums.iter_mut().zip(out.as_chunks::<WIDE>().0) {
            *sum = register(Sixteen::Floats(out));
        }
    }
    let weights = cut_rows(weights, entries);
    let mut ahead = ahead.chunks_exact(width);
    for (value, entry) in values.chunks_exact(width).zip(0..weights[0].len()) {
        let value = &value[column..][..PARTS * WIDE];
        if let Some(ahead) = ahead.next() {
            fetch_ahead(value, &ahead[column..][..PARTS * WIDE]);
        }
        let mut parts = [_mm512_setzero_ps(); PARTS];
        for (part, value) in parts.iter_mut().zip(value.as_chunks().0) {
            *part = register(T::sixteen(value));
        }
        for (sums, weights) in sums.iter_mut().zip(weights) {
            let x = _mm512_set1_ps(weights[entry]);
            for (sum, part) in sums.iter_mut().zip(parts) {
                *sum = _mm512_fmadd_ps(part, x, *sum);
            }
        }
    }
    for (row, sums) in sums.iter().enumerate() {
        let out = &mut out[row * stride + column..][..PARTS * WIDE];
        for (sum, out) in sums.iter().zip(out.as_chunks_mut::<WIDE>().0) {
            *out = array_of(*sum);
        }
    }
}

/// As [`super::scalar::widen`].
#[target_feature(enable = "avx2,f16c,avx512f")]
pub(super) fn widen<T: Number>(from: &[T], to: &mut [f32]) {
    let (many, few) = from.as_chunks::<WIDE>();
    let (wide, rest) = to.split_at_mut(many.len() * WIDE);
    for (from, to) in many.iter().zip(wide.as_chunks_mut::<WIDE>().0) {
        *to = array_of(register(T::sixteen(from)));
    }
    for (from, to) in few.as_chunks::<LANES>().0.iter().zip(rest.as_chunks_mut::<LANES>().0) {
        *to = lanes_of(super::registers::register(T::eight(from)));
    }
}

/// As [`super::scalar::soften`].
#[target_feature(enable = "avx2,fma,f16c,avx512f")]
pub(super) fn soften(scores: &mut [f32], count: usize) -> [f32; 2] {
    if count == 0 {
        scores.fill(0.0);
        return [f32::MIN, 0.0];
    }
    let (parts, beyond) = scores.split_at_mut(count.next_multiple_of(WIDE));
    beyond.fill(0.0);
    let parts = parts.as_chunks_mut::<WIDE>().0;
    let mut most = _mm512_set1_ps(f32::MIN);
    for (place, part) in parts.iter().enumerate() {
        let score = register(Sixteen::Floats(part));
        most = _mm512_mask_max_ps(most, within(count, place), score, most);
    }
    let largest = _mm512_reduce_max_ps(most);
    let mut sums = _mm512_setzero_ps();
    for (place, part) in parts.iter_mut().enumerate() {
        let below = _mm512_sub_ps(register(Sixteen::Floats(part)), _mm512_set1_ps(largest));
        let weights = _mm512_maskz_mov_ps(within(count, place), exp(below));
        sums = _mm512_add_ps(sums, weights);
        *part = array_of(weights);
    }
    let sums = array_of(sums);
    let mut halves = [0.0; LANES];
    for (lane, half) in halves.iter_mut().enumerate() {
        *half = sums[lane] + sums[LANES + lane];
    }
    [largest, lanes::sum(halves)]
}

/// Of a part of sixteen, those that are among the first `count` of all, which end in it or after it.
#[inline(always)]
fn within(count: usize, part: usize) -> __mmask16 {
    u16::MAX >> (WIDE - (count - part * WIDE).min(WIDE))
}

/// As [`lanes::exp`].
#[target_feature(enable = "avx512f")]
#[inline]
fn exp(x: __m512) -> __m512 {
    let [least, most] = EXPONENTS.map(|bound| _mm512_set1_ps(bound));
    // The second operand is what comes out where one is no number.
    let x = _mm512_min_ps(most, _mm512_max_ps(least, x));
    let whole = _mm512_set1_ps(WHOLE);
    let shifted = _mm512_add_ps(_mm512_mul_ps(x, _mm512_set1_ps(LOG2_E)), whole);
    let n = _mm512_sub_ps(shifted, whole);
    let r = _mm512_fnmadd_ps(n, _mm512_set1_ps(LN_2[0]), x);
    let r = _mm512_fnmadd_ps(n, _mm512_set1_ps(LN_2[1]), r);
    let mut p = _mm512_set1_ps(POLYNOMIAL[0]);
    for c in &POLYNOMIAL[1..] {
        p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(*c));
    }
    let p = _mm512_add_ps(_mm512_fmadd_ps(_mm512_mul_ps(r, r), p, r), _mm512_set1_ps(1.0));
    let exponent = _mm512_slli_epi32::<23>(_mm512_castps_si512(shifted));
    let power = _mm512_add_epi32(exponent, _mm512_set1_epi32(127 << 23));
    _mm512_mul_ps(p, _mm512_castsi512_ps(power))
}
