//! Accuracy by place in the prompt, as in figure 4a of Wu et al. 2024, arXiv 2412.13649.

use serde::{Deserialize, Serialize};

/// Neighbouring questions of all prompts, pooled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Group {
    /// Place of its first question, from 1.
    pub first: usize,
    /// Place of its last question.
    pub last: usize,
    /// Questions answered right.
    pub hits: usize,
    /// Questions for which an answer was found.
    pub found: usize,
    /// Questions asked.
    pub asked: usize,
}

impl Group {
    /// Right answers among those found: the published figure's rule, which a method that stops early does not pay
    /// for. None if none was found.
    pub fn accuracy_of_found(&self) -> Option<f64> {
        (self.found > 0).then(|| self.hits as f64 / self.found as f64)
    }

    /// Right answers among all questions asked, missing ones wrong. None if none was asked.
    pub fn accuracy(&self) -> Option<f64> {
        (self.asked > 0).then(|| self.hits as f64 / self.asked as f64)
    }
}

/// Groups of `size` neighbouring questions, pooled over prompts. `marks` has one list per prompt, as
/// [`Official::marks`](crate::score::Official::marks) gives it for the published figure. A size of 0 counts as 1.
pub fn by_position(marks: &[Vec<Option<bool>>], size: usize) -> Vec<Group> {
    let size = size.max(1);
    let longest = marks.iter().map(Vec::len).max().unwrap_or_default();
    let groups = (0..longest).step_by(size).map(|start| {
        let end = (start + size).min(longest);
        let inside = || marks.iter().flat_map(|prompt| prompt.iter().take(end).skip(start));
        Group {
            first: start + 1,
            last: end,
            hits: inside().filter(|&&mark| mark == Some(true)).count(),
            found: inside().flatten().count(),
            asked: inside().count(),
        }
    });
    groups.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missing_answers_count_only_in_the_strict_rule() {
        let marks =
            [vec![Some(true), Some(false), None], vec![Some(true), None, Some(true)], vec![None]];
        let groups = by_position(&marks, 2);
        assert_eq!(groups[0], Group { first: 1, last: 2, hits: 2, found: 3, asked: 5 });
        assert_eq!(groups[1], Group { first: 3, last: 3, hits: 1, found: 1, asked: 2 });
        assert_eq!((groups[1].accuracy_of_found(), groups[1].accuracy()), (Some(1.0), Some(0.5)));
        assert!(by_position(&[], 5).is_empty());
        assert_eq!(by_position(&marks, 0).len(), 3);
    }
}
