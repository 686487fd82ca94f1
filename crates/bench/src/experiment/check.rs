//! What an experiment is refused for before anything is loaded.

use toml::{Table, Value};
use zoo::Arm;

use super::{Experiment, Workload};
use crate::arm::{Budget, expand_arm};
use crate::problem::Problem;

impl Experiment {
    /// Refuses what cannot be run, or would be run twice.
    pub(super) fn check(&self) -> Result<(), Problem> {
        let named = |name: &str| {
            !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || "_-.".contains(c))
        };
        if !named(&self.name) || self.name.starts_with('.') {
            let message =
                format!("`name` = {:?}: use letters, digits, `_`, `-` and `.`", self.name);
            return Err(Problem::at(["name"], message));
        }
        at_least_one(&["run", "lanes"], self.run.lanes)?;
        at_least_one(&["arms"], self.arms.len())?;
        at_least_one(&["model"], self.models.len())?;
        for Workload { task, generation, .. } in &self.workloads {
            at_least_one(&["task", "questions"], task.questions)?;
            if task.max_prompt_tokens.is_some_and(|tokens| tokens < 2) {
                let message = "`task.max_prompt_tokens` must be at least 2";
                return Err(Problem::at(["task", "max_prompt_tokens"], message));
            }
            at_least_one(&["generation", "max_new_tokens"], generation.max_new_tokens)?;
        }
        for Workload { generation, .. } in &self.workloads {
            let context = zoo::Context { max_new_tokens: generation.max_new_tokens };
            for arm in &self.arms {
                arm.policies(context).map_err(|error| {
                    Problem::at(["arms", &arm.label], format!("arm `{}`: {error}", arm.label))
                })?;
            }
        }
        self.check_twins()
    }

    /// Refuses what would be computed twice.
    fn check_twins(&self) -> Result<(), Problem> {
        for (index, arm) in self.arms.iter().enumerate() {
            let earlier = &self.arms[..index];
            if earlier.iter().any(|other| other.label == arm.label) {
                let message = format!("two arms are called `{}`", arm.label);
                return Err(Problem::at(["arms", &arm.label], message));
            }
            let same = |other: &&Arm| Arm { label: arm.label.clone(), ..(*other).clone() } == *arm;
            if let Some(other) = earlier.iter().find(same) {
                let message = format!("arms `{}` and `{}` are the same", other.label, arm.label);
                return Err(Problem::at(["arms", &arm.label], message));
            }
        }
        let mut seen: Vec<&Workload> = Vec::new();
        for workload in &self.workloads {
            if seen.contains(&workload) {
                let message = format!(
                    "a list of `task` or `generation` holds the same twice: {}",
                    workload.swept
                );
                return Err(Problem::at(["task"], message));
            }
            seen.push(workload);
        }
        Ok(())
    }
}

fn at_least_one(key: &[&str], count: usize) -> Result<(), Problem> {
    if count > 0 {
        return Ok(());
    }
    Err(Problem::at(key.iter().copied(), format!("`{}` must be at least 1", key.join("."))))
}

/// The arms that one table makes, each with parameters that can work; `mode` is that of an arm that does not say.
pub(super) fn arms(
    arm: &Table,
    mode: Option<&Value>,
    budget: &Budget,
) -> Result<Vec<Arm>, Problem> {
    let label = arm.get("label").and_then(Value::as_str).unwrap_or_default();
    let mut whole = arm.clone();
    if let (Some(mode), false) = (mode, arm.contains_key("mode")) {
        whole.insert("mode".to_owned(), mode.clone());
    }
    let arms = expand_arm(&Value::Table(whole), budget)
        .map_err(|problem| arm_problem(problem, arm, label))?;
    for Arm { label: name, prefill, decode, .. } in &arms {
        for (phase, checked) in [("prefill", prefill.check()), ("decode", decode.check())] {
            if let Err(error) = checked {
                let mut key = vec![phase];
                if let zoo::Error::NoRoom { key: at, .. }
                | zoo::Error::Value { key: at, .. }
                | zoo::Error::Mode { key: at, .. } = &error
                {
                    // A window that nobody wrote is not at fault.
                    let unsaid = *at == "window" && !written(arm, phase, at);
                    key.push(if unsaid { "budget" } else { at });
                }
                let problem = Problem::at(key, format!("arm `{name}`: {error}"));
                return Err(arm_problem(problem, arm, label));
            }
        }
    }
    Ok(arms)
}

/// Whether an arm itself says a parameter.
fn written(arm: &Table, phase: &str, key: &str) -> bool {
    arm.get(phase).and_then(|method| method.get(key)).is_some()
}

/// A problem inside an arm, with the key under which its author wrote it: what the arm leaves out comes from `budget` and `mode`.
fn arm_problem(mut problem: Problem, arm: &Table, label: &str) -> Problem {
    let key: Vec<&str> = problem.key.iter().map(String::as_str).collect();
    let filled = match key[..] {
        ["prefill", "budget"] => "prefill",
        ["decode", "budget"] => "decode",
        ["decode", "recent"] => "recent",
        ["mode"] if !arm.contains_key("mode") => return problem,
        _ => return problem.within(["arms", label]),
    };
    if written(arm, key[0], key[1]) {
        return problem.within(["arms", label]);
    }
    problem.key.clear();
    problem.within(["budget", filled])
}
