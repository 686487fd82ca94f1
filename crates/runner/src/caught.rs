//! Panics of libraries that read files: what they find out so is an error here, and nothing is printed.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind, set_hook, take_hook};
use std::sync::Once;

thread_local! {
    static QUIET: Cell<bool> = const { Cell::new(false) };
}

static HOOK: Once = Once::new();

/// What `read` returns, or nothing if it panics on this thread. Panics elsewhere are reported as ever.
pub(crate) fn caught<T>(read: impl FnOnce() -> T) -> Option<T> {
    HOOK.call_once(|| {
        let report = take_hook();
        set_hook(Box::new(move |panic| {
            if !QUIET.get() {
                report(panic);
            }
        }));
    });
    let before = QUIET.replace(true);
    let result = catch_unwind(AssertUnwindSafe(read));
    QUIET.set(before);
    result.ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_nothing_and_a_value_is_itself() {
        assert_eq!(caught(|| 7), Some(7));
        assert_eq!(caught(|| panic!("not printed")), None::<u8>);
        assert!(!QUIET.get());
    }
}
