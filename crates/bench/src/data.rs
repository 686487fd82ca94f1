//! Where a data set comes from.

use std::path::Path;

use anyhow::Result;
use evaluator::{Dataset, Sample, Set, Source, Task, Worked, prompt, synthetic};
use serde::Deserialize;

use crate::experiment::{SourceChoice, TaskChoice};
use crate::fault::Fault;
use crate::hub;

/// Word problems of our own in GSM8K's form, one JSON object per line.
const OWN: &str = include_str!("../../../datasets/gsm8k/own.jsonl");

/// The prompts of a task: from the data folder if one is named, else from the hub, or our own.
pub(crate) fn load(choice: &TaskChoice, data: Option<&Path>, offline: bool) -> Result<Set> {
    let task = Task::of(choice.dataset)?;
    match (&task.mix, &choice.mix) {
        (Some(mix), chosen) => {
            return Ok(synthetic::set(task, choice.questions, chosen.as_ref().unwrap_or(mix))?);
        }
        (None, Some(_)) => {
            let message = format!("`task.mix`: the questions of `{}` are given", task.dataset);
            return Err(Fault::usage(message)
                .hint("leave it out, or set `task.dataset` to `synthetic`")
                .into());
        }
        (None, None) => {}
    }
    let set = match (choice.source, data) {
        (SourceChoice::Own, _) => own(task, choice.questions)?,
        (SourceChoice::Published, Some(folder)) => Set::load(task, choice.questions, folder)?,
        (SourceChoice::Published, None) if task.template.is_some() => {
            let hint = format!(
                "put the hub's `{}`, file `{}`, into `raw/` of a folder, and name the folder by `--data` or `BENCH_DATA`",
                task.hub.id, task.files.raw
            );
            let message = format!("no data for `{}`: no data folder is named", task.dataset);
            return Err(Fault::data(message).hint(hint).into());
        }
        (SourceChoice::Published, None) => hub::load(task, choice.questions, offline)?,
    };
    Ok(if choice.drop_published { set.without_dropped(task) } else { set })
}

#[derive(Deserialize)]
struct Problem {
    question: String,
    answer: String,
}

/// As many whole prompts as our own problems make.
fn own(task: &Task, questions: usize) -> Result<Set> {
    if task.dataset != Dataset::Gsm8k {
        return Err(Fault::usage(format!(
            "`task.source` = \"own\": there are none for `{}`",
            task.dataset
        ))
        .into());
    }
    let problems = OWN.lines().map(serde_json::from_str).collect::<Result<Vec<Problem>, _>>()?;
    let worked = Worked::own(task);
    let samples = problems.chunks_exact(questions).enumerate().map(|(index, batch)| {
        let (questions, answers): (Vec<String>, Vec<String>) =
            batch.iter().map(|problem| (problem.question.clone(), problem.answer.clone())).unzip();
        let prompt = prompt::build(task, worked.text(None)?, &questions);
        Ok(Sample { index, subject: None, prompt, questions, answers, kinds: Vec::new() })
    });
    Ok(Set {
        dataset: task.dataset,
        questions_per_sample: questions,
        samples: samples.collect::<Result<_>>()?,
        source: Source::OwnProblems,
        origin: "word problems of our own".to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_own_problems_make_eight_prompts_of_thirty() {
        let set = own(Task::of(Dataset::Gsm8k).unwrap(), 30).unwrap();
        assert_eq!(set.samples.len(), 8);
        assert!(
            set.samples
                .iter()
                .all(|sample| sample.answers.iter().all(|answer| answer.contains("#### ")))
        );
        assert!(set.samples[0].prompt.contains("Question_38:\n"));
    }
}
