//! Work that may take only so much memory and time, for what a stranger's file can make grow without end.
//!
//! A library that runs out of memory ends the program. So the work runs on a thread whose allocations are counted, and one that
//! takes too much is left to itself, and the rest of the program goes on: over its memory its thread is parked, over its time nobody
//! waits for it any longer.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use crate::caught::caught;

/// The system's allocator, which keeps metered work within its bounds.
///
/// A program that reads model files of strangers makes it its global allocator. Without it only time is bounded.
#[derive(Debug, Clone, Copy)]
pub struct Metered;

/// What is left to the piece of metered work on this thread.
#[derive(Clone, Copy)]
struct Meter {
    work: u64,
    bytes: usize,
}

thread_local! {
    static METER: Cell<Option<Meter>> = const { Cell::new(None) };
}

/// One piece of work is metered at a time.
static WORKS: Mutex<u64> = Mutex::new(0);

/// The last piece of work that took more than it may.
static EXCEEDED: AtomicU64 = AtomicU64::new(0);

/// How often a waiting thread looks whether the work was stopped.
const GLANCE: Duration = Duration::from_millis(2);

/// Four times what a program's main thread has, for values that are nested deep.
const STACK_BYTES: usize = 32 << 20;

/// Why there is no result.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Stopped {
    #[error("it takes more than {} MiB of memory", .0 >> 20)]
    Memory(usize),
    #[error("it takes more than {} s", .0.as_secs())]
    Time(Duration),
    #[error("its parts do not fit together")]
    Panic,
    #[error("no thread can be started")]
    Thread,
}

/// What `work` returns, unless it takes more than so many bytes at once or more than so much time.
///
/// # Errors
/// What it took too much of. A thread that was stopped keeps what it has to the end of the program.
pub(crate) fn within<T: Send + 'static>(
    bytes: usize,
    time: Duration,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Stopped> {
    let mut works = WORKS.lock().unwrap_or_else(PoisonError::into_inner);
    *works += 1;
    let meter = Meter { work: *works, bytes };
    let (send, receive) = sync_channel(1);
    let began = Instant::now();
    let metered = move || {
        METER.set(Some(meter));
        let result = caught(work);
        METER.set(None);
        // Nobody waits any longer for what came too late.
        let _ = send.send(result);
    };
    let thread = thread::Builder::new().stack_size(STACK_BYTES).spawn(metered);
    thread.map_err(|_| Stopped::Thread)?;
    loop {
        match receive.recv_timeout(GLANCE) {
            Ok(result) => return result.ok_or(Stopped::Panic),
            Err(RecvTimeoutError::Disconnected) => return Err(Stopped::Panic),
            Err(RecvTimeoutError::Timeout) => {}
        }
        if EXCEEDED.load(Ordering::Acquire) == meter.work {
            return Err(Stopped::Memory(bytes));
        }
        if began.elapsed() > time {
            return Err(Stopped::Time(time));
        }
    }
}

impl Meter {
    /// Counts bytes of this thread, and comes back only if it may have them.
    fn take(bytes: usize) {
        // A thread that is ending has no meter any more.
        let Some(meter) = METER.try_with(Cell::get).ok().flatten() else { return };
        let left = meter.bytes.checked_sub(bytes).map(|bytes| Self { bytes, ..meter });
        METER.set(left);
        if left.is_none() {
            EXCEEDED.store(meter.work, Ordering::Release);
            loop {
                thread::park();
            }
        }
    }

    fn give_back(bytes: usize) {
        if let Some(meter) = METER.try_with(Cell::get).ok().flatten() {
            METER.set(Some(Self { bytes: meter.bytes.saturating_add(bytes), ..meter }));
        }
    }
}

#[allow(unsafe_code, reason = "an allocator is unsafe by its trait")]
// SAFETY: every call is the system allocator's, with the caller's own arguments; what is counted beside it allocates nothing.
unsafe impl GlobalAlloc for Metered {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        Meter::take(layout.size());
        // SAFETY: the caller keeps the promises of this function, which are the same.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        Meter::take(layout.size());
        // SAFETY: as above.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, bytes: usize) -> *mut u8 {
        // Old and new may exist at once.
        Meter::take(bytes);
        // SAFETY: as above.
        let moved = unsafe { System.realloc(block, layout, bytes) };
        Meter::give_back(layout.size());
        moved
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: as above.
        unsafe { System.dealloc(block, layout) }
        Meter::give_back(layout.size());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[global_allocator]
    static MEMORY: Metered = Metered;

    const LONG: Duration = Duration::from_mins(1);

    #[test]
    fn what_takes_too_much_is_stopped_and_the_next_is_not() {
        let take = |bytes: usize| within(1 << 20, LONG, move || vec![7u8; bytes].len());
        assert_eq!(take(1 << 19), Ok(1 << 19));
        assert_eq!(take(1 << 21), Err(Stopped::Memory(1 << 20)));
        assert_eq!(take(usize::MAX >> 1), Err(Stopped::Memory(1 << 20)));
        assert_eq!(take(1 << 19), Ok(1 << 19));
        let grow = || {
            let mut text = "x".to_owned();
            loop {
                text = text.repeat(2);
            }
        };
        assert_eq!(within::<()>(1 << 20, LONG, grow), Err(Stopped::Memory(1 << 20)));
    }

    #[test]
    fn what_is_given_back_counts_no_longer() {
        let take = || (0..64).map(|_| vec![7u8; 1 << 19].len()).sum::<usize>();
        assert_eq!(within(1 << 20, LONG, take), Ok(64 << 19));
    }

    #[test]
    fn what_never_ends_or_panics_is_an_error() {
        let time = Duration::from_millis(20);
        assert_eq!(
            within(1 << 20, time, || loop {
                thread::park();
            }),
            Err::<(), _>(Stopped::Time(time))
        );
        assert_eq!(within(1 << 20, LONG, || panic!("not printed")), Err::<(), _>(Stopped::Panic));
    }
}
