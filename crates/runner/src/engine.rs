//! The lockstep loop and its clock.

use std::sync::Arc;
use std::time::{Duration, Instant};

use zoo::{Counters, Policies};

use crate::lane::{Lane, Limits};
use crate::llama::Llama;
use crate::outcome::Outcome;
use crate::prefill::Pool;
use crate::{Error, Model, Prefilled, Result};

/// What a lane is to do.
#[derive(Debug, Clone)]
pub struct Job {
    /// What survives of the prompt, and what goes while tokens are generated.
    pub policies: Policies,
    /// Where the published counters stand when it starts, for the policies that carry them from one prompt to the next.
    pub counters: Counters,
    /// When the lane ends.
    pub limits: Limits,
    /// Tokens to feed instead of the most likely ones; their log-probabilities are recorded.
    pub forced: Option<Vec<u32>>,
    /// Seed of whatever the policies draw.
    pub seed: u64,
}

/// Lanes advancing in lockstep: one pass over the weights per step, for all of them.
///
/// A lane's tokens do not depend on the lanes beside it.
#[derive(Debug)]
pub struct Engine<'a> {
    llama: &'a Llama,
    lanes: Vec<Lane>,
    capacity: usize,
    shares_lanes: bool,
    started: usize,
    elapsed: Duration,
    logits: Vec<f32>, // (lanes, vocabulary), of the last step
}

impl<'a> Engine<'a> {
    /// An engine that holds at most `capacity` lanes at a time, each under one arm.
    pub fn new(model: &'a Model, capacity: usize) -> Self {
        Self {
            llama: model.llama(),
            lanes: Vec::new(),
            capacity: capacity.max(1),
            shares_lanes: false,
            started: 0,
            elapsed: Duration::ZERO,
            logits: Vec::new(),
        }
    }

    /// The same, in which arms that would compute the same share a lane until the first of them selects. Each may need a lane of its own in
    /// the end, and counts as one.
    #[must_use]
    pub fn sharing_lanes(mut self) -> Self {
        self.shares_lanes = true;
        self
    }

    /// Whether another job may start.
    pub fn has_room(&self) -> bool {
        self.jobs() < self.capacity
    }

    /// Whether no lane runs.
    pub fn is_idle(&self) -> bool {
        self.lanes.is_empty()
    }

    /// Time that all steps so far took.
    pub fn elapsed(&self) -> Duration {
        self.elapsed
    }

    /// Jobs that run.
    pub fn jobs(&self) -> usize {
        self.lanes.iter().map(Lane::riders).sum()
    }

    /// Lanes that they take.
    pub fn lanes(&self) -> usize {
        self.lanes.len()
    }

    /// Starts a job behind a prompt, and says by which number it will be known.
    ///
    /// # Errors
    /// [`Error::Context`] if prompt and output do not fit the model, [`Error::Forced`] if the forced tokens do not, [`Error::Method`] if the published code
    /// fails on such a prompt, [`Error::Unobserved`] if its reading has not recorded what the arm needs, [`Error::Memory`], or a tensor operation that failed.
    pub fn start(&mut self, prefilled: &Prefilled, job: &Job) -> Result<usize> {
        let (prompt, output) = (prefilled.tokens().len(), job.limits.max_new_tokens);
        let context = self.llama.config.context;
        if output > context.saturating_sub(prompt) {
            return Err(Error::Context { prompt, output, context });
        }
        let vocabulary = self.llama.config.vocabulary;
        if let Some(forced) = &job.forced
            && (forced.len() < output.max(1)
                || forced.iter().any(|&token| token as usize >= vocabulary))
        {
            return Err(Error::Forced { forced: forced.len(), output, vocabulary });
        }
        let id = self.started;
        let mut taken = false;
        for lane in self.lanes.iter_mut().filter(|_| self.shares_lanes) {
            taken = taken || lane.take_on(id, prefilled, job)?;
        }
        if !taken {
            self.lanes.push(Lane::fork(id, prefilled, job)?);
        }
        self.started += 1;
        Ok(id)
    }

    /// Advances every lane by one token; hands back the jobs that ended, under their numbers.
    ///
    /// # Errors
    /// [`Error::Memory`] if there is none left for an arm that parts, or a tensor operation that failed. The engine is of no use then.
    pub fn step(&mut self) -> Result<Vec<(usize, Outcome)>> {
        let mut ended = self.retire();
        if self.lanes.is_empty() {
            return Ok(ended);
        }
        let started = Instant::now();
        for place in 0..self.lanes.len() {
            let parted = self.lanes[place].look_ahead()?;
            self.lanes.extend(parted);
        }
        self.llama.step(&mut self.lanes, &mut self.logits)?;
        let (elapsed, lanes) = (started.elapsed(), self.lanes.len());
        self.elapsed += elapsed;
        let logits = self.logits.chunks(self.llama.config.vocabulary);
        for (lane, logits) in self.lanes.iter_mut().zip(logits) {
            lane.account(elapsed, lanes);
            lane.choose(logits);
        }
        ended.extend(self.retire());
        Ok(ended)
    }

    fn retire(&mut self) -> Vec<(usize, Outcome)> {
        let mut ended = Vec::new();
        let mut running = Vec::with_capacity(self.lanes.len());
        for lane in self.lanes.drain(..) {
            match lane.stop() {
                Some(stop) => ended.extend(lane.outcomes(stop)),
                None => running.push(lane),
            }
        }
        self.lanes = running;
        ended
    }

    /// Runs one job on its own to the end.
    ///
    /// # Errors
    /// As [`Engine::start`] and [`Engine::step`].
    pub fn run(model: &'a Model, prefilled: &Prefilled, job: &Job) -> Result<Outcome> {
        let mut engine = Self::new(model, 1);
        engine.start(prefilled, job)?;
        loop {
            if let Some((_, outcome)) = engine.step()?.pop() {
                return Ok(outcome);
            }
        }
    }
}

/// The rows of lanes that share the same entries, group by group.
pub(crate) fn by_pool(lanes: &[Lane]) -> Vec<(Option<&Arc<Pool>>, Vec<usize>)> {
    let mut groups: Vec<(Option<&Arc<Pool>>, Vec<usize>)> = Vec::new();
    for (row, lane) in lanes.iter().enumerate() {
        let pool = lane.shared();
        match groups.iter_mut().find(|(of, _)| of.map(Arc::as_ptr) == pool.map(Arc::as_ptr)) {
            Some((_, rows)) => rows.push(row),
            None => groups.push((pool, vec![row])),
        }
    }
    groups
}

impl Limits {
    /// Limits for a text of exactly `tokens` tokens.
    pub fn exactly(tokens: usize) -> Self {
        Self {
            max_new_tokens: tokens,
            end_tokens: Vec::new(),
            min_new_tokens: 0,
            stop_on_loop: false,
        }
    }
}
