//! `bench compare` on runs of the program itself.
#![allow(clippy::unwrap_used, reason = "tests")]

mod support;

use std::fs;

use support::{Workplace, read};

#[test]
fn two_runs_of_the_same_are_the_same_and_a_policy_that_keeps_more_is_caught() {
    let place = Workplace::new();
    place.run("one", &[]).succeeded();
    place.run("two", &[]).succeeded();
    let compare =
        |more: &[&str]| place.bench(&[&["compare", "one/tiny", "two/tiny"], more].concat());
    let text = compare(&["--junit", "junit.xml", "--markdown", "report.md"]).succeeded();
    assert!(text.contains("No difference. Of 30 checks 30 are the same"), "{text}");
    assert_eq!(read(&place.path("report.md")), text);
    assert!(read(&place.path("junit.xml")).contains("tests=\"30\""));

    // As if a policy had stopped dropping entries: its row is all that the comparison reads.
    let path = place.results("two").join("summary.json");
    let mut summary: serde_json::Value = serde_json::from_str(&read(&path)).unwrap();
    summary["rows"][2]["per_prompt"][1]["kept_mean_decode"] = 9000.0.into();
    fs::write(&path, summary.to_string()).unwrap();
    let answer = compare(&[]);
    assert_eq!(answer.code, Some(7), "{}", answer.stderr);
    assert!(answer.stdout.contains("**1 regression.**"), "{}", answer.stdout);
    for words in ["1 of 30 checks found a regression: `slide (", "entries while decoding"] {
        assert!(answer.stderr.contains(words), "{}", answer.stderr);
    }
    compare(&["--size-tolerance", "200"]).failed(2, &["`--size-tolerance` 200"]);

    place.run("three", &["--set", "generation.max_new_tokens=40"]).succeeded();
    place
        .bench(&["compare", "one/tiny", "three/tiny"])
        .failed(2, &["`max_new_tokens` is `80` there, `40` here"]);
    place.bench(&["compare", "one", "two/tiny"]).failed(3, &["one/summary.json", "hint: "]);
    fs::write(&path, "{}").unwrap();
    compare(&[]).failed(3, &["two/tiny/summary.json`: missing field", "bench report"]);
}
