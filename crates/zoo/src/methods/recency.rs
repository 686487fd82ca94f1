//! Null baseline: of the output, only the newest entries stay; the prompt's entries are pinned.
//!
//! A sliding window behind a protected prompt, the other null baseline of <https://arxiv.org/abs/2609.03430>. It
//! separates what SCOPE gains by protecting the prompt from what its scores add.

use serde::{Deserialize, Serialize};

use crate::method::DecodeMethod;
use crate::{Context, DecodePolicy, Error, Pin, Schedule, Score, Selector, Size};

/// Age decides what stays of the output.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recency {
    /// Entries kept of the output.
    pub budget: usize,
}

impl DecodeMethod for Recency {
    fn example() -> Self {
        Self { budget: 512 }
    }

    fn check(&self) -> Result<(), Error> {
        if self.budget == 0 {
            return Err(Error::Value {
                method: "recency",
                key: "budget",
                value: 0,
                rule: "must be at least 1",
            });
        }
        Ok(())
    }

    fn policy(&self, _: Context) -> DecodePolicy {
        DecodePolicy::new(
            Schedule::EveryStep(Size::Fixed(self.budget)),
            Selector::new([Pin::Prompt], Score::Newest),
        )
    }
}
