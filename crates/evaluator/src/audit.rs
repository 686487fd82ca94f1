//! What a text did with its questions, apart from right and wrong.

use std::ops::AddAssign;

use serde::{Deserialize, Serialize};

use crate::score::Aligned;

/// How much of a text's end is looked at for a loop, in bytes.
const TAIL: usize = 4096;
/// A loop repeats its unit at least this often.
const REPEATS: usize = 6;
/// A loop is at least this long, in bytes, so that a row of dashes is none.
const LOOP_BYTES: usize = 120;

/// Counts over one text or, summed, over many. `answered + missing + unreadable` are all the questions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Audit {
    /// Questions with a block and a value in it.
    pub answered: usize,
    /// Questions without a block.
    pub missing: usize,
    /// Blocks beyond the first of the same question.
    pub repeated: usize,
    /// Blocks whose number belongs to no question.
    pub out_of_range: usize,
    /// Questions whose first block states no value.
    pub unreadable: usize,
    /// Texts that end in a loop; see [`loops`].
    pub looping_samples: usize,
}

impl Audit {
    /// The audit of one text and its aligned score.
    pub fn new(text: &str, aligned: &Aligned) -> Self {
        let (present, answered) = (aligned.present(), aligned.answered());
        Self {
            answered,
            missing: aligned.questions() - present,
            repeated: aligned.blocks.iter().map(|count| count.saturating_sub(1)).sum(),
            out_of_range: aligned.out_of_range,
            unreadable: present - answered,
            looping_samples: usize::from(loops(text)),
        }
    }
}

impl AddAssign for Audit {
    fn add_assign(&mut self, other: Self) {
        self.answered += other.answered;
        self.missing += other.missing;
        self.repeated += other.repeated;
        self.out_of_range += other.out_of_range;
        self.unreadable += other.unreadable;
        self.looping_samples += other.looping_samples;
    }
}

/// Whether a text ends in a loop: one unit of at most 682 bytes, repeated exactly, at least 6 times and over at least
/// 120 bytes, up to the very end. The last unit may be cut off.
///
/// Read backwards, that is a prefix of length L with a period of at most L / 6; the prefix function gives the smallest
/// period of every prefix in one pass over the last 4096 bytes.
pub fn loops(text: &str) -> bool {
    let tail: Vec<u8> = text.bytes().rev().take(TAIL).collect();
    let mut borders = vec![0_usize; tail.len()];
    for end in 1..tail.len() {
        let mut border = borders[end - 1];
        while border > 0 && tail[end] != tail[border] {
            border = borders[border - 1];
        }
        if tail[end] == tail[border] {
            border += 1;
        }
        borders[end] = border;
        let length = end + 1;
        if length >= LOOP_BYTES && (length - border) * REPEATS <= length {
            return true;
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::task::{Dataset, Task};

    #[test]
    fn loops_are_exact_repeats_up_to_the_end() {
        let unit = "Answer_39:\nThe answer is 7.\n\n";
        assert!(loops(&format!("before {}", unit.repeat(6))));
        assert!(loops(&format!("before {}Answer_3", unit.repeat(6))));
        assert!(!loops(&unit.repeat(5)));
        assert!(!loops(&format!("{} after", unit.repeat(20))));
        assert!(loops(&"0".repeat(120)) && !loops(&"0".repeat(119)));
        let counting: Vec<_> = (0..500).map(|n| format!("Answer_{n}: {n}")).collect();
        assert!(!loops(&counting.join("\n")));
        assert!(loops(&"x".repeat(682).replacen('x', "y", 1).repeat(6)));
        assert!(!loops(""));
    }

    #[test]
    fn every_question_is_answered_missing_or_unreadable() {
        let task = Task::of(Dataset::Csqa).unwrap();
        let answers = vec!["A".to_owned(); 4];
        let text = "Answer_6: the answer is (A)\nAnswer_7: hm\nAnswer_6: again\nAnswer_70: x\n";
        let audit = Audit::new(text, &Aligned::score(task, text, &answers));
        let expected = Audit {
            answered: 1,
            missing: 2,
            repeated: 1,
            out_of_range: 1,
            unreadable: 1,
            looping_samples: 0,
        };
        assert_eq!(audit, expected);
    }
}
