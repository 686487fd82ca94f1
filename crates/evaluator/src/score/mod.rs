//! Two ways to score one text against its keys, and the score of a summary.
//!
//! [`Official`] is the published rule, quirk by quirk; [`Aligned`] pairs answers by their number. Report both: on
//! word problems they differ by ten points and more, and not equally for every method. [`Scores`] is both, for any task.

mod aligned;
mod number;
mod official;
mod rouge_l;
mod scores;

pub use aligned::Aligned;
pub use official::Official;
pub use rouge_l::RougeL;
pub use scores::Scores;

/// The share of questions answered right; 0 if there is none.
fn share(hits: usize, questions: usize) -> f64 {
    if questions == 0 { 0.0 } else { hits as f64 / questions as f64 }
}

/// A share as a published score: percent, 4 decimals.
pub fn percent(share: f64) -> f64 {
    (share * 1e6).round() / 1e4
}
