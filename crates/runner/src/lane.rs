//! A sequence being generated, under one arm or, as long as none of them selects anything, under several.

use std::sync::Arc;
use std::time::{Duration, Instant};

use zoo::{Counters, DecodePolicy, Layer, Moment, Selection};

use crate::cache::{Entries, Room, Slots, Store};
use crate::likelihood::{log_probability, most_likely};
use crate::outcome::{Cost, Outcome, Stop};
use crate::prefill::{Origin, Pool};
use crate::rider::Rider;
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

/// A sequence being generated.
///
/// Arms that keep the same of the same prompt, in the same place (shared, or as a copy), generate the same text from the same cache until one of them
/// selects for the first time. Until then they ride on one lane; then that one parts from it, with a copy.
#[derive(Debug)]
pub(crate) struct Lane {
    riders: Vec<Rider>, // at least one; several only while none has selected
    start: Arc<Start>,
    own: Vec<Entries>, // (layers,)
    selected: bool,
    tokens: Vec<u32>,
    logprobs: Vec<f32>,
    cost: Cost,
}

/// What a lane begins with.
#[derive(Debug)]
struct Start {
    origin: Origin,
    shared: Option<Arc<Pool>>,
    pools: Vec<usize>, // (layers,): entries per KV head that prefill left, whether shared or not
    prompt_tokens: usize,
    limits: Limits,
    forced: Option<Vec<u32>>,
}

impl Lane {
    /// Forks a lane from a prompt under a job's arm.
    pub(crate) fn fork(id: usize, prefilled: &Prefilled, job: &Job) -> Result<Self> {
        let rider = Rider::new(id, job);
        let pool = prefilled.pool(&job.policies, job.seed)?;
        let spares = rider.policy.spares_prompt();
        let none = |of: &Entries| vec![Vec::new(); of.heads()];
        let copied = if spares { none } else { Entries::all_slots };
        let kept: Vec<_> = pool.layers.iter().map(copied).collect();
        let start = Arc::new(Start {
            origin: prefilled.origin(&job.policies, job.seed)?,
            pools: pool.layers.iter().map(Entries::len).collect(),
            shared: spares.then(|| Arc::clone(&pool)),
            prompt_tokens: prefilled.tokens().len(),
            limits: job.limits.clone(),
            forced: job.forced.clone(),
        });
        let mut own = Entries::copies(&pool.layers, &kept, &start.room(&rider.policy))?;
        if rider.policy.accumulates() {
            for (layer, own) in own.iter_mut().enumerate() {
                own.track(prefilled.received(layer, own)?);
            }
        }
        let mut lane = Self {
            riders: vec![rider],
            start,
            own,
            selected: false,
            tokens: Vec::new(),
            logprobs: Vec::new(),
            cost: Cost::default(),
        };
        lane.cost.bytes_peak = lane.bytes();
        lane.choose(prefilled.logits());
        Ok(lane)
    }

    /// Takes a job's arm on, if under it the lane would have become what it is; says whether it did.
    pub(crate) fn take_on(&mut self, id: usize, prefilled: &Prefilled, job: &Job) -> Result<bool> {
        let (start, policy) = (&self.start, &job.policies.decode);
        let alike = !self.selected
            && self.riders[0].policy.accumulates() == policy.accumulates()
            && start.shared.is_some() == policy.spares_prompt()
            && (&start.limits, &start.forced) == (&job.limits, &job.forced)
            && start.origin == prefilled.origin(&job.policies, job.seed)?;
        if !alike {
            return Ok(false);
        }
        let mut rider = Rider::new(id, job);
        for generated in 1..self.tokens.len() {
            rider.look_ahead(&self.moments(generated, |layer| start.pools[layer] + generated));
            if rider.selects() {
                return Ok(false);
            }
        }
        // It may be the one that stays.
        Entries::make_room(&mut self.own, &start.room(&rider.policy))?;
        self.riders.push(rider);
        Ok(true)
    }

    /// Asks the arms what they will do in the coming step. Those that select, but for the last one, part from the lane, each with a copy of it.
    pub(crate) fn look_ahead(&mut self) -> Result<Vec<Self>> {
        let moments = self.moments(self.tokens.len(), |layer| self.entries(layer) + 1);
        self.riders.iter_mut().for_each(|rider| rider.look_ahead(&moments));
        let mut parted = Vec::new();
        while self.riders.len() > 1
            && let Some(place) = self.riders.iter().position(Rider::selects)
        {
            let rider = self.riders.remove(place);
            parted.push(self.copy(rider)?);
        }
        self.selected |= self.rider().selects();
        Ok(parted)
    }

    /// The lane once more, for an arm that selects.
    fn copy(&self, rider: Rider) -> Result<Self> {
        let kept: Vec<_> = self.own.iter().map(Entries::all_slots).collect();
        let mut own = Entries::copies(&self.own, &kept, &self.start.room(&rider.policy))?;
        own.iter_mut().zip(&self.own).for_each(|(copy, own)| copy.track_as(own));
        Ok(Self {
            riders: vec![rider],
            start: Arc::clone(&self.start),
            own,
            selected: true,
            tokens: self.tokens.clone(),
            logprobs: self.logprobs.clone(),
            cost: self.cost.clone(),
        })
    }

    /// Arms that ride on it.
    pub(crate) fn riders(&self) -> usize {
        self.riders.len()
    }

    /// The only arm, or one that selects nothing now, like all of them.
    fn rider(&self) -> &Rider {
        &self.riders[0]
    }

    /// Takes the next token: the forced one if there is any, else the most likely that may come, the lower id among equals.
    pub(crate) fn choose(&mut self, logits: &[f32]) {
        let token = match &self.start.forced {
            Some(forced) => {
                let token = forced[self.tokens.len()];
                self.logprobs.push(log_probability(logits, token));
                token
            }
            None if self.tokens.len() < self.start.limits.min_new_tokens => {
                most_likely(logits, &self.start.limits.end_tokens)
            }
            None => most_likely(logits, &[]),
        };
        self.tokens.push(token);
    }

    /// Why the lane should end now, if it should.
    pub(crate) fn stop(&self) -> Option<Stop> {
        let last = self.tokens.last()?;
        if self.start.forced.is_none() && self.start.limits.end_tokens.contains(last) {
            Some(Stop::Eos)
        } else if self.tokens.len() >= self.start.limits.max_new_tokens {
            Some(Stop::Length)
        } else if self.start.forced.is_none()
            && self.start.limits.stop_on_loop
            && loops(&self.tokens)
        {
            Some(Stop::Loop)
        } else {
            None
        }
    }

    /// The token to feed and its position.
    pub(crate) fn next(&self) -> (u32, u32) {
        let fed = self.tokens.len() - 1;
        (self.tokens[fed], (self.start.prompt_tokens + fed) as u32)
    }

    /// The entries that it shares with other lanes, if any.
    pub(crate) fn shared(&self) -> Option<&Arc<Pool>> {
        self.start.shared.as_ref()
    }

    pub(crate) fn own(&self, layer: usize) -> &Entries {
        &self.own[layer]
    }

    /// The shared entries of a layer, if any, in front of the lane's own.
    pub(crate) fn kept(&self, layer: usize, head: usize) -> Vec<u32> {
        let shared = self.shared().map(|pool| &pool.layers[layer]);
        let parts = shared.into_iter().chain([self.own(layer)]);
        parts.flat_map(|entries| entries.kept(head)).collect()
    }

    /// Whether a selection is due in a layer in the step that was last looked ahead to, even one that drops nothing.
    pub(crate) fn selects(&self, layer: usize) -> bool {
        self.rider().due(layer).is_some()
    }

    /// The published counters as they stand.
    pub(crate) fn counters(&self) -> Counters {
        self.rider().counters
    }

    /// Takes in this step's entry, whose keys and values `write` puts into their slots.
    pub(crate) fn push(
        &mut self,
        layer: usize,
        write: impl FnOnce(&Slots, &mut Store) -> Result<()>,
    ) -> Result<()> {
        let (_, position) = self.next();
        let own = &mut self.own[layer];
        let (slots, store) = own.push(position)?;
        write(&slots, store)?;
        let started = Instant::now();
        own.settle()?;
        self.cost.policy += started.elapsed();
        Ok(())
    }

    /// Entries of a layer, shared ones included.
    pub(crate) fn entries(&self, layer: usize) -> usize {
        self.shared().map_or(0, |pool| pool.layers[layer].len()) + self.own[layer].len()
    }

    /// Whether this step's attention to a layer's own entries is wanted.
    pub(crate) fn observes(&self, layer: usize) -> bool {
        self.rider().observes(layer)
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
        let (due, observes) = (self.rider().due(layer), self.observes(layer));
        if due.is_none() && !observes {
            return Ok(());
        }
        let started = Instant::now();
        let attention = if observes { attention()? } else { Vec::new() };
        self.own[layer].accumulate(&attention);
        if let Some(selection) = due {
            let moment = self.moment(layer, self.tokens.len(), self.entries(layer));
            let chosen = self.rider().select(self.own(layer), moment, selection, &attention);
            let own = &mut self.own[layer];
            let before = own.len();
            match selection {
                Selection::Evict(_) => own.evict(chosen),
                Selection::Arrange(_) => own.arrange(&chosen)?,
            }
            self.cost.evictions += ((before - own.len()) * own.heads()) as u64;
        }
        self.cost.policy += started.elapsed();
        Ok(())
    }

    /// All layers of the step that feeds the `generated`-th token, with so many entries each.
    fn moments(&self, generated: usize, entries: impl Fn(usize) -> usize) -> Vec<Moment> {
        (0..self.own.len()).map(|layer| self.moment(layer, generated, entries(layer))).collect()
    }

    fn moment(&self, layer: usize, generated: usize, entries: usize) -> Moment {
        Moment {
            layer: Layer { index: layer, count: self.own.len() },
            prompt_tokens: self.start.prompt_tokens,
            generated,
            pool: self.start.pools[layer],
            entries,
        }
    }

    /// Notes what a finished step cost; `lanes` took part in it.
    pub(crate) fn account(&mut self, elapsed: Duration, lanes: usize) {
        self.cost.add(elapsed, lanes, (self.mean_entries(), self.bytes()));
    }

    fn mean_entries(&self) -> f64 {
        let layers = self.own.len();
        (0..layers).map(|layer| self.entries(layer)).sum::<usize>() as f64 / layers as f64
    }

    fn bytes(&self) -> usize {
        let shared = self.shared().map_or(0, |pool| pool.bytes());
        shared + self.own.iter().map(Entries::bytes).sum::<usize>()
    }

    /// Each arm's account, under its number, once the lane has ended.
    pub(crate) fn outcomes(self, stop: Stop) -> impl Iterator<Item = (usize, Outcome)> {
        let kept_end_decode = self.mean_entries();
        let pools: usize = self.start.pools.iter().sum();
        let outcome = Outcome {
            stop,
            kept_end_prefill: pools as f64 / self.own.len() as f64,
            kept_end_decode,
            entries_mean: self.cost.entries_mean().unwrap_or(kept_end_decode),
            lanes: self.cost.lanes(),
            decode: self.cost.decode,
            policy: self.cost.policy,
            bytes_peak: self.cost.bytes_peak,
            evictions: self.cost.evictions,
            trace: self.cost.trace,
            counters: Counters::default(),
            tokens: self.tokens,
            logprobs: self.logprobs,
        };
        self.riders
            .into_iter()
            .map(move |rider| (rider.id, Outcome { counters: rider.counters, ..outcome.clone() }))
    }
}

impl Start {
    /// Room for the entries that a lane has of its own under a policy. If that bounds them, they are expected to come to be as many; what nothing bounds but
    /// the end of the text may end long before.
    fn room(&self, policy: &DecodePolicy) -> Room {
        let steps = self.limits.max_new_tokens;
        let layers = self.pools.iter().zip(Layer::all(self.pools.len()));
        let (slots, bounded): (Vec<usize>, Vec<bool>) = layers
            .map(|(&pool, layer)| {
                // A step's own entry is in before another goes.
                let added = policy.schedule.peak(pool, steps, layer) + 1 - pool;
                (added + if self.shared.is_some() { 0 } else { pool }, added < steps)
            })
            .unzip();
        Room { slots, filled: bounded.into_iter().all(|bounded| bounded) }
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
