//! Heavy hitters: the entries that received most attention stay, beside the newest ones.
//!
//! Zhang et al. 2023, "H2O: Heavy-Hitter Oracle for Efficient Generative Inference of Large Language Models",
//! <https://arxiv.org/abs/2306.14048>, as SCOPE's study runs it (Wu et al. 2025, <https://arxiv.org/abs/2412.13649>).
//!
//! Prefill scores an entry by the attention it received from all prompt queries, and keeps the best
//! `budget - window` of those before the last `window`, which stay. Decode is *unified*: one budget for prompt and
//! output together, nothing protected but the last `recent`; each step ranks all the rest by that step's query.
//!
//! # Differs
//! - From the paper: decode does not accumulate attention over steps. SCOPE's published code ranks by the current
//!   query alone, and the study's H2O rows come from that. The original is `h2o-cumulative`.
//! - From the published code: prefill scores use the full causal mask, where the code masks only the last
//!   `window` × `window` block, so that early queries attend to the future.
//! - From the published code: one selection per KV head, by the sum over its group, where the code copies the cache
//!   to every query head and selects for each.
//! - From the published code: decode may hold `budget` entries beyond what prefill really left, not beyond the prefill
//!   budget, so that all arms hold the same number when a prompt is shorter than that budget.

use serde::{Deserialize, Serialize};

use super::slide::{check_budget, check_recent};
use crate::class::Class;
use crate::method::{DecodeMethod, PrefillMethod};
use crate::{
    Allocate, Context, DecodePolicy, Error, Mask, Pin, PrefillPolicy, Quota, Schedule, Score,
    Selector, Size,
};

/// Attention from all prompt queries decides.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct H2oPrefill {
    /// Entries kept of the prompt (SCOPE: α1 + α2).
    pub budget: usize,
    /// Newest prompt entries, kept whatever their score (SCOPE: α2 = 8).
    #[serde(default = "default_window")]
    pub window: usize,
}

/// One budget for prompt and output, this step's attention decides.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct H2oDecode {
    /// Entries that decode adds to what prefill left; all of them compete (SCOPE: β1 + β2).
    pub budget: usize,
    /// Newest entries, kept whatever their score (SCOPE: β2 = 256).
    pub recent: usize,
}

fn default_window() -> usize {
    8
}

impl PrefillMethod for H2oPrefill {
    fn example() -> Self {
        Self { budget: 2048, window: 8 }
    }

    fn check(&self) -> Result<(), Error> {
        check_budget("h2o", self.budget)?;
        if self.window > self.budget {
            return Err(Error::NoRoom {
                method: "h2o",
                key: "window",
                pinned: self.window,
                budget: self.budget,
            });
        }
        Ok(())
    }

    fn policy(&self) -> PrefillPolicy {
        PrefillPolicy::Budget {
            allocate: Allocate::Uniform(self.budget),
            selector: Selector::new([Pin::Recent(self.window)], Score::AllQueries(Mask::Causal)),
        }
    }

    fn published(&self) -> Option<Class> {
        let score = Score::AllQueries(Mask::Corner(self.window));
        let policy = PrefillPolicy::Budget {
            allocate: Allocate::Uniform(self.budget),
            selector: Selector::new([Pin::LastEntries(self.window)], score).in_order_of_score(),
        };
        Some(Class::new(policy, self.budget))
    }
}

impl DecodeMethod for H2oDecode {
    fn example() -> Self {
        Self { budget: 512, recent: 256 }
    }

    fn check(&self) -> Result<(), Error> {
        check_recent("h2o", self.recent, self.budget)
    }

    fn policy(&self, _: Context) -> DecodePolicy {
        DecodePolicy::new(
            Schedule::EveryStep(Size::Fixed(self.budget)),
            Selector::new([Pin::Recent(self.recent)], Score::ThisQuery),
        )
    }

    fn published(&self, class: &Class, _: Context) -> Option<DecodePolicy> {
        Some(class.unified(Quota::Fixed(self.budget), Score::ThisQuery, self.recent))
    }
}
