//! What became of an arm, and what it cost.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use zoo::Counters;

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

impl Stop {
    /// As the journal spells it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Eos => "eos",
            Self::Length => "length",
            Self::Loop => "loop",
        }
    }
}

/// What a lane did under one arm, and what it cost.
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
    /// Mean number of lanes in those steps; arms that share a lane count once.
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

/// Running sums over a lane's steps.
#[derive(Debug, Clone, Default)]
pub(crate) struct Cost {
    pub(crate) decode: Duration,
    pub(crate) policy: Duration,
    pub(crate) bytes_peak: usize,
    pub(crate) evictions: u64,
    pub(crate) trace: Vec<f32>,
    lane_steps: usize,
    steps: usize,
    entries_sum: f64,
}

impl Cost {
    /// Notes a finished step, in which so many lanes took part, and after which the lane holds so many entries and bytes.
    pub(crate) fn add(&mut self, elapsed: Duration, lanes: usize, (entries, bytes): (f64, usize)) {
        if self.steps.is_multiple_of(TRACE_STEPS) {
            self.trace.push(entries as f32);
        }
        self.decode += elapsed;
        self.steps += 1;
        self.lane_steps += lanes;
        self.entries_sum += entries;
        self.bytes_peak = self.bytes_peak.max(bytes);
    }

    /// Mean number of lanes in a step.
    pub(crate) fn lanes(&self) -> f64 {
        self.lane_steps as f64 / self.steps.max(1) as f64
    }

    /// Mean over steps of the entries held after each, if there were any steps.
    pub(crate) fn entries_mean(&self) -> Option<f64> {
        (self.steps > 0).then(|| self.entries_sum / self.steps as f64)
    }
}
