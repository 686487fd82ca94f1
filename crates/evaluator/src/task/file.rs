//! A `task.toml` as written, and its way to a [`Task`].

use std::collections::BTreeMap;

use regex::Regex;
use serde::Deserialize;

use crate::synthetic::Mix;

use super::{AnswerKind, Cut, Dataset, Files, Hub, Patterns, Suite, Task};

/// A task file as written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct File {
    version: u32,
    title: String,
    citation: String,
    licence: String,
    answer: AnswerKind,
    #[serde(default)]
    first_question: usize,
    #[serde(default)]
    separator: String,
    #[serde(default)]
    system: String,
    template: Option<String>,
    max_prompt_tokens: Option<usize>,
    system_subject: Option<String>,
    other_max_new_tokens: usize,
    #[serde(default)]
    dropped: Vec<usize>,
    #[serde(default)]
    hub: Hub,
    #[serde(default)]
    files: Files,
    mix: Option<Mix>,
    #[serde(default)]
    patterns: PatternTexts,
    cut: Option<CutTexts>,
    suites: Vec<Suite>,
    #[serde(default)]
    aligned_positions: BTreeMap<String, usize>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PatternTexts {
    header: String,
    official: String,
    official_gold: Option<String>,
    aligned: String,
    aligned_gold: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CutTexts {
    question: String,
    answer: String,
}

/// Expressions that find nothing, for a task whose answer is the whole text.
impl Default for PatternTexts {
    fn default() -> Self {
        let nothing = || r"\b\B".to_owned();
        Self {
            header: nothing(),
            official: nothing(),
            official_gold: None,
            aligned: nothing(),
            aligned_gold: None,
        }
    }
}

impl File {
    /// The task in a file's text, or what is wrong with it.
    pub(super) fn read(dataset: Dataset, toml: &str) -> std::result::Result<Task, String> {
        let file: Self = toml::from_str(toml).map_err(|error| error.to_string())?;
        file.compile(dataset).map_err(|error| error.to_string())
    }

    fn compile(self, dataset: Dataset) -> std::result::Result<Task, regex::Error> {
        let optional = |text: Option<String>| text.map(|text| Regex::new(&text)).transpose();
        let patterns = Patterns {
            header: Regex::new(&self.patterns.header)?,
            official: Regex::new(&self.patterns.official)?,
            official_gold: optional(self.patterns.official_gold)?,
            aligned: Regex::new(&self.patterns.aligned)?,
            aligned_gold: optional(self.patterns.aligned_gold)?,
        };
        let cut = self.cut.map(|cut| {
            Ok(Cut { question: Regex::new(&cut.question)?, answer: Regex::new(&cut.answer)? })
        });
        Ok(Task {
            dataset,
            version: self.version,
            title: self.title,
            citation: self.citation,
            licence: self.licence,
            answer: self.answer,
            first_question: self.first_question,
            separator: self.separator,
            template: self.template,
            max_prompt_tokens: self.max_prompt_tokens,
            system: self.system,
            system_subject: self.system_subject,
            other_max_new_tokens: self.other_max_new_tokens,
            dropped: self.dropped,
            hub: self.hub,
            files: self.files,
            mix: self.mix,
            patterns,
            cut: cut.transpose()?,
            suites: self.suites,
            aligned_positions: self.aligned_positions,
        })
    }
}
