//! H2O's scores under budgets that fall with depth, in both phases.
//!
//! Yang et al. 2024, "`PyramidInfer`: Pyramid KV Cache Compression for High-throughput LLM Inference", <https://arxiv.org/abs/2405.12532>,
//! as SCOPE's study re-implements it (Wu et al. 2025, <https://arxiv.org/abs/2412.13649>): attention from all prompt queries, the
//! layers' budgets of `pyramidkv`; then one budget for prompt and output, whose history falls from three halves of the mean in the first layer
//! to one half in the last, as long as the longest output exceeds the budget.
//!
//! # Differs
//! - From the paper: hidden states are not dropped between layers during prefill, and decode chooses by this step's query alone.
//! - From the study's code: prefill scores use the full causal mask; a prompt too short for a pyramid keeps `budget` entries, not `window` more;
//!   the layers' budgets add up exactly.
//! - From the study's code: decode falls with depth at all. There the branch that would do so is never reached at the study's budgets,
//!   so that its decode is H2O's.
//! - From the study's code: one selection per KV head, by the sum over its group.

use serde::{Deserialize, Serialize};

use super::pyramidkv::{check_slope, default_slope};
use super::slide::{check_budget, check_recent};
use crate::class::Class;
use crate::method::{DecodeMethod, PrefillMethod};
use crate::{
    Allocate, Context, DecodePolicy, Error, Mask, Pin, PrefillPolicy, Pyramid, Quota, Schedule,
    Score, Selector, Size, Steps,
};

/// Attention from all prompt queries decides; lower layers keep more.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PyramidInferPrefill {
    /// Entries kept of the prompt, mean over layers.
    pub budget: usize,
    /// Newest prompt entries, kept whatever their score.
    #[serde(default = "super::snapkv::default_window")]
    pub window: usize,
    /// How much less the last layer keeps than the mean.
    #[serde(default = "default_slope")]
    pub slope: usize,
}

/// One budget for prompt and output that falls with depth, this step's attention decides.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PyramidInferDecode {
    /// Entries that decode adds to what prefill left, mean over layers; all of them compete.
    pub budget: usize,
    /// Newest entries, kept whatever their score.
    pub recent: usize,
}

impl PyramidInferPrefill {
    fn allocate(&self, shallow: usize, steps: Steps) -> Allocate {
        let Self { budget, window, slope } = *self;
        Allocate::Pyramid(Pyramid { budget, window, slope, shallow, steps })
    }
}

impl PrefillMethod for PyramidInferPrefill {
    fn example() -> Self {
        Self { budget: 2048, window: 8, slope: 20 }
    }

    fn check(&self) -> Result<(), Error> {
        check_budget("pyramidinfer", self.budget)?;
        if self.window > self.budget {
            return Err(Error::NoRoom {
                method: "pyramidinfer",
                key: "window",
                pinned: self.window,
                budget: self.budget,
            });
        }
        check_slope("pyramidinfer", self.slope)
    }

    fn policy(&self) -> PrefillPolicy {
        PrefillPolicy::Budget {
            allocate: self.allocate(self.budget, Steps::Exact),
            selector: Selector::new([Pin::Recent(self.window)], Score::AllQueries(Mask::Causal)),
        }
    }

    fn published(&self) -> Option<Class> {
        let score = Score::AllQueries(Mask::Corner(self.window));
        let policy = PrefillPolicy::Budget {
            allocate: self.allocate(self.budget.saturating_add(self.window), Steps::Published),
            selector: Selector::new([Pin::LastEntries(self.window)], score).in_order_of_score(),
        };
        Some(Class::new(policy, self.budget))
    }
}

impl DecodeMethod for PyramidInferDecode {
    fn example() -> Self {
        Self { budget: 512, recent: 256 }
    }

    fn check(&self) -> Result<(), Error> {
        check_recent("pyramidinfer", self.recent, self.budget)
    }

    fn policy(&self, context: Context) -> DecodePolicy {
        let Self { budget, recent } = *self;
        let size = if context.max_new_tokens <= budget {
            Size::Fixed(budget)
        } else {
            Size::Falling { recent, heavy: budget - recent }
        };
        DecodePolicy::new(
            Schedule::EveryStep(size),
            Selector::new([Pin::Recent(recent)], Score::ThisQuery),
        )
    }

    fn published(&self, class: &Class, _: Context) -> Option<DecodePolicy> {
        let Self { budget, recent } = *self;
        Some(class.unified(Quota::Pyramid { budget, recent }, Score::ThisQuery, recent))
    }
}
