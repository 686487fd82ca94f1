//! Attention sinks and a sliding window: the first entries and the newest stay, whatever is attended to.
//!
//! Xiao et al. 2023, "Efficient Streaming Language Models with Attention Sinks", <https://arxiv.org/abs/2309.17453>.
//!
//! By default `sinks` = 4 first tokens stay and the window takes the rest of the budget, which is the paper's rule. Give `recent`
//! instead and the window has that size, while the rest of the budget goes to the *oldest* entries, frozen once it is full: that is
//! what SCOPE's study ran, with half the prefill budget and 256 entries of decode as `recent`.
//!
//! # Differs
//! - From the paper: entries keep the position at which they were rotated; the paper renumbers positions inside the cache.

use serde::{Deserialize, Serialize};

use crate::class::Class;
use crate::method::{DecodeMethod, PrefillMethod};
use crate::{
    Allocate, Context, DecodePolicy, Error, Pin, PrefillPolicy, Quota, Schedule, Score, Selector,
    Size,
};

/// First and last tokens of the prompt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StreamingLlmPrefill {
    /// Entries kept of the prompt.
    pub budget: usize,
    /// First tokens that stay (default 4); the window takes the rest of the budget.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sinks: Option<usize>,
    /// Newest tokens that stay; the oldest take the rest of the budget (SCOPE: half the budget).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recent: Option<usize>,
}

/// First and last tokens of prompt and output together.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StreamingLlmDecode {
    /// Entries that decode adds to what prefill left; the prompt's compete with them.
    pub budget: usize,
    /// First tokens that stay (default 4); the window takes the rest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sinks: Option<usize>,
    /// Newest entries that stay; the oldest take the rest (SCOPE: 256).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recent: Option<usize>,
}

/// Sinks that Xiao et al. found to suffice.
const SINKS: usize = 4;

impl PrefillMethod for StreamingLlmPrefill {
    fn example() -> Self {
        Self { budget: 2048, sinks: None, recent: Some(1024) }
    }

    fn check(&self) -> Result<(), Error> {
        check(self.budget, self.sinks, self.recent)
    }

    fn policy(&self) -> PrefillPolicy {
        PrefillPolicy::Budget {
            allocate: Allocate::Uniform(self.budget),
            selector: selector(self.sinks, self.recent),
        }
    }

    fn published(&self) -> Option<Class> {
        let recent = window(self.budget, self.sinks, self.recent);
        let pins = [Pin::LastEntries(recent)];
        let policy = PrefillPolicy::Budget {
            allocate: Allocate::Uniform(self.budget),
            selector: Selector::new(pins, Score::EarliestEntry).in_order_of_score(),
        };
        Some(Class::new(policy, self.budget))
    }
}

impl DecodeMethod for StreamingLlmDecode {
    fn example() -> Self {
        Self { budget: 512, sinks: None, recent: Some(256) }
    }

    fn check(&self) -> Result<(), Error> {
        check(self.budget, self.sinks, self.recent)
    }

    fn policy(&self, _: Context) -> DecodePolicy {
        DecodePolicy::new(
            Schedule::EveryStep(Size::Fixed(self.budget)),
            selector(self.sinks, self.recent),
        )
    }

    fn published(&self, class: &Class, _: Context) -> Option<DecodePolicy> {
        let recent = window(self.budget, self.sinks, self.recent);
        Some(class.unified(Quota::Fixed(self.budget), Score::EarliestEntry, recent))
    }
}

/// Entries of the budget that are held for being new.
fn window(budget: usize, sinks: Option<usize>, recent: Option<usize>) -> usize {
    recent.unwrap_or_else(|| budget - sinks.unwrap_or(SINKS))
}

fn check(budget: usize, sinks: Option<usize>, recent: Option<usize>) -> Result<(), Error> {
    let (key, pinned) = match (sinks, recent) {
        (Some(_), Some(_)) => {
            return Err(Error::Either {
                method: "streaming-llm",
                first: "sinks",
                second: "recent",
            });
        }
        (None, Some(0)) => {
            return Err(Error::Value {
                method: "streaming-llm",
                key: "recent",
                value: 0,
                rule: "must be at least 1",
            });
        }
        (None, Some(recent)) => ("recent", recent),
        (sinks, None) => ("sinks", sinks.unwrap_or(SINKS)),
    };
    if pinned > budget || key == "sinks" && pinned == budget {
        return Err(Error::NoRoom { method: "streaming-llm", key, pinned, budget });
    }
    Ok(())
}

fn selector(sinks: Option<usize>, recent: Option<usize>) -> Selector {
    match recent {
        Some(recent) => Selector::new([Pin::Recent(recent)], Score::Oldest),
        None => Selector::new([Pin::Sinks(sinks.unwrap_or(SINKS))], Score::Newest),
    }
}
