//! What will be run: every cell of a grid, checked before a weight is read.

use std::collections::BTreeSet;

use anyhow::Result;
use evaluator::{Dataset, Sample, Source, Task};
use runner::{Message, Tokenizer};

use crate::carried::Carried;
use crate::cli::RunArgs;
use crate::data;
use crate::embedded;
use crate::experiment::{Experiment, ModelChoice, PromptStyle, TaskChoice, Workload};
use crate::fault::{Class, Fault};
use crate::hub::Hub;
use crate::journal::{CellName, Record};
use crate::models::Choice;
use crate::row::method_text;

/// A grid: every prompt of every model under every arm.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) experiment: Experiment,
    pub(crate) models: Vec<ModelPlan>,
    pub(crate) device: String,
    /// Samples of each workload over all shards.
    all: Vec<(Workload, Vec<usize>)>,
}

/// One model's part of the grid.
#[derive(Debug)]
pub(crate) struct ModelPlan {
    pub(crate) model: ModelChoice,
    pub(crate) choice: Choice,
    /// Whether it will run on the host, where weights and caches are held otherwise than on a device.
    pub(crate) on_host: bool,
    /// One for each workload of which a prompt was selected.
    pub(crate) parts: Vec<Part>,
}

/// One workload's prompts, as one model reads them.
#[derive(Debug)]
pub(crate) struct Part {
    pub(crate) workload: Workload,
    pub(crate) source: Source,
    /// How prompts are put to the model, in words.
    pub(crate) form: String,
    /// Where the prompts came from, in words.
    pub(crate) origin: String,
    pub(crate) prompts: Vec<Prompt>,
}

/// The samples of a workload that were selected.
struct Selected {
    workload: Workload,
    source: Source,
    origin: String,
    samples: Vec<Sample>,
    /// Indices of the samples of all shards.
    all: Vec<usize>,
}

/// A sample as the model will read it.
#[derive(Debug)]
pub(crate) struct Prompt {
    pub(crate) sample: Sample,
    pub(crate) length: Length,
}

/// Tokens of a prompt, or an estimate where the model's tokenizer is not at hand.
#[derive(Debug)]
pub(crate) enum Length {
    Tokens(Vec<u32>),
    Estimate(usize),
}

/// What scores on problems made by rule can show.
const SYNTHETIC: &str = "The task is synthetic: word problems made by rule. Scores show which entries of the cache a method loses, kind of question by kind of question. They say nothing about natural language, and sizes of differences do not carry over to large models; what may carry over is their order.";

/// What the model that is compiled in is.
const EMBEDDED: &str = "The model `embedded` is synthetic too: it has 0.8 M parameters, and was trained on that task and nothing else.";

/// The most cells of an experiment, ten times as many as all published tables take together.
const MOST_CELLS: usize = 100_000;

/// Characters per ten tokens of Llama-3's tokenizer on LongGenBench prompts, for estimates.
const CHARACTERS_PER_TEN_TOKENS: usize = 39;

impl Plan {
    /// Loads the prompts, measures them and checks that everything fits.
    pub(crate) fn new(experiment: Experiment, args: &RunArgs) -> Result<Self> {
        let mut selected = Vec::new();
        for workload in &experiment.workloads {
            Carried::new(&experiment.arms, workload.context(), args.shard)?;
            selected.push(Selected::new(workload, experiment.run.limit, args)?);
            check_cells(&experiment, &selected)?;
        }
        let all = selected.iter().map(|it| (it.workload.clone(), it.all.clone())).collect();
        selected.retain(|selected| !selected.samples.is_empty());
        if selected.is_empty() {
            return Err(Fault::new(Class::Empty, "no prompt is selected")
                .hint("see `--limit` and `--shard`")
                .into());
        }
        let hub = Hub::from_environment(args.offline)
            .without_asking(args.dry_run)
            .showing_progress(!args.quiet);
        let on_host = args.machine.device == "cpu";
        let model = |model| ModelPlan::new(model, &selected, &hub, on_host);
        let models = experiment.models.iter().map(model).collect::<Result<_>>()?;
        Ok(Self { device: args.machine.device.clone(), models, all, experiment })
    }

    /// Cells in all.
    pub(crate) fn cells(&self) -> usize {
        self.parts().map(|part| part.prompts.len() * self.experiment.arms.len()).sum()
    }

    /// How many cells of all shards the records lack, and how many there are.
    pub(crate) fn outstanding(&self, records: &[Record]) -> (usize, usize) {
        let done: BTreeSet<_> = records.iter().map(Record::name).collect();
        let (mut missing, mut cells) = (0, 0);
        for ModelPlan { model, choice, .. } in &self.models {
            let weights = model.weights.to_string();
            for (workload, samples) in &self.all {
                let arms = || self.experiment.arms.iter();
                for (&sample, arm) in samples.iter().flat_map(|at| arms().map(move |arm| (at, arm)))
                {
                    let name = workload.cell_name(&choice.name, &weights, sample, &arm.label);
                    missing += usize::from(!done.contains(&name));
                    cells += 1;
                }
            }
        }
        (missing, cells)
    }

    fn parts(&self) -> impl Iterator<Item = &Part> {
        self.models.iter().flat_map(|model| &model.parts)
    }

    /// What a reader of the results must know beside the settings.
    pub(crate) fn notes(&self) -> Vec<String> {
        let mut notes: Vec<String> = self.parts().filter_map(Part::note).collect();
        if self.models.iter().any(|model| model.choice.name == embedded::NAME) {
            notes.push(EMBEDDED.to_owned());
        }
        notes.sort();
        notes.dedup();
        notes
    }
}

/// Refuses an experiment of more cells than anyone can wait for, before its prompts fill the memory.
fn check_cells(experiment: &Experiment, selected: &[Selected]) -> Result<()> {
    let prompts: usize = selected.iter().map(|selected| selected.all.len()).sum();
    let (models, arms) = (experiment.models.len(), experiment.arms.len());
    let cells = prompts.saturating_mul(models).saturating_mul(arms);
    if cells <= MOST_CELLS {
        return Ok(());
    }
    let message = format!(
        "{prompts} prompts under {arms} `arms` of {models} `model` make {cells} cells: an experiment has at most {MOST_CELLS}"
    );
    Err(Fault::usage(message)
        .hint("take fewer prompts by `--limit`, or shorten a list of the experiment")
        .into())
}

impl Selected {
    fn new(workload: &Workload, limit: Option<usize>, args: &RunArgs) -> Result<Self> {
        let set = data::load(&workload.task, args.data.as_deref(), args.offline)?;
        let limit = args.limit.or(limit).unwrap_or(usize::MAX);
        let all = set.samples.iter().take(limit).map(|sample| sample.index).collect();
        let chosen = set.samples.into_iter().take(limit).enumerate();
        let samples = chosen
            .filter(|(place, _)| args.shard.is_none_or(|shard| shard.holds(*place)))
            .map(|(_, sample)| sample)
            .collect();
        let (source, origin) = (set.source, set.origin);
        Ok(Self { workload: workload.clone(), source, origin, samples, all })
    }
}

impl Workload {
    /// What methods are told of the run.
    pub(crate) fn context(&self) -> zoo::Context {
        zoo::Context { max_new_tokens: self.generation.max_new_tokens }
    }

    /// What a cell is called in the journal.
    pub(crate) fn cell_name<'a>(
        &'a self,
        model: &'a str,
        weights: &'a str,
        sample: usize,
        arm: &'a str,
    ) -> CellName<'a> {
        let Self { swept, task, .. } = self;
        (model, weights, task.dataset.name(), task.questions, swept, sample, arm)
    }
}

impl Part {
    /// What makes these prompts other than the published ones, if anything does.
    fn note(&self) -> Option<String> {
        let dataset = self.workload.task.dataset;
        match self.source {
            Source::OwnProblems => Some(format!(
                "The questions are word problems of our own in the form of `{dataset}`: no score here can be compared with published ones."
            )),
            Source::OwnDemonstrations => Some(format!(
                "The worked examples of `{dataset}` are our own, since the published ones were absent: prompts differ from the published ones."
            )),
            Source::Unverified if dataset == Dataset::EnSum => Some(
                "Scores are ROUGE-L in percent as the package `rouge` computes it: official with its 0 where it gives up, aligned without. No checksum of the books is known.".to_owned(),
            ),
            Source::Unverified => Some(format!(
                "The prompts of `{dataset}` are those of no published set of this size: its checksum is another one."
            )),
            Source::Synthetic => Some(match &self.workload.task.mix {
                Some(mix) => {
                    let mix = method_text(mix);
                    format!("{SYNTHETIC} Questions are mixed otherwise than in the suites: {mix}.")
                }
                None => SYNTHETIC.to_owned(),
            }),
            Source::Published => None,
        }
    }
}

impl ModelPlan {
    fn new(model: &ModelChoice, selected: &[Selected], hub: &Hub, on_host: bool) -> Result<Self> {
        let choice = Choice::find(&model.name, hub)?;
        let tokenizer = choice.tokenizer()?;
        let parts = selected.iter().map(|selected| {
            let Selected { workload, source, origin, samples, .. } = selected;
            let prompts = samples
                .iter()
                .map(|sample| prompt(&choice, tokenizer.as_ref(), workload, sample))
                .collect::<Result<_>>()?;
            Ok(Part {
                workload: workload.clone(),
                source: *source,
                form: workload.task.prompt.form(choice.template),
                origin: origin.clone(),
                prompts,
            })
        });
        let parts = parts.collect::<Result<_>>()?;
        Ok(Self { model: model.clone(), choice, on_host, parts })
    }
}

/// A sample as a prompt that leaves room for the output.
fn prompt(
    choice: &Choice,
    tokenizer: Option<&Tokenizer>,
    workload: &Workload,
    sample: &Sample,
) -> Result<Prompt> {
    let length = measure(&workload.task, choice, tokenizer, sample)?;
    let (prompt, output) = (length.tokens(), workload.generation.max_new_tokens);
    let context = choice.shape.context;
    if output > context.saturating_sub(prompt) {
        let message = format!(
            "model `{}`, sample {}: a prompt of {prompt} tokens and `generation.max_new_tokens` = {output} exceed the context of {context}",
            choice.name, sample.index
        );
        return Err(Fault::usage(message)
            .hint("lower `max_new_tokens` or `task.questions`, or cut prompts by `task.max_prompt_tokens`")
            .into());
    }
    Ok(Prompt { sample: sample.clone(), length })
}

impl Length {
    pub(crate) fn tokens(&self) -> usize {
        match self {
            Self::Tokens(tokens) => tokens.len(),
            Self::Estimate(tokens) => *tokens,
        }
    }
}

/// What a sample's prompt is, in tokens if a tokenizer is at hand.
fn measure(
    asked: &TaskChoice,
    choice: &Choice,
    tokenizer: Option<&Tokenizer>,
    sample: &Sample,
) -> Result<Length> {
    let (task, system) = (Task::of(asked.dataset)?, asked.system);
    let limit = asked.most_prompt_tokens(task).unwrap_or(usize::MAX);
    let text = match asked.prompt {
        PromptStyle::Raw => sample.prompt.clone(),
        _ => evaluator::prompt::model_input(task, choice.template, system, sample),
    };
    let Some(tokenizer) = tokenizer else {
        let tokens = 10 * text.chars().count() / CHARACTERS_PER_TEN_TOKENS;
        return Ok(Length::Estimate(tokens.min(limit)));
    };
    Ok(Length::Tokens(match asked.prompt {
        PromptStyle::Published | PromptStyle::Raw => {
            tokenizer.encode(&cut_in_the_middle(tokenizer, text, limit)?)?
        }
        PromptStyle::Chat => {
            let (system, user) = evaluator::prompt::messages(task, system, sample);
            let mut messages = vec![Message::new("system", system)];
            messages.retain(|message| !message.content.is_empty());
            messages.push(Message::new("user", cut_in_the_middle(tokenizer, user, limit)?));
            tokenizer.encode_chat(&messages)?
        }
    }))
}

/// A text of at most so many tokens, by the published rule: the first and the last half of them, each turned back into
/// text without special tokens. Split into tokens again, it may have a few more or less.
fn cut_in_the_middle(tokenizer: &Tokenizer, text: String, limit: usize) -> Result<String> {
    // A token takes a byte at least, but for one that opens the text.
    if text.len() < limit {
        return Ok(text);
    }
    let tokens = tokenizer.encode(&text)?;
    if tokens.len() <= limit {
        return Ok(text);
    }
    let half = limit / 2;
    let (head, tail) = (&tokens[..half], &tokens[tokens.len() - half..]);
    Ok(tokenizer.decode(head)? + &tokenizer.decode(tail)?)
}
