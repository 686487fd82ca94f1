//! What will be run: every cell of a grid, checked before a weight is read.

use std::fmt::Write;

use anyhow::Result;
use evaluator::{Demonstrations, PublishedTemplate, Sample, Task};
use runner::{Config, Message, Model, Tokenizer};
use zoo::Arm;

use crate::cli::RunArgs;
use crate::data;
use crate::experiment::{Experiment, ModelChoice, PromptStyle, Source};
use crate::fault::{Class, Fault};
use crate::models::Choice;

/// A grid: every prompt of every model under every arm.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) experiment: Experiment,
    pub(crate) demonstrations: Demonstrations,
    pub(crate) origin: String,
    pub(crate) models: Vec<ModelPlan>,
    pub(crate) device: String,
}

/// One model's part of the grid.
#[derive(Debug)]
pub(crate) struct ModelPlan {
    pub(crate) model: ModelChoice,
    pub(crate) choice: Choice,
    pub(crate) prompts: Vec<Prompt>,
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

/// Characters per ten tokens of Llama-3's tokenizer on LongGenBench prompts, for estimates.
const CHARACTERS_PER_TEN_TOKENS: usize = 39;
/// Multiply-accumulates per second that an estimate of time assumes of one core.
const MACS_PER_CORE: f64 = 2e10;

impl Plan {
    /// Loads the prompts, measures them and checks that everything fits.
    pub(crate) fn new(experiment: Experiment, args: &RunArgs) -> Result<Self> {
        let set = data::load(&experiment.task, args.data.as_deref(), args.offline)?;
        let limit = args.limit.or(experiment.run.limit).unwrap_or(usize::MAX);
        let chosen = set.samples.into_iter().take(limit).enumerate();
        let samples: Vec<Sample> = chosen
            .filter(|(place, _)| args.shard.is_none_or(|shard| shard.holds(*place)))
            .map(|(_, sample)| sample)
            .collect();
        if samples.is_empty() {
            return Err(Fault::new(Class::Empty, "no prompt is selected")
                .hint("see `--limit` and `--shard`")
                .into());
        }
        let models =
            experiment.models.iter().map(|model| ModelPlan::new(&experiment, model, &samples));
        let models = models.collect::<Result<_>>()?;
        Ok(Self {
            demonstrations: set.demonstrations,
            origin: set.origin,
            device: args.machine.device.clone(),
            models,
            experiment,
        })
    }

    /// Cells in all.
    pub(crate) fn cells(&self) -> usize {
        self.models.iter().map(|model| model.prompts.len() * self.experiment.arms.len()).sum()
    }

    /// What a reader of the results must know beside the settings.
    pub(crate) fn notes(&self) -> Vec<String> {
        match (self.experiment.task.source, self.demonstrations) {
            (Source::Own, _) => vec![format!(
                "The questions are word problems of our own in the form of `{}`: no score here can be compared with published ones.",
                self.experiment.task.dataset
            )],
            (Source::Published, Demonstrations::Own) => {
                vec!["The worked examples are our own, since the published ones were absent: prompts differ from the published ones.".to_owned()]
            }
            (Source::Published, Demonstrations::Published) => Vec::new(),
        }
    }

    /// The plan in words, for `--dry-run`.
    pub(crate) fn describe(&self) -> Result<String> {
        let mut text = format!("{}: {}\n", self.experiment.name, self.experiment.title);
        if !self.experiment.profile.is_empty() {
            let _ = writeln!(text, "profile {}", self.experiment.profile);
        }
        let _ = writeln!(text, "prompts from {}", self.origin);
        for model in &self.models {
            model.describe(&self.experiment, &mut text)?;
        }
        let _ = writeln!(text, "\n{} cells in all", self.cells());
        Ok(text)
    }
}

impl ModelPlan {
    fn new(experiment: &Experiment, model: &ModelChoice, samples: &[Sample]) -> Result<Self> {
        let choice = Choice::find(&model.name)?;
        let tokenizer =
            choice.path().ok().map(Model::describe).transpose()?.map(|(_, tokenizer)| tokenizer);
        let context = choice.shape.context;
        let prompts = samples.iter().map(|sample| {
            let length = measure(experiment, &choice, tokenizer.as_ref(), sample)?;
            let (prompt, output) = (length.tokens(), experiment.generation.max_new_tokens);
            if prompt + output > context {
                let message = format!(
                    "model `{}`, sample {}: a prompt of {prompt} tokens and `generation.max_new_tokens` = {output} exceed the context of {context}",
                    choice.name, sample.index
                );
                return Err(Fault::usage(message).hint("lower `max_new_tokens` or `task.questions`").into());
            }
            Ok(Prompt { sample: sample.clone(), length })
        });
        let prompts = prompts.collect::<Result<_>>()?;
        Ok(Self { model: model.clone(), choice, prompts })
    }

    fn describe(&self, experiment: &Experiment, text: &mut String) -> Result<()> {
        let lengths: Vec<usize> =
            self.prompts.iter().map(|prompt| prompt.length.tokens()).collect();
        let (least, most) =
            (lengths.iter().min().unwrap_or(&0), lengths.iter().max().unwrap_or(&0));
        let mean = lengths.iter().sum::<usize>() as f64 / lengths.len() as f64;
        let counted = match self.prompts[0].length {
            Length::Tokens(_) => "counted",
            Length::Estimate(_) => "estimated from characters, since the tokenizer is not here",
        };
        let context = zoo::Context { max_new_tokens: experiment.generation.max_new_tokens };
        let entry = self.choice.shape.token_bytes(4);
        let _ = writeln!(text, "\nmodel {} ({})", self.choice.name, self.model.weights);
        let _ = writeln!(
            text,
            "  {} prompts of {least} / {mean:.0} / {most} tokens (min / mean / max; {counted})",
            lengths.len()
        );
        let _ = writeln!(
            text,
            "  up to {} new tokens, {entry} bytes of cache per token",
            context.max_new_tokens
        );
        if let Err(error) = self.choice.path() {
            let _ = writeln!(text, "  cannot run here: {error}");
        }
        let _ = writeln!(text, "  {:<24} {:>12} {:>12}  binds", "arm", "peak entries", "peak MiB");
        for arm in &experiment.arms {
            let peak = arm.peak_entries(*most, context)?;
            let mib = (peak * entry) as f64 / f64::from(1 << 20);
            let _ = writeln!(
                text,
                "  {:<24} {peak:>12} {mib:>12.1}  {}",
                arm.label,
                binds(arm, &lengths, context)?
            );
        }
        let hours = self.estimate_seconds(experiment, mean) / 3600.0;
        let _ = writeln!(text, "  about {} on this machine's {} cores", duration(hours), cores());
        Ok(())
    }

    /// A rough count of work over an assumed rate: good to a factor of two or so.
    fn estimate_seconds(&self, experiment: &Experiment, prompt: f64) -> f64 {
        let shape = &self.choice.shape;
        let output = experiment.generation.max_new_tokens as f64;
        let arms = experiment.arms.len() as f64;
        let attention = |entries: f64| {
            2.0 * (shape.layers * shape.query_heads * shape.head_dim) as f64 * entries
        };
        let linear = parameters(shape);
        let prefill = prompt * (linear + attention(prompt / 2.0));
        let decode = arms * output * (linear + attention(prompt + output / 2.0));
        self.prompts.len() as f64 * (prefill + decode) / (MACS_PER_CORE * cores() as f64)
    }
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
    experiment: &Experiment,
    choice: &Choice,
    tokenizer: Option<&Tokenizer>,
    sample: &Sample,
) -> Result<Length> {
    let task = Task::of(experiment.task.dataset)?;
    let template = PublishedTemplate::for_model(&choice.published_name);
    let text = evaluator::prompt::model_input(task, template, sample);
    let Some(tokenizer) = tokenizer else {
        return Ok(Length::Estimate(10 * text.chars().count() / CHARACTERS_PER_TEN_TOKENS));
    };
    Ok(Length::Tokens(match experiment.task.prompt {
        PromptStyle::Published => tokenizer.encode(&text)?,
        PromptStyle::Chat => {
            let (system, user) = evaluator::prompt::messages(task, sample);
            tokenizer.encode_chat(&[Message::new("system", system), Message::new("user", user)])?
        }
    }))
}

/// For how many prompts an arm can drop anything.
fn binds(arm: &Arm, lengths: &[usize], context: zoo::Context) -> Result<String> {
    let (prefill, decode) = arm.policies(context)?;
    let at_prefill = lengths.iter().filter(|&&tokens| prefill.pool(tokens) < tokens).count();
    let steps = context.max_new_tokens.saturating_sub(1);
    let at_decode = decode.schedule.peak(steps) < steps;
    let all = lengths.len();
    Ok(match (at_prefill, at_decode) {
        (0, false) => "never: nothing is dropped".to_owned(),
        (0, true) => "while decoding".to_owned(),
        (some, false) => format!("at prefill for {some} of {all} prompts"),
        (some, true) => format!("at prefill for {some} of {all} prompts, and while decoding"),
    })
}

fn parameters(shape: &Config) -> f64 {
    let attention = shape.hidden * shape.head_dim * 2 * (shape.query_heads + shape.kv_heads);
    let mlp = 3 * shape.hidden * shape.intermediate;
    (shape.layers * (attention + mlp) + shape.vocabulary * shape.hidden) as f64
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
