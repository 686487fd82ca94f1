use std::fmt;
use std::ops::Range;

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

/// The entries that no pin holds. Every pin leaves a range, of positions or of entries, so that all of them together do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Free {
    positions: Range<usize>,
    entries: Range<usize>,
}

impl Free {
    /// What these pins leave of a view.
    pub(crate) fn of(pins: &[Pin], view: &View<'_>) -> Self {
        let count = view.positions.len();
        let mut free = Self { positions: 0..usize::MAX, entries: 0..count };
        let Self { positions, entries } = &mut free;
        for &pin in pins {
            match pin {
                Pin::Sinks(sinks) => positions.start = positions.start.max(sinks),
                Pin::Prompt => positions.start = positions.start.max(view.prompt_tokens),
                Pin::Recent(recent) => {
                    positions.end = positions.end.min(view.tokens.saturating_sub(recent));
                }
                Pin::FirstEntries(first) => entries.start = entries.start.max(first),
                Pin::LastEntries(last) => {
                    entries.end = entries.end.min(count.saturating_sub(last));
                }
            }
        }
        entries.start = entries.start.min(entries.end);
        free
    }

    /// The entries, ascending, where these are all positions.
    pub(crate) fn entries(&self, positions: &[u32]) -> impl Iterator<Item = usize> {
        self.range()
            .zip(&positions[self.range()])
            .filter(|(_, at)| self.holds(**at))
            .map(|(entry, _)| entry)
    }

    /// The part of the cache beyond which there are none.
    pub(crate) fn range(&self) -> Range<usize> {
        self.entries.clone()
    }

    /// Whether an entry of that part is one, at this position.
    pub(crate) fn holds(&self, position: u32) -> bool {
        self.positions.contains(&(position as usize))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_free_is_what_no_pin_holds() {
        let positions = [7, 0, 3, 12, 1, 9, 11, 5];
        let view =
            View { positions: &positions, attention: &[], prompt_tokens: 4, tokens: 13, seed: 0 };
        for count in [0, 1, 3, 7, 8, 20, usize::MAX] {
            for other in [0, 2, 9, usize::MAX] {
                let kinds: [fn(usize) -> Pin; 5] =
                    [Pin::Sinks, |_| Pin::Prompt, Pin::Recent, Pin::FirstEntries, Pin::LastEntries];
                for (one, two) in kinds.iter().flat_map(|one| kinds.map(|two| (one, two))) {
                    let pins = [one(count), two(other)];
                    let found: Vec<usize> = Free::of(&pins, &view).entries(&positions).collect();
                    let free = |&entry: &usize| !pins.iter().any(|pin| pin.holds(&view, entry));
                    let expected: Vec<usize> = (0..positions.len()).filter(free).collect();
                    assert_eq!(found, expected, "{pins:?}");
                }
            }
        }
    }
}
