use std::fmt;

use serde::{Deserialize, Serialize};

use super::{Layer, Steps};
use crate::Moment;

/// When SCOPE's published code selects, down to how many entries: in counts of cache entries and layer calls, not of tokens.
///
/// It keeps two habits that a sound schedule has not: the boundary between prompt and output is a constant of the configuration, and
/// a selection that drops nothing still puts the entries into the order of their scores.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Published {
    /// Entries at which decode is taken to begin, whatever prefill left; `None` is the prompt's length.
    pub boundary: Option<usize>,
    /// Entries allowed beyond the boundary.
    pub quota: Quota,
    /// Whether a selection that is due waits until as many layer calls were skipped as one growth takes.
    pub skips: bool,
}

/// Entries that the published code allows beyond the boundary.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Quota {
    /// Always the same.
    Fixed(usize),
    /// `recent`, and one more each time `interval` steps have been counted, without end.
    Counted {
        /// Entries at the start.
        recent: usize,
        /// Steps between growths, at least 1 (SCOPE: δ).
        interval: usize,
    },
    /// `budget`; but a layer that prefill left far above it keeps a share that falls with depth (the study's `PyramidInfer`).
    Pyramid {
        /// Entries of most layers.
        budget: usize,
        /// Of them, the last in cache order that stay whatever their score.
        recent: usize,
    },
}

/// The published cache classes' counters. All layers share them, and where a class does not reset them, all samples of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Counters {
    /// Layer calls counted for growth.
    pub step: usize,
    /// Layer calls skipped since the last selection.
    pub skip: usize,
    /// Layers that have selected in this round.
    pub layer: usize,
}

impl Published {
    /// Entries that a selection is to evict now, possibly none; `None` while no selection is due.
    pub fn due(self, moment: Moment, counters: &mut Counters) -> Option<usize> {
        let Moment { layer, prompt_tokens, entries, .. } = moment;
        let boundary = self.boundary.unwrap_or(prompt_tokens);
        let calls = self.quota.interval().saturating_mul(layer.count);
        let allowed = boundary.saturating_add(self.quota.at(boundary, layer, entries, counters));
        if entries < allowed {
            return None;
        }
        if self.skips {
            if counters.skip < calls {
                counters.skip += 1;
                return None;
            }
            counters.layer += 1;
            if counters.layer == layer.count {
                (counters.skip, counters.layer) = (0, 0);
            }
        }
        Some(entries - allowed)
    }

    /// Most entries that are left after a step, over `steps` steps, where prefill left `pool` of them; an upper bound.
    pub(super) fn peak(self, pool: usize, steps: usize) -> usize {
        let (quota, skipped) = match self.quota {
            Quota::Fixed(budget) | Quota::Pyramid { budget, .. } => (budget, 0),
            Quota::Counted { recent, interval } => {
                let interval = interval.max(1);
                (recent.saturating_add(steps / interval), if self.skips { interval + 1 } else { 0 })
            }
        };
        let allowed = self.boundary.unwrap_or(pool).saturating_add(quota);
        allowed.max(pool).saturating_add(skipped)
    }
}

impl Quota {
    fn interval(self) -> usize {
        match self {
            Self::Counted { interval, .. } => interval.max(1),
            Self::Fixed(_) | Self::Pyramid { .. } => 1,
        }
    }

    /// Entries allowed beyond `boundary`; counts the call.
    fn at(self, boundary: usize, layer: Layer, entries: usize, counters: &mut Counters) -> usize {
        match self {
            Self::Fixed(budget) => budget,
            Self::Counted { recent, .. } => {
                let grown = counters.step / self.interval().saturating_mul(layer.count.max(1));
                counters.step = counters.step.saturating_add(1);
                recent.saturating_add(grown)
            }
            Self::Pyramid { budget, recent } => {
                let small = entries < boundary.saturating_add(budget);
                let shallow = boundary.saturating_mul(2).saturating_add(budget)
                    > entries.saturating_add(recent.saturating_mul(2));
                if small || shallow {
                    return budget;
                }
                let mean = boundary.saturating_add(budget).saturating_sub(recent);
                let history =
                    Steps::Published.history(mean, mean.saturating_mul(2) - mean / 2, layer);
                let kept = history.saturating_add(budget).saturating_add(recent).min(entries);
                kept.saturating_sub(boundary)
            }
        }
    }
}

impl fmt::Display for Published {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { boundary, quota, skips } = self;
        let boundary =
            boundary.map_or_else(|| "prompt".to_owned(), |boundary| boundary.to_string());
        match quota {
            Quota::Fixed(budget) => write!(f, "every step, down to {boundary} + {budget}")?,
            Quota::Counted { recent, interval } => write!(
                f,
                "every step, down to {boundary} + {recent} + one per {interval} steps counted"
            )?,
            Quota::Pyramid { budget, .. } => write!(
                f,
                "every step, down to {boundary} + {budget}, deep layers of long prompts lower"
            )?,
        }
        if *skips {
            write!(f, ", after as many steps skipped")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The actions of one layer of `steps` steps, prompt pool of 48 entries: entries after the step, and what a selection dropped.
    fn run(schedule: Published, steps: usize) -> Vec<(usize, Option<usize>)> {
        let mut counters = Counters::default();
        let mut entries = 48;
        (0..steps)
            .map(|step| {
                entries += 1;
                let moment = Moment {
                    layer: Layer { index: 0, count: 1 },
                    prompt_tokens: 96,
                    generated: step + 1,
                    pool: 48,
                    entries,
                };
                let dropped = schedule.due(moment, &mut counters);
                entries -= dropped.unwrap_or(0);
                (entries, dropped)
            })
            .collect()
    }

    #[test]
    fn adaptive_selects_before_it_drops() {
        let quota = Quota::Counted { recent: 8, interval: 5 };
        let schedule = Published { boundary: Some(48), quota, skips: false };
        assert_eq!(
            run(schedule, 12)[7..],
            [(56, None), (57, Some(0)), (57, Some(1)), (58, Some(0)), (58, Some(1))]
        );
    }

    #[test]
    fn discontinuous_skips_one_interval_and_then_selects() {
        let quota = Quota::Counted { recent: 8, interval: 5 };
        let schedule = Published { boundary: Some(48), quota, skips: true };
        let steps = run(schedule, 26);
        let selections: Vec<usize> = (0..26).filter(|&step| steps[step].1.is_some()).collect();
        assert_eq!(selections, [13, 19, 25]);
    }
}
