//! Scoring by answer number: each block is compared with the key of the question that its header names.
//!
//! A block runs from its header to the next header of any number. If a number occurs twice the first block counts,
//! and inside a block the first statement. Numbers are compared as numbers: commas, currency signs, leading zeros
//! and trailing decimal zeros make no difference.

use super::{number, share};
use crate::task::{AnswerKind, Task};

/// One text scored by answer number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Aligned {
    /// The keys in canonical form; none where a worked solution has no number.
    pub gold: Vec<Option<String>>,
    /// Per question the value of its block in canonical form; none if it has no block, or its block no value.
    pub values: Vec<Option<String>>,
    /// Per question, how many blocks bear its number.
    pub blocks: Vec<usize>,
    /// Headers whose number belongs to no question.
    pub out_of_range: usize,
    /// Questions answered right.
    pub hits: usize,
}

impl Aligned {
    /// Scores a generated text.
    pub fn score(task: &Task, text: &str, answers: &[String]) -> Self {
        let gold: Vec<_> = answers.iter().map(|answer| gold(task, answer)).collect();
        let mut values = vec![None; gold.len()];
        let mut blocks = vec![0; gold.len()];
        let mut out_of_range = 0;
        for (number, block) in split(task, text) {
            let slot = number.and_then(|number| number.checked_sub(task.first_question));
            match slot.filter(|&slot| slot < gold.len()) {
                None => out_of_range += 1,
                Some(slot) => {
                    if blocks[slot] == 0 {
                        values[slot] = value(task, block);
                    }
                    blocks[slot] += 1;
                }
            }
        }
        let hits = gold.iter().zip(&values).filter(|(key, value)| value.is_some() && key == value);
        let hits = hits.count();
        Self { gold, values, blocks, out_of_range, hits }
    }

    /// Questions asked.
    pub const fn questions(&self) -> usize {
        self.gold.len()
    }

    /// Share of all questions answered right.
    pub fn accuracy(&self) -> f64 {
        share(self.hits, self.questions())
    }

    /// Share of the first `positions` questions answered right; for MMLU subjects of which only the leading keys
    /// belong to their questions. None if that leaves no question.
    pub fn accuracy_of_first(&self, positions: usize) -> Option<f64> {
        let marks = self.marks();
        let marks = &marks[..positions.min(marks.len())];
        let hits = marks.iter().filter(|&&mark| mark == Some(true)).count();
        (!marks.is_empty()).then(|| share(hits, marks.len()))
    }

    /// Questions that have a block.
    pub fn present(&self) -> usize {
        self.blocks.iter().filter(|&&count| count > 0).count()
    }

    /// Questions that have a value.
    pub fn answered(&self) -> usize {
        self.values.iter().flatten().count()
    }

    /// Headers of any number.
    pub fn headers(&self) -> usize {
        self.blocks.iter().sum::<usize>() + self.out_of_range
    }

    /// Per question, whether it was right; none if it has no value.
    pub fn marks(&self) -> Vec<Option<bool>> {
        let pairs = self.gold.iter().zip(&self.values);
        pairs.map(|(key, value)| value.as_ref().map(|value| key.as_ref() == Some(value))).collect()
    }
}

/// Every header's number, none if it is too large to be one, with the text up to the next header.
fn split<'t>(task: &Task, text: &'t str) -> Vec<(Option<usize>, &'t str)> {
    let headers: Vec<_> = task.patterns.header.captures_iter(text).collect();
    let starts = headers.iter().filter_map(|groups| groups.get(0)).map(|whole| whole.start());
    let ends: Vec<_> = starts.skip(1).chain([text.len()]).collect();
    let blocks = headers.iter().zip(ends).filter_map(|(groups, end)| {
        let number = groups.get(1)?.as_str().parse().ok();
        Some((number, &text[groups.get(0)?.end()..end]))
    });
    blocks.collect()
}

fn value(task: &Task, block: &str) -> Option<String> {
    let groups = task.patterns.aligned.captures(block)?;
    let value: String = groups.iter().skip(1).flatten().map(|group| group.as_str()).collect();
    Some(canonical(task, value))
}

fn gold(task: &Task, answer: &str) -> Option<String> {
    let Some(pattern) = &task.patterns.aligned_gold else { return Some(answer.to_owned()) };
    Some(canonical(task, pattern.captures(answer)?.get(1)?.as_str().to_owned()))
}

fn canonical(task: &Task, value: String) -> String {
    match task.answer {
        AnswerKind::Number => number::canonical(&value),
        AnswerKind::Letter | AnswerKind::Summary => value,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::task::Dataset;

    #[test]
    fn a_skipped_number_shifts_nothing_and_strangers_are_counted() {
        let task = Task::of(Dataset::Gsm8k).unwrap();
        let answers = ["#### 4", "#### 7", "#### 1,000"].map(str::to_owned);
        let text = "Answer_9: the answer is $4.00\nAnswer_11:\nAnswer is **1000**\nAnswer_9: answer is 5\nAnswer_99999999999999999999999: answer is 1\nAnswer_3: x";
        let score = Aligned::score(task, text, &answers);
        assert_eq!(score.marks(), [Some(true), None, Some(true)]);
        assert_eq!(
            (score.hits, score.blocks.as_slice(), score.out_of_range),
            (2, [2, 0, 1].as_slice(), 2)
        );
        assert_eq!((score.headers(), score.present(), score.answered()), (5, 2, 2));
        assert_eq!([score.accuracy_of_first(2), score.accuracy_of_first(0)], [Some(0.5), None]);
    }
}
