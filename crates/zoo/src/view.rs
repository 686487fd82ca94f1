//! What a policy may know.

use crate::Layer;

/// Counts of one layer of one lane at one decode step: all that a [`Schedule`](crate::Schedule) sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moment {
    /// Which layer.
    pub layer: Layer,
    /// Tokens of the prompt.
    pub prompt_tokens: usize,
    /// Generated tokens fed so far, this step's included: decode step `t` of the paper.
    pub generated: usize,
    /// Entries per KV head that prefill left in this layer.
    pub pool: usize,
    /// Entries per KV head in this layer now, this step's own included.
    pub entries: usize,
}

/// The entries of one KV head, as a selector sees them. Index = entry, in the order in which the cache holds them.
#[derive(Debug, Clone, Copy)]
pub struct View<'a> {
    /// Each entry's position in the text.
    pub positions: &'a [u32],
    /// Attention that each entry received, one row per query head of the group; no rows where none was observed.
    pub attention: &'a [&'a [f32]],
    /// Tokens of the prompt: an entry is the prompt's if its position lies below.
    pub prompt_tokens: usize,
    /// Tokens of the text so far, prompt included: one past the newest position.
    pub tokens: usize,
    /// Seed of this selection's own random stream.
    pub seed: u64,
}
