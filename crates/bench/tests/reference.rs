//! Arms in reference mode: the published code's counters, carried from sample to sample.
#![allow(clippy::unwrap_used, reason = "tests")]

mod support;

use serde_json::Value;
use support::Workplace;

/// An arm whose published class never resets its counters, one whose class does, and the sound one.
const ARMS: &str = r#"
[[arms]]
label = "carries"
mode = "reference"
prefill = { name = "snapkv" }
decode = { name = "adaptive" }

[[arms]]
label = "resets"
mode = "reference"
prefill = { name = "h2o" }
decode = { name = "adaptive", interval = 15 }

[[arms]]
label = "sound"
prefill = { name = "snapkv" }
decode = { name = "adaptive" }

[run]
"#;

fn place() -> Workplace {
    let place = Workplace::new();
    place.write_experiment(|text| text.replace("[run]", ARMS.trim_start()));
    place
}

/// Of each sample of an arm: layer calls that were made, layer calls that had been counted at the end, entries that were left.
fn counted(place: &Workplace, under: &str, arm: &str) -> Vec<(u64, u64, f64)> {
    let journal = place.journal(under);
    let mut records: Vec<Value> =
        journal.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    records.retain(|record| record["arm"] == arm);
    records.sort_by_key(|record| record["sample"].as_u64());
    let of = |record: &Value| {
        let fed = record["tokens"].as_array().unwrap().len() as u64 - 1; // the last token is never read back
        let counted = record["counters"]["step"].as_u64().unwrap_or(0);
        (3 * fed, counted, record["kept_end_decode"].as_f64().unwrap())
    };
    records.iter().map(of).collect()
}

#[test]
fn counters_are_carried_by_the_classes_that_never_reset_them() {
    let place = place();
    place.run("all", &[]).succeeded();
    let carries = counted(&place, "all", "carries");
    let mut calls = 0;
    for &(made, counted, _) in &carries {
        calls += made;
        assert_eq!(counted, calls);
    }
    let longest = carries.iter().filter(|(made, ..)| *made == 3 * 79).map(|(_, _, kept)| kept);
    assert!(longest.clone().count() > 2 && longest.is_sorted_by(|a, b| a < b), "{carries:?}");
    let resets = counted(&place, "all", "resets");
    assert!(resets.iter().all(|(made, counted, _)| made == counted), "{resets:?}");
    assert!(counted(&place, "all", "sound").iter().all(|(_, counted, _)| *counted == 0));

    // The same one after another, and in two runs.
    let unbroken = support::read(&place.results("all").join("summary.csv"));
    assert_eq!(place.summary("one", &["--set", "run.lanes=1"]), unbroken);
    place.run("two", &["--limit", "2"]).succeeded();
    assert_eq!(place.summary("two", &[]), unbroken);
    for more in [&["--shard", "1/2"][..], &["--shard", "1/2", "--dry-run"]] {
        place.run("parts", more).failed(2, &["`carries` carries its counters", "--shard"]);
    }
    assert!(!place.path("parts").exists(), "refused before anything is written");
    let plan = place.run("plan", &["--dry-run"]).succeeded();
    let line = plan.lines().find(|line| line.contains("carries")).unwrap();
    assert!(line.contains("208") && line.contains("for the first of them"), "{line}"); // 128 of the prompt and 80 new ones
}

#[test]
fn bytes_are_held_against_as_many_caches_as_the_arm_has() {
    let place = Workplace::new();
    let copied = "label = \"full\"\ngranularity = \"query-head\"";
    place.write_experiment(|text| text.replace("label = \"full\"", copied));
    place.run("out", &["--limit", "1"]).succeeded();
    let journal = place.journal("out");
    let record = |arm: &str| -> Value {
        let records = journal.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        records.into_iter().find(|record| record["arm"] == arm).unwrap()
    };
    let (full, slide) = (record("full"), record("slide"));
    assert_eq!(
        (&full["granularity"], &slide["granularity"]),
        (&"query-head".into(), &"kv-head".into())
    );
    let per_entry = |record: &Value| {
        let cached = record["prompt_tokens"].as_u64().unwrap()
            + record["tokens"].as_array().unwrap().len() as u64
            - 1;
        record["kv_bytes_full"].as_u64().unwrap() / cached
    };
    assert_eq!(per_entry(&full), 2 * per_entry(&slide), "two query heads share a KV head");
    let peak = full["kv_bytes_peak"].as_f64().unwrap() / full["kv_bytes_full"].as_f64().unwrap();
    assert!((1.0..1.2).contains(&peak), "whole pages, and nothing else: {peak}");
}
