//! Compositions of parts: what runs.

use std::fmt;

use crate::parts::lowest;
use crate::{Moment, Observation, Pin, Pool, Reduce, Schedule, Score, View};

/// `pin ∘ score ∘ reduce ∘ pool ∘ select` for one KV head.
#[derive(Debug, Clone, PartialEq)]
pub struct Selector {
    /// What may not go.
    pub pins: Vec<Pin>,
    /// What an entry is worth.
    pub score: Score,
    /// How a group's query heads agree.
    pub reduce: Reduce,
    /// Smoothing over neighbours.
    pub pool: Pool,
}

impl Selector {
    /// A selector without pooling that sums over the group.
    pub fn new(pins: impl Into<Vec<Pin>>, score: Score) -> Self {
        Self { pins: pins.into(), score, reduce: Reduce::Sum, pool: Pool::None }
    }

    /// The `count` entries to evict, ascending; fewer only if fewer are not pinned.
    ///
    /// Pooling needs a view whose entries stand in the order of the text.
    pub fn evict(&self, view: &View<'_>, count: usize) -> Vec<usize> {
        let free = |&entry: &usize| !self.pins.iter().any(|pin| pin.holds(view, entry));
        let candidates: Vec<usize> = (0..view.positions.len()).filter(free).collect();
        let mut scores = self.score.of(view, self.reduce);
        if self.pool != Pool::None {
            let pooled = self.pool.apply(candidates.iter().map(|&entry| scores[entry]).collect());
            for (&entry, score) in candidates.iter().zip(pooled) {
                scores[entry] = score;
            }
        }
        lowest(&scores, view.positions, candidates, count)
    }
}

/// What survives of the prompt, decided once at the end of prefill.
#[derive(Debug, Clone, PartialEq)]
pub enum PrefillPolicy {
    /// The whole prompt.
    All,
    /// At most `budget` entries per KV head and layer.
    Budget {
        /// Entries that stay.
        budget: usize,
        /// Which.
        selector: Selector,
    },
}

impl PrefillPolicy {
    /// The attention that prefill must record for this policy.
    pub fn observation(&self) -> Option<Observation> {
        match self {
            Self::All => None,
            Self::Budget { selector, .. } => selector.score.observation(),
        }
    }

    /// Whether the seed decides what stays.
    pub fn draws(&self) -> bool {
        matches!(self, Self::Budget { selector, .. } if selector.score == Score::Random)
    }

    /// Entries per KV head that stay of a prompt of `tokens`.
    pub fn pool(&self, tokens: usize) -> usize {
        match self {
            Self::All => tokens,
            Self::Budget { budget, .. } => tokens.min(*budget),
        }
    }

    /// The entries that stay, in the order of the text. `view` holds the whole prompt in that order.
    pub fn keep(&self, view: &View<'_>) -> Vec<usize> {
        let entries = view.positions.len();
        match self {
            Self::Budget { budget, selector } if *budget < entries => {
                let mut evicted = selector.evict(view, entries - budget).into_iter().peekable();
                (0..entries).filter(|entry| evicted.next_if_eq(entry).is_none()).collect()
            }
            _ => (0..entries).collect(),
        }
    }
}

/// What goes while tokens are generated.
#[derive(Debug, Clone, PartialEq)]
pub struct DecodePolicy {
    /// When, and down to which size.
    pub schedule: Schedule,
    /// Which.
    pub selector: Selector,
}

impl DecodePolicy {
    /// A policy that never evicts.
    pub fn never() -> Self {
        Self { schedule: Schedule::Never, selector: Selector::new([], Score::Newest) }
    }

    /// Entries to evict from each KV head of a layer at this moment.
    pub fn due(&self, moment: Moment) -> usize {
        self.schedule.due(moment)
    }

    /// Whether a selection needs this step's attention.
    pub fn needs_attention(&self) -> bool {
        self.selector.score == Score::ThisQuery
    }

    /// Whether what prefill left is never touched, so that it can be shared and need not be shown.
    pub fn spares_prompt(&self) -> bool {
        self.schedule == Schedule::Never || self.selector.pins.contains(&Pin::Prompt)
    }
}

impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let pins: Vec<String> = self.pins.iter().map(Pin::to_string).collect();
        let pins = if pins.is_empty() { "nothing".to_owned() } else { pins.join(", ") };
        write!(f, "pin [{pins}] ∘ score [{}]", self.score)?;
        if matches!(self.score, Score::AllQueries | Score::LastQueries(_) | Score::ThisQuery) {
            write!(f, " ∘ reduce [{}] ∘ pool [{}]", self.reduce, self.pool)?;
        }
        Ok(())
    }
}

impl fmt::Display for PrefillPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All => write!(f, "keep everything"),
            Self::Budget { budget, selector } => {
                write!(f, "{selector} ∘ select [{budget}], once after prefill")
            }
        }
    }
}

impl fmt::Display for DecodePolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.schedule {
            Schedule::Never => write!(f, "keep everything"),
            schedule => write!(f, "{} ∘ select [lowest go], {schedule}", self.selector),
        }
    }
}
