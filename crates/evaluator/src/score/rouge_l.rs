//! ROUGE-L of a summary, as the Python package `rouge` 1.0.1 computes it, for the published En.Sum scores.
//!
//! Lin 2004, "ROUGE", section 3.2, with the package's own ideas: sentences end at every `.`; the words of a longest
//! common subsequence are collected over all pairs of sentences into one **set**; precision and recall divide the
//! size of that set by the number of distinct words. No other ROUGE-L gives these values.
//! # Differs
//! The package backtracks by recursion and scores 0 when a pair of sentences needs more than about 985 steps. Here
//! the value is computed, and [`RougeL::exceeds_recursion`] says that the package would have given 0.

use std::collections::{HashMap, HashSet};

/// Steps that the package can take in one pair of sentences before it gives up.
const RECURSION_LIMIT: usize = 985;
/// The largest table that is filled; a larger pair of sentences is passed over.
const CELLS: usize = 1 << 24;

/// One summary's score.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RougeL {
    /// The F value, 0 to 1.
    pub f: f64,
    /// Most steps that one pair of sentences took.
    pub longest_backtrack: usize,
    /// Pairs of sentences passed over because their table would not fit in memory; 0 for any real summary.
    pub skipped_pairs: usize,
}

impl RougeL {
    /// Scores a summary against its reference.
    pub fn score(prediction: &str, reference: &str) -> Self {
        let mut vocabulary = HashMap::new();
        let predicted = sentences(prediction, &mut vocabulary);
        let referred = sentences(reference, &mut vocabulary);
        let mut score = Self { f: 0.0, longest_backtrack: 0, skipped_pairs: 0 };
        let mut common = HashSet::new();
        for x in &referred {
            for y in &predicted {
                if (x.len() + 1).saturating_mul(y.len() + 1) > CELLS {
                    score.skipped_pairs += 1;
                } else {
                    let steps = collect_common(x, y, &mut common);
                    score.longest_backtrack = score.longest_backtrack.max(steps);
                }
            }
        }
        if !predicted.is_empty() && !referred.is_empty() {
            let recall = common.len() as f64 / distinct(&referred) as f64;
            let precision = common.len() as f64 / distinct(&predicted) as f64;
            score.f = 2.0 * ((precision * recall) / (precision + recall + 1e-8));
        }
        score
    }

    /// Whether the package would have given up and scored 0.
    pub const fn exceeds_recursion(&self) -> bool {
        self.longest_backtrack > RECURSION_LIMIT || self.skipped_pairs > 0
    }
}

/// Each sentence as numbered words. One of white space only has one word, the empty one.
fn sentences<'t>(text: &'t str, vocabulary: &mut HashMap<&'t str, u32>) -> Vec<Vec<u32>> {
    let mut word_id = |word| {
        let next = u32::try_from(vocabulary.len()).unwrap_or(u32::MAX);
        *vocabulary.entry(word).or_insert(next)
    };
    let pieces = text.split('.').filter(|piece| !piece.is_empty());
    pieces
        .map(|piece| {
            let words: Vec<_> = piece.split_whitespace().map(&mut word_id).collect();
            if words.is_empty() { vec![word_id("")] } else { words }
        })
        .collect()
}

fn distinct(sentences: &[Vec<u32>]) -> usize {
    sentences.iter().flatten().collect::<HashSet<_>>().len()
}

/// Adds the words of one longest common subsequence; returns the steps of the way back through the table.
fn collect_common(x: &[u32], y: &[u32], common: &mut HashSet<u32>) -> usize {
    let width = y.len() + 1;
    let mut table = vec![0_u32; (x.len() + 1) * width];
    for i in 1..=x.len() {
        for j in 1..width {
            table[i * width + j] = if x[i - 1] == y[j - 1] {
                table[(i - 1) * width + j - 1] + 1
            } else {
                table[(i - 1) * width + j].max(table[i * width + j - 1])
            };
        }
    }
    let (mut i, mut j, mut steps) = (x.len(), y.len(), 0);
    while i > 0 && j > 0 {
        if x[i - 1] == y[j - 1] {
            common.insert(x[i - 1]);
            (i, j) = (i - 1, j - 1);
        } else if table[(i - 1) * width + j] > table[i * width + j - 1] {
            i -= 1;
        } else {
            j -= 1;
        }
        steps += 1;
    }
    steps
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thousand_words_without_a_full_stop_are_reported() {
        let words = (0..1000).map(|word| word.to_string()).collect::<Vec<_>>().join(" ");
        let long = RougeL::score(&words, "none of these");
        assert!(long.exceeds_recursion() && long.f.abs() < f64::EPSILON, "{long:?}");
        assert!(!RougeL::score("a short one", "none of these").exceeds_recursion());
    }

    #[test]
    fn white_space_between_full_stops_is_one_empty_word() {
        assert!((RougeL::score(" . ", "  ").f - 1.0).abs() < 1e-7);
        assert!(RougeL::score("...", "a").f.abs() < f64::EPSILON);
    }
}
