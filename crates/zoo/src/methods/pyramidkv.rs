//! Snap's scores under a budget that falls with depth: lower layers keep more of the prompt, upper layers less.
//!
//! Cai et al. 2024, "`PyramidKV`: Dynamic KV Cache Compression based on Pyramidal Information Funneling", §4.2,
//! <https://arxiv.org/abs/2406.02069>. Prefill only. The first layer keeps almost twice the mean history, the last one a `slope`-th of it,
//! the layers between by a straight line. As in its code, prompts shorter than twice the history get the same budget in every layer:
//! there it is `SnapKV`.
//!
//! # Differs
//! - From the published codes: the layers' budgets add up to the budget exactly. The authors' whole steps overshoot it, and SCOPE's
//!   copy divides the span by the layers instead of one less. `mode = "reference"` steps as SCOPE's copy.
//! - As for `snapkv`: one selection per KV head.

use serde::{Deserialize, Serialize};

use super::snapkv::{Pooling, check_window, published_class, selector};
use crate::class::Class;
use crate::method::PrefillMethod;
use crate::{Allocate, Error, PrefillPolicy, Pyramid, Steps};

/// Attention from the last queries of the prompt decides; lower layers keep more.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PyramidKv {
    /// Entries kept of the prompt, mean over layers.
    pub budget: usize,
    /// Prompt-end queries that vote; their own entries stay.
    #[serde(default = "super::snapkv::default_window")]
    pub window: usize,
    /// Odd width of the pooling over neighbours.
    #[serde(default = "super::snapkv::default_pool")]
    pub pool: usize,
    /// Kind of pooling.
    #[serde(default)]
    pub pooling: Pooling,
    /// How much less the last layer keeps than the mean (paper: β).
    #[serde(default = "default_slope")]
    pub slope: usize,
}

pub(super) fn default_slope() -> usize {
    20
}

/// A pyramid must have a mean to fall from, and a last layer to fall to.
pub(super) fn check_slope(method: &'static str, slope: usize) -> Result<(), Error> {
    match slope {
        0 => Err(Error::Value { method, key: "slope", value: 0, rule: "must be at least 1" }),
        _ => Ok(()),
    }
}

impl PyramidKv {
    fn allocate(&self, steps: Steps) -> Allocate {
        let Self { budget, window, slope, .. } = *self;
        Allocate::Pyramid(Pyramid { budget, window, slope, shallow: budget, steps })
    }
}

impl PrefillMethod for PyramidKv {
    fn example() -> Self {
        Self { budget: 2048, window: 8, pool: 7, pooling: Pooling::Max, slope: 20 }
    }

    fn check(&self) -> Result<(), Error> {
        check_window("pyramidkv", self.window, self.pool, self.budget)?;
        check_slope("pyramidkv", self.slope)
    }

    fn policy(&self) -> PrefillPolicy {
        PrefillPolicy::Budget {
            allocate: self.allocate(Steps::Exact),
            selector: selector(self.window, self.pooling.over(self.pool)),
        }
    }

    fn published(&self) -> Option<Class> {
        let pool = self.pooling.over(self.pool);
        Some(published_class(self.budget, self.allocate(Steps::Published), self.window, pool))
    }
}
