//! Arrays as registers and back, rows that no loop has to check, and hints to the memory.
//!
//! Arrays become registers by their value: loads through pointers are checked where debug assertions are on, which costs half of the speed.

#[allow(clippy::wildcard_imports, reason = "instructions")]
use std::arch::x86_64::*;

use std::ops::Range;

use half::f16;

use super::lanes::Lanes;
use super::number::Eight;
use super::packed::Group;
use super::{CHUNK, LINE};

#[allow(unsafe_code, reason = "an array as a register")]
#[target_feature(enable = "avx2")]
#[inline]
pub(super) fn unsigned(bytes: [u8; 32]) -> __m256i {
    // SAFETY: both are 32 bytes, and any bits are a value of either.
    unsafe { std::mem::transmute::<[u8; 32], __m256i>(bytes) }
}

#[allow(unsafe_code, reason = "an array as a register")]
#[target_feature(enable = "avx2")]
#[inline]
pub(super) fn signed(bytes: [i8; 32]) -> __m256i {
    // SAFETY: both are 32 bytes, and any bits are a value of either.
    unsafe { std::mem::transmute::<[i8; 32], __m256i>(bytes) }
}

/// Eight halves as floats.
#[allow(unsafe_code, reason = "an array as a register")]
#[target_feature(enable = "avx2,f16c")]
#[inline]
pub(super) fn floats(halves: [u16; 8]) -> __m256 {
    // SAFETY: both are 16 bytes, and any bits are a value of either.
    _mm256_cvtph_ps(unsafe { std::mem::transmute::<[u16; 8], __m128i>(halves) })
}

/// Sixteen floats as two registers.
#[allow(unsafe_code, reason = "an array as registers")]
#[target_feature(enable = "avx2")]
#[inline]
pub(super) fn halves(x: &Group) -> [__m256; 2] {
    // SAFETY: both are 64 bytes, and any bits are a value of either.
    unsafe { std::mem::transmute::<Group, [__m256; 2]>(*x) }
}

/// Eight numbers of a cache as floats.
#[allow(unsafe_code, reason = "an array as a register")]
#[target_feature(enable = "avx2,f16c")]
#[inline]
pub(super) fn register(x: Eight<'_>) -> __m256 {
    match x {
        // SAFETY: both are 32 bytes, and any bits are a value of either.
        Eight::Floats(x) => unsafe { std::mem::transmute::<Lanes, __m256>(*x) },
        Eight::Halves(x) => {
            // SAFETY: both are 16 bytes, and any bits are a value of either.
            let halves = unsafe { std::mem::transmute::<[f16; 8], __m128i>(*x) };
            _mm256_cvtph_ps(halves)
        }
    }
}

#[allow(unsafe_code, reason = "a register as an array")]
#[target_feature(enable = "avx2")]
#[inline]
pub(super) fn lanes_of(x: __m256) -> Lanes {
    // SAFETY: both are 32 bytes, and any bits are a value of either.
    unsafe { std::mem::transmute::<__m256, Lanes>(x) }
}

#[allow(unsafe_code, reason = "a register as an array")]
#[target_feature(enable = "avx2")]
#[inline]
pub(super) fn quants_of(x: __m256i) -> [i8; 32] {
    // SAFETY: both are 32 bytes, and any bits are a value of either.
    unsafe { std::mem::transmute::<__m256i, [i8; 32]>(x) }
}

/// The largest of eight numbers.
#[target_feature(enable = "avx2")]
#[inline]
pub(super) fn largest(x: __m256) -> f32 {
    let four = _mm_max_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps::<1>(x));
    let two = _mm_max_ps(four, _mm_movehl_ps(four, four));
    _mm_cvtss_f32(_mm_max_ss(two, _mm_shuffle_ps::<1>(two, two)))
}

/// The sum of eight whole numbers.
#[target_feature(enable = "avx2")]
#[inline]
pub(super) fn sum_of(x: __m256i) -> i32 {
    let four = _mm_add_epi32(_mm256_castsi256_si128(x), _mm256_extracti128_si256::<1>(x));
    let two = _mm_add_epi32(four, _mm_shuffle_epi32::<0b01_00_11_10>(four));
    _mm_cvtsi128_si32(_mm_add_epi32(two, _mm_shuffle_epi32::<1>(two)))
}

/// Bytes between what is read and what is asked for, into the nearest cache and into the one behind it.
const AHEAD: [usize; 2] = [2048, 8192];

/// Asks for one line of the memory that a loop will come to soon, ahead of a tile or so many bytes `further`: what it does with a tile is too little for the memory
/// to be waited for. Caches can wait for but a few lines, so to ask for many at once is slower than for each in its time; and each is asked for twice, since the nearest
/// cache can wait for the fewest, and for each as long as the memory takes.
#[inline(always)]
pub(super) fn fetch_line<T>(numbers: &T, line: usize, further: usize) {
    if line * LINE < size_of_val(numbers) {
        ask::<_MM_HINT_T1>(numbers, AHEAD[1] + further + line * LINE);
        ask::<_MM_HINT_T0>(numbers, AHEAD[0] + further + line * LINE);
    }
}

/// Asks for what stands a little behind some numbers, for the nearest cache, and for what is read some time after them, for the one behind it.
#[inline(always)]
pub(super) fn fetch_ahead<T>(numbers: &[T], ahead: &[T]) {
    for line in (0..size_of_val(numbers)).step_by(LINE) {
        ask::<_MM_HINT_T0>(numbers, AHEAD[0] + line);
    }
    for line in (0..size_of_val(ahead)).step_by(LINE) {
        ask::<_MM_HINT_T1>(ahead, line);
    }
}

/// Asks for the line so many bytes behind the first of some numbers.
#[allow(unsafe_code, reason = "a hint to the processor")]
#[inline(always)]
pub(super) fn ask<const HINT: i32>(numbers: &impl ?Sized, bytes: usize) {
    let line = std::ptr::from_ref(numbers).cast::<i8>().wrapping_add(bytes);
    // SAFETY: a hint, which may name any address.
    unsafe { _mm_prefetch::<HINT>(line) }
}

/// Rows of one length, so that no loop checks it.
#[inline(always)]
pub(super) fn cut_to<T, const N: usize>(count: usize, mut rows: [&[T]; N]) -> [&[T]; N] {
    for row in &mut rows {
        *row = &row[..count];
    }
    rows
}

/// The same part of each row; the part may be empty.
#[inline(always)]
pub(super) fn cut_rows<const N: usize>(
    rows: &[[f32; CHUNK]; N],
    part: Range<usize>,
) -> [&[f32]; N] {
    let mut cut = [[].as_slice(); N];
    for (cut, row) in cut.iter_mut().zip(rows) {
        *cut = &row[part.clone()];
    }
    cut
}

/// Four activations as one number.
#[inline(always)]
pub(super) fn quad_of(quants: &[i8; 32], quad: usize) -> i32 {
    i32::from_ne_bytes(quants.as_chunks::<4>().0[quad].map(i8::cast_unsigned))
}
