//! Both scorers and ROUGE-L against hand-made cases with known values.

#![allow(clippy::unwrap_used, reason = "a test may fail")]

use evaluator::score::{Aligned, Official, RougeL};
use evaluator::{Dataset, Task};
use serde::Deserialize;
use serde::de::DeserializeOwned;

#[derive(Deserialize)]
struct Case {
    name: String,
    dataset: Dataset,
    pred: String,
    answers: Vec<String>,
    official_gold: Vec<Option<String>>,
    official_extracted: Vec<String>,
    official_accuracy: f64,
    aligned_values: Vec<Option<String>>,
    aligned_present: usize,
    aligned_answered: usize,
    aligned_accuracy: f64,
}

#[derive(Deserialize)]
struct Pair {
    prediction: String,
    reference: String,
    rouge_l_f: f64,
}

fn lines<T: DeserializeOwned>(text: &str) -> Vec<T> {
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn scorers_agree_with_every_case() {
    let cases = lines::<Case>(include_str!("fixtures/scorer_cases.jsonl"));
    assert_eq!(cases.len(), 31);
    for case in cases {
        let task = Task::of(case.dataset).unwrap();
        let official = Official::score(task, &case.pred, &case.answers);
        assert_eq!(official.gold, case.official_gold, "{}", case.name);
        assert_eq!(official.extracted, case.official_extracted, "{}", case.name);
        assert_eq!(
            official.accuracy().to_bits(),
            case.official_accuracy.to_bits(),
            "{}",
            case.name
        );
        let aligned = Aligned::score(task, &case.pred, &case.answers);
        assert_eq!(aligned.values, case.aligned_values, "{}", case.name);
        assert_eq!(aligned.present(), case.aligned_present, "{}", case.name);
        assert_eq!(aligned.answered(), case.aligned_answered, "{}", case.name);
        assert_eq!(aligned.accuracy().to_bits(), case.aligned_accuracy.to_bits(), "{}", case.name);
    }
}

#[test]
fn rouge_l_agrees_with_the_package() {
    let pairs = lines::<Pair>(include_str!("fixtures/rouge_l_cases.jsonl"));
    assert_eq!(pairs.len(), 12);
    for pair in pairs {
        let f = RougeL::score(&pair.prediction, &pair.reference).f;
        assert_eq!(
            f.to_bits(),
            pair.rouge_l_f.to_bits(),
            "{} / {}",
            pair.prediction,
            pair.reference
        );
    }
}
