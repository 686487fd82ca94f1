//! What the end of the prompt looks at: attention from an observation window decides, smoothed over neighbours.
//!
//! Li et al. 2024, "SnapKV: LLM Knows What You are Looking for Before Generation", <https://arxiv.org/abs/2404.14469>. Prefill only.
//! The defaults are those of SCOPE's study: a window of 8 queries, max pooling over 7.
//!
//! # Differs
//! - From the published code: one selection per KV head, by the sum over its group taken before pooling, not one per query head.
//! - From the published code's class defaults: max pooling over 7 as SCOPE's runner sets it, not average pooling over 5.

use serde::{Deserialize, Serialize};

use crate::method::PrefillMethod;
use crate::{Error, Pin, Pool, PrefillPolicy, Reduce, Score, Selector};

/// Attention from the last queries of the prompt decides.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SnapKv {
    /// Entries kept of the prompt.
    pub budget: usize,
    /// Prompt-end queries that vote; their own entries stay.
    #[serde(default = "default_window")]
    pub window: usize,
    /// Odd width of the pooling over neighbours.
    #[serde(default = "default_pool")]
    pub pool: usize,
    /// Kind of pooling.
    #[serde(default)]
    pub pooling: Pooling,
}

/// Kind of pooling over neighbouring scores.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Pooling {
    /// The largest.
    #[default]
    Max,
    /// The mean.
    Avg,
}

fn default_window() -> usize {
    8
}

fn default_pool() -> usize {
    7
}

impl PrefillMethod for SnapKv {
    fn example() -> Self {
        Self { budget: 2048, window: 8, pool: 7, pooling: Pooling::Max }
    }

    fn check(&self) -> Result<(), Error> {
        let value = |key, value, rule| Err(Error::Value { method: "snapkv", key, value, rule });
        if self.window == 0 {
            return value("window", 0, "must be at least 1");
        }
        if self.pool.is_multiple_of(2) {
            return value("pool", self.pool, "must be odd");
        }
        if self.window >= self.budget {
            return Err(Error::NoRoom {
                method: "snapkv",
                key: "window",
                pinned: self.window,
                budget: self.budget,
            });
        }
        Ok(())
    }

    fn policy(&self) -> PrefillPolicy {
        PrefillPolicy::Budget {
            budget: self.budget,
            selector: Selector {
                pins: vec![Pin::Recent(self.window)],
                score: Score::LastQueries(self.window),
                reduce: Reduce::Sum,
                pool: match self.pooling {
                    Pooling::Max => Pool::Max(self.pool),
                    Pooling::Avg => Pool::Avg(self.pool),
                },
            },
        }
    }
}
