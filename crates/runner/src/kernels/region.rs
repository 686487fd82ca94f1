//! Memory in large pieces, which are cut into runs.
//!
//! Weights and caches are read from their beginning to their end at each step. That is fast where they lie in one piece, along which the processor looks
//! ahead, and in huge pages, whose addresses it finds sooner.

use std::io;
use std::ops::{Deref, DerefMut};
use std::ptr::NonNull;
use std::sync::Arc;

use memmap2::{MmapOptions, MmapRaw};

use half::f16;

use super::LINE;

/// Bytes of a huge page.
const HUGE: usize = 2 << 20;

/// What a [`Shelf`] takes from the system at a time.
const SHELF: usize = 32 << 20;

/// A number, or several.
///
/// # Safety
/// Noughts are a value, and it is aligned to no more than a line.
#[allow(unsafe_code, reason = "see above")]
pub(crate) unsafe trait Plain: Copy {}

// SAFETY: as every float.
#[allow(unsafe_code, reason = "see above")]
unsafe impl Plain for f32 {}
// SAFETY: as above.
#[allow(unsafe_code, reason = "see above")]
unsafe impl Plain for f16 {}
// SAFETY: as its numbers.
#[allow(unsafe_code, reason = "see above")]
unsafe impl<T: Plain, const N: usize> Plain for [T; N] {}

/// Memory from the system: noughts, and nothing is taken of what is never written. Each run begins with a line.
#[derive(Debug)]
pub(crate) struct Region {
    memory: Arc<MmapRaw>,
    rest: *mut u8,
    bytes_left: usize,
}

/// Some numbers in a region, which lives as long as any of its runs.
pub(crate) struct Run<T> {
    first: NonNull<T>,
    count: usize,
    _memory: Option<Arc<MmapRaw>>,
}

impl Region {
    /// So many bytes. Those that are expected to be `filled` may lie in huge pages, of which the system takes all if one byte is written.
    ///
    /// # Errors
    /// The system has no memory left.
    pub(crate) fn new(bytes: usize, filled: bool) -> io::Result<Self> {
        let huge = filled && bytes >= HUGE;
        let length = bytes.saturating_add(if huge { HUGE } else { 0 });
        // Nothing is set aside for what may never be written.
        let memory = MmapOptions::new().len(length).no_reserve_swap().map_anon()?;
        let memory = MmapRaw::from(memory);
        let start = if huge { memory.as_ptr().align_offset(HUGE) } else { 0 };
        #[cfg(target_os = "linux")]
        {
            use memmap2::Advice::{HugePage, NoHugePage};
            // A system without huge pages has others.
            let _ = if huge {
                memory.advise_range(HugePage, start, bytes / HUGE * HUGE)
            } else {
                memory.advise_range(NoHugePage, 0, length)
            };
        }
        let rest = memory.as_mut_ptr().wrapping_add(start);
        Ok(Self { memory: Arc::new(memory), rest, bytes_left: bytes })
    }

    /// Bytes that a run of `count` numbers takes.
    pub(crate) fn bytes_of<T: Plain>(count: usize) -> usize {
        let bytes = count.checked_mul(size_of::<T>());
        bytes.and_then(|bytes| bytes.checked_next_multiple_of(LINE)).unwrap_or(usize::MAX)
    }

    /// The next `count` numbers, all of them nought.
    ///
    /// # Panics
    /// If fewer are left.
    pub(crate) fn run<T: Plain>(&mut self, count: usize) -> Run<T> {
        let bytes = Self::bytes_of::<T>(count);
        assert!(bytes <= self.bytes_left, "a region is cut into what it was made for");
        let Some(first) = NonNull::new(self.rest.cast::<T>()) else {
            unreachable!("the system maps nothing at nought")
        };
        self.rest = self.rest.wrapping_add(bytes);
        self.bytes_left -= bytes;
        Run { first, count, _memory: Some(Arc::clone(&self.memory)) }
    }
}

/// A region that grows, for what is filled at once and how much it will be is not known yet.
#[derive(Debug, Default)]
pub(crate) struct Shelf(Option<Region>);

impl Shelf {
    /// A run of `count` noughts.
    ///
    /// # Errors
    /// The system has no memory left.
    pub(crate) fn run<T: Plain>(&mut self, count: usize) -> io::Result<Run<T>> {
        let bytes = Region::bytes_of::<T>(count);
        let region = match self.0.take().filter(|region| bytes <= region.bytes_left) {
            Some(region) => region,
            None => Region::new(bytes.max(SHELF), true)?,
        };
        Ok(self.0.insert(region).run(count))
    }
}

// SAFETY: a run is the only way to its numbers, as a box is.
#[allow(unsafe_code, reason = "see above")]
unsafe impl<T: Send> Send for Run<T> {}
// SAFETY: as above.
#[allow(unsafe_code, reason = "see above")]
unsafe impl<T: Sync> Sync for Run<T> {}

impl<T> Default for Run<T> {
    fn default() -> Self {
        Self { first: NonNull::dangling(), count: 0, _memory: None }
    }
}

impl<T> std::fmt::Debug for Run<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Run").field("count", &self.count).finish_non_exhaustive()
    }
}

impl<T> Deref for Run<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        // SAFETY: none, or made by `Region::run`: as many numbers in memory that `_memory` keeps, aligned to a line, in no other run, and [`Plain`].
        #[allow(unsafe_code, reason = "see above")]
        unsafe {
            std::slice::from_raw_parts(self.first.as_ptr(), self.count)
        }
    }
}

impl<T> DerefMut for Run<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        // SAFETY: as above.
        #[allow(unsafe_code, reason = "see above")]
        unsafe {
            std::slice::from_raw_parts_mut(self.first.as_ptr(), self.count)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_are_noughts_and_do_not_meet() {
        for filled in [false, true] {
            let counts = [0, 1, 16, 17, 1 << 20];
            let bytes = counts.iter().map(|&count| Region::bytes_of::<f32>(count)).sum();
            let mut region = Region::new(bytes, filled).unwrap();
            assert!(!filled || region.rest.addr().is_multiple_of(HUGE));
            let mut runs: Vec<Run<f32>> = counts.iter().map(|&count| region.run(count)).collect();
            drop(region);
            for (number, run) in (1u8..).zip(&mut runs) {
                assert!(run.as_ptr().addr().is_multiple_of(LINE));
                assert_eq!(run[..], vec![0.0; run.len()]);
                run.fill(f32::from(number));
            }
            for ((number, run), count) in (1u8..).zip(&runs).zip(counts) {
                assert_eq!(run[..], vec![f32::from(number); count]);
            }
        }
    }

    #[test]
    fn a_shelf_has_room_for_more_than_it_began_with() {
        let mut shelf = Shelf::default();
        let sizes = [1, SHELF / 4 - 100, 200, SHELF];
        let mut runs: Vec<Run<f32>> = sizes.iter().map(|&size| shelf.run(size).unwrap()).collect();
        for (number, run) in (1u8..).zip(&mut runs) {
            run.fill(f32::from(number));
        }
        for ((number, run), size) in (1u8..).zip(&runs).zip(sizes) {
            assert_eq!(run[..], vec![f32::from(number); size]);
        }
    }

    #[test]
    #[should_panic(expected = "cut into what it was made for")]
    fn a_region_has_no_more_than_it_was_made_for() {
        Region::new(100, false).unwrap().run::<f32>(26);
    }
}
