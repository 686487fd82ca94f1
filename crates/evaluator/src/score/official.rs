//! The published rule: the k-th answer found is compared with the k-th key.
//!
//! Wu et al. 2024, "SCOPE", arXiv 2412.13649, as its code has it. Numbers in headers are not looked at; only plain
//! digits count for word problems; surplus answers are ignored and missing ones wrong.

use super::share;
use crate::task::Task;

/// One text scored by the published rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Official {
    /// The keys; none where a worked solution has no plain number, which then can never be right.
    pub gold: Vec<Option<String>>,
    /// All answers found, in order of appearance.
    pub extracted: Vec<String>,
    /// Questions answered right.
    pub hits: usize,
}

impl Official {
    /// Scores a generated text.
    pub fn score(task: &Task, text: &str, answers: &[String]) -> Self {
        let found = task.patterns.official.captures_iter(text);
        let extracted: Vec<_> =
            found.filter_map(|groups| Some(groups.get(1)?.as_str().to_owned())).collect();
        let gold: Vec<_> = answers.iter().map(|answer| gold(task, answer)).collect();
        let hits = gold.iter().zip(&extracted).filter(|(key, value)| key.as_ref() == Some(value));
        let hits = hits.count();
        Self { gold, extracted, hits }
    }

    /// Questions asked.
    pub const fn questions(&self) -> usize {
        self.gold.len()
    }

    /// Share of all questions answered right.
    pub fn accuracy(&self) -> f64 {
        share(self.hits, self.questions())
    }

    /// Per question, whether it was right; none if no answer was left for it.
    pub fn marks(&self) -> Vec<Option<bool>> {
        let mark = |(place, key): (usize, &Option<String>)| {
            self.extracted.get(place).map(|value| key.as_ref() == Some(value))
        };
        self.gold.iter().enumerate().map(mark).collect()
    }
}

fn gold(task: &Task, answer: &str) -> Option<String> {
    let Some(pattern) = &task.patterns.official_gold else { return Some(answer.to_owned()) };
    Some(pattern.captures(answer)?.get(1)?.as_str().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::task::Dataset;

    #[test]
    fn a_currency_sign_shifts_every_later_answer() {
        let task = Task::of(Dataset::Gsm8k).unwrap();
        let text = "Answer_9:\nThe answer is $4.\n\nAnswer_10:\nThe answer is 7.\n";
        let answers = ["#### 4", "#### 7", "#### -3"].map(str::to_owned);
        let score = Official::score(task, text, &answers);
        assert_eq!((score.extracted.as_slice(), score.hits), (["7".to_owned()].as_slice(), 0));
        assert_eq!(score.gold[2], None);
        assert_eq!(score.marks(), [Some(false), None, None]);
    }
}
