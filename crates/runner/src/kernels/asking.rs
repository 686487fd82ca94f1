//! Hints to the memory: what will be read or written soon is asked for, so that it need not be waited for.

use std::ops::Range;

use super::LINE;

/// Asks for the memory of some of so many parts of numbers that are read next.
pub(crate) fn ask_for_parts<T>(numbers: &[T], parts: Range<usize>, of: usize) {
    let [start, end] = [parts.start, parts.end].map(|part| numbers.len() * part / of);
    let numbers = &numbers[start..end];
    (0..size_of_val(numbers)).step_by(LINE).for_each(|line| ask(numbers, line));
}

/// Asks for the lines of some numbers that are written next, as this thread's alone: stores wait for each other, and each for its line.
#[inline]
pub(crate) fn ask_to_write<T>(numbers: &[T]) {
    let first = numbers.as_ptr().addr();
    let lines = first / LINE * LINE..first + size_of_val(numbers);
    lines.step_by(LINE).for_each(ask_for_own);
}

/// Asks for the line so many bytes behind the first of some numbers, for the second cache.
#[cfg(target_arch = "x86_64")]
#[inline]
fn ask<T>(numbers: &[T], bytes: usize) {
    super::registers::ask::<{ std::arch::x86_64::_MM_HINT_T1 }>(numbers, bytes);
}

/// Asks for a line that no other thread will hold meanwhile, for the nearest cache. The intrinsic for it needs a feature that is not asked for here: processors
/// without it take the instruction for none.
#[cfg(target_arch = "x86_64")]
#[inline]
#[allow(unsafe_code, reason = "a hint to the processor")]
fn ask_for_own(address: usize) {
    // SAFETY: a hint, which may name any address, and changes nothing.
    unsafe {
        std::arch::asm!("prefetchw [{0}]", in(reg) address, options(nostack, preserves_flags, readonly));
    }
}

/// Other machines look after themselves.
#[cfg(not(target_arch = "x86_64"))]
fn ask<T>(_numbers: &[T], _bytes: usize) {}

/// As above.
#[cfg(not(target_arch = "x86_64"))]
fn ask_for_own(_address: usize) {}
