//! One arm's sequence.

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use zoo::{Counters, DecodePolicy, Layer, Moment, Selection, View};

use crate::cache::{Entries, Slots, Store};
use crate::likelihood::{log_probability, most_likely};
use crate::prefill::Pool;
use crate::{Job, Prefilled, Result};

/// When a lane ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Most tokens to generate.
    pub max_new_tokens: usize,
    /// Tokens that end the text.
    pub end_tokens: Vec<u32>,
    /// Tokens that come before any end token, even where that is the most likely one.
    pub min_new_tokens: usize,
    /// Whether to end a lane whose last 256 tokens repeat with a period of at most 64.
    pub stop_on_loop: bool,
}

/// Tokens that must repeat for a lane to count as looping.
pub(crate) const LOOP_TOKENS: usize = 256;
/// Longest period of a loop, in tokens.
pub(crate) const LOOP_PERIOD: usize = 64;

/// Why a lane ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Stop {
    /// The model ended its text.
    Eos,
    /// The limit was reached.
    Length,
    /// The text repeats itself.
    Loop,
}

/// What a lane did, and what it cost.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// Generated tokens, the end token included.
    pub tokens: Vec<u32>,
    /// Why it ended.
    pub stop: Stop,
    /// Log-probability of each forced token given all before; empty where the lane chose freely.
    pub logprobs: Vec<f32>,
    /// Wall time of the steps that the lane took part in, shared with the lanes beside it.
    pub decode: Duration,
    /// Of that, what this lane's policy took: scores handed over, selection, bookkeeping.
    pub policy: Duration,
    /// Mean number of lanes in those steps.
    pub lanes: f64,
    /// Most bytes allocated for entries at once, shared ones included.
    pub bytes_peak: usize,
    /// Mean over steps of entries per KV head and layer, after the step.
    pub entries_mean: f64,
    /// Entries per KV head that prefill left, mean over layers.
    pub kept_end_prefill: f64,
    /// Entries per KV head at the end, mean over layers.
    pub kept_end_decode: f64,
    /// Entries evicted while decoding, summed over layers and KV heads.
    pub evictions: u64,
    /// Entries per KV head and layer after each [`TRACE_STEPS`]-th step, mean over layers.
    pub trace: Vec<f32>,
    /// The published counters as they stand at the end; another lane may go on from there.
    pub counters: Counters,
}

/// Steps between two points of [`Outcome::trace`].
pub const TRACE_STEPS: usize = 16;

/// A sequence being generated under one arm.
#[derive(Debug)]
pub(crate) struct Lane {
    pub(crate) id: usize,
    layers: Vec<LayerCache>,
    shared: Option<Arc<Pool>>,
    policy: DecodePolicy,
    limits: Limits,
    forced: Option<Vec<u32>>,
    seed: u64,
    prompt_tokens: usize,
    tokens: Vec<u32>,
    logprobs: Vec<f32>,
    counters: Counters,
    cost: Cost,
}

/// One layer of a lane's cache, beside what it shares.
#[derive(Debug)]
struct LayerCache {
    own: Entries,
    /// Entries per KV head that prefill left in this layer, whether shared or not.
    pool: usize,
    /// Selections that have run, those that dropped nothing among them.
    selections: usize,
}

/// Running sums over a lane's steps.
#[derive(Debug, Default)]
struct Cost {
    decode: Duration,
    policy: Duration,
    lane_steps: usize,
    steps: usize,
    bytes_peak: usize,
    entries_sum: f64,
    evictions: u64,
    trace: Vec<f32>,
}

impl Lane {
    /// Forks a lane from a prompt under a job's arm.
    pub(crate) fn fork(id: usize, prefilled: &Prefilled, job: &Job) -> Result<Self> {
        let policy = job.policies.decode.clone();
        let pool = prefilled.pool(&job.policies, job.seed)?;
        let shared = policy.spares_prompt().then(|| Arc::clone(&pool));
        let layers = pool.layers.len();
        let own = |(index, of): (usize, &Entries)| {
            let (pool, layer) = (of.len(), Layer { index, count: layers });
            // A step's own entry is in before another goes.
            let most = policy.schedule.peak(pool, job.limits.max_new_tokens, layer) + 1;
            match &shared {
                Some(_) => (vec![Vec::new(); of.heads()], most - pool),
                None => (vec![(0..pool).collect(); of.heads()], most),
            }
        };
        let (kept, rooms): (Vec<_>, Vec<_>) = pool.layers.iter().enumerate().map(own).unzip();
        let copies = Entries::copies(&pool.layers, &kept, &rooms)?;
        let layers =
            copies.into_iter().zip(&pool.layers).enumerate().map(|(layer, (mut own, pool))| {
                if policy.accumulates() {
                    own.track(prefilled.received(layer, &own)?);
                }
                Ok(LayerCache { own, pool: pool.len(), selections: 0 })
            });
        let mut lane = Self {
            id,
            layers: layers.collect::<Result<_>>()?,
            shared,
            counters: policy.start(job.counters),
            policy,
            limits: job.limits.clone(),
            forced: job.forced.clone(),
            seed: job.seed,
            prompt_tokens: prefilled.tokens().len(),
            tokens: Vec::new(),
            logprobs: Vec::new(),
            cost: Cost::default(),
        };
        lane.cost.bytes_peak = lane.bytes();
        lane.choose(prefilled.logits());
        Ok(lane)
    }

    /// Takes the next token: the forced one if there is any, else the most likely that may come, the lower id among equals.
    pub(crate) fn choose(&mut self, logits: &[f32]) {
        let token = match &self.forced {
            Some(forced) => {
                let token = forced[self.tokens.len()];
                self.logprobs.push(log_probability(logits, token));
                token
            }
            None if self.tokens.len() < self.limits.min_new_tokens => {
                most_likely(logits, &self.limits.end_tokens)
            }
            None => most_likely(logits, &[]),
        };
        self.tokens.push(token);
    }

    /// Why the lane should end now, if it should.
    pub(crate) fn stop(&self) -> Option<Stop> {
        let last = self.tokens.last()?;
        if self.forced.is_none() && self.limits.end_tokens.contains(last) {
            Some(Stop::Eos)
        } else if self.tokens.len() >= self.limits.max_new_tokens {
            Some(Stop::Length)
        } else if self.forced.is_none() && self.limits.stop_on_loop && loops(&self.tokens) {
            Some(Stop::Loop)
        } else {
            None
        }
    }

    /// The token to feed and its position.
    pub(crate) fn next(&self) -> (u32, u32) {
        let fed = self.tokens.len() - 1;
        (self.tokens[fed], (self.prompt_tokens + fed) as u32)
    }

    /// The entries that it shares with other lanes, if any.
    pub(crate) fn shared(&self) -> Option<&Arc<Pool>> {
        self.shared.as_ref()
    }

    pub(crate) fn own(&self, layer: usize) -> &Entries {
        &self.layers[layer].own
    }

    /// The shared entries of a layer, if any, in front of the lane's own.
    pub(crate) fn kept(&self, layer: usize, head: usize) -> Vec<u32> {
        let shared = self.shared.as_ref().map(|pool| &pool.layers[layer]);
        let parts = shared.into_iter().chain([self.own(layer)]);
        parts.flat_map(|entries| entries.kept(head)).collect()
    }

    /// Selections that have run in a layer.
    pub(crate) fn selections(&self, layer: usize) -> usize {
        self.layers[layer].selections
    }

    /// The published counters as they stand.
    pub(crate) fn counters(&self) -> Counters {
        self.counters
    }

    /// Takes in this step's entry, whose keys and values `write` puts into their slots.
    pub(crate) fn push(
        &mut self,
        layer: usize,
        write: impl FnOnce(&Slots, &mut Store) -> Result<()>,
    ) -> Result<()> {
        let (_, position) = self.next();
        let own = &mut self.layers[layer].own;
        let (slots, store) = own.push(position)?;
        write(&slots, store)?;
        let started = Instant::now();
        own.settle()?;
        self.cost.policy += started.elapsed();
        Ok(())
    }

    /// Entries of a layer, shared ones included.
    pub(crate) fn entries(&self, layer: usize) -> usize {
        let LayerCache { own, pool, .. } = &self.layers[layer];
        if self.shared.is_some() { pool + own.len() } else { own.len() }
    }

    /// Whether the policy may want to see a step's attention.
    pub(crate) fn observes(&self) -> bool {
        self.policy.needs_attention()
    }

    /// Evicts what the policy wants gone from a layer. `attention` is what this step's queries gave to the lane's own entries; it is asked for only if
    /// the policy wants to see it now.
    ///
    /// # Shapes
    /// - `attention`: `(heads, group, own)`
    pub(crate) fn evict(
        &mut self,
        layer: usize,
        attention: impl FnOnce() -> Result<Vec<f32>>,
    ) -> Result<()> {
        let moment = self.moment(layer);
        let due = self.policy.due(moment, &mut self.counters);
        if due.is_none() && !self.policy.accumulates() {
            return Ok(());
        }
        let started = Instant::now();
        let attention = if self.observes() { attention()? } else { Vec::new() };
        let own = &mut self.layers[layer].own;
        own.accumulate(&attention);
        if let Some(selection) = due {
            self.select(layer, moment, selection, &attention)?;
        }
        self.cost.policy += started.elapsed();
        Ok(())
    }

    /// Runs a selection in each head of a layer.
    ///
    /// # Shapes
    /// - `attention`: `(heads, group, own)`, or nothing
    fn select(
        &mut self,
        layer: usize,
        moment: Moment,
        selection: Selection,
        attention: &[f32],
    ) -> Result<()> {
        let LayerCache { own, selections, .. } = &mut self.layers[layer];
        let per_head = attention.len() / own.heads();
        let choose = |head: usize| {
            let rows: Vec<&[f32]> = match own.scores(head) {
                Some(sums) => vec![sums],
                None => attention[head * per_head..][..per_head].chunks(own.slots()).collect(),
            };
            let step = [self.seed, layer as u64, head as u64, moment.generated as u64];
            let view = View {
                positions: own.positions(head),
                attention: &rows,
                prompt_tokens: moment.prompt_tokens,
                tokens: moment.prompt_tokens + moment.generated,
                seed: zoo::stream(&step),
            };
            match selection {
                Selection::Evict(count) => self.policy.selector.evict(&view, count),
                Selection::Arrange(count) => self.policy.selector.arrange(&view, count),
            }
        };
        let chosen: Vec<Vec<usize>> = (0..own.heads()).map(choose).collect();
        let before = own.len();
        match selection {
            Selection::Evict(_) => own.evict(chosen),
            Selection::Arrange(_) => own.arrange(&chosen)?,
        }
        *selections += 1;
        self.cost.evictions += ((before - own.len()) * own.heads()) as u64;
        Ok(())
    }

    fn moment(&self, layer: usize) -> Moment {
        Moment {
            layer: Layer { index: layer, count: self.layers.len() },
            prompt_tokens: self.prompt_tokens,
            generated: self.tokens.len(),
            pool: self.layers[layer].pool,
            entries: self.entries(layer),
        }
    }

    /// Notes what a finished step cost; `lanes` took part in it.
    pub(crate) fn account(&mut self, elapsed: Duration, lanes: usize) {
        let bytes = self.bytes();
        let entries = self.mean_entries();
        let cost = &mut self.cost;
        if cost.steps.is_multiple_of(TRACE_STEPS) {
            cost.trace.push(entries as f32);
        }
        cost.decode += elapsed;
        cost.steps += 1;
        cost.lane_steps += lanes;
        cost.entries_sum += entries;
        cost.bytes_peak = cost.bytes_peak.max(bytes);
    }

    fn mean_entries(&self) -> f64 {
        let layers = self.layers.len();
        (0..layers).map(|layer| self.entries(layer)).sum::<usize>() as f64 / layers as f64
    }

    fn bytes(&self) -> usize {
        let shared = self.shared.as_ref().map_or(0, |pool| pool.bytes());
        shared + self.layers.iter().map(|layer| layer.own.bytes()).sum::<usize>()
    }

    /// The lane's account, once it has ended.
    pub(crate) fn outcome(self, stop: Stop) -> Outcome {
        let steps = self.cost.steps.max(1) as f64;
        let pools: usize = self.layers.iter().map(|layer| layer.pool).sum();
        Outcome {
            stop,
            kept_end_prefill: pools as f64 / self.layers.len() as f64,
            kept_end_decode: self.mean_entries(),
            entries_mean: if self.cost.steps == 0 {
                self.mean_entries()
            } else {
                self.cost.entries_sum / steps
            },
            lanes: self.cost.lane_steps as f64 / steps,
            decode: self.cost.decode,
            policy: self.cost.policy,
            bytes_peak: self.cost.bytes_peak,
            evictions: self.cost.evictions,
            trace: self.cost.trace,
            counters: self.counters,
            tokens: self.tokens,
            logprobs: self.logprobs,
        }
    }
}

/// Whether the last 256 tokens repeat with a period of at most 64.
fn loops(tokens: &[u32]) -> bool {
    let Some(start) = tokens.len().checked_sub(LOOP_TOKENS) else { return false };
    let tail = &tokens[start..];
    (1..=LOOP_PERIOD).any(|period| tail[period..].iter().zip(tail).all(|(a, b)| a == b))
}

#[cfg(test)]
mod tests {
    use super::{LOOP_TOKENS, loops};

    #[test]
    fn a_loop_needs_its_whole_tail_to_repeat() {
        let mut tokens: Vec<u32> = (0..LOOP_TOKENS as u32).map(|i| i % 7).collect();
        assert!(loops(&tokens));
        tokens[100] = 99;
        assert!(!loops(&tokens));
        assert!(!loops(&tokens[..50]));
    }
}
