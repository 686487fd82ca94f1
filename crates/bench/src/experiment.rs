//! An experiment file: parsed strictly, a profile applied, lists multiplied out.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use evaluator::Dataset;
use runner::Weights;
use serde::{Deserialize, Serialize};
use toml::{Table, Value};
use zoo::Arm;

use crate::arm::{Budget, expand_arm};
use crate::fault::Fault;
use crate::problem::{Problem, typed};
use crate::sweep;

/// What the file asks for, with nothing left open.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Experiment {
    pub(crate) schema_version: u32,
    pub(crate) name: String,
    pub(crate) title: String,
    pub(crate) profile: String,
    pub(crate) task: TaskChoice,
    pub(crate) generation: Generation,
    pub(crate) models: Vec<ModelChoice>,
    pub(crate) arms: Vec<Arm>,
    #[serde(skip)]
    pub(crate) run: RunOptions,
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
    #[serde(default)]
    pub(crate) source: SourceChoice,
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
    /// End a text whose last 256 tokens repeat with a period of at most 64.
    #[serde(default)]
    pub(crate) stop_on_loop: bool,
    /// Seed of whatever the arms draw.
    #[serde(default = "default_seed")]
    pub(crate) seed: u64,
}

fn default_seed() -> u64 {
    42
}

/// How to run; changes no result.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct RunOptions {
    /// Most lanes at a time.
    pub(crate) lanes: usize,
    /// Prompts to use; all where it is absent.
    pub(crate) limit: Option<usize>,
}

impl Default for RunOptions {
    fn default() -> Self {
        Self { lanes: 16, limit: None }
    }
}

/// The file's own shape, once a profile has been applied.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    schema_version: u32,
    name: String,
    title: String,
    task: TaskChoice,
    model: Value,
    generation: Generation,
    #[serde(default)]
    budget: Budget,
    arms: Vec<Value>,
    #[serde(default)]
    run: RunOptions,
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

impl Experiment {
    /// Reads a file with a profile (its default where `profile` is none) and keys set from the command line.
    pub(crate) fn read(path: &Path, profile: Option<&str>, set: &[String]) -> Result<Self> {
        let text = std::fs::read_to_string(path)
            .map_err(|error| Fault::usage(format!("cannot read `{}`: {error}", path.display())))?;
        Self::parse(&text, profile, set)
            .map_err(|problem| Fault::usage(problem.at(path, &text)).into())
    }

    fn parse(text: &str, profile: Option<&str>, set: &[String]) -> Result<Self, Problem> {
        let mut table: Table =
            toml::from_str(text).map_err(|error| Problem::plain(error.to_string()))?;
        let profile = apply_profile(&mut table, profile)?;
        for assignment in set {
            let (key, value) = assignment
                .split_once('=')
                .ok_or_else(|| Problem::plain(format!("`--set {assignment}`: give `key=value`")))?;
            sweep::set(&mut table, key, value)
                .map_err(|part| Problem::plain(format!("`--set {key}`: there is no `{part}`")))?;
        }
        let file: File = typed(Value::Table(table))?;
        if file.schema_version != 1 {
            let message =
                format!("`schema_version` = {}: this program reads version 1", file.schema_version);
            return Err(Problem::plain(message));
        }
        let models = match &file.model {
            Value::Table(table) => sweep::expand(table)
                .into_iter()
                .map(|(model, _)| typed(Value::Table(model)))
                .collect::<Result<_, _>>()?,
            _ => return Err(Problem::plain("`model` must be a table")),
        };
        let mut arms = Vec::new();
        for arm in &file.arms {
            arms.extend(expand_arm(arm, &file.budget)?);
        }
        let experiment = Self {
            schema_version: file.schema_version,
            name: file.name,
            title: file.title,
            profile,
            task: file.task,
            generation: file.generation,
            models,
            arms,
            run: file.run,
        };
        experiment.check()?;
        Ok(experiment)
    }

    fn check(&self) -> Result<(), Problem> {
        let named = |name: &str| {
            !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || "_-.".contains(c))
        };
        if !named(&self.name) || self.name.starts_with('.') {
            return Err(Problem::plain(format!(
                "`name` = {:?}: use letters, digits, `_`, `-` and `.`",
                self.name
            )));
        }
        for (key, count) in [
            ("task.questions", self.task.questions),
            ("generation.max_new_tokens", self.generation.max_new_tokens),
            ("run.lanes", self.run.lanes),
            ("arms", self.arms.len()),
            ("model", self.models.len()),
        ] {
            if count == 0 {
                return Err(Problem::plain(format!("`{key}` must be at least 1")));
            }
        }
        for (index, arm) in self.arms.iter().enumerate() {
            let context = zoo::Context { max_new_tokens: self.generation.max_new_tokens };
            arm.policies(context)
                .map_err(|error| Problem::plain(format!("arm `{}`: {error}", arm.label)))?;
            if let Some(other) = self.arms[..index].iter().find(|other| other.label == arm.label) {
                return Err(Problem::plain(format!("two arms are called `{}`", other.label)));
            }
            let same = |other: &&Arm| other.prefill == arm.prefill && other.decode == arm.decode;
            if let Some(other) = self.arms[..index].iter().find(same) {
                return Err(Problem::plain(format!(
                    "arms `{}` and `{}` are the same",
                    other.label, arm.label
                )));
            }
        }
        Ok(())
    }
}

/// Takes `profiles` out of the table and lays the chosen one over the rest; returns its name.
fn apply_profile(table: &mut Table, profile: Option<&str>) -> Result<String, Problem> {
    let default = table.remove("profile");
    let profiles = match table.remove("profiles") {
        Some(Value::Table(profiles)) => profiles,
        None => Table::new(),
        Some(_) => return Err(Problem::plain("`profiles` must be a table of tables")),
    };
    let Some(name) = profile.map(str::to_owned).or_else(|| default?.as_str().map(str::to_owned))
    else {
        return Ok(String::new());
    };
    let Some(Value::Table(over)) = profiles.get(&name) else {
        let names: Vec<&str> = profiles.keys().map(String::as_str).collect();
        return Err(Problem::plain(format!("no profile `{name}`: there is {}", names.join(", "))));
    };
    sweep::overlay(table, over);
    Ok(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = r#"
schema_version = 1
name = "demo"
title = "A demo"
profile = "small"
[task]
dataset = "gsm8k"
questions = 30
[model]
name = "smollm2-135m"
[generation]
max_new_tokens = 4096
[budget]
prefill = 2048
decode = [512, 1024]
recent = 256
[[arms]]
label = "full"
prefill = { name = "full" }
decode = { name = "none" }
[[arms]]
label = "slide"
prefill = { name = "h2o" }
decode = { name = "slide" }
[[arms]]
label = "recency"
prefill = { name = "full" }
decode = { name = "recency" }
[profiles.small.generation]
max_new_tokens = 64
[profiles.small.budget]
decode = [32, 48]
recent = 16
[profiles.paper]
"#;

    fn labels(experiment: &Experiment) -> Vec<&str> {
        experiment.arms.iter().map(|arm| arm.label.as_str()).collect()
    }

    #[test]
    fn budgets_fill_what_arms_leave_out_and_lists_multiply() {
        let experiment = Experiment::parse(TEXT, None, &[]).unwrap();
        assert_eq!(
            labels(&experiment),
            ["full", "slide-32", "slide-48", "recency-32", "recency-48"]
        );
        assert_eq!(
            (experiment.profile.as_str(), experiment.generation.max_new_tokens),
            ("small", 64)
        );
        let paper =
            Experiment::parse(TEXT, Some("paper"), &["budget.decode=512".to_owned()]).unwrap();
        assert_eq!(labels(&paper), ["full", "slide", "recency"]);
        let text = serde_json::to_string(&paper.arms[1]).unwrap();
        assert!(
            text.contains(r#""budget":2048,"window":8"#)
                && text.contains(r#""budget":512,"recent":256"#),
            "{text}"
        );
    }

    #[test]
    fn an_unknown_key_is_named_with_its_place_and_the_nearest_one() {
        let wrong = TEXT.replace("name = \"recency\" }", "name = \"recency\", budgt = 3 }");
        let problem = Experiment::parse(&wrong, None, &[]).unwrap_err();
        let message = problem.at(Path::new("x.toml"), &wrong);
        assert_eq!(
            message,
            "`x.toml` line 28, column 30: unknown field `budgt`, expected `budget`; did you mean `budget`?"
        );
        let wrong = TEXT.replace("\"slide\" }", "\"slid\" }");
        let problem =
            Experiment::parse(&wrong, None, &[]).unwrap_err().at(Path::new("x.toml"), &wrong);
        assert!(
            problem.contains("line 24") && problem.contains("did you mean `slide`?"),
            "{problem}"
        );
    }

    #[test]
    fn what_cannot_work_is_refused_with_the_reason() {
        let refuse =
            |set: &str| Experiment::parse(TEXT, None, &[set.to_owned()]).unwrap_err().message;
        assert!(
            refuse("budget.recent=48").contains("`recent` = 48 leaves no room in a budget of 32")
        );
        assert_eq!(refuse("name=../x"), "`name` = \"../x\": use letters, digits, `_`, `-` and `.`");
        assert_eq!(refuse("task.questions=0"), "`task.questions` must be at least 1");
        assert_eq!(refuse("nowhere.x=0"), "`--set nowhere.x`: there is no `nowhere`");
        assert_eq!(
            Experiment::parse(TEXT, Some("big"), &[]).unwrap_err().message,
            "no profile `big`: there is small, paper"
        );
        let twice = TEXT.replace(
            "label = \"recency\"\nprefill = { name = \"full\" }\ndecode = { name = \"recency\" }",
            "label = \"again\"\nprefill = { name = \"full\" }\ndecode = { name = \"none\" }",
        );
        assert_eq!(
            Experiment::parse(&twice, None, &[]).unwrap_err().message,
            "arms `full` and `again` are the same"
        );
    }
}
