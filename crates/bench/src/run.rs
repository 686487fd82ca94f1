//! Running a grid: prompts are read once, arms forked, lanes stepped, cells journalled.

use std::collections::BTreeMap;
use std::str::FromStr;

use anyhow::{Context as _, Result};
use evaluator::Task;
use runner::{Engine, Job, Limits, Model, Outcome, Prefilled, TRACE_STEPS};
use sha2::{Digest, Sha256};
use zoo::{Arm, Counters};

use crate::carried::Carried;
use crate::cli::RunArgs;
use crate::command::print;
use crate::experiment::{self, Experiment, Generation, StopRule, Workload};
use crate::fault::{Class, Fault};
use crate::journal::{Journal, Record};
use crate::plan::{Length, ModelPlan, Part, Plan, Prompt};
use crate::progress::Progress;
use crate::results::{self, Folder};

/// The I-th of N parts of the prompts, counted from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Shard {
    pub(crate) part: usize,
    pub(crate) of: usize,
}

impl FromStr for Shard {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parts = text
            .split_once('/')
            .and_then(|(part, of)| Some((part.parse().ok()?, of.parse().ok()?)));
        match parts {
            Some((part, of)) if (1..=of).contains(&part) => Ok(Self { part, of }),
            _ => Err("give `I/N` with I from 1 to N".to_owned()),
        }
    }
}

impl Shard {
    /// Whether the prompt at this place, from 0, is in this part.
    pub(crate) fn holds(self, place: usize) -> bool {
        place % self.of + 1 == self.part
    }
}

/// Runs an experiment, or prints its plan.
pub(crate) fn run(args: &RunArgs) -> Result<()> {
    let name = args
        .experiment
        .as_deref()
        .ok_or_else(|| Fault::usage("no experiment").hint("give `--experiment FILE`"))?;
    let path = experiment::find(name)?;
    let experiment = Experiment::read(&path, args.profile.as_deref(), &args.set)?;
    let plan = Plan::new(experiment, args)?;
    if args.dry_run {
        print(&plan.describe()?)?;
        return Ok(());
    }
    runner::device(&args.machine.device)?;
    for model in &plan.models {
        model.choice.path()?;
    }
    let folder = Folder::open(&args.results, &plan, args.force)?;
    let (mut journal, _) = Journal::open(&folder.journal(args.shard))?;
    let done = folder.records()?;
    let progress = Progress::new(&plan, args.quiet);
    let work = Work { args, experiment: &plan.experiment, done: &done, progress: &progress };
    for model in &plan.models {
        work.run_model(model, &mut journal)?;
    }
    progress.finish();
    let alarms = results::write(&folder, &plan)?;
    if !args.quiet {
        print(&folder.summary()?)?;
    }
    if args.strict && alarms > 0 {
        let message = format!("{alarms} of {} rows raise an alarm", plan.experiment.arms.len());
        return Err(Fault::new(Class::Gate, message).hint("see the report's alarms").into());
    }
    match plan.outstanding(&folder.records()?) {
        (0, _) => Ok(()),
        (missing, cells) => {
            let message = format!("stopped, {missing} of {cells} cells outstanding");
            Err(Fault::new(Class::Outstanding, message)
                .hint("run the other shards into the same folder")
                .into())
        }
    }
}

/// What a run works with, whichever part of the grid it is at.
struct Work<'a> {
    args: &'a RunArgs,
    experiment: &'a Experiment,
    done: &'a [Record],
    progress: &'a Progress,
}

/// One cell that is not yet in the journal.
struct Pending<'a> {
    cell: String,
    prompt: &'a Prompt,
    arm: &'a Arm,
}

impl Work<'_> {
    fn run_model(&self, plan: &ModelPlan, journal: &mut Journal) -> Result<()> {
        let model = plan.choice.load(plan.model.weights, &self.args.machine)?;
        for part in &plan.parts {
            let mut carried = Carried::new(&self.experiment.arms, part.context(), self.args.shard)?;
            let pending = self.pending(&model, plan, part, &mut carried)?;
            let lanes = plan.memory(part, self.experiment)?.lanes(self.experiment.run.lanes)?;
            self.run_part(&model, part, (pending, carried), lanes, journal)?;
        }
        Ok(())
    }

    /// The cells that the journal does not hold.
    fn pending<'a>(
        &'a self,
        model: &Model,
        plan: &ModelPlan,
        part: &'a Part,
        carried: &mut Carried<'_>,
    ) -> Result<Vec<Pending<'a>>> {
        let weights = plan.model.weights.to_string();
        let mut pending = Vec::new();
        for prompt in &part.prompts {
            for arm in &self.experiment.arms {
                let cell = identify(model, prompt, arm, &part.workload, &self.args.machine.device)?;
                let Prompt { sample, .. } = prompt;
                let name =
                    part.workload.cell_name(&plan.choice.name, &weights, sample.index, &arm.label);
                let same = |record: &&Record| record.name() == name;
                match self.done.iter().find(same) {
                    Some(record) if record.cell == cell => {
                        carried.ended(&arm.label, record.counters.unwrap_or_default());
                        self.progress.skip();
                    }
                    Some(record) => return Err(foreign(record).into()),
                    None => pending.push(Pending { cell, prompt, arm }),
                }
            }
        }
        Ok(pending)
    }

    fn run_part(
        &self,
        model: &Model,
        part: &Part,
        (pending, mut carried): (Vec<Pending<'_>>, Carried<'_>),
        lanes: usize,
        journal: &mut Journal,
    ) -> Result<()> {
        let observations = part.observations(self.experiment)?;
        let mut engine = Engine::new(model, lanes).sharing_lanes();
        let mut running: BTreeMap<usize, (Pending<'_>, f64)> = BTreeMap::new();
        let mut current: Option<(usize, Prefilled)> = None;
        let mut pending = pending.into_iter().peekable();
        while pending.peek().is_some() || !engine.is_idle() {
            while engine.has_room() {
                let ready = |cell: &Pending<'_>| carried.counters(&cell.arm.label).is_some();
                let Some(cell) = pending.next_if(ready) else { break };
                let sample = cell.prompt.sample.index;
                // A prompt that is done with goes before the next is read: the forecast has room for one.
                let read = current.take().filter(|(of, _)| *of == sample);
                let prefilled = if let Some((_, prefilled)) = read {
                    prefilled
                } else {
                    self.progress.reading(sample);
                    model.prefill(tokens(cell.prompt)?, &observations)?
                };
                let counters = carried.start(&cell.arm.label);
                let id = engine.start(&prefilled, &job(model, part, &cell, counters)?)?;
                running.insert(id, (cell, millis(prefilled.elapsed())));
                current = Some((sample, prefilled));
            }
            self.progress.step(engine.jobs(), engine.lanes());
            for (id, outcome) in engine.step()? {
                let (cell, ttft_ms) =
                    running.remove(&id).context("a lane ended that was never started")?;
                carried.ended(&cell.arm.label, outcome.counters);
                let record = record(part, model, cell, ttft_ms, outcome)?;
                journal.append(&record)?;
                self.progress.done(&record);
            }
        }
        Ok(())
    }
}

/// What a lane is started with.
fn job(model: &Model, part: &Part, cell: &Pending, counters: Counters) -> Result<Job> {
    let (context, generation) = (part.context(), &part.workload.generation);
    let policies = cell.arm.policies(context)?;
    let limits = limits(model, generation)?;
    let seed = zoo::stream(&[generation.seed, cell.prompt.sample.index as u64]);
    Ok(Job { policies, counters, limits, forced: None, seed })
}

/// When a text ends.
fn limits(model: &Model, generation: &Generation) -> Result<Limits> {
    let tokenizer = model.tokenizer();
    let (end_tokens, min_new_tokens) = match generation.stop {
        StopRule::Model => (tokenizer.end_tokens().to_vec(), 0),
        StopRule::Published => {
            let end = tokenizer.own_end_token().ok_or_else(|| {
                let name = &model.identity().name;
                Fault::data(format!("the tokenizer of `{name}` has no end token of its own"))
                    .hint("name one as `eos_token` in its `tokenizer_config.json`, or leave out `generation.stop`")
            })?;
            (vec![end], 1)
        }
    };
    Ok(Limits {
        max_new_tokens: generation.max_new_tokens,
        end_tokens,
        min_new_tokens,
        stop_on_loop: generation.stop_on_loop,
    })
}

/// A journal entry of the same name that was computed from something else.
fn foreign(record: &Record) -> Fault {
    let Record { arm, sample, .. } = record;
    let message = format!(
        "arm `{arm}`, sample {sample} lies in the journal, computed from another model file, prompt or device"
    );
    Fault::usage(message)
        .hint("give another `--results` folder, or `--force` to set these results aside")
}

fn tokens(prompt: &Prompt) -> Result<&[u32]> {
    match &prompt.length {
        Length::Tokens(tokens) => Ok(tokens),
        Length::Estimate(_) => Err(Fault::data("the model's tokenizer is missing").into()),
    }
}

/// A cell's identity: a hash of all that can change its output.
fn identify(
    model: &Model,
    prompt: &Prompt,
    arm: &Arm,
    workload: &Workload,
    device: &str,
) -> Result<String> {
    let identity = model.identity();
    let parts = serde_json::json!({
        "format": 2,
        "device": device.split(':').next(),
        "model": identity.sha256,
        "weights": identity.weights,
        "prompt": tokens(prompt)?,
        "answers": prompt.sample.answers,
        "arm": Arm { label: String::new(), ..arm.clone() },
        "swept": workload.swept,
        "generation": workload.generation,
    });
    let hash = Sha256::digest(serde_json::to_vec(&parts)?);
    let head = hash.iter().take(8).fold(0u64, |head, &byte| head << 8 | u64::from(byte));
    Ok(format!("{head:016x}"))
}

fn record(
    part: &Part,
    model: &Model,
    cell: Pending<'_>,
    ttft_ms: f64,
    outcome: Outcome,
) -> Result<Record> {
    let Workload { task: asked, generation, .. } = &part.workload;
    let task = Task::of(asked.dataset)?;
    let prompt_tokens = cell.prompt.length.tokens();
    let cached = prompt_tokens + outcome.tokens.len().saturating_sub(1);
    let policies = cell.arm.policies(part.context())?;
    let config = model.config();
    let copies = policies.copies(config.query_heads / config.kv_heads);
    let token_bytes = copies * config.token_bytes(model.cache_number_bytes());
    Ok(Record {
        cell: cell.cell,
        model: model.identity().name.clone(),
        weights: model.identity().weights.to_string(),
        dataset: part.workload.task.dataset.to_string(),
        source: part.source,
        prompt: part.form.clone(),
        system: task.system_subject.is_some().then_some(asked.system),
        max_prompt_tokens: asked.most_prompt_tokens(task),
        swept: part.workload.swept.clone(),
        sample: cell.prompt.sample.index,
        questions: cell.prompt.sample.questions.len(),
        answers: cell.prompt.sample.answers.clone(),
        kinds: cell.prompt.sample.kinds.clone(),
        arm: cell.arm.label.clone(),
        prefill: cell.arm.prefill.clone(),
        decode: cell.arm.decode.clone(),
        mode: cell.arm.mode,
        granularity: policies.granularity,
        counters: Some(outcome.counters).filter(|&counters| counters != Counters::default()),
        max_new_tokens: part.context().max_new_tokens,
        stop_rule: generation.stop,
        prompt_tokens,
        text: model.tokenizer().decode(&outcome.tokens)?,
        stop: outcome.stop.as_str().to_owned(),
        ttft_ms,
        decode_ms: millis(outcome.decode),
        policy_ms: millis(outcome.policy),
        lanes: outcome.lanes,
        kv_bytes_peak: outcome.bytes_peak,
        kv_bytes_full: cached * token_bytes,
        kept_end_prefill: outcome.kept_end_prefill,
        kept_end_decode: outcome.kept_end_decode,
        kept_mean_decode: outcome.entries_mean,
        evictions: outcome.evictions,
        binding: outcome.evictions > 0 || outcome.kept_end_prefill < prompt_tokens as f64,
        seed: generation.seed,
        trace: outcome.trace,
        trace_steps: TRACE_STEPS,
        tokens: outcome.tokens,
    })
}

fn millis(duration: std::time::Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use runner::Weights;

    use super::*;

    #[test]
    fn published_texts_end_at_the_tokenizers_own_token_and_not_at_once() {
        let folder =
            Path::new(env!("CARGO_MANIFEST_DIR")).join("../runner/tests/fixtures/families/llama3");
        let model =
            Model::load("llama3", &folder, Weights::F32, &runner::device("cpu").unwrap()).unwrap();
        let ends = |stop| {
            let seed = 42;
            let generation = Generation { max_new_tokens: 9, stop, stop_on_loop: false, seed };
            let limits = limits(&model, &generation).unwrap();
            (limits.end_tokens, limits.min_new_tokens)
        };
        assert_eq!(ends(StopRule::Model), (vec![296, 299], 0));
        assert_eq!(ends(StopRule::Published), (vec![299], 1));
    }
}
