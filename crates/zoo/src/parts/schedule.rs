use std::fmt;

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
}

impl Size {
    /// Entries allowed when `generated` tokens have been fed.
    pub fn at(self, generated: usize) -> usize {
        match self {
            Self::Fixed(entries) => entries,
            Self::Growing { recent, heavy, tokens } => {
                let whole = tokens.saturating_sub(recent).max(1);
                let part = generated.saturating_sub(recent).min(whole);
                recent + (part as u128 * heavy as u128 / whole as u128) as usize
            }
        }
    }
}

impl Schedule {
    /// Entries to evict from each KV head at this moment: 0 while it is not yet time.
    pub fn due(self, moment: Moment) -> usize {
        let size = match self {
            Self::EveryStep(size) => size,
            Self::Every { interval, size } if moment.generated.is_multiple_of(interval) => size,
            Self::Never | Self::Every { .. } => return 0,
        };
        moment.entries.saturating_sub(moment.pool.saturating_add(size.at(moment.generated)))
    }

    /// Most entries beyond the prompt pool that are left after the step, over `steps` steps.
    pub fn peak(self, steps: usize) -> usize {
        match self {
            Self::Never => steps,
            Self::EveryStep(Size::Fixed(entries)) => steps.min(entries),
            Self::EveryStep(size) => steps.min(size.at(steps)),
            Self::Every { interval, size } => steps.min(size.at(steps).saturating_add(interval)),
        }
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
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Schedule, Size};
    use crate::Moment;

    /// SCOPE's own numbers, 4K suite: T = 4096, W = 512, r = 256.
    const GROWING: Size = Size::Growing { recent: 256, heavy: 256, tokens: 4096 };

    #[test]
    fn growth_follows_equation_4() {
        assert_eq!(
            [0, 256, 271, 272, 2176, 4096, 9999].map(|t| GROWING.at(t)),
            [256, 256, 257, 257, 384, 512, 512]
        );
    }

    #[test]
    fn an_eviction_is_due_when_the_pool_overflows() {
        let schedule = Schedule::EveryStep(Size::Fixed(512));
        let due =
            |generated| schedule.due(Moment { generated, pool: 2048, entries: 2048 + generated });
        assert_eq!([511, 512, 513, 514].map(due), [0, 0, 1, 2]);
    }

    #[test]
    fn discontinuous_waits_for_its_step() {
        let schedule = Schedule::Every { interval: 15, size: GROWING };
        let due =
            |generated| schedule.due(Moment { generated, pool: 2048, entries: 2048 + generated });
        assert_eq!([255, 256, 269, 270, 271].map(due), [0, 0, 0, 14, 0]);
    }
}
