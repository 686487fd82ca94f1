//! `bench dataset`: published sets rebuilt byte for byte, and refusals that leave nothing behind.
#![allow(clippy::unwrap_used, clippy::print_stderr, reason = "tests")]

mod support;

use std::fs;
use std::io::Write;
use std::path::PathBuf;

use serde_json::Value;
use support::{Answer, Workplace, files, read};

/// Questions per prompt of the published sets.
const SETS: [(&str, &str); 6] = [
    ("gsm8k", "30"),
    ("gsm8k", "60"),
    ("mmlu", "30"),
    ("mmlu", "60"),
    ("csqa", "40"),
    ("csqa", "80"),
];

/// The checksums of `datasets/SHA256SUMS`, by path.
fn sums() -> Vec<(String, String)> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../datasets/SHA256SUMS");
    let text = fs::read_to_string(path).unwrap();
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    let pair = |line: &str| line.split_once("  ").map(|(sum, path)| (path.into(), sum.into()));
    lines.map(|line| pair(line).unwrap()).collect()
}

fn sum(path: &str) -> String {
    sums().into_iter().find(|(known, _)| known == path).unwrap().1
}

/// The folder of published data, or a loud notice that the test checks nothing.
fn published(test: &str) -> Option<PathBuf> {
    let folder = std::env::var_os("BENCH_DATA").map(PathBuf::from).filter(|path| path.is_dir());
    if folder.is_none() {
        let _ = writeln!(
            std::io::stderr(),
            "SKIPPED {test}: it checked nothing; set `BENCH_DATA` to a folder with `raw/` and `prompts/`"
        );
    }
    folder
}

fn build(place: &Workplace, dataset: &str, k: &str, more: &[&str]) -> Answer {
    place.bench(&[&["dataset", "build", dataset, "--k", k], more].concat())
}

#[test]
fn published_sets_are_rebuilt_byte_for_byte() {
    let Some(data) = published("published_sets_are_rebuilt_byte_for_byte") else { return };
    let place = Workplace::new();
    let raw = data.join("raw");
    for (dataset, k) in SETS {
        let out = format!("{dataset}_{k}.jsonl");
        let answer = build(&place, dataset, k, &["--raw", raw.to_str().unwrap(), "--out", &out]);
        assert!(answer.stderr.contains("identical to the published set"), "{}", answer.stderr);
        let expected = sum(&format!("official/{out}"));
        assert_eq!(answer.succeeded(), format!("{expected}  {out}\n"));
        assert_eq!(evaluator::set::sha256(&fs::read(place.path(&out)).unwrap()), expected);
    }
    // Without the published worked examples the set is another one, and says so.
    fs::create_dir(place.path("none")).unwrap();
    let alone = place.path("alone/raw");
    fs::create_dir_all(&alone).unwrap();
    fs::copy(raw.join("csqa_validation.jsonl.gz"), alone.join("csqa_validation.jsonl.gz")).unwrap();
    let (raw, out) = (["--raw", "alone/raw"], ["--out", "own.jsonl"]);
    let answer = build(&place, "csqa", "40", &[raw, out].concat());
    assert!(answer.stderr.contains("worked examples of our own"), "{}", answer.stderr);
    assert!(!answer.succeeded().starts_with(&sum("official/csqa_40.jsonl")));
    build(&place, "csqa", "40", &[&raw[..], &out, &["--prompts", "none"]].concat())
        .failed(3, &["no worked examples for `csqa`", "none/csqa_5demos.txt", "--prompts"]);
}

#[test]
fn the_sums_are_those_of_the_task_files_and_of_the_data() {
    for (dataset, k) in SETS {
        let task = evaluator::Task::of(dataset.parse().unwrap()).unwrap();
        let suite = task.suite(k.parse().unwrap()).unwrap();
        assert_eq!(suite.sha256, Some(sum(&format!("official/{dataset}_{k}.jsonl"))));
    }
    let Some(data) = published("the_sums_are_those_of_the_task_files_and_of_the_data") else {
        return;
    };
    for (path, sum) in sums() {
        let plain = data.join(&path);
        if let Ok(bytes) = fs::read(&plain) {
            assert_eq!(evaluator::set::sha256(&bytes), sum, "{path}");
        }
    }
}

/// A small raw folder of each kind that is there.
fn raw(place: &Workplace) {
    fs::create_dir(place.path("raw")).unwrap();
    let row = |n| format!("{{\"question\": \"What is {n}?\", \"answer\": \"#### {n}\"}}\n");
    let rows = (1..=4).map(row).collect::<Vec<_>>().concat();
    fs::write(place.path("raw/gsm8k_test.jsonl"), rows).unwrap();
}

#[test]
fn a_set_of_another_size_is_built_and_read_back() {
    let place = Workplace::new();
    raw(&place);
    let answer =
        build(&place, "gsm8k", "2", &["--raw", "raw", "--out", "data/official/gsm8k_2.jsonl"]);
    assert!(answer.stderr.contains("2 prompts from `raw`"), "{}", answer.stderr);
    assert!(answer.succeeded().ends_with("  data/official/gsm8k_2.jsonl\n"));
    let text = read(&place.path("data/official/gsm8k_2.jsonl"));
    assert_eq!(text.lines().count(), 2);
    assert!(text.contains(r"Question_9:\nWhat is 1?\nQuestion_10:\nWhat is 2?\n\n"), "{text}");
    let task = evaluator::Task::of(evaluator::Dataset::Gsm8k).unwrap();
    let set = evaluator::Set::load(task, 2, &place.path("data")).unwrap();
    assert_eq!(set.source, evaluator::Source::OwnDemonstrations);
    assert_eq!(set.samples[1].answers, ["#### 3", "#### 4"]);
}

#[test]
fn what_cannot_be_built_leaves_nothing_behind() {
    let place = Workplace::new();
    raw(&place);
    fs::create_dir(place.path("out")).unwrap();
    fs::create_dir(place.path("file-as-folder")).unwrap();
    let before = files(&place.path(""));
    let refuse = |dataset: &str, k: &str, raw: &str, out: &str, code, words: &[&str]| {
        build(&place, dataset, k, &["--raw", raw, "--out", out]).failed(code, words);
        assert!(before == files(&place.path("")), "{dataset} {k} {raw} {out} left something");
    };
    refuse("trivia", "2", "raw", "out/x", 2, &["`trivia`", "`gsm8k`"]);
    refuse("en_sum", "1", "raw", "out/x", 2, &["`en_sum` is not built"]);
    refuse("gsm8k", "0", "raw", "out/x", 2, &["0 questions per prompt", "30 and 60"]);
    refuse("gsm8k", "5", "raw", "out/x", 3, &["5 questions are needed and 4 are there"]);
    refuse("gsm8k", "30", "raw", "out/x", 3, &["1290 questions are needed and 4 are there"]);
    let most = usize::MAX.to_string();
    refuse("gsm8k", &most, "raw", "out/x", 3, &["questions are needed and 4 are there"]);
    refuse("gsm8k", "2", "absent", "out/x", 3, &["`--raw`: `absent` is no folder", "hint: "]);
    refuse("mmlu", "2", "raw", "out/x", 3, &["raw/mmlu_test.tar", "raw/mmlu/test"]);
    refuse("gsm8k", "2", "raw", "absent/x", 2, &["cannot write `absent/x`", "hint: "]);
    refuse("gsm8k", "2", "raw", "out", 2, &["`--out`: `out` is there already, and is no file"]);
    refuse("gsm8k", "2", "raw", "/dev/null", 2, &["`/dev/null`", "is no file"]);
    refuse("gsm8k", "2", "raw", "..", 2, &["names no file"]);
    refuse("gsm8k", "2", "raw", "raw/gsm8k_test.jsonl/x", 2, &["cannot write"]);
    for k in ["-1", "two", "18446744073709551616"] {
        let answer = build(&place, "gsm8k", k, &["--raw", "raw", "--out", "out/x"]);
        assert_eq!((answer.code, &*answer.stdout), (Some(2), ""), "{k}");
    }
}

#[test]
fn raw_data_that_is_broken_is_named() {
    let place = Workplace::new();
    raw(&place);
    let good = fs::read(place.path("raw/gsm8k_test.jsonl")).unwrap();
    let zipped = {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        encoder.write_all(&good).unwrap();
        encoder.finish().unwrap()
    };
    let cases: [(&[u8], &[&str]); 6] = [
        (&good[..good.len() - 9], &["gsm8k_test.jsonl`, line 4", "not a JSON object"]),
        (&zipped[..zipped.len() / 2], &["cannot read", "gsm8k_test.jsonl"]),
        (&[good.as_slice(), b"{\"question\": \"\xff\"}"].concat(), &["line 5: not UTF-8"]),
        (b"", &["holds no questions"]),
        (b"[1, 2]\n", &["line 1"]),
        (b"{\"question\": \"q\", \"answer\": \"4\"}\n", &["line 1", "`####`"]),
    ];
    for (bytes, words) in cases {
        fs::write(place.path("raw/gsm8k_test.jsonl"), bytes).unwrap();
        build(&place, "gsm8k", "2", &["--raw", "raw", "--out", "x"]).failed(3, words);
        assert!(!place.path("x").exists());
    }
    fs::write(place.path("raw/gsm8k_test.jsonl"), &zipped).unwrap();
    build(&place, "gsm8k", "2", &["--raw", "raw", "--out", "x"]).succeeded();

    // Another's Parquet needs another build, unless this is it.
    fs::create_dir_all(place.path("raw/data")).unwrap();
    fs::write(place.path("raw/data/validation-0.parquet"), "PAR1, but no more").unwrap();
    let answer = build(&place, "csqa", "2", &["--raw", "raw", "--out", "y"]);
    let words = if cfg!(feature = "frames") { "cannot use the table" } else { "--features frames" };
    answer.failed(3, &["raw/data/validation-0.parquet", words]);
}

#[test]
fn sets_are_listed_with_what_is_there() {
    let place = Workplace::new();
    let list = |more: &[&str]| place.bench(&[&["dataset", "list"], more].concat());
    let none = list(&[]).succeeded();
    for (dataset, k) in SETS {
        let sum = sum(&format!("official/{dataset}_{k}.jsonl"));
        let line = none.lines().find(|line| line.ends_with(&sum)).unwrap();
        let words: Vec<&str> = line.split_whitespace().collect();
        assert_eq!((words[0], words[2], words[6]), (dataset, k, "MIT"), "{line}");
    }
    assert!(none.contains("no data folder is named"), "{none}");

    let official = place.path("data/official");
    fs::copy(official.join("gsm8k_3.jsonl"), official.join("csqa_40.jsonl")).unwrap();
    fs::create_dir_all(place.path("data/raw/mmlu/test")).unwrap();
    let json = list(&["--data", "data", "--format", "json"]).json();
    assert_eq!((&json["data"], json["sets"].as_array().unwrap().len()), (&"data".into(), 9));
    let present: Vec<&Value> =
        json["sets"].as_array().unwrap().iter().map(|set| &set["present"]).collect();
    let raw = &Value::from("raw");
    let (none, broken) = (&Value::Null, &Value::from("unreadable"));
    assert_eq!(present, [none, none, raw, raw, broken, none, none, none, none]);
    assert_eq!(json["sets"][8]["source"], "made by rule");
    assert_eq!((&json["sets"][6]["dataset"], &json["sets"][6]["sha256"]), (&"en_sum".into(), none));
    assert_eq!(json["sets"][2]["path"], "data/raw/mmlu/test");
    assert_eq!(json["sets"][0]["samples"], 43);
    let csv = list(&["--data", "data", "--format", "csv"]).succeeded();
    assert!(
        csv.starts_with("dataset,title,suite,questions,samples,source,licence,sha256,"),
        "{csv}"
    );
    assert_eq!(csv.lines().count(), 10);

    let Some(data) = published("sets_are_listed_with_what_is_there") else { return };
    let json = list(&["--data", data.to_str().unwrap(), "--format", "json"]).json();
    for set in &json["sets"].as_array().unwrap()[..6] {
        assert_eq!(set["present"], "published", "{set}");
    }
}
