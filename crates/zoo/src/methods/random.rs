//! Null baseline: of the output, the newest entries and random others stay; the prompt's entries are pinned.
//!
//! One entry is drawn at each step once the budget is full, so an entry's chance to live falls geometrically with its age: a soft
//! window, not a uniform sample of the output.
//!
//! The decode rule of "Random Attention" (2026), <https://arxiv.org/abs/2609.03430>, under SCOPE's protection of the prompt: a
//! method that does not beat it has shown no signal in its scores, only in what it pins.
//!
//! # Differs
//! - From the paper: one entry is dropped per step instead of a batch every 64 steps, so that it holds exactly as many entries as
//!   `slide` does at the same step, both in sound mode.

use serde::{Deserialize, Serialize};

use super::slide::check_recent;
use crate::method::DecodeMethod;
use crate::{Context, DecodePolicy, Error, Pin, Schedule, Score, Selector, Size};

/// Chance decides what stays of the output.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Random {
    /// Entries kept of the output.
    pub budget: usize,
    /// Newest of them, always kept.
    pub recent: usize,
}

impl DecodeMethod for Random {
    fn example() -> Self {
        Self { budget: 512, recent: 256 }
    }

    fn check(&self) -> Result<(), Error> {
        check_recent("random", self.recent, self.budget)
    }

    fn policy(&self, _: Context) -> DecodePolicy {
        DecodePolicy::new(
            Schedule::EveryStep(Size::Fixed(self.budget)),
            Selector::new([Pin::Prompt, Pin::Recent(self.recent)], Score::Random),
        )
    }
}
