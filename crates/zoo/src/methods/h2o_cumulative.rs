//! The original heavy hitters: the entries that received most attention so far, over all queries that could see them.
//!
//! Zhang et al. 2023, "H2O: Heavy-Hitter Oracle for Efficient Generative Inference of Large Language Models", §4,
//! <https://arxiv.org/abs/2306.14048>. An entry's score starts with the attention that the prompt's queries gave it, and every step adds
//! what that step's query gives. Prompt and output compete for one budget; the last `recent` are safe.
//!
//! # Differs
//! - From the paper: one selection per KV head, by the sum over its group; the paper has one query head per KV head.
//! - From the paper: `budget` counts entries beyond what prefill left, as for all decode methods here; the paper takes a
//!   tenth of the prompt for heavy hitters and a tenth for the recent ones.
//! - From the paper's code for accuracy: entries are really evicted, where that code masks them and saves no memory.

use serde::{Deserialize, Serialize};

use super::slide::check_recent;
use crate::method::DecodeMethod;
use crate::{Context, DecodePolicy, Error, Pin, Schedule, Score, Selector, Size};

/// One budget for prompt and output, attention summed over all steps decides.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct H2oCumulative {
    /// Entries that decode adds to what prefill left; all of them compete.
    pub budget: usize,
    /// Newest entries, kept whatever their score.
    pub recent: usize,
}

impl DecodeMethod for H2oCumulative {
    fn example() -> Self {
        Self { budget: 512, recent: 256 }
    }

    fn check(&self) -> Result<(), Error> {
        check_recent("h2o-cumulative", self.recent, self.budget)
    }

    fn policy(&self, _: Context) -> DecodePolicy {
        DecodePolicy::new(
            Schedule::EveryStep(Size::Fixed(self.budget)),
            Selector::new([Pin::Recent(self.recent)], Score::Accumulated),
        )
    }
}
