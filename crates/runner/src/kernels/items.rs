use std::marker::PhantomData;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Items that threads take one after the other.
#[derive(Debug)]
pub(super) struct Items<'a, T> {
    first: *mut Option<T>,
    count: usize,
    taken: AtomicUsize,
    slice: PhantomData<&'a mut [Option<T>]>,
}

// SAFETY: a pointer into a slice that is borrowed for as long as this lives. Each place is reached by one thread alone, the one that was given its number,
// and what stands there is handed over to it.
#[allow(unsafe_code, reason = "see above")]
unsafe impl<T: Send> Sync for Items<'_, T> {}

impl<'a, T> Items<'a, T> {
    pub(super) fn new(items: &'a mut [Option<T>]) -> Self {
        Self {
            first: items.as_mut_ptr(),
            count: items.len(),
            taken: AtomicUsize::new(0),
            slice: PhantomData,
        }
    }

    /// The next item, if any is left.
    pub(super) fn next(&self) -> Option<T> {
        let place = self.taken.fetch_add(1, Ordering::Relaxed);
        if place >= self.count {
            return None;
        }
        // SAFETY: within the slice, and no other thread is given this number.
        #[allow(unsafe_code, reason = "see above")]
        unsafe {
            (*self.first.add(place)).take()
        }
    }
}
