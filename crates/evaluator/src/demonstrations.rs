//! The worked examples at the head of every prompt.
//!
//! The published ones are not part of this program; they are read from a folder. Where they are absent, our own take
//! their place, and the set says so: scores made with them are not comparable with published ones.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};
use crate::input;
use crate::source::Source;
use crate::task::{Cut, Dataset, Task};

/// Worked examples, ready to stand in a prompt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Worked {
    /// Whose they are.
    pub source: Source,
    /// Where they were found, in words.
    pub origin: String,
    text: Text,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Text {
    Shared(String),
    BySubject(BTreeMap<String, String>),
}

impl Text {
    fn is_empty(&self) -> bool {
        match self {
            Self::Shared(text) => text.trim().is_empty(),
            Self::BySubject(map) => map.values().all(String::is_empty),
        }
    }
}

impl Worked {
    /// Our own examples: the same for every subject.
    pub fn own(task: &Task) -> Self {
        let text = match task.dataset {
            Dataset::Gsm8k => include_str!("../../../datasets/gsm8k/demonstrations.txt"),
            Dataset::Mmlu => include_str!("../../../datasets/mmlu/demonstrations.txt"),
            Dataset::Csqa => include_str!("../../../datasets/csqa/demonstrations.txt"),
            Dataset::EnSum | Dataset::Synthetic => "",
        };
        Self {
            source: Source::OwnDemonstrations,
            origin: format!("`datasets/{}/demonstrations.txt`", task.dataset),
            text: Text::Shared(text.trim_end().to_owned()),
        }
    }

    /// The paths under which [`Worked::read`] looks inside a folder of demonstrations.
    pub fn paths(task: &Task, prompts: &Path) -> [PathBuf; 2] {
        input::either_name(&prompts.join(&task.files.demonstrations))
    }

    /// The published examples in a folder, or none if it does not hold them.
    /// # Errors
    /// A file that is there and cannot be read or parsed, or holds no examples.
    pub fn read(task: &Task, prompts: &Path) -> Result<Option<Self>> {
        let Some(path) = input::find(&prompts.join(&task.files.demonstrations)) else {
            return Ok(None);
        };
        let text = input::text(&path)?;
        let text = match &task.cut {
            None => Text::Shared(text),
            Some(cut) => Text::BySubject(by_subject(&path, cut, &text)?),
        };
        if text.is_empty() {
            return Err(Error::Empty { path, what: "worked examples" });
        }
        let origin = format!("`{}`", path.display());
        Ok(Some(Self { source: Source::Published, origin, text }))
    }

    /// The examples that a prompt on this subject shows.
    /// # Errors
    /// [`Error::NoDemonstrations`] if they come by subject and this one has none.
    pub fn text(&self, subject: Option<&str>) -> Result<&str> {
        let map = match &self.text {
            Text::Shared(text) => return Ok(text),
            Text::BySubject(map) => map,
        };
        let subject = subject.unwrap_or_default();
        let text = map.get(subject).filter(|text| !text.is_empty());
        text.map(String::as_str).ok_or_else(|| Error::NoDemonstrations {
            subject: subject.to_owned(),
            origin: self.origin.clone(),
        })
    }
}

fn by_subject(path: &Path, cut: &Cut, json: &str) -> Result<BTreeMap<String, String>> {
    let map: BTreeMap<String, String> =
        serde_json::from_str(json).map_err(|source| Error::Json {
            path: path.to_owned(),
            line: source.line(),
            fields: "one text per subject",
            source,
        })?;
    Ok(map.into_iter().map(|(subject, text)| (subject, cut_out(cut, &text))).collect())
}

/// All questions, then all answers, numbered from 1.
fn cut_out(cut: &Cut, text: &str) -> String {
    let mut out = String::new();
    for (name, opening, pattern) in
        [("Question", "Q: ", &cut.question), ("Answer", "A: ", &cut.answer)]
    {
        for (number, found) in (1..).zip(pattern.find_iter(text)) {
            let found = found.as_str().trim();
            let found = found.strip_prefix(opening).unwrap_or(found);
            let _ = write!(out, "{name}_{number}:\n{found}\n\n");
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::score::Official;

    #[test]
    fn cutting_loses_the_last_choice_and_the_full_stop() {
        let cut = Task::of(Dataset::Mmlu).unwrap().cut.clone().unwrap();
        let text = "About x.\n\nQ: Why?\n(A) a (B) b (C) c (D) d\nA: So. The answer is (C).\n\nQ: How?\n(D) e\nA: The answer is (D).";
        assert_eq!(
            cut_out(&cut, text),
            "Question_1:\nWhy?\n(A) a (B) b (C) c (D)\n\nQuestion_2:\nHow?\n(D)\n\nAnswer_1:\nSo. The answer is (C)\n\nAnswer_2:\nThe answer is (D)\n\n"
        );
    }

    #[test]
    fn a_file_without_examples_is_refused() {
        for (dataset, name, text) in [
            (Dataset::Gsm8k, "gsm8k_8demos.txt", " \n"),
            (Dataset::Mmlu, "mmlu_cot_demos.json", "{}"),
            (Dataset::Mmlu, "mmlu_cot_demos.json", r#"{"law": "no question here"}"#),
        ] {
            let folder = tempfile::tempdir().unwrap();
            std::fs::write(folder.path().join(name), text).unwrap();
            let error = Worked::read(Task::of(dataset).unwrap(), folder.path()).unwrap_err();
            assert!(matches!(error, Error::Empty { .. }), "{error}");
        }
    }

    #[test]
    fn our_own_examples_are_as_many_as_the_published_and_can_be_read_back() {
        let values = [
            (Dataset::Gsm8k, vec!["13", "60", "49", "14", "12", "110", "160", "40"]),
            (Dataset::Mmlu, vec!["C", "D", "B", "A", "C"]),
            (Dataset::Csqa, vec!["B", "D", "A", "C", "E"]),
        ];
        for (dataset, expected) in values {
            let task = Task::of(dataset).unwrap();
            let own = Worked::own(task);
            let text = own.text(Some("any subject")).unwrap();
            let answers = vec![String::new(); expected.len()];
            assert_eq!(Official::score(task, text, &answers).extracted, expected);
            assert_eq!(expected.len() + 1, task.first_question);
            assert_eq!(text.matches("Question_").count(), expected.len());
        }
    }
}
