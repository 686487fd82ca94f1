//! The embedded model gives the same numbers and texts as `transformers` does, can do its task, and loses by compression what it should.
#![allow(clippy::unwrap_used, reason = "tests")]

mod support;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use safetensors::SafeTensors;
use support::{Workplace, read};

const DOCUMENTS: usize = 3;

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/embedded").join(name)
}

fn integers(tensors: &SafeTensors<'_>, name: &str) -> Vec<i64> {
    let data = tensors.tensor(name).unwrap().data().to_vec();
    data.as_chunks::<8>().0.iter().map(|bytes| i64::from_le_bytes(*bytes)).collect()
}

/// The rows of a matrix.
fn rows(tensors: &SafeTensors<'_>, name: &str) -> Vec<Vec<f32>> {
    let tensor = tensors.tensor(name).unwrap();
    let numbers: Vec<f32> =
        tensor.data().as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect();
    numbers.chunks(*tensor.shape().last().unwrap()).map(<[f32]>::to_vec).collect()
}

#[test]
fn texts_are_those_of_transformers_token_by_token() {
    let place = Workplace::new();
    for document in 0..DOCUMENTS {
        let bytes = fs::read(fixture(&format!("{document}.safetensors"))).unwrap();
        let expected = SafeTensors::deserialize(&bytes).unwrap();
        let prompt = fixture(&format!("{document}.txt"));
        let arguments = ["generate", "--model", "embedded", "--raw", "--max-new-tokens", "1024"];
        let more = ["--format", "json", "--prompt-file", prompt.to_str().unwrap()];
        let answer = place.bench(&[&arguments[..], &more].concat()).json();
        let tokens = |key: &str| -> Vec<i64> {
            answer[key].as_array().unwrap().iter().map(|id| id.as_i64().unwrap()).collect()
        };
        assert_eq!(tokens("prompt_tokens"), integers(&expected, "prompt"));
        assert_eq!(tokens("tokens"), integers(&expected, "answer"));
    }
}

#[test]
fn logits_are_those_of_transformers() {
    let place = Workplace::new();
    let mut worst = 0.0_f32;
    for document in 0..DOCUMENTS {
        let bytes = fs::read(fixture(&format!("{document}.safetensors"))).unwrap();
        let expected = SafeTensors::deserialize(&bytes).unwrap();
        let prompt = fixture(&format!("{document}.txt"));
        let command = ["logits", "--model", "embedded", "--out", "out.safetensors"];
        place
            .bench(&[&command[..], &["--text-file", prompt.to_str().unwrap()]].concat())
            .succeeded();
        let bytes = fs::read(place.path("out.safetensors")).unwrap();
        let found = rows(&SafeTensors::deserialize(&bytes).unwrap(), "logits");
        let positions = integers(&expected, "positions").into_iter();
        let positions: Vec<usize> = positions.map(|at| usize::try_from(at).unwrap()).collect();
        let within = positions.iter().zip(rows(&expected, "logits"));
        let within: Vec<_> = within.filter(|(at, _)| **at < found.len()).collect();
        assert!(within.len() >= 10);
        for (position, expected) in within {
            let found = &found[*position];
            let squares =
                |values: &mut dyn Iterator<Item = f32>| values.map(|x| x * x).sum::<f32>();
            let off = squares(&mut found.iter().zip(&expected).map(|(a, b)| a - b)).sqrt();
            worst = worst.max(off / squares(&mut expected.iter().copied()).sqrt());
        }
    }
    println!("largest relative error of a row {worst:.1e}");
    assert!(worst < 2e-5, "{worst}");
}

/// Accuracy of an arm on a kind of question, in percent.
fn accuracy(kinds: &str, arm: &str, kind: &str) -> f64 {
    let mut lines = kinds.lines().map(|line| line.split(',').collect::<Vec<_>>());
    let head = lines.next().unwrap();
    let column = |name: &str| head.iter().position(|it| *it == name).unwrap();
    let (arms, kinds, scores) = (column("arm"), column("kind"), column("aligned"));
    let row = lines.find(|row| row[arms] == arm && row[kinds] == kind);
    row.unwrap_or_else(|| panic!("no row of {arm}, {kind}"))[scores].parse().unwrap()
}

/// Runs some of the default experiment's arms.
fn run(place: &Workplace, results: &str, arms: &[&str], more: &[&str]) {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../../experiments/gsm8k_long.toml");
    let table: toml::Table = toml::from_str(&read(Path::new(file))).unwrap();
    let all = [&table["arms"], &table["profiles"]["embedded"]["arms"]];
    let labels = all.into_iter().flat_map(|arms| arms.as_array().unwrap());
    let labels = labels.map(|arm| arm["label"].as_str().unwrap());
    let others: BTreeSet<&str> = labels.filter(|label| !arms.contains(label)).collect();
    let leave_out = format!("leave_out={others:?}").replace('{', "[").replace('}', "]");
    let common = ["--experiment", file, "--results", results, "--set", &leave_out];
    place.bench(&[&common[..], more].concat()).succeeded();
}

#[test]
fn the_whole_cache_answers_every_kind_and_a_small_one_forgets_its_own_answers() {
    let place = Workplace::new();
    run(&place, "out", &["full", "full-recency"], &["--limit", "6"]);

    let folder = place.path("out/gsm8k_long_embedded");
    let kinds = read(&folder.join("kinds.csv"));
    for kind in ["direct", "multi-step", "price", "back", "pair"] {
        assert!(accuracy(&kinds, "full", kind) >= 95.0, "{kinds}");
    }
    // What needs the prompt alone is untouched by dropping output; what needs earlier answers is not.
    for kind in ["direct", "multi-step", "price"] {
        assert!(accuracy(&kinds, "full-recency-90", kind) >= 95.0, "{kinds}");
    }
    assert!(accuracy(&kinds, "full-recency-90", "back") <= 60.0, "{kinds}");

    let journal = read(&folder.join("samples.jsonl"));
    let full = journal.lines().filter(|line| line.contains("\"arm\":\"full\""));
    assert_eq!(full.filter(|line| line.contains("\"stop\":\"eos\"")).count(), 6);
}

/// The scores of a policy that keeps a quarter of what it should, under its own name.
#[test]
fn a_policy_that_forgets_more_is_caught_by_its_scores() {
    let place = Workplace::new();
    let budget = |entries| format!("budget.decode={entries}");
    let more = ["--limit", "12", "--set"];
    run(&place, "old", &["full-recency"], &[&more[..], &[&budget(180)]].concat());
    run(&place, "new", &["full-recency"], &[&more[..], &[&budget(45)]].concat());
    let [old, new] = ["old", "new"].map(|it| format!("{it}/gsm8k_long_embedded"));
    place.bench(&["compare", &old, &new]).failed(2, &["`decode` is `recency budget=180` there"]);

    let path = place.path(&new).join("summary.json");
    fs::write(&path, read(&path).replace("recency budget=45", "recency budget=180")).unwrap();
    let answer = place.bench(&["compare", &old, &new]);
    assert_eq!(answer.code, Some(7), "{}", answer.stderr);
    for words in ["`full-recency (embedded, synthetic at 30 questions)`: aligned score", "entries"]
    {
        assert!(answer.stderr.contains(words), "{}", answer.stderr);
    }
}
