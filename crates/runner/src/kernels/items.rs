use std::marker::PhantomData;
use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Items that threads take one after the other, each from a part of its own as long as there are any.
#[derive(Debug)]
pub(super) struct Items<'a, T> {
    first: *mut Option<T>,
    parts: Vec<Part>,
    slice: PhantomData<&'a mut [Option<T>]>,
}

#[derive(Debug)]
struct Part {
    next: AtomicUsize,
    end: usize,
}

// SAFETY: a pointer into a slice that is borrowed for as long as this lives. Each place is reached by one thread alone, the one that was given its number,
// and what stands there is handed over to it.
#[allow(unsafe_code, reason = "see above")]
unsafe impl<T: Send> Sync for Items<'_, T> {}

impl<'a, T> Items<'a, T> {
    /// # Panics
    /// If the parts go beyond the items.
    pub(super) fn new(
        items: &'a mut [Option<T>],
        parts: impl Iterator<Item = Range<usize>>,
    ) -> Self {
        let part = |Range { start, end }: Range<usize>| {
            assert!(end <= items.len(), "parts of the items");
            Part { next: AtomicUsize::new(start), end }
        };
        let parts = parts.map(part).collect();
        Self { first: items.as_mut_ptr(), parts, slice: PhantomData }
    }

    /// The next item of a part, or of those after it, if any is left.
    pub(super) fn next(&self, part: usize) -> Option<T> {
        let (before, from) = self.parts.split_at(part);
        let place = from.iter().chain(before).find_map(|part| {
            let place = part.next.fetch_add(1, Ordering::Relaxed);
            (place < part.end).then_some(place)
        })?;
        // SAFETY: within the slice, and no other thread is given this number: parts do not meet.
        #[allow(unsafe_code, reason = "see above")]
        unsafe {
            (*self.first.add(place)).take()
        }
    }
}
