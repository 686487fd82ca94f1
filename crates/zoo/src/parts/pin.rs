use std::fmt;

use crate::View;

/// What may never be evicted. An entry is pinned if any of a selector's pins holds it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pin {
    /// The first tokens of the text (attention sinks; Xiao et al. 2023).
    Sinks(usize),
    /// Whatever prefill kept of the prompt.
    Prompt,
    /// The newest tokens of the text, by position.
    Recent(usize),
    /// The first entries in cache order, whatever they are: the published code's notion of the prompt.
    FirstEntries(usize),
    /// The last entries in cache order, whatever they are: the published code's notion of recent.
    LastEntries(usize),
}

impl Pin {
    /// Whether `entry` is held by this pin.
    pub fn holds(self, view: &View<'_>, entry: usize) -> bool {
        let position = view.positions[entry] as usize;
        match self {
            Self::Sinks(sinks) => position < sinks,
            Self::Prompt => position < view.prompt_tokens,
            Self::Recent(recent) => position.saturating_add(recent) >= view.tokens,
            Self::FirstEntries(first) => entry < first,
            Self::LastEntries(last) => entry.saturating_add(last) >= view.positions.len(),
        }
    }
}

impl fmt::Display for Pin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sinks(sinks) => write!(f, "first {sinks}"),
            Self::Prompt => write!(f, "kept prompt"),
            Self::Recent(recent) => write!(f, "last {recent}"),
            Self::FirstEntries(first) => write!(f, "first {first} in cache order"),
            Self::LastEntries(last) => write!(f, "last {last} in cache order"),
        }
    }
}
