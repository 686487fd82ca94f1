//! Word problems made by rule: a task on which a very small model can be right, so that what compression takes away can be seen.
//!
//! A prompt has an instruction, a price list, worked examples and numbered questions, in `LongGenBench`'s form. The response answers
//! them all in order, and is determined by the prompt. Kinds differ in what the cache must still hold: the question itself,
//! the price list, or earlier answers. Everything is drawn in whole numbers from a seed, and is the same on every machine.

mod document;
mod draw;
mod problem;
mod rows;
mod vocabulary;

use serde::{Deserialize, Serialize};

use self::document::{Document, Layout};
use self::draw::Draw;
use crate::error::{Error, Result};
use crate::set::{Sample, Set};
use crate::source::Source;
use crate::task::Task;

pub use problem::{Kind, Mix};
pub use rows::{Class, Request, Row, Shares};
pub use vocabulary::{BOS, EOS, LAST_INDEX, PAD, UNKNOWN, Vocabulary};

/// Worked examples in front of the questions.
pub const DEMONSTRATIONS: usize = 8;

/// What texts are for. No two splits share a stream of random numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Split {
    /// To train a model on.
    Train,
    /// To look at while it is trained.
    Development,
    /// To report.
    Evaluation,
}

impl Split {
    const fn salt(self) -> u64 {
        match self {
            Self::Train => 1,
            Self::Development => 2,
            Self::Evaluation => 3,
        }
    }
}

/// Prompts of so many questions for evaluation: as many as the suite of this size has, or as the first suite.
///
/// # Errors
/// [`Error::Unmade`] for more questions than can be numbered, or a mix that asks none.
pub fn set(task: &Task, questions: usize, mix: &Mix) -> Result<Set> {
    task.check_questions(questions)?;
    if questions > LAST_INDEX {
        let reason =
            format!("{questions} questions per prompt: they are numbered up to {LAST_INDEX}");
        return Err(Error::Unmade { reason });
    }
    mix.check()?;
    let suite = task.suite(questions).or(task.suites.first());
    let samples =
        (0..suite.map_or(0, |suite| suite.samples)).map(|index| sample(index, questions, mix));
    Ok(Set {
        dataset: task.dataset,
        questions_per_sample: questions,
        samples: samples.collect(),
        source: Source::Synthetic,
        origin: format!("the rule of `datasets/{}`, version {}", task.dataset, task.version),
    })
}

fn sample(index: usize, questions: usize, mix: &Mix) -> Sample {
    let draw = &mut Draw::new(&[Split::Evaluation.salt(), questions as u64, index as u64]);
    let Document { prompt, problems, .. } =
        Document::new(&Layout::evaluation(questions), mix, draw);
    let text = |tokens: &[u16]| Vocabulary::get().text(tokens).trim_start().to_owned();
    Sample {
        index,
        subject: None,
        prompt: text(&prompt),
        questions: problems.iter().map(|problem| text(&problem.question)).collect(),
        answers: problems
            .iter()
            .map(|problem| format!("{}. #### {}", text(&problem.solution), problem.value))
            .collect(),
        kinds: problems.iter().map(|problem| problem.kind).collect(),
    }
}

#[cfg(test)]
mod tests;
