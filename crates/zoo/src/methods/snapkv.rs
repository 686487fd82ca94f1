//! What the end of the prompt looks at: attention from an observation window decides, smoothed over neighbours.
//!
//! Li et al. 2024, "SnapKV: LLM Knows What You are Looking for Before Generation", <https://arxiv.org/abs/2404.14469>. Prefill only.
//! The defaults are those of SCOPE's study: a window of 8 queries, max pooling over 7.
//!
//! # Differs
//! - From the published code: one selection per KV head, by the sum over its group taken before pooling, not one per query head.
//! - From the published code's class defaults: max pooling over 7 as SCOPE's runner sets it, not average pooling over 5.

use serde::{Deserialize, Serialize};

use crate::class::Class;
use crate::method::PrefillMethod;
use crate::{Allocate, Error, Pin, Pool, PrefillPolicy, Score, Selector};

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

impl Pooling {
    /// Pooling of this kind over a width.
    pub fn over(self, width: usize) -> Pool {
        match self {
            Self::Max => Pool::Max(width),
            Self::Avg => Pool::Avg(width),
        }
    }
}

pub(super) fn default_window() -> usize {
    8
}

pub(super) fn default_pool() -> usize {
    7
}

impl PrefillMethod for SnapKv {
    fn example() -> Self {
        Self { budget: 2048, window: 8, pool: 7, pooling: Pooling::Max }
    }

    fn check(&self) -> Result<(), Error> {
        check_window("snapkv", self.window, self.pool, self.budget)
    }

    fn policy(&self) -> PrefillPolicy {
        PrefillPolicy::Budget {
            allocate: Allocate::Uniform(self.budget),
            selector: selector(self.window, self.pooling.over(self.pool)),
        }
    }

    fn published(&self) -> Option<Class> {
        let (allocate, pool) = (Allocate::Uniform(self.budget), self.pooling.over(self.pool));
        Some(published_class(self.budget, allocate, self.window, pool))
    }
}

/// An observation window must vote, and fit into the budget; a pooling width has a middle.
pub(super) fn check_window(
    method: &'static str,
    window: usize,
    pool: usize,
    budget: usize,
) -> Result<(), Error> {
    let value = |key, value, rule| Err(Error::Value { method, key, value, rule });
    if window == 0 {
        return value("window", 0, "must be at least 1");
    }
    if pool.is_multiple_of(2) {
        return value("pool", pool, "must be odd");
    }
    if window > budget {
        return Err(Error::NoRoom { method, key: "window", pinned: window, budget });
    }
    Ok(())
}

/// The window votes, and stays.
pub(super) fn selector(window: usize, pool: Pool) -> Selector {
    Selector { pool, ..Selector::new([Pin::Recent(window)], Score::LastQueries(window)) }
}

/// The published class of the observation-window methods: built without δ, so that it grows every 15 steps, and never reset.
pub(super) fn published_class(
    budget: usize,
    allocate: Allocate,
    window: usize,
    pool: Pool,
) -> Class {
    let selector = Selector { pins: vec![Pin::LastEntries(window)], ..selector(window, pool) };
    let policy = PrefillPolicy::Budget { allocate, selector: selector.in_order_of_score() };
    Class { interval: Some(15), carries_counters: true, ..Class::new(policy, budget) }
}
