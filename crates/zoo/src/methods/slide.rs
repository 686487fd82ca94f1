//! SCOPE's slide: the prompt's entries are frozen, and a window of fixed size slides over the output.
//!
//! Wu et al. 2025, "SCOPE: Optimizing Key-Value Cache Compression in Long-context Generation", §3.2,
//! <https://arxiv.org/abs/2412.13649>.
//!
//! Once more than `budget` tokens have been generated, each step keeps the last `recent` of them and, of the others, those
//! that this step's query attends to most. What prefill left is never touched.
//!
//! # Differs
//! - From the published code: the boundary between prompt and output is where the prompt's entries really end, not the
//!   configured prefill budget.
//! - From the published code: one selection per KV head, by the sum over its group, not one per query head.
//! - From the published code: nothing happens on a step that would drop nothing.

use serde::{Deserialize, Serialize};

use crate::class::Class;
use crate::method::DecodeMethod;
use crate::{Context, DecodePolicy, Error, Pin, Quota, Schedule, Score, Selector, Size};

/// A window of fixed size over the output.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Slide {
    /// Entries kept of the output (SCOPE: β1 + β2).
    pub budget: usize,
    /// Newest of them, kept whatever their score (SCOPE: β2 = 256).
    pub recent: usize,
}

impl DecodeMethod for Slide {
    fn example() -> Self {
        Self { budget: 512, recent: 256 }
    }

    fn check(&self) -> Result<(), Error> {
        check_recent("slide", self.recent, self.budget)
    }

    fn policy(&self, _: Context) -> DecodePolicy {
        DecodePolicy::new(
            Schedule::EveryStep(Size::Fixed(self.budget)),
            Selector::new([Pin::Prompt, Pin::Recent(self.recent)], Score::ThisQuery),
        )
    }

    fn published(&self, class: &Class, _: Context) -> Option<DecodePolicy> {
        Some(class.scope(Quota::Fixed(self.budget), false, self.recent))
    }
}

/// A decode budget must hold its recent window, and that window this step's own entry.
pub(super) fn check_recent(
    method: &'static str,
    recent: usize,
    budget: usize,
) -> Result<(), Error> {
    if recent == 0 {
        return Err(Error::Value { method, key: "recent", value: 0, rule: "must be at least 1" });
    }
    if recent > budget {
        return Err(Error::NoRoom { method, key: "recent", pinned: recent, budget });
    }
    Ok(())
}

/// A budget of nothing would leave an empty cache.
pub(super) fn check_budget(method: &'static str, budget: usize) -> Result<(), Error> {
    match budget {
        0 => Err(Error::Value { method, key: "budget", value: 0, rule: "must be at least 1" }),
        _ => Ok(()),
    }
}
