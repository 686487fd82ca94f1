//! No compression: every entry of the prompt, or of the output, stays.
//!
//! The numerical reference. Every method whose budget is not exceeded must give the same tokens.
//! As a prefill method it is called `full`, as a decode method `none`.

use serde::{Deserialize, Serialize};

use crate::{DecodePolicy, PrefillPolicy};

/// The whole prompt stays.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Full {}

/// Nothing is evicted while decoding.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Never {}

impl Full {
    pub(crate) fn policy() -> PrefillPolicy {
        PrefillPolicy::All
    }
}

impl Never {
    pub(crate) fn policy() -> DecodePolicy {
        DecodePolicy::never()
    }
}
