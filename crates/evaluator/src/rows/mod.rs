//! Raw questions as their makers publish them, and what the published builder made of them.
//!
//! Rows may come from a folder ([`Rows::read`]) or from anywhere else: whoever has a Parquet reader fills the row
//! types and calls [`Set::from_rows`](crate::Set::from_rows).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::task::{Dataset, Task};

mod parquet;
mod read;

pub use parquet::parquet_files;

/// One word problem.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gsm8kRow {
    /// The problem.
    pub question: String,
    /// The worked solution, ending in `#### ` and the number.
    pub answer: String,
}

/// One question about everyday knowledge.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CsqaRow {
    /// The question.
    pub question: String,
    /// What can be answered.
    pub choices: Choices,
    /// The letter of the right choice.
    #[serde(rename = "answerKey")]
    pub answer_key: String,
}

/// Labelled choices, as the hub keeps them: two lists of one length.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Choices {
    /// The letters.
    pub label: Vec<String>,
    /// What each letter stands for.
    pub text: Vec<String>,
}

/// One exam question.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MmluRow {
    /// The subject, with underscores.
    pub subject: String,
    /// The question.
    pub question: String,
    /// What the letters `A` to `D` stand for.
    pub choices: [String; 4],
    /// The letter of the right choice; the hub's 0 to 3 must be mapped.
    pub answer: String,
}

/// All raw questions of one data set, in source order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Rows {
    /// Word problems.
    Gsm8k(Vec<Gsm8kRow>),
    /// Exam questions.
    Mmlu(Vec<MmluRow>),
    /// Everyday knowledge.
    Csqa(Vec<CsqaRow>),
}

/// Whether to repeat two slips of the published MMLU builder.
///
/// It printed a choice `None` as `nan`, and cut the joined questions at every empty line, so that a question holding
/// one falls apart into several while the keys go on row by row: 6 % of its keys belong to another question.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Quirks {
    /// Repeat them: the sets are byte-identical to the published ones.
    #[default]
    Published,
    /// One row, one question, one key. Not comparable with published scores.
    Corrected,
}

/// The questions of one prompt and their keys.
pub(crate) struct Batch {
    pub(crate) subject: Option<String>,
    pub(crate) questions: Vec<String>,
    pub(crate) answers: Vec<String>,
}

impl Rows {
    /// Which data set they belong to.
    pub const fn dataset(&self) -> Dataset {
        match self {
            Self::Gsm8k(_) => Dataset::Gsm8k,
            Self::Mmlu(_) => Dataset::Mmlu,
            Self::Csqa(_) => Dataset::Csqa,
        }
    }

    /// How many questions there are.
    pub const fn len(&self) -> usize {
        match self {
            Self::Gsm8k(rows) => rows.len(),
            Self::Mmlu(rows) => rows.len(),
            Self::Csqa(rows) => rows.len(),
        }
    }

    /// Whether there is no question.
    pub const fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Groups of `questions` each, in source order and without shuffling, as many as the published set has.
    pub(crate) fn batches(
        &self,
        task: &Task,
        questions: usize,
        quirks: Quirks,
    ) -> Result<Vec<Batch>> {
        task.check_questions(questions)?;
        if self.dataset() != task.dataset {
            return Err(Error::WrongRows { task: task.dataset, rows: self.dataset() });
        }
        match self {
            Self::Gsm8k(rows) => {
                let pair = |row: &Gsm8kRow| (row.question.clone(), row.answer.clone());
                consecutive(task, questions, &rows.iter().map(pair).collect::<Vec<_>>())
            }
            Self::Csqa(rows) => {
                let pair = |row: &CsqaRow| (csqa_question(row), row.answer_key.clone());
                consecutive(task, questions, &rows.iter().map(pair).collect::<Vec<_>>())
            }
            Self::Mmlu(rows) => per_subject(rows, questions, quirks),
        }
    }
}

fn consecutive(task: &Task, questions: usize, pairs: &[(String, String)]) -> Result<Vec<Batch>> {
    let published = task.suite(questions).and_then(|suite| suite.rows);
    let needed = published.unwrap_or_else(|| (pairs.len() / questions).max(1) * questions);
    let (dataset, found) = (task.dataset, pairs.len());
    if found < needed {
        return Err(Error::NotEnoughRows { dataset, subject: None, needed, found });
    }
    let batches = pairs[..needed].chunks(questions).map(|chunk| {
        let (questions, answers) = chunk.iter().cloned().unzip();
        Batch { subject: None, questions, answers }
    });
    Ok(batches.collect())
}

fn csqa_question(row: &CsqaRow) -> String {
    let choices = row.choices.label.iter().zip(&row.choices.text);
    let choices = choices.map(|(label, text)| format!("({label}) {text}")).collect::<Vec<_>>();
    format!("{}\n{}", row.question, choices.join(" ")).trim().to_owned()
}

/// One batch per subject, subjects in alphabetical order.
fn per_subject(rows: &[MmluRow], questions: usize, quirks: Quirks) -> Result<Vec<Batch>> {
    let mut subjects = BTreeMap::<&str, Vec<&MmluRow>>::new();
    for row in rows {
        subjects.entry(&row.subject).or_default().push(row);
    }
    let batches = subjects.into_iter().map(|(subject, rows)| {
        let texts = match quirks {
            Quirks::Published => pieces(&rows),
            Quirks::Corrected => rows.iter().map(|row| mmlu_question(row, str::to_owned)).collect(),
        };
        let (needed, found) = (questions, rows.len().min(texts.len()));
        if found < needed {
            let subject = Some(subject.to_owned());
            return Err(Error::NotEnoughRows { dataset: Dataset::Mmlu, subject, needed, found });
        }
        Ok(Batch {
            subject: Some(subject.to_owned()),
            questions: texts.into_iter().take(questions).collect(),
            answers: rows.iter().take(questions).map(|row| row.answer.clone()).collect(),
        })
    });
    batches.collect()
}

/// All questions of a subject in one string, cut at empty lines: the published builder's way.
fn pieces(rows: &[&MmluRow]) -> Vec<String> {
    let cell = |text: &str| if text == "None" { "nan".to_owned() } else { text.to_owned() };
    let joined = rows.iter().map(|row| mmlu_question(row, cell) + "\n\n").collect::<String>();
    joined.split("\n\n").map(str::to_owned).collect()
}

fn mmlu_question(row: &MmluRow, cell: impl Fn(&str) -> String) -> String {
    let [a, b, c, d] = row.choices.each_ref().map(|choice| cell(choice));
    format!("{}\n(A) {a}(B) {b}(C) {c}(D) {d}", cell(&row.question))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exam(subject: &str, question: &str, answer: &str) -> MmluRow {
        let choices = ["None", "1", "2", "3"].map(str::to_owned);
        MmluRow {
            subject: subject.into(),
            question: question.into(),
            choices,
            answer: answer.into(),
        }
    }

    #[test]
    fn an_empty_line_tears_a_question_apart_and_shifts_the_keys() {
        let task = Task::of(Dataset::Mmlu).unwrap();
        let rows = Rows::Mmlu(vec![exam("b", "one\n\ntwo", "A"), exam("b", "three", "B")]);
        let published = rows.batches(task, 2, Quirks::Published).unwrap();
        assert_eq!(published[0].questions, ["one", "two\n(A) nan(B) 1(C) 2(D) 3"]);
        assert_eq!(published[0].answers, ["A", "B"]);
        let corrected = rows.batches(task, 2, Quirks::Corrected).unwrap();
        assert_eq!(corrected[0].questions[1], "three\n(A) None(B) 1(C) 2(D) 3");
    }

    #[test]
    fn too_few_rows_are_named() {
        let task = Task::of(Dataset::Mmlu).unwrap();
        let rows = Rows::Mmlu(vec![exam("law", "q", "A")]);
        let error = rows.batches(task, 2, Quirks::Published).err().unwrap().to_string();
        assert!(error.contains("subject `law`: 2 questions are needed and 1 are there"), "{error}");
        let none = Rows::Gsm8k(vec![]);
        let task = Task::of(Dataset::Gsm8k).unwrap();
        assert!(none.batches(task, 7, Quirks::Published).is_err());
        assert!(matches!(
            none.batches(task, 0, Quirks::Published),
            Err(Error::ZeroQuestions { .. })
        ));
    }

    #[test]
    fn other_sizes_use_every_full_batch() {
        let row = Gsm8kRow { question: "q".into(), answer: "#### 1".into() };
        let rows = Rows::Gsm8k(vec![row; 10]);
        let task = Task::of(Dataset::Gsm8k).unwrap();
        assert_eq!(rows.batches(task, 4, Quirks::Published).unwrap().len(), 2);
        assert!(rows.batches(task, 30, Quirks::Published).is_err());
    }
}
