//! Data sets to prompts, generated text to scores, scores to statistics. Knows no model and no tensor.
//!
//! The flow: [`Task`] holds what is fixed about a data set, [`Set::load`] or [`Set::build`] makes its prompts,
//! [`generations::read`] brings back the texts that a model wrote, and [`FileScore::new`] scores them twice: by the
//! published rule ([`score::Official`]) and by answer number ([`score::Aligned`]). The published rule pairs the k-th
//! answer found with the k-th key, so one skipped answer spoils all later ones; that is why the second exists, and
//! why an [`Audit`] counts what either had to cope with.
//!
//! ```
//! use evaluator::{Dataset, FileScore, Generation, Task};
//!
//! let task = Task::of(Dataset::Gsm8k)?;
//! let pred = "Answer_9: The answer is $4.\nAnswer_10: The answer is 7.".to_owned();
//! let answers = vec!["#### 4".to_owned(), "#### 7".to_owned()];
//! let score = FileScore::new(task, &[Generation { pred, answers }]);
//! assert_eq!((score.official.score, score.aligned.score), (0.0, 100.0));
//! # Ok::<(), evaluator::Error>(())
//! ```

pub mod audit;
mod books;
pub mod demonstrations;
pub mod error;
#[cfg(feature = "frames")]
pub mod frames;
pub mod generations;
mod input;
mod load;
pub mod prompt;
pub mod rows;
pub mod score;
pub mod set;
pub mod source;
pub mod statistics;
pub mod synthetic;
pub mod task;

pub use audit::Audit;
pub use demonstrations::Worked;
pub use error::{Error, Result};
pub use generations::{FileScore, Generation};
pub use prompt::{PublishedTemplate, SystemText};
pub use rows::{Quirks, Rows};
pub use set::{Sample, Set};
pub use source::Source;
pub use task::{Dataset, Task};
