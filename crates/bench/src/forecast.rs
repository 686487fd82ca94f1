//! What a plan will cost, before a weight is read.

use std::fmt::Write;

use anyhow::Result;
use runner::{Config, Weights};
use zoo::{Observation, Policies};

use crate::experiment::{Experiment, Workload};
use crate::fault::Fault;
use crate::plan::{Length, ModelPlan, Part, Plan};

/// Multiply-accumulates per second that an estimate of time assumes of one core.
const MACS_PER_CORE: f64 = 1.5e10;
/// Share of the memory that is free now, in percent, that a run may take.
const SHARE: usize = 80;

/// Bytes that one model's part of a grid needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Memory {
    /// All weights, as they are held.
    weights: usize,
    /// The whole cache of the longest prompt, kept while arms are forked from it, and what its reading records for them.
    prompt: usize,
    /// The largest lane at its peak.
    lane: usize,
    /// What the machine has free, where that can be told.
    free: Option<usize>,
}

impl Memory {
    /// How many of the `wanted` lanes fit at a time.
    ///
    /// # Errors
    /// If not even one does.
    pub(crate) fn lanes(self, wanted: usize) -> Result<usize> {
        let Some(free) = self.free else { return Ok(wanted) };
        let left = (free / 100 * SHARE).saturating_sub(self.weights + self.prompt);
        match left / self.lane.max(1) {
            0 => {
                let needed = gib(self.weights + self.prompt + self.lane);
                let message = format!(
                    "{needed:.1} GiB are needed for one lane, {:.1} GiB are free",
                    gib(free)
                );
                Err(Fault::usage(message)
                    .hint(
                        "lower `max_new_tokens` or `task.questions`, or hold the weights as `q8_0`",
                    )
                    .into())
            }
            lanes => Ok(lanes.min(wanted)),
        }
    }
}

impl Plan {
    /// The plan in words, for `--dry-run`.
    pub(crate) fn describe(&self) -> Result<String> {
        let mut text = format!("{}: {}\n", self.experiment.name, self.experiment.title);
        if !self.experiment.profile.is_empty() {
            let _ = writeln!(text, "profile {}", self.experiment.profile);
        }
        for model in &self.models {
            model.describe(&self.experiment, &mut text)?;
        }
        let _ = writeln!(text, "\n{} cells in all", self.cells());
        Ok(text)
    }
}

impl ModelPlan {
    /// What a part of it needs of the machine's memory.
    pub(crate) fn memory(&self, part: &Part, experiment: &Experiment) -> Result<Memory> {
        let shape = &self.choice.shape;
        let longest = part.lengths().into_iter().max().unwrap_or(0);
        let context = part.context();
        let mut lane = 0;
        for arm in &experiment.arms {
            let policies = arm.policies(context)?;
            for prompt in &part.prompts {
                if let Length::Tokens(tokens) = &prompt.length {
                    policies.prefill.check(tokens.len())?;
                }
            }
            lane = lane.max(peak(&policies, (shape, self.number_bytes()), longest, context).1);
        }
        let embedding = shape.vocabulary * shape.hidden;
        let apart = if shape.tied { 0 } else { embedding };
        let all = parameters(shape) + apart;
        Ok(Memory {
            weights: match self.model.weights {
                // Of `native`, as much as 8 bits take: the shape does not say how a file holds them.
                Weights::Q8_0 | Weights::Native if self.on_host => all * 34 / 32,
                Weights::Q8_0 => parameters(shape) * 34 / 32 + embedding * 4,
                Weights::F32 | Weights::Native => all * 4,
            },
            prompt: longest * shape.token_bytes(self.number_bytes())
                + shape.recorded_bytes(longest, &part.observations(experiment)?),
            lane,
            free: free_memory(),
        })
    }

    /// Bytes of a number in the cache. A `native` file that nothing is quantised in takes as many as `f32`, which its shape does not say.
    fn number_bytes(&self) -> usize {
        let weights = if self.on_host { self.model.weights } else { Weights::F32 };
        weights.cache_number_bytes()
    }

    fn describe(&self, experiment: &Experiment, text: &mut String) -> Result<()> {
        for part in &self.parts {
            let Workload { swept, task, .. } = &part.workload;
            let _ = writeln!(text, "\nmodel {} ({})", self.choice.name, self.model.weights);
            let _ = writeln!(
                text,
                "  {}, {} questions per prompt, from {}: {}",
                task.dataset, task.questions, part.origin, part.source
            );
            let _ = writeln!(text, "  prompts as {}", part.form);
            if !swept.is_empty() {
                let _ = writeln!(text, "  with {swept}");
            }
            self.describe_part(part, experiment, text)?;
        }
        Ok(())
    }

    fn describe_part(&self, part: &Part, experiment: &Experiment, text: &mut String) -> Result<()> {
        let lengths = part.lengths();
        let (least, most) =
            (lengths.iter().min().unwrap_or(&0), lengths.iter().max().unwrap_or(&0));
        let mean = lengths.iter().sum::<usize>() as f64 / lengths.len() as f64;
        let counted = match part.prompts[0].length {
            Length::Tokens(_) => "counted",
            Length::Estimate(_) => "estimated from characters, since the tokenizer is not here",
        };
        let entry = self.choice.shape.token_bytes(self.number_bytes());
        let _ = writeln!(
            text,
            "  {} prompts of {least} / {mean:.0} / {most} tokens (min / mean / max; {counted})",
            lengths.len()
        );
        let _ = writeln!(
            text,
            "  up to {} new tokens, {entry} bytes of cache per token with one cache per KV head",
            part.context().max_new_tokens
        );
        if let Err(error) = self.choice.path() {
            let _ = writeln!(text, "  cannot run here: {error}");
        }
        self.describe_arms(part, experiment, text)?;
        let memory = self.memory(part, experiment)?;
        let _ = writeln!(text, "  memory: {}", describe_memory(memory, experiment.run.lanes));
        let hours = self.estimate_seconds(part, experiment, mean) / 3600.0;
        let _ = writeln!(text, "  about {} on this machine's {} cores", duration(hours), cores());
        Ok(())
    }

    /// What each arm holds at its peak, and where its budgets bind.
    fn describe_arms(&self, part: &Part, experiment: &Experiment, text: &mut String) -> Result<()> {
        let (lengths, context) = (part.lengths(), part.context());
        let longest = lengths.iter().copied().max().unwrap_or(0);
        let shape = &self.choice.shape;
        let estimated = matches!(part.prompts[0].length, Length::Estimate(_));
        let binds_head = if estimated { "binds, by the estimated lengths" } else { "binds" };
        let _ = writeln!(
            text,
            "  {:<24} {:>12} {:>12}  {binds_head}",
            "arm", "peak entries", "peak MiB"
        );
        for arm in &experiment.arms {
            let policies = arm.policies(context)?;
            let (entries, bytes) = peak(&policies, (shape, self.number_bytes()), longest, context);
            let mib = bytes as f64 / f64::from(1 << 20);
            let binds = binds(&policies, &lengths, context, shape.layers);
            let _ = writeln!(text, "  {:<24} {entries:>12} {mib:>12.1}  {binds}", arm.label);
        }
        Ok(())
    }

    /// A rough count of work over an assumed rate: good to a factor of two or so.
    fn estimate_seconds(&self, part: &Part, experiment: &Experiment, prompt: f64) -> f64 {
        let shape = &self.choice.shape;
        let output = part.context().max_new_tokens as f64;
        let arms = experiment.arms.len() as f64;
        let attention = |entries: f64| {
            2.0 * (shape.layers * shape.query_heads * shape.head_dim) as f64 * entries
        };
        let linear = parameters(shape) as f64;
        let prefill = prompt * (linear + attention(prompt / 2.0));
        let decode = arms * output * (linear + attention(prompt + output / 2.0));
        part.prompts.len() as f64 * (prefill + decode) / (MACS_PER_CORE * cores() as f64)
    }
}

impl Part {
    fn lengths(&self) -> Vec<usize> {
        self.prompts.iter().map(|prompt| prompt.length.tokens()).collect()
    }

    /// What methods are told of the run.
    pub(crate) fn context(&self) -> zoo::Context {
        self.workload.context()
    }

    /// The attention that the arms need of every prompt.
    pub(crate) fn observations(&self, experiment: &Experiment) -> Result<Vec<Observation>> {
        let mut observations = Vec::new();
        for arm in &experiment.arms {
            observations.extend(arm.policies(self.context())?.observations());
        }
        Ok(observations)
    }
}

/// Entries per head and layer that an arm holds at most, mean over layers, and the bytes of them all.
fn peak(
    policies: &Policies,
    (shape, number_bytes): (&Config, usize),
    prompt: usize,
    context: zoo::Context,
) -> (usize, usize) {
    let entries = policies.peak_entries(prompt, context.max_new_tokens, shape.layers);
    let entry = shape.token_bytes(number_bytes) * policies.copies(shape.group_size());
    (entries, entries.saturating_mul(entry))
}

/// For how many prompts an arm can drop anything.
fn binds(policies: &Policies, lengths: &[usize], context: zoo::Context, layers: usize) -> String {
    let steps = context.max_new_tokens.saturating_sub(1);
    let all = lengths.len();
    let count =
        |binds: &dyn Fn(usize) -> bool| match lengths.iter().filter(|&&at| binds(at)).count() {
            0 => None,
            some if some == all => Some(String::new()),
            some => Some(format!(" for {some} of {all} prompts")),
        };
    let at_prefill = count(&|tokens| policies.compresses_prompt(tokens, layers));
    let mut at_decode = count(&|tokens| policies.compresses_output(tokens, steps, layers));
    if policies.decode.depends_on_earlier_samples() {
        let first =
            |_| ", for the first of them: counters are carried from prompt to prompt".to_owned();
        at_decode = at_decode.map(first);
    }
    match (at_prefill, at_decode) {
        (None, None) => "never: nothing is dropped".to_owned(),
        (None, Some(decode)) => format!("while decoding{decode}"),
        (Some(prefill), None) => format!("at prefill{prefill}"),
        (Some(prefill), Some(decode)) => format!("at prefill{prefill}, and while decoding{decode}"),
    }
}

/// Weights that a token is multiplied with.
fn parameters(shape: &Config) -> usize {
    let attention = shape.hidden * shape.head_dim * 2 * (shape.query_heads + shape.kv_heads);
    let mlp = 3 * shape.hidden * shape.intermediate;
    shape.layers * (attention + mlp) + shape.vocabulary * shape.hidden
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}

fn duration(hours: f64) -> String {
    if hours >= 1.5 {
        format!("{hours:.0} hours")
    } else {
        format!("{:.0} minutes", (hours * 60.0).ceil())
    }
}

fn gib(bytes: usize) -> f64 {
    bytes as f64 / f64::from(1 << 30)
}

fn describe_memory(memory: Memory, wanted: usize) -> String {
    let Memory { weights, prompt, lane, .. } = memory;
    let parts = format!(
        "weights {:.1} GiB, a prompt {:.2} GiB, a lane up to {:.2} GiB",
        gib(weights),
        gib(prompt),
        gib(lane)
    );
    match memory.lanes(wanted) {
        Ok(lanes) => format!("{parts}; {lanes} of {wanted} lanes fit at a time"),
        Err(error) => format!("{parts}; does not fit: {error}"),
    }
}

/// Bytes of memory that are free now, on Linux.
fn free_memory() -> Option<usize> {
    let text = std::fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    line.split_whitespace().next()?.parse::<usize>().ok().map(|kib| kib * 1024)
}

#[cfg(test)]
mod tests {
    use super::Memory;

    #[test]
    fn fewer_lanes_run_where_memory_is_short() {
        let memory = Memory { weights: 400, prompt: 100, lane: 100, free: Some(1000) };
        assert_eq!(memory.lanes(16).unwrap(), 3);
        assert_eq!(memory.lanes(2).unwrap(), 2);
        assert_eq!(Memory { free: None, ..memory }.lanes(16).unwrap(), 16);
        let refused = Memory { free: Some(600), ..memory }.lanes(1).unwrap_err().to_string();
        assert!(refused.contains("are needed for one lane"), "{refused}");
    }
}
