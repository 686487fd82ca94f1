//! Compositions of parts: what runs.

use std::fmt;

use crate::parts::{Free, lowest, lowest_one, ranked};
use crate::{
    Allocate, Counters, Error, Layer, Moment, Observation, Pin, Pool, Quota, Reduce, Schedule,
    Score, View,
};

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
    /// The order in which survivors lie in the cache.
    pub order: Order,
}

/// The order in which a selection leaves its survivors. Attention does not care; pins by cache order do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Order {
    /// None in particular: each stays where it is.
    #[default]
    Free,
    /// What is pinned to the front, then the chosen ones by falling score, then what is pinned to the back: the published code's.
    Score,
}

impl Selector {
    /// A selector without pooling that sums over the group.
    pub fn new(pins: impl Into<Vec<Pin>>, score: Score) -> Self {
        Self { pins: pins.into(), score, reduce: Reduce::Sum, pool: Pool::None, order: Order::Free }
    }

    /// The same, leaving survivors in the order of their scores.
    #[must_use]
    pub fn in_order_of_score(mut self) -> Self {
        self.order = Order::Score;
        self
    }

    /// The `count` entries to evict, ascending; fewer only if fewer are not pinned.
    ///
    /// Pooling needs a view whose entries stand in the order of the text.
    pub fn evict(&self, view: &View<'_>, count: usize) -> Vec<usize> {
        if count == 1 && self.pool == Pool::None {
            let (scores, free) = (self.score.of(view, self.reduce), Free::of(&self.pins, view));
            return lowest_one(&scores, view.positions, &free).into_iter().collect();
        }
        let candidates = self.candidates(view);
        let scores = self.scores(view, &candidates);
        lowest(&scores, view.positions, candidates, count)
    }

    /// All entries but the `count` lowest that are not pinned, in the order of [`Order::Score`].
    pub fn arrange(&self, view: &View<'_>, count: usize) -> Vec<usize> {
        let candidates = self.candidates(view);
        let scores = self.scores(view, &candidates);
        let (first, last) = (candidates.first().copied(), candidates.last().copied());
        let mut chosen = ranked(&scores, view.positions, candidates);
        chosen.truncate(chosen.len().saturating_sub(count));
        let entries = view.positions.len();
        let front = 0..first.unwrap_or(entries);
        let back = last.map_or(entries, |last| last + 1)..entries;
        front.chain(chosen).chain(back).collect()
    }

    fn candidates(&self, view: &View<'_>) -> Vec<usize> {
        Free::of(&self.pins, view).entries(view.positions).collect()
    }

    /// One score per entry, the candidates' pooled.
    fn scores(&self, view: &View<'_>, candidates: &[usize]) -> Vec<f32> {
        let mut scores = self.score.of(view, self.reduce);
        if self.pool != Pool::None {
            let pooled = self.pool.apply(candidates.iter().map(|&entry| scores[entry]).collect());
            for (&entry, score) in candidates.iter().zip(pooled) {
                scores[entry] = score;
            }
        }
        scores
    }
}

/// What survives of the prompt, decided once at the end of prefill.
#[derive(Debug, Clone, PartialEq)]
pub enum PrefillPolicy {
    /// The whole prompt.
    All,
    /// As many entries per KV head as each layer is allotted.
    Budget {
        /// How many stay.
        allocate: Allocate,
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

    /// Entries per KV head that stay in `layer` of a prompt of `tokens`.
    pub fn pool(&self, tokens: usize, layer: Layer) -> usize {
        match self {
            Self::All => tokens,
            Self::Budget { allocate, .. } => allocate.entries(tokens, layer).min(tokens),
        }
    }

    /// Whether a prompt of `tokens` stays whole and in its order.
    pub fn keeps_all(&self, tokens: usize) -> bool {
        match self {
            Self::All => true,
            Self::Budget { allocate, selector } => match selector.order {
                Order::Free => tokens <= allocate.budget(),
                Order::Score => tokens < allocate.budget(),
            },
        }
    }

    /// Refuses a prompt of `tokens` on which the published code fails.
    ///
    /// # Errors
    /// [`Error::PublishedFails`].
    pub fn check(&self, tokens: usize) -> Result<(), Error> {
        let Self::Budget { allocate, .. } = self else { return Ok(()) };
        let wanted = allocate.entries(tokens, Layer { index: 0, count: 1 });
        if wanted > tokens {
            return Err(Error::PublishedFails { tokens, wanted });
        }
        Ok(())
    }

    /// The entries that stay in `layer`, in the order in which the cache will hold them: that of the text, unless the selector has its own.
    /// `view` holds the whole prompt in the order of the text.
    pub fn keep(&self, view: &View<'_>, layer: Layer) -> Vec<usize> {
        let entries = view.positions.len();
        match self {
            Self::Budget { selector, .. } if !self.keeps_all(entries) => {
                let surplus = entries - self.pool(entries, layer);
                if selector.order == Order::Score {
                    return selector.arrange(view, surplus);
                }
                let mut evicted = selector.evict(view, surplus).into_iter().peekable();
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
    /// Whether the counters of the sample before go on; else each sample starts at nought. Published schedules only.
    pub carries_counters: bool,
}

/// What a due selection does to one layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Selection {
    /// Evict so many entries from each KV head.
    Evict(usize),
    /// Evict so many, possibly none, and lay the others out anew.
    Arrange(usize),
}

impl DecodePolicy {
    /// A policy that never evicts.
    pub fn never() -> Self {
        Self::new(Schedule::Never, Selector::new([], Score::Newest))
    }

    /// A policy whose samples know nothing of each other.
    pub fn new(schedule: Schedule, selector: Selector) -> Self {
        Self { schedule, selector, carries_counters: false }
    }

    /// What is to happen to a layer at this moment, if anything.
    pub fn due(&self, moment: Moment, counters: &mut Counters) -> Option<Selection> {
        let count = self.schedule.due(moment, counters)?;
        Some(match self.selector.order {
            Order::Free => Selection::Evict(count),
            Order::Score => Selection::Arrange(count),
        })
    }

    /// The counters with which a sample starts, after those with which the one before it ended.
    pub fn start(&self, carried: Counters) -> Counters {
        if self.carries_counters { carried } else { Counters { step: 0, skip: 0, ..carried } }
    }

    /// Whether what a sample keeps depends on the samples before it.
    pub fn depends_on_earlier_samples(&self) -> bool {
        let counts = |quota| matches!(quota, Quota::Counted { .. });
        let counted =
            matches!(self.schedule, Schedule::Published(published) if counts(published.quota));
        self.carries_counters && counted
    }

    /// The attention that prefill must record for this policy.
    pub fn observation(&self) -> Option<Observation> {
        self.selector.score.observation()
    }

    /// Whether a selection needs this step's attention.
    pub fn needs_attention(&self) -> bool {
        self.selector.score.attends()
    }

    /// Whether attention must be summed up per entry, step by step.
    pub fn accumulates(&self) -> bool {
        self.selector.score == Score::Accumulated
    }

    /// Whether what prefill left is never touched, so that it can be shared and need not be shown.
    pub fn spares_prompt(&self) -> bool {
        self.schedule == Schedule::Never || self.selector.pins.contains(&Pin::Prompt)
    }
}

/// The alternate form is that of one cache per query head, where there is no group to reduce.
impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let pins: Vec<String> = self.pins.iter().map(Pin::to_string).collect();
        let pins = if pins.is_empty() { "nothing".to_owned() } else { pins.join(", ") };
        write!(f, "pin [{pins}] ∘ score [{}]", self.score)?;
        if self.score.attends() {
            if !f.alternate() {
                write!(f, " ∘ reduce [{}]", self.reduce)?;
            }
            write!(f, " ∘ pool [{}]", self.pool)?;
        }
        if self.order == Order::Score {
            write!(f, " ∘ order [by score]")?;
        }
        Ok(())
    }
}

impl fmt::Display for PrefillPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All => write!(f, "keep everything"),
            Self::Budget { allocate, selector } => {
                selector.fmt(f)?;
                write!(f, " ∘ select [{allocate}], once after prefill")
            }
        }
    }
}

impl fmt::Display for DecodePolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.schedule {
            Schedule::Never => write!(f, "keep everything"),
            schedule => {
                self.selector.fmt(f)?;
                write!(f, " ∘ select [lowest go], {schedule}")
            }
        }
    }
}
