use std::fmt;

use super::Reduce;
use crate::View;

/// How much an entry is worth; the lowest go first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Score {
    /// Newer is better.
    Newest,
    /// Older is better.
    Oldest,
    /// Drawn afresh for every entry at every selection, uniform in [0, 1).
    Random,
    /// Earlier in cache order is better.
    EarliestEntry,
    /// Attention received from all prompt queries.
    AllQueries(Mask),
    /// Attention received from the last queries of the prompt.
    LastQueries(usize),
    /// Attention received from this step's query.
    ThisQuery,
    /// Attention received from every query since the entry is there, those of the prompt included.
    Accumulated,
}

/// Which keys a prompt query sees when its attention is recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Mask {
    /// Those at or before its own position.
    Causal,
    /// All of them, the future too; only among the last so many tokens the mask is causal. The published code's.
    Corner(usize),
}

/// Which attention prefill must record for a policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Observation {
    /// Column sums of the attention matrix over all prompt queries.
    AllQueries(Mask),
    /// Column sums over the last queries of the prompt.
    LastQueries(usize),
}

impl Score {
    /// What prefill must record for this score, if anything.
    pub fn observation(self) -> Option<Observation> {
        match self {
            Self::AllQueries(mask) => Some(Observation::AllQueries(mask)),
            Self::Accumulated => Some(Observation::AllQueries(Mask::Causal)),
            Self::LastQueries(queries) => Some(Observation::LastQueries(queries)),
            Self::Newest | Self::Oldest | Self::Random | Self::EarliestEntry | Self::ThisQuery => {
                None
            }
        }
    }

    /// Whether it is made of attention, of which a view must then show rows.
    pub fn attends(self) -> bool {
        match self {
            Self::AllQueries(_) | Self::LastQueries(_) | Self::ThisQuery | Self::Accumulated => {
                true
            }
            Self::Newest | Self::Oldest | Self::Random | Self::EarliestEntry => false,
        }
    }

    /// One score per entry of `view`.
    pub fn of(self, view: &View<'_>, reduce: Reduce) -> Vec<f32> {
        match self {
            Self::Newest => view.positions.iter().map(|&position| position as f32).collect(),
            Self::Oldest => view.positions.iter().map(|&position| -(position as f32)).collect(),
            Self::Random => view
                .positions
                .iter()
                .map(|&position| {
                    (mix(view.seed ^ mix(u64::from(position))) >> 40) as f32 / (1u32 << 24) as f32
                })
                .collect(),
            Self::EarliestEntry => (0..view.positions.len()).map(|entry| -(entry as f32)).collect(),
            Self::AllQueries(_) | Self::LastQueries(_) | Self::ThisQuery | Self::Accumulated => {
                reduce.apply(view.attention, view.positions.len())
            }
        }
    }
}

/// A seed of its own for each combination of `parts`, such as run, layer, head and step.
pub fn stream(parts: &[u64]) -> u64 {
    parts.iter().fold(0, |seed, &part| mix(seed ^ part))
}

/// `SplitMix64`'s output function (Steele et al. 2014): a bijection that spreads neighbouring seeds apart.
fn mix(seed: u64) -> u64 {
    let z = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

impl fmt::Display for Score {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Newest => write!(f, "newer is better"),
            Self::Oldest => write!(f, "older is better"),
            Self::Random => write!(f, "random"),
            Self::EarliestEntry => write!(f, "earlier in the cache is better"),
            Self::AllQueries(Mask::Causal) => write!(f, "attention from all prompt queries"),
            Self::AllQueries(Mask::Corner(window)) => {
                write!(f, "attention from all prompt queries, masked among the last {window} only")
            }
            Self::Accumulated => write!(f, "attention from all queries so far"),
            Self::LastQueries(queries) => {
                write!(f, "attention from the last {queries} prompt queries")
            }
            Self::ThisQuery => write!(f, "attention from this step's query"),
        }
    }
}
