//! A set from a data folder: the published file if it is there, else built from raw data.

use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::books;
use crate::demonstrations::Worked;
use crate::error::{Error, Result};
use crate::input;
use crate::prompt;
use crate::rows::{Quirks, Rows};
use crate::set::{Sample, Set};
use crate::source::Source;
use crate::synthetic;
use crate::synthetic::Kind;
use crate::task::{AnswerKind, Task};

#[derive(Deserialize)]
struct Line {
    task: Option<String>,
    prompt: String,
    questions: Vec<String>,
    answers: Vec<String>,
    #[serde(default)]
    kinds: Vec<Kind>,
}

impl Set {
    /// The set in a data folder: `official/<dataset>_<questions>.jsonl`, gzipped or not, else built from `raw/` and
    /// the worked examples in `prompts/`, or our own examples if there are none.
    /// # Errors
    /// [`Error::NoData`] with every path tried, or whatever is wrong with a file that is there, by line.
    pub fn load(task: &Task, questions: usize, data: &Path) -> Result<Self> {
        task.check_questions(questions)?;
        if let Some(mix) = &task.mix {
            return synthetic::set(task, questions, mix);
        }
        if let Some(template) = &task.template {
            return books::load(task, template, data);
        }
        if let Some(path) = Self::file(task, questions, data) {
            return Self::read(task, questions, &path);
        }
        let raw = data.join("raw");
        let worked = || worked(task, &data.join("prompts"));
        Self::build_if_there(task, questions, &raw, worked)?.ok_or_else(|| {
            let mut tried = input::either_name(&official(task, questions, data)).to_vec();
            tried.extend(Rows::paths(task, &raw));
            no_data(task, questions, tried)
        })
    }

    /// The file of a set in a data folder, if it is there.
    pub fn file(task: &Task, questions: usize, data: &Path) -> Option<PathBuf> {
        if task.template.is_some() {
            return books::paths(task, data).into_iter().find(|path| path.exists());
        }
        input::find(&official(task, questions, data))
    }

    /// The set built from a folder of raw data and one of worked examples. Where no such folder is named, the one
    /// called `prompts` beside `raw` is looked into, and our own examples stand in if it holds none.
    /// # Errors
    /// As [`Set::load`], and [`Error::NoWorked`] if a folder is named that holds no examples.
    pub fn build(
        task: &Task,
        questions: usize,
        raw: &Path,
        prompts: Option<&Path>,
    ) -> Result<Self> {
        task.check_questions(questions)?;
        if task.template.is_some() || task.mix.is_some() {
            return Err(Error::NotBuilt { dataset: task.dataset });
        }
        let worked = || match prompts {
            Some(folder) => Worked::read(task, folder)?.ok_or_else(|| Error::NoWorked {
                dataset: task.dataset,
                tried: Worked::paths(task, folder).to_vec(),
            }),
            None => worked(task, &beside(raw)),
        };
        Self::build_if_there(task, questions, raw, worked)?
            .ok_or_else(|| no_data(task, questions, Rows::paths(task, raw)))
    }

    fn build_if_there(
        task: &Task,
        questions: usize,
        raw: &Path,
        worked: impl FnOnce() -> Result<Worked>,
    ) -> Result<Option<Self>> {
        let rows = match Rows::read(task, raw)? {
            Some(rows) => Some(rows),
            None => Rows::read_parquet(task, raw)?,
        };
        let Some(rows) = rows else { return Ok(None) };
        let worked = worked()?;
        let set = Self::from_rows(task, questions, &rows, &worked, Quirks::Published)?;
        Ok(Some(Self { origin: format!("`{}` and {}", raw.display(), worked.origin), ..set }))
    }

    /// The set in one file of the published format.
    /// # Errors
    /// [`Error::Json`] or [`Error::Line`] for the first line that is not a prompt with `questions` questions, as many
    /// keys, and for MMLU a subject.
    pub fn read(task: &Task, questions: usize, path: &Path) -> Result<Self> {
        task.check_questions(questions)?;
        let lines = input::json_lines::<Line>(path, "`prompt`, `questions` and `answers`")?;
        if lines.is_empty() {
            return Err(Error::Empty { path: path.to_owned(), what: "prompts" });
        }
        let samples = lines.into_iter().enumerate().map(|(index, (line, content))| {
            let bad = |reason| Error::Line { path: path.to_owned(), line, reason };
            content.check(task, questions).map_err(bad)?;
            Ok(content.into_sample(index))
        });
        let samples = samples.collect::<Result<Vec<Sample>>>()?;
        let own = Worked::own(task);
        let own = samples.iter().any(|sample| {
            own.text(None).is_ok_and(|text| sample.prompt.starts_with(&prompt::head(text)))
        });
        let set = Self {
            dataset: task.dataset,
            questions_per_sample: questions,
            samples,
            source: if own { Source::OwnDemonstrations } else { Source::Published },
            origin: format!("`{}`", path.display()),
        };
        Ok(set.verified(task))
    }
}

impl Line {
    fn check(&self, task: &Task, questions: usize) -> std::result::Result<(), String> {
        let (asked, keys) = (self.questions.len(), self.answers.len());
        if asked != questions || keys != questions {
            return Err(format!(
                "{asked} questions and {keys} answers: {questions} of each are needed"
            ));
        }
        if !self.kinds.is_empty() && self.kinds.len() != asked {
            return Err(format!("{asked} questions and {} kinds", self.kinds.len()));
        }
        if task.system_subject.is_some() && self.task.is_none() {
            return Err("the field `task`, which names the subject, is missing".to_owned());
        }
        let is_key = |answer: &String| match task.answer {
            AnswerKind::Number => answer.contains("####"),
            AnswerKind::Letter => matches!(answer.as_bytes(), [b'A'..=b'E']),
            AnswerKind::Summary => !answer.is_empty(),
        };
        match (1..).zip(&self.answers).find(|(_, answer)| !is_key(answer)) {
            None => Ok(()),
            Some((place, _)) => Err(match task.answer {
                AnswerKind::Number => format!("answer {place} has no `####` before its number"),
                AnswerKind::Letter => format!("answer {place} is not a letter from `A` to `E`"),
                AnswerKind::Summary => format!("answer {place} is empty"),
            }),
        }
    }

    fn into_sample(self, index: usize) -> Sample {
        Sample {
            index,
            subject: self.task,
            prompt: self.prompt,
            questions: self.questions,
            answers: self.answers,
            kinds: self.kinds,
        }
    }
}

/// Where a data folder keeps a set, gzipped or not.
fn official(task: &Task, questions: usize, data: &Path) -> PathBuf {
    data.join("official").join(format!("{}_{questions}.jsonl", task.dataset))
}

/// The worked examples of a folder, or our own.
fn worked(task: &Task, prompts: &Path) -> Result<Worked> {
    Ok(Worked::read(task, prompts)?.unwrap_or_else(|| Worked::own(task)))
}

/// The folder `prompts` beside a folder of raw data, which may have no name of its own, as `.`.
fn beside(raw: &Path) -> PathBuf {
    match raw.file_name() {
        Some(_) => raw.with_file_name("prompts"),
        None => raw.join("../prompts"),
    }
}

fn no_data(task: &Task, questions: usize, tried: Vec<PathBuf>) -> Error {
    Error::NoData { dataset: task.dataset, questions, tried, hub: task.hub.id.clone() }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::task::Dataset;

    fn load(dataset: Dataset, name: &str, content: &str) -> Result<Set> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, content).unwrap();
        Set::load(Task::of(dataset).unwrap(), 1, folder.path())
    }

    #[test]
    fn a_folder_without_data_lists_every_path_tried() {
        let message = load(Dataset::Mmlu, "other/file", "").unwrap_err().to_string();
        for part in [
            "official/mmlu_1.jsonl`",
            "mmlu_1.jsonl.gz`",
            "raw/mmlu_test.tar.gz`",
            "raw/mmlu/test`",
        ] {
            assert!(message.contains(part), "{message}");
        }
    }

    #[test]
    fn a_bad_line_is_named() {
        let good = r#"{"prompt": "p", "questions": ["q"], "answers": ["A"]}"#;
        let path = "official/csqa_1.jsonl";
        assert_eq!(load(Dataset::Csqa, path, good).unwrap().samples.len(), 1);
        let cases = [
            (format!("{good}\n{{\"prompt\": 1}}"), "line 2: not a JSON object with `prompt`"),
            (
                format!("{good}\n{}", good.replace("[\"q\"]", "[]")),
                "line 2: 0 questions and 1 answers",
            ),
            (good.replace('A', "F"), "line 1: answer 1 is not a letter"),
            (String::new(), "holds no prompts"),
        ];
        for (content, part) in cases {
            let message = load(Dataset::Csqa, path, &content).unwrap_err().to_string();
            assert!(message.contains(part), "{message}");
        }
        let message = load(Dataset::Mmlu, "official/mmlu_1.jsonl", good).unwrap_err().to_string();
        assert!(message.contains("`task`"), "{message}");
    }

    #[test]
    fn raw_data_without_demonstrations_uses_our_own() {
        let raw = r#####"{"question": "q", "answer": "#### 1"}"#####;
        let set = load(Dataset::Gsm8k, "raw/gsm8k_test.jsonl", raw).unwrap();
        assert_eq!(set.source, Source::OwnDemonstrations);
        let written = set.to_json_lines().unwrap();
        let read = load(Dataset::Gsm8k, "official/gsm8k_1.jsonl", &written).unwrap();
        assert_eq!(read.source, Source::OwnDemonstrations);
        assert!(set.samples[0].prompt.ends_with("Question_9:\nq\n\n"));
    }
}
