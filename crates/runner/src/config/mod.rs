//! The shape of a decoder.

mod huggingface;

use serde::{Deserialize, Serialize};
use zoo::Observation;

use crate::observe::recorded_bytes;
use crate::prefill::CacheShape;

/// The shape of a Llama-family decoder.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Config {
    /// Decoder layers.
    pub layers: usize,
    /// Width of the hidden state.
    pub hidden: usize,
    /// Width inside the MLP.
    pub intermediate: usize,
    /// Heads of Q.
    pub query_heads: usize,
    /// Heads of K and V.
    pub kv_heads: usize,
    /// Width of a head.
    pub head_dim: usize,
    /// Tokens in the vocabulary.
    pub vocabulary: usize,
    /// Positions that the model was made for.
    pub context: usize,
    /// Base of the rotary frequencies.
    pub rope_theta: f32,
    /// How the frequencies are stretched, if at all.
    pub rope_scaling: Option<RopeScaling>,
    /// Epsilon of the RMS norms.
    pub norm_epsilon: f32,
    /// Whether the head shares the embedding's weights.
    pub tied: bool,
    /// Whether the projections to q, k and v add a bias.
    pub qkv_bias: bool,
    /// Whether attention's output projection adds one.
    pub output_bias: bool,
}

/// Llama 3's stretching of slow rotary frequencies (Meta 2024, "The Llama 3 Herd of Models").
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RopeScaling {
    /// Divisor of the slow frequencies.
    pub factor: f32,
    /// Wavelengths above `original_context / low_frequency_factor` are fully stretched.
    pub low_frequency_factor: f32,
    /// Wavelengths below `original_context / high_frequency_factor` are left alone.
    pub high_frequency_factor: f32,
    /// Positions before stretching.
    pub original_context: usize,
}

impl Config {
    /// Query heads per KV head.
    pub fn group_size(&self) -> usize {
        self.query_heads / self.kv_heads
    }

    /// Bytes that one token takes in the cache, over all layers and KV heads, at `bytes` per number.
    pub fn token_bytes(&self, bytes: usize) -> usize {
        2 * self.layers * self.kv_heads * self.head_dim * bytes
    }

    /// Bytes that prefill takes at most, beside the cache, to record these observations of a prompt of `tokens`.
    pub fn recorded_bytes(&self, tokens: usize, observations: &[Observation]) -> usize {
        recorded_bytes(&CacheShape::of(self), tokens, observations)
    }

    /// What makes these numbers unusable, if anything does.
    pub(crate) fn fault(&self) -> Option<String> {
        let positive = [
            ("layers", self.layers),
            ("hidden width", self.hidden),
            ("feed-forward width", self.intermediate),
            ("query heads", self.query_heads),
            ("KV heads", self.kv_heads),
            ("head width", self.head_dim),
            ("vocabulary", self.vocabulary),
            ("context", self.context),
        ];
        if let Some((what, _)) = positive.iter().find(|(_, count)| *count == 0) {
            return Some(format!("{what} is 0"));
        }
        if let Some((what, count)) = positive.iter().find(|(_, count)| *count > 1 << 24) {
            return Some(format!("{what} of {count} is absurd"));
        }
        if !self.query_heads.is_multiple_of(self.kv_heads) {
            return Some(format!(
                "{} query heads cannot share {} KV heads",
                self.query_heads, self.kv_heads
            ));
        }
        if !self.head_dim.is_multiple_of(2) {
            return Some(format!("a head width of {} cannot be rotated", self.head_dim));
        }
        if !(self.rope_theta.is_finite() && self.rope_theta > 0.0 && self.norm_epsilon.is_finite())
        {
            return Some("rotary base or norm epsilon is not a number".to_owned());
        }
        self.rope_scaling.as_ref().and_then(RopeScaling::fault)
    }
}

impl RopeScaling {
    fn fault(&self) -> Option<String> {
        let Self { factor, low_frequency_factor: low, high_frequency_factor: high, .. } = *self;
        let sane = factor.is_finite() && factor > 0.0 && low < high && high.is_finite();
        (!sane || self.original_context == 0 || self.original_context > 1 << 24).then(|| {
            format!(
                "rotary scaling by {factor} between the factors {low} and {high} of {} positions cannot be",
                self.original_context
            )
        })
    }
}
