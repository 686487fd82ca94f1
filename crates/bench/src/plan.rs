//! What will be run: every cell of a grid, checked before a weight is read.

use anyhow::Result;
use evaluator::{PublishedTemplate, Sample, Source, Task};
use runner::{Message, Model, Tokenizer};

use crate::cli::RunArgs;
use crate::data;
use crate::experiment::{Experiment, ModelChoice, PromptStyle};
use crate::fault::{Class, Fault};
use crate::models::Choice;

/// A grid: every prompt of every model under every arm.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) experiment: Experiment,
    pub(crate) source: Source,
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
            source: set.source,
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
        match self.source {
            Source::OwnProblems => vec![format!(
                "The questions are word problems of our own in the form of `{}`: no score here can be compared with published ones.",
                self.experiment.task.dataset
            )],
            Source::OwnDemonstrations => {
                vec!["The worked examples are our own, since the published ones were absent: prompts differ from the published ones.".to_owned()]
            }
            Source::Unverified => {
                vec![
                    "The prompts are those of no published set: its checksum is another one."
                        .to_owned(),
                ]
            }
            Source::Published => Vec::new(),
        }
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
            if output > context.saturating_sub(prompt) {
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
