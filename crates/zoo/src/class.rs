//! What the published cache classes fix for both halves of an arm.

use std::fmt;

use crate::{
    Context, DecodePolicy, Pin, PrefillPolicy, Published, Quota, Schedule, Score, Selector,
};

/// A published cache class: its prefill, and what its decode half takes over from it (SCOPE's repository at commit 8cbae48).
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Class {
    /// What survives of the prompt.
    pub(crate) policy: PrefillPolicy,
    /// Entries at which decode is taken to begin, whatever prefill really left; `None` is the prompt's length.
    pub(crate) capacity: Option<usize>,
    /// Steps between growths that the class insists on, whatever the budgets (`SnapKV`, `PyramidKV`: never told δ, so 15).
    pub(crate) interval: Option<usize>,
    /// Whether its counters are never reset (`SnapKV`, `PyramidKV`).
    pub(crate) carries_counters: bool,
}

impl Class {
    /// A class with a prefill budget that resets its counters at every prompt.
    pub(crate) fn new(policy: PrefillPolicy, capacity: usize) -> Self {
        Self { policy, capacity: Some(capacity), interval: None, carries_counters: false }
    }

    /// A decode half that spares everything before the boundary: SCOPE's three strategies.
    pub(crate) fn scope(&self, quota: Quota, skips: bool, recent: usize) -> DecodePolicy {
        let frozen = self.capacity.map_or(Pin::Prompt, Pin::FirstEntries);
        let pins = [frozen, Pin::LastEntries(recent)];
        self.decode(quota, skips, Selector::new(pins, Score::ThisQuery))
    }

    /// A decode half in which prompt and output compete.
    pub(crate) fn unified(&self, quota: Quota, score: Score, recent: usize) -> DecodePolicy {
        self.decode(quota, false, Selector::new([Pin::LastEntries(recent)], score))
    }

    fn decode(&self, quota: Quota, skips: bool, selector: Selector) -> DecodePolicy {
        DecodePolicy {
            schedule: Schedule::Published(Published { boundary: self.capacity, quota, skips }),
            selector: selector.in_order_of_score(),
            carries_counters: self.carries_counters,
        }
    }

    /// A decode half that drops nothing.
    pub(crate) fn never(&self) -> DecodePolicy {
        DecodePolicy { carries_counters: self.carries_counters, ..DecodePolicy::never() }
    }

    /// Growth by one entry per interval: the decode method's own, else the class's, else as the study's runner derives it.
    pub(crate) fn growth(
        &self,
        own: Option<usize>,
        budget: usize,
        recent: usize,
        context: Context,
    ) -> Quota {
        let derived = || interval(budget, recent, context);
        Quota::Counted { recent, interval: own.or(self.interval).unwrap_or_else(derived) }
    }
}

impl fmt::Display for Class {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.policy.fmt(f)?;
        write!(f, "; decode counts from ")?;
        match self.capacity {
            Some(capacity) => write!(f, "entry {capacity}")?,
            None => write!(f, "the prompt's end")?,
        }
        if let Some(interval) = self.interval {
            write!(f, ", grows every {interval} steps unless told otherwise")?;
        }
        if self.carries_counters {
            write!(f, ", and goes on with the counters of the sample before")?;
        }
        Ok(())
    }
}

/// Steps in which an output of the longest length grows a window by one, so that `budget` is reached at its end (SCOPE: ζ, δ).
pub(crate) fn interval(budget: usize, recent: usize, context: Context) -> usize {
    let heavy = budget.saturating_sub(recent).max(1);
    (context.max_new_tokens.saturating_sub(recent) / heavy).max(1)
}
