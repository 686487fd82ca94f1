//! One case of a manifest: the parameters of a published cache class, under the manifest's names.

use serde::{Deserialize, Serialize};

#[derive(Clone, Copy, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
pub(crate) enum Method {
    H2O,
    SnapKV,
    PyramidKV,
    PyramidInfer,
    StreamingLLM,
    #[serde(rename = "ALLKV")]
    Everything,
}

impl Method {
    pub(crate) const ALL: [Self; 6] = [
        Self::H2O,
        Self::SnapKV,
        Self::PyramidKV,
        Self::PyramidInfer,
        Self::StreamingLLM,
        Self::Everything,
    ];
}

#[derive(Clone, Copy, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Strategy {
    #[serde(rename = "None")]
    Nothing,
    H2O,
    Slide,
    Adaptive,
    Discontinuous,
    PyramidInfer,
    Slm,
}

impl Strategy {
    pub(crate) const ALL: [Self; 7] = [
        Self::Nothing,
        Self::H2O,
        Self::Slide,
        Self::Adaptive,
        Self::Discontinuous,
        Self::PyramidInfer,
        Self::Slm,
    ];
}

#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub(crate) enum Pooling {
    #[serde(rename = "maxpool")]
    Max,
    #[serde(rename = "avgpool")]
    Average,
}

/// The numbers that all layers of a class share, in calls of a layer but for `jump_layer`, in selections.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(default)]
pub(crate) struct Counters {
    pub(crate) current_decoding_step: usize,
    pub(crate) jump_step: usize,
    pub(crate) jump_layer: usize,
}

#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct Case {
    pub(crate) name: String,
    pub(crate) method: Method,
    pub(crate) decode_strategy: Strategy,
    pub(crate) num_layers: usize,
    pub(crate) num_heads: usize,
    pub(crate) num_key_value_heads: usize,
    pub(crate) head_dim: usize,
    pub(crate) prompt_len: usize,
    pub(crate) decode_steps: usize,
    pub(crate) max_capacity_prompt: usize,
    pub(crate) window_size: usize,
    pub(crate) kernel_size: usize,
    pub(crate) pooling: Pooling,
    pub(crate) beta: usize,
    pub(crate) decoding_window_size: usize,
    pub(crate) decoding_recent_size: usize,
    pub(crate) delta: usize,
    pub(crate) initial_counters: Counters,
}

impl Case {
    /// Entries chosen by score at prefill, in the methods that give every layer the same.
    pub(crate) fn history(&self) -> usize {
        self.max_capacity_prompt - self.window_size
    }

    /// The constant from which decode strategies count, whatever prefill really left.
    pub(crate) fn boundary(&self) -> usize {
        match self.method {
            Method::Everything => self.prompt_len,
            _ => self.max_capacity_prompt,
        }
    }

    pub(crate) fn tokens(&self) -> usize {
        self.prompt_len + self.decode_steps
    }
}
