use std::marker::PhantomData;
use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Numbers from nought on that threads take piece by piece, each from a part of its own as long as there are any, and then from others'.
#[derive(Debug)]
pub(super) struct Parts(Vec<Part>);

/// Threads that count in parts of their own should not have to take lines of memory from each other.
#[derive(Debug)]
#[repr(align(128))]
struct Part {
    next: AtomicUsize,
    end: usize,
}

/// One of the contiguous parts, of one size if possible, that `0..count` is cut into.
pub(super) fn part_of(count: usize, part: usize, parts: usize) -> Range<usize> {
    count * part / parts..count * (part + 1) / parts
}

impl Parts {
    /// `0..count` in contiguous parts.
    pub(super) fn new(count: usize, parts: usize) -> Self {
        let ranges = (0..parts).map(|part| part_of(count, part, parts));
        Self(ranges.map(|range| Part { next: range.start.into(), end: range.end }).collect())
    }

    /// The next `size` numbers of a part, or of one after it, or what is left there; nobody else gets them.
    pub(super) fn next(&self, part: usize, size: usize) -> Option<Range<usize>> {
        let (before, from) = self.0.split_at(part);
        from.iter().chain(before).find_map(|part| {
            let start = part.next.fetch_add(size, Ordering::Relaxed);
            (start < part.end).then(|| start..part.end.min(start + size))
        })
    }
}

/// Items that threads take one after the other.
#[derive(Debug)]
pub(super) struct Items<'a, T> {
    first: *mut Option<T>,
    parts: Parts,
    slice: PhantomData<&'a mut [Option<T>]>,
}

// SAFETY: a pointer into a slice that is borrowed for as long as this lives. Each place is reached by one thread alone, the one that was given its number,
// and what stands there is handed over to it.
#[allow(unsafe_code, reason = "see above")]
unsafe impl<T: Send> Sync for Items<'_, T> {}

impl<'a, T> Items<'a, T> {
    pub(super) fn new(items: &'a mut [Option<T>], parts: usize) -> Self {
        let parts = Parts::new(items.len(), parts);
        Self { first: items.as_mut_ptr(), parts, slice: PhantomData }
    }

    /// The next item of a part, or of one after it, if any is left.
    pub(super) fn next(&self, part: usize) -> Option<T> {
        let place = self.parts.next(part, 1)?.start;
        // SAFETY: within the slice, and no other thread is given this number.
        #[allow(unsafe_code, reason = "see above")]
        unsafe {
            (*self.first.add(place)).take()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_goes_to_one_caller_whatever_its_part() {
        for (count, parts, size) in [(0, 1, 1), (1, 3, 1), (10, 3, 1), (10, 3, 4), (64, 4, 5)] {
            for part in 0..parts {
                let all = Parts::new(count, parts);
                let mut taken: Vec<usize> =
                    std::iter::from_fn(|| all.next(part, size)).flatten().collect();
                taken.sort_unstable();
                assert_eq!(taken, (0..count).collect::<Vec<_>>(), "{parts} parts by {size}");
            }
        }
    }
}
