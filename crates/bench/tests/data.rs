//! Data that is broken: named by file and line, before anything runs.
#![allow(clippy::unwrap_used, reason = "tests")]

mod support;

use std::fs;

use support::{Workplace, read};

#[test]
fn data_that_is_broken_is_named_by_line() {
    let place = Workplace::new();
    let good = read(&place.path("data/official/gsm8k_3.jsonl"));
    let last = good.lines().last().unwrap();
    for broken in ["{]", "{}", r#"{"prompt": "", "questions": [], "answers": []}"#] {
        fs::write(place.path("data/official/gsm8k_3.jsonl"), good.replace(last, broken)).unwrap();
        place.run("out", &[]).failed(3, &["gsm8k_3.jsonl", "line 4"]);
    }
    fs::write(place.path("data/official/gsm8k_3.jsonl"), "").unwrap();
    place.run("out", &[]).failed(3, &["gsm8k_3.jsonl"]);
    place.run("out", &["--set", "task.questions=5"]).failed(3, &["gsm8k_5.jsonl"]);
    assert!(!place.path("out").exists());
}
