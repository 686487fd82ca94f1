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
    let refused = place.run("parts", &["--shard", "1/2"]);
    refused.failed(2, &["`carries` carries its counters", "--shard"]);
}
