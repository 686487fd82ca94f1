//! From questions to what a model is given.

use std::fmt::Write;

use serde::{Deserialize, Serialize};

use crate::set::Sample;
use crate::task::Task;

/// The prompt of the published sets: worked examples, then all questions, numbered on from the examples.
pub fn build(task: &Task, demonstrations: &str, questions: &[String]) -> String {
    let mut prompt = head(demonstrations);
    for (number, question) in (task.first_question..).zip(questions) {
        let _ = write!(prompt, "Question_{number}:\n{question}{}", task.separator);
    }
    prompt.push('\n');
    prompt
}

/// What comes before the first question.
pub(crate) fn head(demonstrations: &str) -> String {
    format!("Examples: \n{demonstrations}\n\nFollowing Question: \n")
}

/// The raw text round system text and prompt that the published runs gave to a model.
///
/// None of them is a model's own chat template: for Llama 3 it is half of the Llama 2 one. See [`messages`] for the
/// other style.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PublishedTemplate {
    /// A `<<SYS>>` block, without `[INST]`.
    Llama3,
    /// A `<<SYS>>` block inside `[INST]`.
    Llama2,
    /// Nothing but the texts.
    Plain,
}

impl PublishedTemplate {
    /// The branch that the published runner takes for a model's path, of which any part may name the model. It knows `llama2` and not `llama-2`.
    pub fn for_model(name: &str) -> Self {
        let name = name.to_lowercase();
        if name.contains("llama-3") {
            Self::Llama3
        } else if name.contains("llama2") {
            Self::Llama2
        } else {
            Self::Plain
        }
    }

    /// The word used in files and tables.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Llama3 => "llama-3",
            Self::Llama2 => "llama-2",
            Self::Plain => "plain",
        }
    }

    /// The prompt as a turn of its own, for a task of one text per prompt: in Llama 3's own words, with a begin-of-text
    /// token beside the one that the tokenizer adds.
    pub fn wrap_turn(self, prompt: &str) -> String {
        match self {
            Self::Llama3 => format!(
                "<|begin_of_text|><|start_header_id|>user<|end_header_id|>\n\n{prompt}<|eot_id|>\n<|start_header_id|>assistant<|end_header_id|>"
            ),
            Self::Llama2 => format!("[INST] {prompt} [/INST]"),
            Self::Plain => prompt.to_owned(),
        }
    }

    /// System text and prompt as one string.
    pub fn wrap(self, system: &str, prompt: &str) -> String {
        match self {
            Self::Llama3 => format!("<<SYS>>\n {system} \n<</SYS>>\n\n{prompt}"),
            Self::Llama2 => format!("[INST] <<SYS>>\n {system} \n<</SYS>>\n\n{prompt} [/INST]"),
            Self::Plain => format!("{system}\n\n{prompt}"),
        }
    }
}

/// Whether the system text names the subject, where prompts have one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SystemText {
    /// It does, as its authors meant it.
    #[default]
    Complete,
    /// It breaks off before the subject, as in the published runs.
    Published,
}

impl SystemText {
    /// The system text of a sample.
    pub fn of(self, task: &Task, sample: &Sample) -> String {
        task.system(match self {
            Self::Complete => sample.subject.as_deref(),
            Self::Published => None,
        })
    }
}

/// The whole input of a model in the published runs' raw text; prompts that are made by rule have nothing round them. With the published system text it is theirs, byte for
/// byte. The tokenizer adds only its begin-of-text token.
pub fn model_input(
    task: &Task,
    template: PublishedTemplate,
    system: SystemText,
    sample: &Sample,
) -> String {
    if task.mix.is_some() {
        return sample.prompt.clone();
    }
    if task.template.is_some() {
        return template.wrap_turn(&sample.prompt);
    }
    template.wrap(&system.of(task, sample), &sample.prompt)
}

/// System and user message for a model's own chat template; the first is empty where a task has no system text.
pub fn messages(task: &Task, system: SystemText, sample: &Sample) -> (String, String) {
    (system.of(task, sample), sample.prompt.clone())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::task::Dataset;

    #[test]
    fn questions_follow_each_other_as_each_set_has_it() {
        let questions = ["one".to_owned(), "two".to_owned()];
        let gsm8k = build(Task::of(Dataset::Gsm8k).unwrap(), "DEMO", &questions);
        let head = "Examples: \nDEMO\n\nFollowing Question: \n";
        assert_eq!(gsm8k, format!("{head}Question_9:\none\nQuestion_10:\ntwo\n\n"));
        let csqa = build(Task::of(Dataset::Csqa).unwrap(), "DEMO", &questions);
        assert_eq!(csqa, format!("{head}Question_6:\none\n\nQuestion_7:\ntwo\n\n\n"));
    }

    #[test]
    fn templates_go_by_the_published_names() {
        let template = PublishedTemplate::for_model;
        assert_eq!(template("meta-llama/Meta-Llama-3.1-8B-Instruct"), PublishedTemplate::Llama3);
        assert_eq!(template("llama2-7b-chat-4k"), PublishedTemplate::Llama2);
        assert_eq!(template("meta-llama/Llama-2-7b"), PublishedTemplate::Plain);
        assert_eq!(template("mistralai/Mistral-7B"), PublishedTemplate::Plain);
        assert_eq!(PublishedTemplate::Llama3.wrap("S", "P"), "<<SYS>>\n S \n<</SYS>>\n\nP");
        assert_eq!(
            PublishedTemplate::Llama2.wrap("S", "P"),
            "[INST] <<SYS>>\n S \n<</SYS>>\n\nP [/INST]"
        );
        assert_eq!(PublishedTemplate::Plain.wrap("S", "P"), "S\n\nP");
        assert_eq!(
            PublishedTemplate::Llama3.wrap_turn("P"),
            "<|begin_of_text|><|start_header_id|>user<|end_header_id|>\n\nP<|eot_id|>\n<|start_header_id|>assistant<|end_header_id|>"
        );
        assert_eq!(PublishedTemplate::Llama2.wrap_turn("P"), "[INST] P [/INST]");
        assert_eq!(PublishedTemplate::Plain.wrap_turn("P"), "P");
    }

    #[test]
    fn the_published_system_text_names_no_subject() {
        let task = Task::of(Dataset::Mmlu).unwrap();
        let sample = Sample {
            index: 0,
            subject: Some("world_religions".into()),
            prompt: "P".into(),
            questions: vec![],
            answers: vec![],
            kinds: vec![],
        };
        let input = |system| model_input(task, PublishedTemplate::Llama3, system, &sample);
        assert!(input(SystemText::Published).contains("about  \n<</SYS>>\n\nP"));
        assert!(input(SystemText::default()).contains("about world religions. \n<</SYS>>\n\nP"));
        assert!(
            messages(task, SystemText::Complete, &sample).0.ends_with("about world religions.")
        );
        assert!(messages(task, SystemText::Published, &sample).0.ends_with("about "));
    }
}
