//! Hints to the memory: what will be read or written soon is asked for, so that it need not be waited for.

use std::ops::Range;

use super::LINE;

/// Asks for the memory of some of so many parts of numbers that are read next.
pub(crate) fn ask_for_parts<T>(numbers: &[T], parts: Range<usize>, of: usize) {
    let [start, end] = [parts.start, parts.end].map(|part| numbers.len() * part / of);
    let part = numbers[start..end].as_ptr_range();
    (part.start.addr()..part.end.addr()).step_by(LINE).for_each(ask);
}

/// Asks for the memory of numbers that are written next, as this thread's alone: stores wait for each other, and each for its line.
#[allow(unsafe_code, reason = "a hint to the processor")]
pub(crate) fn ask_to_write<T>(numbers: &[T]) {
    let lines = numbers.as_ptr_range();
    for line in (lines.start.addr()..lines.end.addr()).step_by(LINE) {
        #[cfg(target_arch = "x86_64")]
        {
            use std::arch::x86_64::{_MM_HINT_ET0, _mm_prefetch};
            // SAFETY: a hint, which may name any address.
            unsafe { _mm_prefetch::<_MM_HINT_ET0>(std::ptr::without_provenance(line)) }
        }
        #[cfg(not(target_arch = "x86_64"))]
        let _ = line;
    }
}

/// Asks for a line.
#[inline]
#[allow(unsafe_code, reason = "a hint to the processor")]
fn ask(address: usize) {
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::x86_64::{_MM_HINT_T1, _mm_prefetch};
        // SAFETY: a hint, which may name any address.
        unsafe { _mm_prefetch::<_MM_HINT_T1>(std::ptr::without_provenance(address)) }
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = address;
}
