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
