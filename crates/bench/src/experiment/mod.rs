//! An experiment: what is run, with nothing left open.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use evaluator::synthetic::Mix;
use evaluator::{Dataset, PublishedTemplate, SystemText, Task};
use runner::Weights;
use serde::{Deserialize, Serialize};
use zoo::Arm;

use crate::fault::Fault;

mod check;
mod read;

/// What the file asks for, with nothing left open.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Experiment {
    pub(crate) schema_version: u32,
    pub(crate) name: String,
    pub(crate) title: String,
    pub(crate) profile: String,
    pub(crate) workloads: Vec<Workload>,
    pub(crate) models: Vec<ModelChoice>,
    pub(crate) arms: Vec<Arm>,
    #[serde(skip)]
    pub(crate) run: RunOptions,
}

/// One task under one way to generate. Lists in `[task]` and `[generation]` make several.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Workload {
    /// What was picked from lists, as `key=value` joined by blanks; data set and size, which rows tell anyway, left out.
    pub(crate) swept: String,
    pub(crate) task: TaskChoice,
    pub(crate) generation: Generation,
}

/// Which prompts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct TaskChoice {
    pub(crate) dataset: Dataset,
    /// Questions per prompt.
    pub(crate) questions: usize,
    #[serde(default)]
    pub(crate) prompt: PromptStyle,
    /// For MMLU, whether the system text names the subject.
    #[serde(default)]
    pub(crate) system: SystemText,
    #[serde(default)]
    pub(crate) source: SourceChoice,
    /// Prompts of more tokens lose their middle, as in the published runs; none where only the task's own limit holds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) max_prompt_tokens: Option<usize>,
    /// For the synthetic task, how often each kind of question is asked; the task's own mix where it is absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) mix: Option<Mix>,
    /// Leave out the samples that the published study left out.
    #[serde(default)]
    pub(crate) drop_published: bool,
}

/// How a prompt is put to the model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum PromptStyle {
    /// As the published runs did: raw text.
    #[default]
    Published,
    /// By the model's own chat template.
    Chat,
    /// As the data set has it, with nothing round it.
    Raw,
}

impl PromptStyle {
    /// What a prompt looks like to a model whose path gives it this template in the published runs.
    pub(crate) fn form(self, template: PublishedTemplate) -> String {
        match self {
            Self::Published => format!("published {}", template.name()),
            Self::Chat => "chat".to_owned(),
            Self::Raw => "raw".to_owned(),
        }
    }
}

impl TaskChoice {
    /// Tokens above which a prompt loses its middle.
    pub(crate) fn most_prompt_tokens(&self, task: &Task) -> Option<usize> {
        self.max_prompt_tokens.or(task.max_prompt_tokens)
    }
}

/// Where the questions come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum SourceChoice {
    /// The data set itself, from the data folder or from the hub.
    #[default]
    Published,
    /// Word problems of our own in the data set's form, for a machine that has neither.
    Own,
}

/// Which model, and how its weights are held.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ModelChoice {
    pub(crate) name: String,
    #[serde(default)]
    pub(crate) weights: Weights,
}

/// How texts are generated. Always greedy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Generation {
    pub(crate) max_new_tokens: usize,
    #[serde(default)]
    pub(crate) stop: StopRule,
    /// End a text whose last 256 tokens repeat with a period of at most 64.
    #[serde(default)]
    pub(crate) stop_on_loop: bool,
    /// Seed of whatever the arms draw.
    #[serde(default = "default_seed")]
    pub(crate) seed: u64,
}

/// Which tokens end a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum StopRule {
    /// Any end token that the model names.
    #[default]
    Model,
    /// As in the published runs: the tokenizer's own end token alone, and not as the first token.
    Published,
}

fn default_seed() -> u64 {
    42
}

/// How to run; changes no result.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct RunOptions {
    /// Most lanes at a time; arms that share one count as many, since they may part.
    pub(crate) lanes: usize,
    /// Prompts to use; all where it is absent.
    pub(crate) limit: Option<usize>,
}

impl Default for RunOptions {
    fn default() -> Self {
        Self { lanes: 32, limit: None }
    }
}

/// Finds an experiment file by path, or by name in `experiments/` here or in a parent folder.
pub(crate) fn find(name: &str) -> Result<PathBuf> {
    let direct = PathBuf::from(name);
    if direct.is_file() {
        return Ok(direct);
    }
    let here = std::env::current_dir().context("cannot tell the current folder")?;
    let file = Path::new(name).with_extension("toml");
    let candidates = here.ancestors().map(|folder| folder.join("experiments").join(&file));
    candidates.into_iter().find(|path| path.is_file()).ok_or_else(|| {
        let hint = format!(
            "give a path, or a name in `experiments/` of `{}` or of a parent folder",
            here.display()
        );
        Fault::usage(format!("no experiment `{name}`")).hint(hint).into()
    })
}
