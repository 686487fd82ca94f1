//! What is fixed about each data set: the data of `datasets/<task>/task.toml`, compiled in.
//!
//! Whatever can move a score without a line of code changing lives there: the system text, the numbering, the
//! patterns, the limits and the version.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use regex::Regex;
use serde::Deserialize;

use self::file::File;
use crate::error::{Error, Result};
use crate::synthetic::Mix;

mod dataset;
mod file;

pub use dataset::Dataset;

/// What an answer is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AnswerKind {
    /// A number; the key stands after `####` at the end of a worked solution.
    Number,
    /// A letter; the key is the letter itself.
    Letter,
    /// A summary; the key is another one.
    Summary,
}

/// One published size of a task.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Suite {
    /// `4k` or `8k`: the intended length of the output in tokens; else the task's own name.
    pub name: String,
    /// Questions per prompt.
    pub questions: usize,
    /// Raw questions used, from the first on; none where each subject makes one prompt.
    pub rows: Option<usize>,
    /// Prompts in the published set.
    pub samples: usize,
    /// The output limit of the published runs.
    pub max_new_tokens: usize,
    /// Checksum of the published file, unpacked; none where it is not known.
    pub sha256: Option<String>,
}

/// Where the hub keeps the raw questions.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Hub {
    /// Repository, `org/name`.
    pub id: String,
    /// Configuration inside it.
    pub config: String,
    /// The split that is used.
    pub split: String,
}

/// File names inside a data folder, without `.gz`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Files {
    /// The raw questions, in `raw/`.
    pub raw: String,
    /// The published worked examples, in `prompts/`; empty where there are none.
    #[serde(default)]
    pub demonstrations: String,
}

/// The expressions by which answers are found in a text.
#[derive(Debug, Clone)]
pub struct Patterns {
    /// The line that opens an answer; group 1 is its number.
    pub header: Regex,
    /// An answer by the published rule; group 1 is its value.
    pub official: Regex,
    /// The key in a worked solution by the published rule; none where the answer is the key.
    pub official_gold: Option<Regex>,
    /// The value inside one answer's block, for the aligned rule; all groups joined are its value.
    pub aligned: Regex,
    /// The key in a worked solution, for the aligned rule; none where the answer is the key.
    pub aligned_gold: Option<Regex>,
}

/// How worked examples are cut out of the published file of one text per subject.
#[derive(Debug, Clone)]
pub struct Cut {
    /// A question, opened by `Q:`.
    pub question: Regex,
    /// An answer, opened by `A:`.
    pub answer: Regex,
}

/// Everything fixed about one data set.
#[derive(Debug, Clone)]
pub struct Task {
    /// Which data set.
    pub dataset: Dataset,
    /// Goes up whenever a score may move.
    pub version: u32,
    /// The name in the published tables.
    pub title: String,
    /// Who made it, with links.
    pub citation: String,
    /// Licence of the questions.
    pub licence: String,
    /// What an answer is.
    pub answer: AnswerKind,
    /// Number of the first question that the model must answer; the worked examples come before it.
    pub first_question: usize,
    /// What follows each question in the prompt.
    pub separator: String,
    /// The whole prompt with `{context}` where the text goes, for a task of one text per prompt.
    pub template: Option<String>,
    /// The most tokens that a prompt may have before its middle is cut out, in the published runs.
    pub max_prompt_tokens: Option<usize>,
    /// The system text, without a subject.
    pub system: String,
    /// What follows the system text, after a blank, where prompts have a subject.
    pub system_subject: Option<String>,
    /// Output limit of the published runs at sizes that are in no suite.
    pub other_max_new_tokens: usize,
    /// Prompts that the published runs left out.
    pub dropped: Vec<usize>,
    /// Where the raw questions are on the hub; empty names for a task that is made by rule.
    pub hub: Hub,
    /// File names in a data folder; empty for a task that is made by rule.
    pub files: Files,
    /// By which rule its questions are made, if they are.
    pub mix: Option<Mix>,
    /// How answers are found.
    pub patterns: Patterns,
    /// How published worked examples are cut, where they come as one text per subject.
    pub cut: Option<Cut>,
    /// The published sizes.
    pub suites: Vec<Suite>,
    /// Leading positions whose published key belongs to its question, for subjects where not all do.
    pub aligned_positions: BTreeMap<String, usize>,
}

static TASKS: LazyLock<[std::result::Result<Task, String>; 5]> = LazyLock::new(|| {
    [
        File::read(Dataset::Gsm8k, include_str!("../../../../datasets/gsm8k/task.toml")),
        File::read(Dataset::Mmlu, include_str!("../../../../datasets/mmlu/task.toml")),
        File::read(Dataset::Csqa, include_str!("../../../../datasets/csqa/task.toml")),
        File::read(Dataset::EnSum, include_str!("../../../../datasets/en_sum/task.toml")),
        File::read(Dataset::Synthetic, include_str!("../../../../datasets/synthetic/task.toml")),
    ]
});

impl Task {
    /// The task of a data set; parsed, and its expressions compiled, once per program.
    /// # Errors
    /// [`Error::Task`] if the compiled-in file is broken, which a test rules out.
    pub fn of(dataset: Dataset) -> Result<&'static Self> {
        let [gsm8k, mmlu, csqa, en_sum, synthetic] = &*TASKS;
        let task = match dataset {
            Dataset::Gsm8k => gsm8k,
            Dataset::Mmlu => mmlu,
            Dataset::Csqa => csqa,
            Dataset::EnSum => en_sum,
            Dataset::Synthetic => synthetic,
        };
        task.as_ref().map_err(|reason| Error::Task { dataset, reason: reason.clone() })
    }

    /// The published suite with this many questions per prompt.
    pub fn suite(&self, questions: usize) -> Option<&Suite> {
        self.suites.iter().find(|suite| suite.questions == questions)
    }

    /// The published suite of this name, `4k` or `8k`.
    pub fn suite_named(&self, name: &str) -> Option<&Suite> {
        self.suites.iter().find(|suite| suite.name.eq_ignore_ascii_case(name))
    }

    /// The output limit that the published runner applies to this many questions per prompt.
    pub fn max_new_tokens(&self, questions: usize) -> usize {
        self.suite(questions).map_or(self.other_max_new_tokens, |suite| suite.max_new_tokens)
    }

    /// The system text. Without a subject it is the published one, which for MMLU ends in `about ` and names no
    /// subject; with one, the sentence is completed as its authors meant it.
    pub fn system(&self, subject: Option<&str>) -> String {
        match (&self.system_subject, subject) {
            (None, _) => self.system.clone(),
            (Some(line), None) => format!("{} {line}", self.system),
            (Some(line), Some(name)) => {
                format!("{} {line}{}.", self.system, name.replace('_', " "))
            }
        }
    }

    /// How many leading positions of a published prompt have a key that belongs to the question.
    pub fn aligned_prefix(&self, subject: Option<&str>, questions: usize) -> usize {
        let known = subject.and_then(|name| self.aligned_positions.get(name));
        known.map_or(questions, |&positions| positions.min(questions))
    }

    /// The refusal of a prompt without questions.
    pub(crate) fn check_questions(&self, questions: usize) -> Result<()> {
        if self.template.is_some() && questions > 1 {
            return Err(Error::OneQuestion { dataset: self.dataset, questions });
        }
        if questions > 0 {
            return Ok(());
        }
        let published = self.suites.iter().map(|suite| suite.questions.to_string());
        let published = published.collect::<Vec<_>>().join(" and ");
        Err(Error::ZeroQuestions { dataset: self.dataset, published })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_task_file_parses_and_has_both_suites() {
        for dataset in Dataset::QUESTIONS {
            let task = Task::of(dataset).unwrap();
            assert_eq!(task.dataset, dataset);
            assert_eq!(
                task.suites.iter().map(|suite| &*suite.name).collect::<Vec<_>>(),
                ["4k", "8k"]
            );
            for suite in &task.suites {
                assert!(suite.rows.is_none_or(|rows| rows == suite.samples * suite.questions));
                assert!(suite.sha256.as_ref().is_some_and(|sum| sum.len() == 64));
            }
        }
    }

    #[test]
    fn a_summary_has_a_template_and_nothing_to_be_found() {
        let task = Task::of(Dataset::EnSum).unwrap();
        assert!(task.template.as_ref().is_some_and(|template| template.contains("{context}")));
        assert!(!task.patterns.official.is_match("Answer_6: The answer is (A)."));
        assert_eq!((task.max_prompt_tokens, task.max_new_tokens(1)), (Some(7950), 4096));
    }

    #[test]
    fn csqa_runs_were_never_limited_to_4096() {
        let limit = |dataset, questions| Task::of(dataset).unwrap().max_new_tokens(questions);
        assert_eq!([limit(Dataset::Gsm8k, 30), limit(Dataset::Gsm8k, 60)], [4096, 7950]);
        assert_eq!([limit(Dataset::Csqa, 40), limit(Dataset::Mmlu, 30)], [7950, 4096]);
        assert_eq!(limit(Dataset::Gsm8k, 31), 7950);
    }

    #[test]
    fn the_published_mmlu_system_text_names_no_subject() {
        let task = Task::of(Dataset::Mmlu).unwrap();
        assert!(task.system(None).ends_with("(with answers) about "));
        assert!(task.system(Some("high_school_physics")).ends_with("about high school physics."));
        let task = Task::of(Dataset::Csqa).unwrap();
        assert_eq!(task.system(None), task.system(Some("anything")));
    }
}
