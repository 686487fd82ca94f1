//! Generated texts from a file, and the score of the whole file.

use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::audit::Audit;
use crate::error::{Error, Result};
use crate::input;
use crate::score::{Scores, percent};
use crate::statistics::{SEED, bootstrap_mean, mean};
use crate::task::{Dataset, Task};

/// One generated text and the keys of its questions.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Generation {
    /// What the model wrote, prompt excluded.
    pub pred: String,
    /// One key per question, as in [`Sample::answers`](crate::Sample::answers).
    pub answers: Vec<String>,
}

/// Reads JSON lines with `pred` and `answers`, gzipped or not; other fields are ignored.
/// # Errors
/// A file that cannot be read, the first line that is not such an object or has no answers, or no line at all.
pub fn read(path: &Path) -> Result<Vec<Generation>> {
    let lines =
        input::json_lines::<Generation>(path, "`pred` (text) and `answers` (list of texts)")?;
    if lines.is_empty() {
        return Err(Error::Empty { path: path.to_owned(), what: "generations" });
    }
    let generations = lines.into_iter().map(|(line, generation)| {
        if generation.answers.is_empty() {
            let reason = "`answers` is empty: at least one key is needed".to_owned();
            return Err(Error::Line { path: path.to_owned(), line, reason });
        }
        Ok(generation)
    });
    generations.collect()
}

/// The score of many texts by one rule.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RuleScore {
    /// Mean of the prompts' accuracies in percent, 4 decimals, as published.
    pub score: f64,
    /// Its 95 % interval over prompts, likewise; none of fewer than two.
    pub ci: Option<[f64; 2]>,
    /// Each prompt's accuracy, 0 to 1, unrounded.
    pub per_sample: Vec<f64>,
}

impl RuleScore {
    /// The score of prompts with these accuracies; 0 if there is none.
    pub fn new(per_sample: Vec<f64>) -> Self {
        let interval = bootstrap_mean(&per_sample, SEED);
        Self {
            score: percent(mean(&per_sample).unwrap_or_default()),
            ci: interval.map(|interval| [percent(interval.low), percent(interval.high)]),
            per_sample,
        }
    }
}

/// Everything there is to say about a file of generations; its JSON is what `bench score` prints.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FileScore {
    /// The data set.
    pub dataset: Dataset,
    /// Texts.
    pub samples: usize,
    /// Questions in all texts.
    pub questions: usize,
    /// By the published rule.
    pub official: RuleScore,
    /// By answer number.
    pub aligned: RuleScore,
    /// Counts over all texts.
    pub audit: Audit,
}

impl FileScore {
    /// Scores texts by both rules and audits them.
    pub fn new(task: &Task, generations: &[Generation]) -> Self {
        let (mut official, mut aligned, mut audit) = (Vec::new(), Vec::new(), Audit::default());
        for Generation { pred, answers } in generations {
            let scores = Scores::new(task, pred, answers);
            official.push(scores.official);
            aligned.push(scores.aligned);
            audit += scores.audit;
        }
        Self {
            dataset: task.dataset,
            samples: generations.len(),
            questions: generations.iter().map(|generation| generation.answers.len()).sum(),
            official: RuleScore::new(official),
            aligned: RuleScore::new(aligned),
            audit,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_text(text: &str) -> Result<Vec<Generation>> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("generations.jsonl");
        std::fs::write(&path, text).unwrap();
        read(&path)
    }

    #[test]
    fn the_json_is_the_one_of_the_command_line() {
        let line =
            r#"{"pred": "Answer_6: The answer is (A).", "answers": ["A", "B"], "length": 3}"#;
        let task = Task::of(Dataset::Csqa).unwrap();
        let score = FileScore::new(task, &read_text(&format!("{line}\n{line}\n")).unwrap());
        let expected = r#"{"dataset":"csqa","samples":2,"questions":4,"official":{"score":50.0,"ci":[50.0,50.0],"per_sample":[0.5,0.5]},"aligned":{"score":50.0,"ci":[50.0,50.0],"per_sample":[0.5,0.5]},"audit":{"answered":2,"missing":2,"repeated":0,"out_of_range":0,"unreadable":0,"looping_samples":0}}"#;
        assert_eq!(serde_json::to_string(&score).unwrap(), expected);
        let one = FileScore::new(task, &read_text(line).unwrap());
        assert_eq!(one.official.ci, None);
    }

    #[test]
    fn malformed_files_are_named_by_line() {
        for (text, part) in [
            ("", "holds no generations"),
            ("{\"pred\": \"\", \"answers\": []}", "line 1: `answers` is empty"),
            (
                "{\"pred\": \"\", \"answers\": [\"A\"]}\n{\"pred\": null}",
                "line 2: not a JSON object",
            ),
            ("[[[[", "line 1"),
        ] {
            let error = read_text(text).unwrap_err();
            assert!(error.to_string().contains(part) && error.is_data(), "{error}");
        }
    }
}
