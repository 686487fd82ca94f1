//! No compression: every entry of the prompt, or of the output, stays.
//!
//! The numerical reference. Every method whose budget is not exceeded must give the same tokens.
//! As a prefill method it is called `full`, as a decode method `none`.

use serde::{Deserialize, Serialize};

use crate::class::Class;
use crate::method::{DecodeMethod, PrefillMethod};
use crate::{Context, DecodePolicy, PrefillPolicy};

/// The whole prompt stays.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Full {}

/// Nothing is evicted while decoding.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Never {}

impl PrefillMethod for Full {
    fn example() -> Self {
        Self {}
    }

    fn policy(&self) -> PrefillPolicy {
        PrefillPolicy::All
    }

    fn published(&self) -> Option<Class> {
        Some(Class {
            policy: PrefillPolicy::All,
            capacity: None,
            interval: None,
            carries_counters: false,
        })
    }
}

impl DecodeMethod for Never {
    fn example() -> Self {
        Self {}
    }

    fn policy(&self, _: Context) -> DecodePolicy {
        DecodePolicy::never()
    }

    fn published(&self, class: &Class, _: Context) -> Option<DecodePolicy> {
        Some(class.never())
    }
}
