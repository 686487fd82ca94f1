use std::fmt;

use super::{Counters, Layer, Published, Steps};
use crate::Moment;

/// When to evict, and down to which size.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Schedule {
    /// Never.
    Never,
    /// Whenever the cache exceeds the size.
    EveryStep(Size),
    /// Each time a multiple of `interval` tokens has been fed, if the cache exceeds the size then.
    Every {
        /// Steps between two evictions, at least 1.
        interval: usize,
        /// What an eviction brings the cache down to.
        size: Size,
    },
    /// As SCOPE's published code counts.
    Published(Published),
}

/// Entries that decode may hold beyond what prefill left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Size {
    /// The same at every step.
    Fixed(usize),
    /// `recent` at first, then growing linearly to `recent + heavy` when `tokens` have been fed (SCOPE, Eq. 4).
    Growing {
        /// Entries held for their age from the start.
        recent: usize,
        /// Entries held for their score in the end.
        heavy: usize,
        /// Largest number of generated tokens.
        tokens: usize,
    },
    /// `recent`, and a share of `heavy` that falls from three halves in the first layer to one half in the last.
    Falling {
        /// Entries that every layer holds.
        recent: usize,
        /// Entries beyond them, mean over layers.
        heavy: usize,
    },
}

impl Size {
    /// Entries allowed in `layer` when `generated` tokens have been fed.
    pub fn at(self, generated: usize, layer: Layer) -> usize {
        match self {
            Self::Fixed(entries) => entries,
            Self::Growing { recent, heavy, tokens } => {
                let whole = tokens.saturating_sub(recent).max(1);
                let part = generated.saturating_sub(recent).min(whole);
                recent + (part as u128 * heavy as u128 / whole as u128) as usize
            }
            Self::Falling { recent, heavy } => {
                recent + Steps::Exact.history(heavy, heavy.saturating_add(heavy / 2), layer)
            }
        }
    }
}

impl Schedule {
    /// Entries to evict from each KV head at this moment, `None` while it is not yet time. Only the published schedule counts, and only it
    /// may ask for a selection that evicts nothing.
    pub fn due(self, moment: Moment, counters: &mut Counters) -> Option<usize> {
        let size = match self {
            Self::EveryStep(size) => size,
            Self::Every { interval, size } if moment.generated.is_multiple_of(interval) => size,
            Self::Published(published) => return published.due(moment, counters),
            Self::Never | Self::Every { .. } => return None,
        };
        let allowed = moment.pool.saturating_add(size.at(moment.generated, moment.layer));
        moment.entries.checked_sub(allowed).filter(|&due| due > 0)
    }

    /// Most entries that are left in `layer` after a step, over `steps` steps, where prefill left `pool` of them; an upper bound.
    pub fn peak(self, pool: usize, steps: usize, layer: Layer) -> usize {
        let added = match self {
            Self::Never => steps,
            Self::EveryStep(size) => size.at(steps, layer),
            Self::Every { interval, size } => size.at(steps, layer).saturating_add(interval),
            Self::Published(published) => published.peak(pool, steps).saturating_sub(pool),
        };
        pool.saturating_add(added.min(steps))
    }
}

impl fmt::Display for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Never => write!(f, "never"),
            Self::EveryStep(size) => write!(f, "every step, down to pool + {size}"),
            Self::Every { interval, size } => {
                write!(f, "every {interval} steps, down to pool + {size}")
            }
            Self::Published(published) => published.fmt(f),
        }
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fixed(entries) => write!(f, "{entries}"),
            Self::Growing { recent, heavy, tokens } => {
                write!(f, "({recent} growing to {} at token {tokens})", recent + heavy)
            }
            Self::Falling { recent, heavy } => {
                write!(f, "{} on average, falling with depth", recent + heavy)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// SCOPE's own numbers, 4K suite: T = 4096, W = 512, r = 256.
    const GROWING: Size = Size::Growing { recent: 256, heavy: 256, tokens: 4096 };
    const LAYER: Layer = Layer { index: 0, count: 32 };

    /// Evictions due at some steps, if nothing was evicted before.
    fn due<const N: usize>(schedule: Schedule, steps: [usize; N]) -> [Option<usize>; N] {
        steps.map(|generated| {
            let entries = 2048 + generated;
            let moment =
                Moment { layer: LAYER, prompt_tokens: 3000, generated, pool: 2048, entries };
            schedule.due(moment, &mut Counters::default())
        })
    }

    #[test]
    fn growth_follows_equation_4() {
        assert_eq!(
            [0, 256, 271, 272, 2176, 4096, 9999].map(|t| GROWING.at(t, LAYER)),
            [256, 256, 257, 257, 384, 512, 512]
        );
    }

    #[test]
    fn an_eviction_is_due_when_the_pool_overflows() {
        let schedule = Schedule::EveryStep(Size::Fixed(512));
        assert_eq!(due(schedule, [511, 512, 513, 514]), [None, None, Some(1), Some(2)]);
    }

    #[test]
    fn discontinuous_waits_for_its_step() {
        let schedule = Schedule::Every { interval: 15, size: GROWING };
        assert_eq!(due(schedule, [255, 256, 269, 270, 271]), [None, None, None, Some(14), None]);
    }

    #[test]
    fn a_falling_size_has_the_budget_as_its_mean() {
        let size = Size::Falling { recent: 256, heavy: 255 };
        let sizes: Vec<usize> = Layer::all(30).map(|layer| size.at(1, layer)).collect();
        assert_eq!((sizes[0], sizes[29]), (256 + 382, 256 + 128));
        assert_eq!(sizes.iter().sum::<usize>(), 30 * 511);
    }
}
