//! From an experiment file to an experiment: parsed strictly, lists multiplied out.

use std::path::Path;

use anyhow::Result;
use serde::Deserialize;
use toml::{Table, Value};

use super::{Experiment, RunOptions, TaskChoice, Workload, check};
use crate::arm::Budget;
use crate::fault::Fault;
use crate::layers::{self, Layers};
use crate::problem::{Problem, nearest, typed};
use crate::sweep;

/// The file's own shape, once all layers lie over each other. What may hold lists is read later.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    schema_version: u32,
    name: String,
    title: String,
    task: Table,
    model: Table,
    generation: Table,
    #[serde(default)]
    budget: Budget,
    /// `mode` of each arm that does not say.
    mode: Option<Value>,
    arms: Vec<Table>,
    /// Labels of arms that are not run.
    #[serde(default)]
    leave_out: Vec<String>,
    #[serde(default)]
    run: RunOptions,
}

impl Experiment {
    /// Reads a file with a profile (its default where `profile` is none) and keys set from the command line.
    pub(crate) fn read(path: &Path, profile: Option<&str>, set: &[String]) -> Result<Self> {
        let text = layers::read(path)
            .map_err(|error| Fault::usage(format!("cannot read `{}`: {error}", path.display())))?;
        Ok(Self::parse(path, text, profile, set).map_err(Fault::usage)?)
    }

    fn parse(
        path: &Path,
        text: String,
        profile: Option<&str>,
        set: &[String],
    ) -> Result<Self, String> {
        let layers = Layers::parse(path, text, profile, set)?;
        let experiment = Self::from_table(layers.table(), layers.profile());
        experiment.map_err(|problem| layers.explain(&problem))
    }

    fn from_table(table: &Table, profile: &str) -> Result<Self, Problem> {
        let file: File = typed(Value::Table(table.clone()))?;
        if file.schema_version != 1 {
            let message =
                format!("`schema_version` = {}: this program reads version 1", file.schema_version);
            return Err(Problem::at(["schema_version"], message));
        }
        let parts =
            [("model.", &file.model), ("task.", &file.task), ("generation.", &file.generation)];
        let lists: Vec<_> =
            parts.into_iter().flat_map(|(above, table)| sweep::lists(table, above)).collect();
        sweep::check_product(&lists)?;
        let mut arms = Vec::new();
        for arm in kept_arms(&file.arms, &file.leave_out)? {
            arms.extend(check::arms(arm, file.mode.as_ref(), &file.budget)?);
            sweep::check_product(&[&*lists, &[("arms".to_owned(), arms.len())]].concat())?;
        }
        let models = sweep::expand(&file.model)?.into_iter().map(|(model, _)| {
            typed(Value::Table(model)).map_err(|problem| problem.within(["model"]))
        });
        let experiment = Self {
            schema_version: file.schema_version,
            name: file.name,
            title: file.title,
            profile: profile.to_owned(),
            workloads: workloads(&file.task, &file.generation)?,
            models: models.collect::<Result<_, _>>()?,
            arms,
            run: file.run,
        };
        experiment.check()?;
        Ok(experiment)
    }
}

/// The arms but for those that are left out.
fn kept_arms<'a>(arms: &'a [Table], leave_out: &[String]) -> Result<Vec<&'a Table>, Problem> {
    let labels: Vec<&str> = arms
        .iter()
        .map(|arm| arm.get("label").and_then(Value::as_str).unwrap_or_default())
        .collect();
    if let Some(unknown) = leave_out.iter().find(|it| !labels.contains(&it.as_str())) {
        let near = nearest(unknown, &labels);
        let near = near.map_or_else(String::new, |near| format!("; did you mean `{near}`?"));
        let message = format!("`leave_out`: there is no arm `{unknown}`{near}");
        return Err(Problem::at(["leave_out"], message));
    }
    let kept = arms.iter().zip(labels).filter(|(_, label)| !leave_out.iter().any(|it| it == label));
    let kept: Vec<&Table> = kept.map(|(arm, _)| arm).collect();
    if kept.is_empty() && !arms.is_empty() {
        return Err(Problem::at(["leave_out"], "`leave_out` leaves no arm to run"));
    }
    Ok(kept)
}

/// Every combination of the lists in `[task]` and `[generation]`.
fn workloads(task: &Table, generation: &Table) -> Result<Vec<Workload>, Problem> {
    let tasks = sweep::expand_named(task).map_err(|problem| problem.within(["task"]))?;
    let generations =
        sweep::expand_named(generation).map_err(|problem| problem.within(["generation"]))?;
    let mut workloads = Vec::new();
    for (task, picked) in tasks {
        let task: TaskChoice =
            typed(Value::Table(task)).map_err(|problem| problem.within(["task"]))?;
        for (generation, more) in &generations {
            let generation = typed(Value::Table(generation.clone()))
                .map_err(|problem| problem.within(["generation"]))?;
            let picked = picked.iter().filter(|(key, _)| key != "dataset" && key != "questions");
            let swept = picked.chain(more).map(|(key, value)| format!("{key}={value}"));
            let swept = swept.collect::<Vec<_>>().join(" ");
            workloads.push(Workload { swept, task: task.clone(), generation });
        }
    }
    Ok(workloads)
}

#[cfg(test)]
mod tests {
    use zoo::Mode;

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

    fn parse(text: &str, profile: Option<&str>, set: &[&str]) -> Result<Experiment, String> {
        let set: Vec<String> = set.iter().map(|&set| set.to_owned()).collect();
        Experiment::parse(Path::new("x.toml"), text.to_owned(), profile, &set)
    }

    fn labels(experiment: &Experiment) -> Vec<&str> {
        experiment.arms.iter().map(|arm| arm.label.as_str()).collect()
    }

    #[test]
    fn budgets_fill_what_arms_leave_out_and_lists_multiply() {
        let experiment = parse(TEXT, None, &[]).unwrap();
        assert_eq!(
            labels(&experiment),
            ["full", "slide-32", "slide-48", "recency-32", "recency-48"]
        );
        assert_eq!(
            (experiment.profile.as_str(), experiment.workloads[0].generation.max_new_tokens),
            ("small", 64)
        );
        let paper = parse(TEXT, Some("paper"), &["budget.decode=512"]).unwrap();
        assert_eq!(labels(&paper), ["full", "slide", "recency"]);
        let text = serde_json::to_string(&paper.arms[1]).unwrap();
        assert!(
            text.contains(r#""budget":2048,"window":8"#)
                && text.contains(r#""budget":512,"recent":256"#),
            "{text}"
        );
    }

    #[test]
    fn a_mode_is_that_of_every_arm_that_does_not_say() {
        let arms = |set: &[&str]| {
            let own = "label = \"recency\"\nmode = \"sound\"";
            parse(&TEXT.replace("label = \"recency\"", own), Some("paper"), set)
        };
        let modes = |set: &[&str]| -> Vec<Mode> {
            arms(set).unwrap().arms.iter().map(|arm| arm.mode).collect()
        };
        assert_eq!(modes(&["budget.decode=512"]), [Mode::Sound; 3]);
        assert_eq!(
            modes(&["budget.decode=512", "mode=reference"]),
            [Mode::Reference, Mode::Reference, Mode::Sound]
        );
        let refused = parse(TEXT, None, &["mode=reference"]).unwrap_err();
        assert!(refused.contains("method `recency`: `mode` = \"reference\""), "{refused}");
        let unknown = arms(&["mode=referense"]).unwrap_err();
        assert!(unknown.contains("did you mean `reference`?"), "{unknown}");
        assert!(unknown.starts_with("`x.toml`, `--set mode`: "), "{unknown}");
    }

    #[test]
    fn arms_are_left_out_by_label_whatever_they_would_have_multiplied_to() {
        let left = parse(TEXT, None, &["leave_out=[\"slide\"]"]).unwrap();
        assert_eq!(labels(&left), ["full", "recency-32", "recency-48"]);
        let unknown = parse(TEXT, None, &["leave_out=[\"slid\"]"]).unwrap_err();
        assert!(unknown.contains("there is no arm `slid`; did you mean `slide`?"), "{unknown}");
        let all = parse(TEXT, None, &["leave_out=['full', 'slide', 'recency']"]).unwrap_err();
        assert_eq!(all, "`x.toml`, `--set leave_out`: `leave_out` leaves no arm to run");
    }

    #[test]
    fn an_unknown_key_is_named_with_its_place_and_the_nearest_one() {
        let wrong = TEXT.replace("name = \"recency\" }", "name = \"recency\", budgt = 3 }");
        assert_eq!(
            parse(&wrong, None, &[]).unwrap_err(),
            "`x.toml` line 28, column 30: unknown field `budgt`, expected `budget`; did you mean `budget`?"
        );
        let wrong = TEXT.replace("\"slide\" }", "\"slid\" }");
        let message = parse(&wrong, None, &[]).unwrap_err();
        assert!(
            message.contains("line 24") && message.contains("did you mean `slide`?"),
            "{message}"
        );
    }

    #[test]
    fn a_wrong_value_is_shown_where_it_was_written() {
        let wrong = |set: &str| parse(TEXT, None, &[set]).unwrap_err();
        let place = |from: &str, to: &str, profile: &str| {
            assert!(TEXT.contains(from), "{from}");
            parse(&TEXT.replacen(from, to, 1), Some(profile), &[]).unwrap_err()
        };
        let type_of = "expected a whole number from 0";
        assert_eq!(
            place("max_new_tokens = 4096", "max_new_tokens = \"x\"", "paper"),
            format!(
                "`x.toml` line 12, column 1: `generation.max_new_tokens`: invalid type: string \"x\", {type_of}"
            )
        );
        // The profile's value is the one that counts, and the one that is shown.
        assert_eq!(
            place("max_new_tokens = 64", "max_new_tokens = -1", "small"),
            format!(
                "`x.toml` line 30, column 1: `generation.max_new_tokens`: invalid value: integer `-1`, {type_of}"
            )
        );
        // An arm's budget stands under `budget`.
        assert_eq!(
            place("[32, 48]", "[32, \"many\"]", "small"),
            format!(
                "`x.toml` line 32, column 1: `budget.decode`: invalid type: string \"many\", {type_of}"
            )
        );
        assert!(
            place("recent = 16", "recent = 48", "small")
                .starts_with("`x.toml` line 33, column 1: arm `slide-32`: ")
        );
        assert!(
            wrong("budget.prefill=0")
                .starts_with("`x.toml`, `--set budget.prefill`: arm `slide-32`: ")
        );
        assert!(wrong("task.dataset=trivia").contains("`task.dataset`: unknown variant `trivia`"));
        assert_eq!(
            place("max_new_tokens = 4096\n", "", "paper"),
            "`x.toml` line 11, column 2: `generation`: missing field `max_new_tokens`"
        );
        assert_eq!(place("title = \"A demo\"\n", "", "paper"), "`x.toml`: missing field `title`");
    }

    #[test]
    fn lists_in_task_and_generation_make_workloads() {
        let set = [
            "generation.seed=[1, 2]",
            "task.prompt=[\"published\", \"chat\"]",
            "task.dataset=[\"gsm8k\", \"mmlu\"]",
        ];
        let experiment = parse(TEXT, None, &set).unwrap();
        let swept: Vec<_> = experiment
            .workloads
            .iter()
            .map(|workload| (workload.task.dataset.name(), workload.swept.as_str()))
            .collect();
        assert_eq!(swept.len(), 8);
        assert_eq!(swept[0], ("gsm8k", "prompt=published seed=1"));
        assert_eq!(swept[7], ("mmlu", "prompt=chat seed=2"));
        assert_eq!(parse(TEXT, None, &[]).unwrap().workloads[0].swept, "");
        let refuse = |set: &str| parse(TEXT, None, &[set]).unwrap_err();
        assert!(
            refuse("generation.seed=[]").contains("`seed`: an empty list leaves nothing to run")
        );
        assert!(refuse("generation.seed=[3, 3]").contains("holds the same twice"));
    }

    #[test]
    fn lists_that_multiply_to_too_many_settings_are_refused_at_once() {
        let list =
            |from: usize, count: usize| format!("{:?}", (from..from + count).collect::<Vec<_>>());
        let refuse = |set: &[String]| {
            let set: Vec<&str> = set.iter().map(String::as_str).collect();
            parse(TEXT, Some("paper"), &set).unwrap_err()
        };
        let (seeds, limits) = (format!("generation.seed={}", list(0, 1000)), list(2, 1000));
        let budgets = format!("budget.decode={}", list(300, 3000));
        assert_eq!(
            refuse(&[budgets.clone(), format!("budget.recent={limits}")]),
            "`x.toml`, `--set budget.decode`: arm `slide`: `decode.budget` (3000) × `decode.recent` (1000) make 3000000 settings: an experiment has at most 4096"
        );
        assert_eq!(
            refuse(&[seeds.clone(), format!("task.max_prompt_tokens={limits}")]),
            "`x.toml`, `--set generation.seed`: `task.max_prompt_tokens` (1000) × `generation.seed` (1000) make 1000000 settings: an experiment has at most 4096"
        );
        let across = refuse(&[seeds, budgets]);
        assert!(
            across.contains("`generation.seed` (1000) × `arms` (3001) make 3001000"),
            "{across}"
        );
    }

    #[test]
    fn what_cannot_work_is_refused_with_the_reason() {
        let refuse = |set: &str| parse(TEXT, None, &[set]).unwrap_err();
        assert!(refuse("budget.recent=48").contains("method `slide`: `recent` = 48"));
        for (set, message) in [
            (
                "name=../x",
                "`x.toml`, `--set name`: `name` = \"../x\": use letters, digits, `_`, `-` and `.`",
            ),
            (
                "task.questions=0",
                "`x.toml`, `--set task.questions`: `task.questions` must be at least 1",
            ),
            ("nowhere.x=0", "`x.toml`: `--set nowhere.x`: there is no `nowhere`"),
        ] {
            assert_eq!(refuse(set), message);
        }
        assert_eq!(
            parse(TEXT, Some("big"), &[]).unwrap_err(),
            "`x.toml`: no profile `big`: there is small, paper"
        );
        let twice = TEXT.replace(
            "label = \"recency\"\nprefill = { name = \"full\" }\ndecode = { name = \"recency\" }",
            "label = \"again\"\nprefill = { name = \"full\" }\ndecode = { name = \"none\" }",
        );
        assert_eq!(
            parse(&twice, None, &[]).unwrap_err(),
            "`x.toml` line 26, column 1: arms `full` and `again` are the same"
        );
    }
}
