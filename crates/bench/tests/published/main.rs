//! The published classes' kept entries against a model of their own, written from the rules and not from this program.
//!
//! The model knows lengths (`schedule.rs`) and heads (`head.rs`) in plain loops. It is held by the recorded cases of the published
//! code; then it and `bench replay` answer random cases, which those files cannot cover.
#![allow(clippy::unwrap_used, clippy::print_stderr, reason = "helpers of tests")]

mod case;
mod files;
mod head;
mod random;
#[path = "../support/recorded.rs"]
mod recorded;
mod schedule;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use serde::Deserialize;
use serde_json::json;

use case::{Case, Counters, Method, Strategy};
use files::{Answer, Numbers, assert_kept};
use head::Kept;
use random::Random;
use recorded::recorded_cases;
use schedule::{Schedule, schedule};

/// Random cases of every pair of a method and a strategy.
const PER_PAIR: usize = 12;

/// How often a head's queries are drawn again where a tie would decide.
const DRAWS: usize = 60;

#[derive(Deserialize)]
struct Manifest {
    cases: Vec<Case>,
}

/// Every layer's and head's kept entries, in that order.
fn heads(case: &Case, schedule: &Schedule, numbers: &Numbers) -> Vec<Kept> {
    let group = case.num_heads / case.num_key_value_heads;
    let mut kept = vec![];
    for (layer, (q, k)) in numbers.q.iter().zip(&numbers.k).enumerate() {
        for (head, q) in q.iter().enumerate() {
            kept.push(head::keep(case, schedule, layer, q, &k[head / group]));
        }
    }
    kept
}

#[test]
fn the_model_keeps_what_the_published_code_kept() {
    let Some(folder) = recorded_cases() else { return };
    let manifest = fs::read(folder.join("manifest.json")).unwrap();
    let manifest: Manifest = serde_json::from_slice(&manifest).unwrap();
    assert!(manifest.cases.len() >= 11);
    for case in &manifest.cases {
        let file = folder.join(format!("{}.safetensors", case.name));
        let schedule = schedule(case).unwrap();
        let recorded = Answer::read(&file).unwrap();
        recorded.assert_schedule(case, &schedule);
        let sets = recorded.sets(case);
        for (index, kept) in heads(case, &schedule, &Numbers::read(&file, case)).iter().enumerate()
        {
            assert_eq!(kept.tied, None, "{}", case.name);
            assert_kept(case, index, kept, &sets);
        }
    }
}

/// A case, and what the model says of it if the published code does not raise.
struct Asked {
    case: Case,
    model: Option<(Schedule, Vec<Kept>)>,
}

/// Draws a case's numbers, writes them, and asks the model.
fn ask(case: Case, folder: &Path, random: &mut Random) -> Asked {
    let (tokens, width) = (case.tokens(), case.head_dim);
    let mut drawn = |heads: usize| {
        let layers = 0..case.num_layers;
        layers.map(|_| (0..heads).map(|_| random.rows(tokens, width)).collect()).collect()
    };
    let mut numbers = Numbers { q: drawn(case.num_heads), k: drawn(case.num_key_value_heads) };
    let group = case.num_heads / case.num_key_value_heads;
    let model = schedule(&case).ok().map(|schedule| {
        let mut kept = vec![];
        for (layer, (q, k)) in numbers.q.iter_mut().zip(&numbers.k).enumerate() {
            for (head, q) in q.iter_mut().enumerate() {
                let mut answer = head::keep(&case, &schedule, layer, q, &k[head / group]);
                for _ in 0..DRAWS {
                    if answer.tied.is_none() {
                        break;
                    }
                    *q = random.rows(tokens, width);
                    answer = head::keep(&case, &schedule, layer, q, &k[head / group]);
                }
                kept.push(answer);
            }
        }
        (schedule, kept)
    });
    numbers.write(&folder.join(format!("{}.safetensors", case.name)), &case);
    Asked { case, model }
}

#[test]
fn replay_keeps_what_the_model_keeps() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out");
    let mut random = Random(2025);
    let mut asked = vec![];
    for (method, strategy) in
        Method::ALL.iter().flat_map(|m| Strategy::ALL.iter().map(move |s| (*m, *s)))
    {
        for i in 0..PER_PAIR {
            let name = format!("{method:?}-{strategy:?}-{i}");
            let case = random::case(name, method, strategy, &mut random);
            asked.push(ask(case, folder.path(), &mut random));
        }
    }
    let manifest = folder.path().join("manifest.json");
    let cases: Vec<&Case> = asked.iter().map(|asked| &asked.case).collect();
    fs::write(&manifest, json!({ "cases": cases }).to_string()).unwrap();
    let run = assert_cmd::Command::new(env!("CARGO_BIN_EXE_bench"))
        .arg("replay")
        .arg(&manifest)
        .arg("--out")
        .arg(&out)
        .assert()
        .code(2);
    let stderr = String::from_utf8_lossy(&run.get_output().stderr).into_owned();

    let mut met: BTreeMap<&str, usize> = BTreeMap::new();
    let (mut compared, mut tied) = (0, 0);
    for Asked { case, model } in &asked {
        let answer = Answer::read(&out.join(format!("{}.safetensors", case.name)));
        let Some((schedule, kept)) = model else {
            *met.entry("refused").or_default() += 1;
            assert!(answer.is_none(), "{case:#?}");
            assert!(stderr.contains(&format!("case `{}`", case.name)), "{}: {stderr}", case.name);
            continue;
        };
        let answer = answer.unwrap_or_else(|| panic!("no answer to {case:#?}: {stderr}"));
        answer.assert_schedule(case, schedule);
        let sets = answer.sets(case);
        for (index, kept) in kept.iter().enumerate() {
            let certain = assert_kept(case, index, kept, &sets);
            compared += certain;
            tied += kept.after.len() - certain;
        }
        for (what, holds) in features(case, schedule) {
            *met.entry(what).or_default() += usize::from(holds);
        }
    }
    eprintln!("{} cases, {compared} sets, {tied} left out for ties; {met:?}", asked.len());
    assert!(tied * 50 < compared, "{tied} of {compared} sets hang on ties");
    assert!(met.values().all(|&cases| cases >= 5), "{met:?}");
}

/// What the cases must have among them, or the comparison says less than it seems to.
fn features(case: &Case, schedule: &Schedule) -> [(&'static str, bool); 8] {
    let carries = matches!(case.method, Method::SnapKV | Method::PyramidKV);
    let counts = matches!(case.decode_strategy, Strategy::Adaptive | Strategy::Discontinuous);
    let unequal = schedule.lengths.iter().any(|&length| length != schedule.lengths[0]);
    let selects = schedule.steps.iter().flatten().any(|call| call.cut.ran());
    let steep = schedule.steps.iter().flatten().any(|call| {
        let (boundary, window) = (case.boundary(), case.decoding_window_size);
        call.cut.ran() && call.before + 2 * case.decoding_recent_size >= 2 * boundary + window
    });
    let carried = case.initial_counters != Counters::default();
    [
        ("selects", selects),
        ("a short prompt", case.prompt_len < case.max_capacity_prompt),
        ("grouped heads", case.num_heads > case.num_key_value_heads),
        ("unequal layers", unequal && selects),
        ("unequal layers that share counters", unequal && counts && selects),
        ("a steep decode", steep && case.decode_strategy == Strategy::PyramidInfer),
        ("carried counters", carried && carries && counts && selects),
        ("no room but `recent`", case.decoding_recent_size == case.decoding_window_size && selects),
    ]
}
