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
    /// Attention received from all prompt queries, under the full causal mask.
    AllQueries,
    /// Attention received from the last queries of the prompt.
    LastQueries(usize),
    /// Attention received from this step's query.
    ThisQuery,
}

/// Which attention prefill must record for a policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Observation {
    /// Column sums of the causal attention matrix over all prompt queries.
    AllQueries,
    /// Column sums over the last queries of the prompt.
    LastQueries(usize),
}

impl Score {
    /// What prefill must record for this score, if anything.
    pub fn observation(self) -> Option<Observation> {
        match self {
            Self::AllQueries => Some(Observation::AllQueries),
            Self::LastQueries(queries) => Some(Observation::LastQueries(queries)),
            Self::Newest | Self::Oldest | Self::Random | Self::ThisQuery => None,
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
            Self::AllQueries | Self::LastQueries(_) | Self::ThisQuery => {
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
            Self::AllQueries => write!(f, "attention from all prompt queries"),
            Self::LastQueries(queries) => {
                write!(f, "attention from the last {queries} prompt queries")
            }
            Self::ThisQuery => write!(f, "attention from this step's query"),
        }
    }
}
