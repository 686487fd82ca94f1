use std::collections::BTreeSet;

use regex::Regex;

use super::*;
use crate::score::Scores;
use crate::set::sha256;
use crate::task::Dataset;

fn task() -> &'static Task {
    Task::of(Dataset::Synthetic).unwrap()
}

fn suite(questions: usize) -> Set {
    set(task(), questions, &task().mix.unwrap()).unwrap()
}

/// What a question's own words say, worked out without the generator: `None` for words that are not understood.
fn solve(question: &str, prices: &[(String, i64)], answers: &[i64]) -> Option<i64> {
    let words = |pattern: &str| {
        let found = Regex::new(&format!("^(?:Finally )?{pattern}$")).unwrap();
        let groups = found.captures(question)?;
        Some((1..groups.len()).map(|at| groups[at].to_owned()).collect::<Vec<String>>())
    };
    let number = |text: &str| text.parse::<i64>().unwrap();
    let earlier = |index: &str| answers[usize::try_from(number(index)).unwrap() - 1];
    let signed = |verb: &str, by: &str| match verb {
        "buys" | "finds" | "gets" => number(by),
        _ => -number(by),
    };
    let verb = "(buys|finds|gets|sells|loses|gives)";
    if let Some(w) = words(r"\w+ wants (\d+) (\w+)\.") {
        let price = prices.iter().find(|(item, _)| *item == w[1])?.1;
        return Some(number(&w[0]) * price);
    }
    let back = format!(r"\w+ has Question_(\d+) \w+ and {verb} (\d+)(?: more)?\.");
    if let Some(w) = words(&back) {
        return Some(earlier(&w[0]) + signed(&w[1], &w[2]));
    }
    if let Some(w) = words(r"\w+ has Question_(\d+) and Question_(\d+) \w+\.") {
        return Some(earlier(&w[0]) + earlier(&w[1]));
    }
    if let Some(w) = words(r"\w+ has (\d+) (?:bags|boxes|crates) of (\d+) \w+\.") {
        return Some(number(&w[0]) * number(&w[1]));
    }
    if let Some(w) =
        words(&format!(r"\w+ has (\d+) (?:bags|boxes|crates) of (\d+) \w+ and {verb} (\d+)\."))
    {
        return Some(number(&w[0]) * number(&w[1]) + signed(&w[2], &w[3]));
    }
    if let Some(w) = words(&format!(r"\w+ has (\d+) \w+ and {verb} (\d+)(?: more)?\.")) {
        return Some(number(&w[0]) + signed(&w[1], &w[2]));
    }
    let w = words(&format!(r"\w+ has (\d+) \w+, {verb} (\d+) and {verb} (\d+)\."))?;
    Some(number(&w[0]) + signed(&w[1], &w[2]) + signed(&w[3], &w[4]))
}

fn prices(prompt: &str) -> Vec<(String, i64)> {
    let line = prompt.lines().find_map(|line| line.strip_prefix("Prices: ")).unwrap();
    let item = |text: &str| {
        let (item, price) = text.split_once(' ').unwrap();
        (item.to_owned(), price.parse().unwrap())
    };
    line.trim_end_matches('.').split(", ").map(item).collect()
}

#[test]
fn every_key_follows_from_the_words_of_the_prompt() {
    let key = Regex::new(r"#### (\d+)$").unwrap();
    for questions in [30, 60] {
        let set = suite(questions);
        for sample in set.samples.iter().take(12) {
            let (_, asked) = sample.prompt.split_once("\nQuestions:\n").unwrap();
            let lines: Vec<&str> = asked.lines().take(questions).collect();
            let mut answers = Vec::new();
            for (index, line) in (1..).zip(lines) {
                let question = line.strip_prefix(&format!("Question_{index}: ")).unwrap();
                assert_eq!(question.trim_start_matches("Finally "), sample.questions[index - 1]);
                let value = solve(question, &prices(&sample.prompt), &answers);
                let value = value.unwrap_or_else(|| panic!("not understood: {question}"));
                assert_eq!(key.captures(&sample.answers[index - 1]).unwrap()[1], value.to_string());
                assert!((0..=90).contains(&value), "{question}: {value}");
                answers.push(value);
            }
            assert!(asked.ends_with("\nAnswers:\n"));
            assert_eq!(asked.matches("Finally").count(), 1);
        }
    }
}

#[test]
fn a_suite_is_the_same_on_every_machine_and_asks_every_kind() {
    for (questions, samples, checksum) in [
        (30, 48, "2492af9fcca8953d46e25c10400c4cc1b9e331510748619b9025106a38031913"),
        (60, 24, "dd65d16d0de68643f594cf1a5558abc7adcb8e0dcb58ac90a4dc682bc1bc2d18"),
    ] {
        let set = suite(questions);
        assert_eq!((set.samples.len(), set.source), (samples, Source::Synthetic));
        assert_eq!(sha256(set.to_json_lines().unwrap().as_bytes()), checksum);
        let asked =
            |kind| set.samples.iter().flat_map(|s| &s.kinds).filter(|k| **k == kind).count();
        for kind in Kind::ALL {
            let percent = 100 * asked(kind) / (questions * samples);
            assert!((4..=45).contains(&percent), "{kind}: {percent} %");
        }
    }
}

#[test]
fn the_reference_response_is_scored_full_by_both_rules() {
    let request = |seed| Request {
        seed,
        split: Split::Evaluation,
        length: 4000,
        rows: 6,
        shares: Shares { document: 1, ..Shares::default() },
        shuffled: 0,
        mix: task().mix.unwrap(),
        questions: Some(30),
    };
    let set = suite(30);
    for (row, sample) in request(30).rows().iter().zip(&set.samples) {
        assert!(row.ends());
        let text = Vocabulary::get().text(&row.tokens);
        let response = text.strip_prefix(&sample.prompt).unwrap();
        let scores = Scores::new(task(), response, &sample.answers);
        assert!(scores.official > 0.999 && scores.aligned > 0.999, "{response}");
        assert_eq!((scores.audit.missing, scores.audit.out_of_range), (0, 0));
        let learned = row.classes.iter().filter(|class| **class == Class::First).count();
        assert_eq!(learned, 30 + 1);
    }
}

#[test]
fn splits_share_no_document() {
    let documents = |split| {
        let requests = (0..20).map(|seed| Request {
            seed,
            split,
            length: 4000,
            rows: 10,
            shares: Shares { document: 1, ..Shares::default() },
            shuffled: 0,
            mix: Mix::default(),
            questions: Some(4),
        });
        let rows = requests.flat_map(|request| request.rows()).map(|row| row.tokens);
        rows.collect::<BTreeSet<_>>()
    };
    let all = [Split::Train, Split::Development, Split::Evaluation].map(documents);
    assert!(all.iter().all(|documents| documents.len() == 200));
    assert_eq!(all.iter().flatten().collect::<BTreeSet<_>>().len(), 600);
}

#[test]
fn rows_keep_to_their_length_and_hold_no_stranger() {
    let shares = [
        Shares { document: 1, ..Shares::default() },
        Shares { recall: 1, ..Shares::default() },
        Shares { reference: 1, ..Shares::default() },
        Shares { price: 1, ..Shares::default() },
        Shares { arithmetic: 1, ..Shares::default() },
    ];
    for shares in shares {
        for length in [128, 500, 2560] {
            let request = Request {
                seed: 5,
                split: Split::Train,
                length,
                rows: 20,
                shares,
                shuffled: 500,
                mix: Mix::default(),
                questions: None,
            };
            for row in request.rows() {
                assert!(row.tokens.len() <= length && row.tokens.len() == row.classes.len());
                assert!(!row.tokens.contains(&UNKNOWN) && row.tokens[0] == BOS);
                assert!(row.classes.iter().any(|class| *class != Class::Given), "{shares:?}");
            }
        }
    }
}

#[test]
fn references_reach_no_further_than_they_may() {
    let near = Mix { back: 100, again: 0, reach: 3, ..Mix::default() };
    let pattern = Regex::new(r"has Question_(\d+)").unwrap();
    let mut seen = 0;
    for sample in set(task(), 40, &near).unwrap().samples {
        for (index, question) in (1..).zip(&sample.questions) {
            if let Some(found) = pattern.captures(question) {
                let target: usize = found[1].parse().unwrap();
                assert!(index - target <= 3, "{index} to {target}");
                seen += 1;
            }
        }
    }
    assert!(seen > 500);
}

#[test]
fn what_cannot_be_made_is_refused() {
    let mix = Mix::default();
    assert!(set(task(), 65, &mix).unwrap_err().to_string().contains("numbered up to 64"));
    let none = Mix { direct: 0, multi_step: 0, price: 0, back: 0, pair: 0, ..mix };
    assert!(set(task(), 30, &none).unwrap_err().to_string().contains("needs a weight"));
    assert!(set(task(), 30, &Mix { again: 1001, ..mix }).is_err());
    assert!(set(task(), 30, &Mix { reach: 0, ..mix }).is_err());

    let refused = |request: &str| {
        let whole =
            format!(r#"{{"seed": 1, "split": "train", "length": 256, "rows": 1, {request}}}"#);
        let request: Request = serde_json::from_str(&whole).unwrap();
        request.check().unwrap_err().to_string()
    };
    for (request, said) in [
        (r#""shares": {}"#, "`shares`: one"),
        (r#""shares": {"document": 18446744073709551615, "recall": 5}"#, "above 1000000"),
        (r#""shares": {}, "questions": 0"#, "`questions`: 0"),
        (r#""shares": {}, "questions": 65"#, "not from 1 to 64"),
        (r#""shares": {"recall": 1}, "shuffled": 1001"#, "`shuffled`"),
        (r#""shares": {"recall": 1}, "mix": {"again": 1001}"#, "`again`"),
    ] {
        let message = refused(request);
        assert!(message.contains(said), "{request}: {message}");
    }
}
