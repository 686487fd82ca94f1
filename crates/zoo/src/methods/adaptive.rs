//! SCOPE's adaptive: as slide, but the window grows linearly from `recent` to `budget` over the output.
//!
//! Wu et al. 2025, §3.2 and Eq. 4, <https://arxiv.org/abs/2412.13649>. It selects earlier than slide and holds less memory on
//! average; the longest output must be known in advance.
//!
//! # Differs
//! - From the published code: growth follows Eq. 4, `(t - recent)·heavy / (T - recent)` for `t > recent` and at most `heavy`,
//!   where `t` counts the generated tokens in the cache, this step's included, so that a budget which covers the output evicts
//!   nothing. The code grows by one every δ steps from the first step on, and past the budget.
//! - As for `slide`: the true boundary, and one selection per KV head.

use serde::{Deserialize, Serialize};

use super::slide::check_recent;
use crate::class::Class;
use crate::method::DecodeMethod;
use crate::{Context, DecodePolicy, Error, Pin, Schedule, Score, Selector, Size};

/// A window over the output that grows with it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Adaptive {
    /// Entries kept of the longest output (SCOPE: β1 + β2).
    pub budget: usize,
    /// Newest entries, kept whatever their score (SCOPE: β2 = 256); the size of the window at the start.
    pub recent: usize,
    /// Steps between growths by one entry, in `mode = "reference"` only; left out, as many as let the longest output reach `budget` at its end (SCOPE: δ).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interval: Option<usize>,
}

impl DecodeMethod for Adaptive {
    fn example() -> Self {
        Self { budget: 512, recent: 256, interval: None }
    }

    fn check(&self) -> Result<(), Error> {
        check_interval("adaptive", self.interval)?;
        check_recent("adaptive", self.recent, self.budget)
    }

    fn check_sound(&self) -> Result<(), Error> {
        match self.interval {
            Some(_) => Err(Error::Mode { method: "adaptive", key: "interval", mode: "reference" }),
            None => Ok(()),
        }
    }

    fn policy(&self, context: Context) -> DecodePolicy {
        DecodePolicy::new(
            Schedule::EveryStep(Size::Growing {
                recent: self.recent,
                heavy: self.budget - self.recent,
                tokens: context.max_new_tokens,
            }),
            Selector::new([Pin::Prompt, Pin::Recent(self.recent)], Score::ThisQuery),
        )
    }

    fn published(&self, class: &Class, context: Context) -> Option<DecodePolicy> {
        let quota = class.growth(self.interval, self.budget, self.recent, context);
        Some(class.scope(quota, false, self.recent))
    }
}

/// An interval counts steps.
pub(super) fn check_interval(method: &'static str, interval: Option<usize>) -> Result<(), Error> {
    match interval {
        Some(0) => {
            Err(Error::Value { method, key: "interval", value: 0, rule: "must be at least 1" })
        }
        _ => Ok(()),
    }
}
