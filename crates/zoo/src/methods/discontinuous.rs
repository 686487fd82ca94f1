//! SCOPE's discontinuous: adaptive's sizes, but a selection only every ζ steps.
//!
//! Wu et al. 2025, §3.2 and Figure 8, <https://arxiv.org/abs/2412.13649>. ζ = (T - `recent`) div (`budget` - `recent`), so that about
//! `budget - recent` selections happen in all. Between two selections new entries are simply appended: up to ζ entries
//! more than the budget are held for a while.
//!
//! # Differs
//! - From the published code: a selection every ζ steps, as the paper's Figure 8 has it; the code skips δ steps after the first
//!   overflow and so selects every δ + 1.
//! - As for `adaptive`: growth by Eq. 4, the true boundary, and one selection per KV head.

use serde::{Deserialize, Serialize};

use super::adaptive::check_interval;
use super::slide::check_recent;
use crate::class::{Class, interval};
use crate::method::DecodeMethod;
use crate::{Context, DecodePolicy, Error, Pin, Schedule, Score, Selector, Size};

/// A growing window over the output, cut to size now and then.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Discontinuous {
    /// Entries kept of the longest output (SCOPE: β1 + β2).
    pub budget: usize,
    /// Newest entries, kept whatever their score (SCOPE: β2 = 256); the size of the window at the start.
    pub recent: usize,
    /// Steps between selections, and in `mode = "reference"` between growths too; left out, as many as let the longest output reach `budget` at its end (SCOPE: ζ, δ).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interval: Option<usize>,
}

impl DecodeMethod for Discontinuous {
    fn example() -> Self {
        Self { budget: 512, recent: 256, interval: None }
    }

    fn check(&self) -> Result<(), Error> {
        check_interval("discontinuous", self.interval)?;
        check_recent("discontinuous", self.recent, self.budget)
    }

    fn policy(&self, context: Context) -> DecodePolicy {
        let heavy = self.budget - self.recent;
        let tokens = context.max_new_tokens;
        let derived = || interval(self.budget, self.recent, context);
        let interval = self.interval.unwrap_or_else(derived);
        DecodePolicy::new(
            Schedule::Every {
                interval,
                size: Size::Growing { recent: self.recent, heavy, tokens },
            },
            Selector::new([Pin::Prompt, Pin::Recent(self.recent)], Score::ThisQuery),
        )
    }

    fn published(&self, class: &Class, context: Context) -> Option<DecodePolicy> {
        let quota = class.growth(self.interval, self.budget, self.recent, context);
        Some(class.scope(quota, true, self.recent))
    }
}
