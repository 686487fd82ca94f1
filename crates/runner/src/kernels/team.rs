//! Threads that share a piece of work of some microseconds, many thousand times a second.

use std::cell::UnsafeCell;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, TryLockError};
use std::thread::{self, JoinHandle, Thread};

use super::items::{Items, Parts};

/// How often a thread looks for news before it goes to sleep: some 50 microseconds, longer than most waits within a step, and far shorter than a
/// time slice, so that a machine with other work to do loses little.
const LOOKS: usize = 4000;

/// Pieces that a thread's part of shared work is cut into, so that who is late is helped.
const PIECES: usize = 4;

/// A fixed number of threads, the caller among them.
///
/// A pool like rayon's hands work over in some 8 microseconds; a step of a small model has 150 such moments and takes 3000. These threads wait by
/// looking, for a bounded time, and then sleep.
#[derive(Debug)]
pub(crate) struct Team {
    shared: Arc<Shared>,
    helpers: Vec<JoinHandle<()>>,
    /// Held by whoever uses the helpers.
    busy: Mutex<()>,
}

/// What a thread does with its number.
type Work<'a> = dyn Fn(usize) + Sync + 'a;

struct Shared {
    /// Counts pieces of work; a new number is the news that helpers look for.
    round: AtomicUsize,
    /// Set before the last round.
    over: AtomicBool,
    /// Helpers that have not finished the round.
    working: AtomicUsize,
    panicked: AtomicBool,
    /// Of each helper, whether it sleeps or is about to.
    asleep: Vec<AtomicBool>,
    /// The round's work, there from its start until no helper is working.
    work: UnsafeCell<Option<*const Work<'static>>>,
}

// SAFETY: `work` is written by the thread that holds `busy`, and only while no helper is working; helpers read it between the round's number, which
// they acquire, and their subtraction from `working`, which the writer acquires. The pointer is to something `Sync`.
#[allow(unsafe_code, reason = "see above")]
unsafe impl Sync for Shared {}
// SAFETY: as above.
#[allow(unsafe_code, reason = "see above")]
unsafe impl Send for Shared {}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared").field("round", &self.round).finish_non_exhaustive()
    }
}

impl Team {
    /// A team of so many threads, one at least.
    pub(crate) fn new(threads: usize) -> Self {
        let helpers = threads.max(1) - 1;
        let shared = Arc::new(Shared {
            round: AtomicUsize::new(0),
            over: AtomicBool::new(false),
            working: AtomicUsize::new(0),
            panicked: AtomicBool::new(false),
            asleep: (0..helpers).map(|_| AtomicBool::new(false)).collect(),
            work: UnsafeCell::new(None),
        });
        let helper = |index| {
            let shared = Arc::clone(&shared);
            // A helper that cannot be had is done without.
            thread::Builder::new()
                .name(format!("team-{index}"))
                .spawn(move || shared.help(index))
                .ok()
        };
        let helpers = (0..helpers).map_while(helper).collect();
        Self { shared, helpers, busy: Mutex::new(()) }
    }

    /// Threads, the caller included.
    pub(crate) fn threads(&self) -> usize {
        self.helpers.len() + 1
    }

    /// Does all of `0..count` in pieces and waits for it: each thread goes along a contiguous part, and then takes pieces of what others have left. What
    /// comes of it must not depend on who does what. Where the team is at another caller's work, this one does its own alone.
    ///
    /// Each thread works with an `own` that it makes before its first piece.
    ///
    /// # Panics
    /// If a piece does.
    pub(crate) fn share<S>(
        &self,
        count: usize,
        own: impl Fn() -> S + Sync,
        work: impl Fn(&mut S, Range<usize>) + Sync,
    ) {
        let threads = self.threads();
        let parts = Parts::new(count, threads);
        let size = count.div_ceil(threads * PIECES).max(1);
        let all = |thread: usize| {
            let mut own = own();
            while let Some(piece) = parts.next(thread, size) {
                work(&mut own, piece);
            }
        };
        if count > 1 { self.on_all(all) } else { all(0) }
    }

    /// Hands each item to a thread and waits for all of them, as [`Team::share`].
    ///
    /// # Panics
    /// If the work at an item does.
    pub(crate) fn each_with<S, T: Send>(
        &self,
        items: impl IntoIterator<Item = T>,
        own: impl Fn() -> S + Sync,
        work: impl Fn(&mut S, T) + Sync,
    ) {
        let mut items: Vec<Option<T>> = items.into_iter().map(Some).collect();
        let count = items.len();
        let items = Items::new(&mut items, self.threads());
        let all = |thread: usize| {
            let mut own = own();
            while let Some(item) = items.next(thread) {
                work(&mut own, item);
            }
        };
        if count > 1 { self.on_all(all) } else { all(0) }
    }

    /// The same with nothing of a thread's own.
    ///
    /// # Panics
    /// If the work at an item does.
    pub(crate) fn each<T: Send>(
        &self,
        items: impl IntoIterator<Item = T>,
        work: impl Fn(T) + Sync,
    ) {
        self.each_with(items, || (), |(), item| work(item));
    }

    /// [`Team::each`] of work that can fail.
    ///
    /// # Errors
    /// Those of the first item in order whose work failed; the work at the others was done.
    pub(crate) fn try_each<T: Send, E: Send>(
        &self,
        items: impl IntoIterator<Item = T>,
        work: impl Fn(T) -> Result<(), E> + Sync,
    ) -> Result<(), E> {
        let failed: Mutex<Option<(usize, E)>> = Mutex::new(None);
        self.each(items.into_iter().enumerate(), |(place, item)| {
            if let Err(error) = work(item) {
                let mut failed = failed.lock().unwrap_or_else(PoisonError::into_inner);
                if failed.as_ref().is_none_or(|(first, _)| place < *first) {
                    *failed = Some((place, error));
                }
            }
        });
        let failed = failed.into_inner().unwrap_or_else(PoisonError::into_inner);
        failed.map_or(Ok(()), |(_, error)| Err(error))
    }

    /// Runs `work` on every thread of the team, under its number; the caller is number 0, and alone where the team is at another caller's work.
    fn on_all(&self, work: impl Fn(usize) + Sync) {
        let _busy = match self.busy.try_lock() {
            Ok(busy) => busy,
            Err(TryLockError::Poisoned(busy)) => busy.into_inner(),
            Err(TryLockError::WouldBlock) => return work(0),
        };
        if self.helpers.is_empty() {
            return work(0);
        }
        let work: &Work<'_> = &work;
        let shared = &*self.shared;
        let work_here = work;
        // SAFETY: only the lifetime changes. The pointer is dropped below, after the last helper has finished with it, whether or not the
        // caller's own part panics.
        #[allow(unsafe_code, clippy::transmute_ptr_to_ptr, reason = "see above; a cast cannot")]
        let work: *const Work<'static> =
            unsafe { std::mem::transmute::<*const Work<'_>, *const Work<'static>>(work) };
        // SAFETY: no helper is working, and `busy` is held.
        #[allow(unsafe_code, reason = "see above")]
        unsafe {
            *shared.work.get() = Some(work);
        }
        shared.working.store(self.helpers.len(), Ordering::Relaxed);
        shared.round.fetch_add(1, Ordering::SeqCst);
        self.wake();
        let own = catch_unwind(AssertUnwindSafe(|| work_here(0)));
        let mut looks = 0;
        while shared.working.load(Ordering::Acquire) > 0 {
            looks += 1;
            if looks < LOOKS { std::hint::spin_loop() } else { thread::yield_now() }
        }
        // SAFETY: no helper is working, and `busy` is held.
        #[allow(unsafe_code, reason = "see above")]
        unsafe {
            *shared.work.get() = None;
        }
        let panicked = shared.panicked.swap(false, Ordering::Relaxed);
        if let Err(panic) = own {
            resume_unwind(panic);
        }
        assert!(!panicked, "a thread of the team panicked");
    }

    fn wake(&self) {
        for (asleep, helper) in self.shared.asleep.iter().zip(&self.helpers) {
            if asleep.swap(false, Ordering::SeqCst) {
                Thread::unpark(helper.thread());
            }
        }
    }
}

impl Drop for Team {
    fn drop(&mut self) {
        self.shared.over.store(true, Ordering::Relaxed);
        self.shared.round.fetch_add(1, Ordering::SeqCst);
        self.wake();
        for helper in self.helpers.drain(..) {
            let _ = helper.join();
        }
    }
}

impl Shared {
    /// A helper's life.
    fn help(&self, index: usize) {
        let mut round = 0;
        loop {
            self.wait(index, round);
            round += 1;
            if self.over.load(Ordering::Relaxed) {
                return;
            }
            // SAFETY: the round has begun, and this helper is among those working: the work is there and stays.
            #[allow(unsafe_code, reason = "see above")]
            let work = unsafe { (*self.work.get()).map(|work| &*work) };
            if let Some(work) = work
                && catch_unwind(AssertUnwindSafe(|| work(index + 1))).is_err()
            {
                self.panicked.store(true, Ordering::Relaxed);
            }
            self.working.fetch_sub(1, Ordering::Release);
        }
    }

    /// Waits for the round after `round`.
    fn wait(&self, index: usize, round: usize) {
        for _ in 0..LOOKS {
            if self.round.load(Ordering::Acquire) != round {
                return;
            }
            std::hint::spin_loop();
        }
        loop {
            // Whoever begins a round changes its number first and looks here then; so one of the two sees the other.
            self.asleep[index].store(true, Ordering::SeqCst);
            if self.round.load(Ordering::SeqCst) != round {
                self.asleep[index].store(false, Ordering::Relaxed);
                return;
            }
            thread::park();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_part_is_done_once_awake_or_asleep() {
        let team = Team::new(4);
        for round in 0..2000 {
            let done: Vec<AtomicUsize> = (0..37).map(|_| AtomicUsize::new(0)).collect();
            team.share(
                done.len(),
                || (),
                |(), part| {
                    part.for_each(|i| {
                        done[i].fetch_add(1, Ordering::Relaxed);
                    });
                },
            );
            assert!(done.iter().all(|done| done.load(Ordering::Relaxed) == 1));
            if round % 100 == 0 {
                thread::sleep(std::time::Duration::from_millis(2));
            }
        }
    }

    #[test]
    fn every_item_is_worked_at_once() {
        let team = Team::new(3);
        for count in [0, 1, 2, 3, 100] {
            let mut items = vec![0; count];
            team.each(items.iter_mut(), |item| *item += 1);
            assert!(items.iter().all(|item| *item == 1));
        }
    }

    #[test]
    fn two_callers_do_not_meet() {
        let team = Team::new(2);
        let sum = AtomicUsize::new(0);
        thread::scope(|scope| {
            for _ in 0..3 {
                scope.spawn(|| {
                    for _ in 0..500 {
                        team.share(
                            10,
                            || (),
                            |(), part| {
                                sum.fetch_add(part.len(), Ordering::Relaxed);
                            },
                        );
                    }
                });
            }
        });
        assert_eq!(sum.into_inner(), 15_000);
    }

    #[test]
    fn a_panic_reaches_the_caller_and_the_team_lives_on() {
        let team = Team::new(3);
        for bad in 0..3 {
            let run =
                || team.share(3, || (), |(), part| assert!(!part.contains(&bad), "asked for"));
            assert!(catch_unwind(AssertUnwindSafe(run)).is_err());
        }
        assert!(
            catch_unwind(AssertUnwindSafe(|| team.share(3, || (), |(), _| panic!("asked for"))))
                .is_err()
        );
        team.share(3, || (), |(), _| {});
    }
}
