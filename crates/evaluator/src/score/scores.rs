use super::{Aligned, Official, RougeL};
use crate::audit::{self, Audit};
use crate::task::{AnswerKind, Task};

/// One text scored by both rules, whatever its task asks for.
///
/// A summary has one question, whose score is ROUGE-L. By the official rule it is 0 where the published package gives
/// up; the other rule takes the value that it would have had.
#[derive(Debug, Clone, PartialEq)]
pub struct Scores {
    /// By the published rule, 0 to 1.
    pub official: f64,
    /// By answer number, 0 to 1.
    pub aligned: f64,
    /// Per question, by the published rule, whether it was right; none if no answer was left for it. Empty for a summary.
    pub marks: Vec<Option<bool>>,
    /// The same by answer number.
    pub aligned_marks: Vec<Option<bool>>,
    /// What the text did with its questions.
    pub audit: Audit,
}

impl Scores {
    /// Scores a generated text.
    pub fn new(task: &Task, text: &str, answers: &[String]) -> Self {
        if task.answer == AnswerKind::Summary {
            return Self::of_summary(text, answers.first().map_or("", String::as_str));
        }
        let official = Official::score(task, text, answers);
        let aligned = Aligned::score(task, text, answers);
        Self {
            official: official.accuracy(),
            aligned: aligned.accuracy(),
            marks: official.marks(),
            aligned_marks: aligned.marks(),
            audit: Audit::new(text, &aligned),
        }
    }

    fn of_summary(text: &str, reference: &str) -> Self {
        let rouge = RougeL::score(text, reference);
        let answered = usize::from(!text.trim().is_empty());
        Self {
            official: if rouge.exceeds_recursion() { 0.0 } else { rouge.f },
            aligned: rouge.f,
            marks: Vec::new(),
            aligned_marks: Vec::new(),
            audit: Audit {
                answered,
                missing: 1 - answered,
                looping_samples: usize::from(audit::loops(text)),
                ..Audit::default()
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::task::Dataset;

    #[test]
    fn a_summary_is_scored_by_its_first_reference() {
        let task = Task::of(Dataset::EnSum).unwrap();
        let answers = ["the cat sat. it slept.".to_owned()];
        let scores = Scores::new(task, "the cat slept.", &answers);
        // All three words are found; the reference has five distinct ones.
        assert!((scores.official - 0.75).abs() < 1e-6, "{scores:?}");
        assert_eq!((scores.audit.answered, scores.audit.missing), (1, 0));
        let endless = (0..1000).map(|word| word.to_string()).collect::<Vec<_>>().join(" ");
        let scores = Scores::new(task, &endless, &["1 2 3".to_owned()]);
        assert!(scores.official.abs() < f64::EPSILON && scores.aligned > 0.0, "{scores:?}");
        assert_eq!(Scores::new(task, " ", &answers).audit.missing, 1);
    }
}
