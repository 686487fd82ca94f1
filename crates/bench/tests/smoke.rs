//! From a TOML file to a report, with the program itself, on a tiny random model.
#![allow(clippy::unwrap_used, reason = "tests")]

mod support;

use std::fs;

use serde_json::Value;
use support::{CELLS, Workplace, files, read};

const LAYOUT: [&str; 16] = [
    "config.toml",
    "manifest.json",
    "plots/accuracy.png",
    "plots/accuracy.svg",
    "plots/accuracy_bytes.png",
    "plots/accuracy_bytes.svg",
    "plots/entries.png",
    "plots/entries.svg",
    "plots/question_groups.png",
    "plots/question_groups.svg",
    "report.html",
    "report.md",
    "samples.jsonl",
    "summary.csv",
    "summary.json",
    "timings.csv",
];

/// Whether a value is of a kind.
type Kind = fn(&Value) -> bool;

/// What every journal object holds at least, by `cli.md`, and of which kind.
const KEYS: [(&str, Kind); 20] = [
    ("cell", Value::is_string),
    ("model", Value::is_string),
    ("dataset", Value::is_string),
    ("sample", Value::is_u64),
    ("arm", Value::is_string),
    ("prefill", Value::is_object),
    ("decode", Value::is_object),
    ("prompt_tokens", Value::is_u64),
    ("tokens", Value::is_array),
    ("text", Value::is_string),
    ("stop", Value::is_string),
    ("ttft_ms", Value::is_f64),
    ("decode_ms", Value::is_f64),
    ("kv_bytes_peak", Value::is_u64),
    ("kv_bytes_full", Value::is_u64),
    ("kept_end_prefill", Value::is_f64),
    ("kept_end_decode", Value::is_f64),
    ("evictions", Value::is_u64),
    ("binding", Value::is_boolean),
    ("seed", Value::is_u64),
];

#[test]
fn a_run_leaves_every_file_and_a_second_one_computes_nothing() {
    let place = Workplace::new();
    // The short form, which says on stdout what the report says, and on stderr how it goes.
    let answer =
        place.bench(&["--experiment", "tiny.toml", "--data", "data", "--results", "results"]);
    assert!(answer.stderr.contains(&format!("{CELLS}/{CELLS} prompt")), "{}", answer.stderr);
    let report = answer.succeeded();
    let folder = place.results("results");
    assert_eq!(report, read(&folder.join("report.md")));
    let before = files(&folder);
    assert_eq!(before.iter().map(|(name, _)| &**name).collect::<Vec<_>>(), LAYOUT);
    assert!(before.iter().all(|(_, bytes)| !bytes.is_empty()));

    // Another run finds all of it done: nothing is appended, and no table changes.
    for flags in [&[][..], &["--resume"]] {
        assert_eq!(place.run("results", flags).succeeded(), "", "`--quiet` says nothing");
        assert!(before == files(&folder), "a run that had nothing to do changed a file");
    }

    // Tables and pages follow from the journal and the manifest alone.
    for (name, _) in &before {
        if !["samples.jsonl", "manifest.json", "config.toml"].contains(&&**name) {
            fs::remove_file(folder.join(name)).unwrap();
        }
    }
    fs::remove_file(place.model()).unwrap();
    place.bench(&["report", "results/tiny"]).succeeded();
    assert!(before == files(&folder), "a report made anew differs");
}

#[test]
fn every_journal_entry_says_all_that_is_promised() {
    let place = Workplace::new();
    place.run("results", &[]).succeeded();
    let journal = place.journal("results");
    let entries: Vec<Value> =
        journal.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(entries.len(), CELLS);
    let mut cells: Vec<&str> =
        entries.iter().map(|entry| entry["cell"].as_str().unwrap()).collect();
    cells.sort_unstable();
    cells.dedup();
    assert_eq!(cells.len(), CELLS, "cells have ids of their own");
    for entry in &entries {
        for (key, is_of_kind) in KEYS {
            assert!(is_of_kind(&entry[key]), "`{key}` is {}", entry[key]);
        }
        let (full, tokens) = (entry["arm"] == "full", entry["tokens"].as_array().unwrap().len());
        let prompt_tokens = entry["prompt_tokens"].as_u64().unwrap();
        let prompt = prompt_tokens as f64;
        assert_eq!(entry["binding"], !full, "budgets are small, so that each of them binds");
        assert_eq!(entry["evictions"] == 0, full);
        let kept = if full { prompt } else { 128.0 };
        assert_eq!(entry["kept_end_prefill"], kept);
        if full {
            assert_eq!(entry["kept_end_decode"], prompt + tokens as f64 - 1.0);
            // 3 layers, 2 KV heads, 8 numbers of 4 bytes for each of K and V.
            assert_eq!(entry["kv_bytes_full"], (prompt_tokens + tokens as u64 - 1) * 384);
        } else {
            assert!(entry["kv_bytes_peak"].as_u64() < entry["kv_bytes_full"].as_u64());
        }
        match entry["stop"].as_str().unwrap() {
            "length" => assert_eq!(tokens, 80),
            "eos" => assert_eq!(entry["tokens"][tokens - 1], 0),
            other => panic!("it stops by `{other}`, which was not asked for"),
        }
    }
    let summary: Value =
        serde_json::from_str(&read(&place.results("results").join("summary.json"))).unwrap();
    assert!(summary.is_object());
    for name in ["accuracy", "accuracy_bytes", "entries", "question_groups"] {
        let plot = place.results("results").join("plots").join(name);
        assert!(read(&plot.with_extension("svg")).trim_end().ends_with("</svg>"));
        assert!(fs::read(plot.with_extension("png")).unwrap().starts_with(b"\x89PNG"));
    }
}

#[test]
fn other_settings_are_refused_and_earlier_results_set_aside() {
    let place = Workplace::new();
    let first = place.summary("results", &[]);
    let journal = place.journal("results");
    let change = ["--set", "generation.max_new_tokens=40"];
    for flags in [&change[..], &[&change[..], &["--resume"]].concat()] {
        let message = place.run("results", flags).failed(2, &["hint: ", "--force"]);
        assert!(
            message.contains("`max_new_tokens = 80` there, `max_new_tokens = 40` here"),
            "{message}"
        );
    }
    assert_eq!(journal, place.journal("results"), "a refused run changes nothing");

    let second = place.summary("results", &[&change[..], &["--force"]].concat());
    assert_ne!(first, second);
    let aside = place.path("results/tiny.old-1");
    assert_eq!(read(&aside.join("summary.csv")), first);
    assert_eq!(read(&aside.join("samples.jsonl")), journal);
    place.run("results", &["--force"]).succeeded();
    assert_eq!(read(&place.path("results/tiny.old-2/summary.csv")), second);
    place.run("results", &["--force", "--resume"]).failed(2, &["--resume"]);
}

#[test]
fn other_data_under_the_same_settings_is_refused_before_anything_runs() {
    let place = Workplace::new();
    place.run("results", &["--limit", "1"]).succeeded();
    let journal = place.journal("results");
    let data = place.path("data/official/gsm8k_3.jsonl");
    fs::write(&data, read(&data).replace("pens", "pans")).unwrap();
    place.run("results", &[]).failed(2, &["sample 0", "another model file, prompt or device"]);
    assert_eq!(place.journal("results"), journal);
}

#[test]
fn limits_shards_and_lanes_leave_the_numbers_alone() {
    let place = Workplace::new();
    let whole = place.summary("whole", &[]);
    assert_eq!(whole.lines().count(), 7, "a header and six arms:\n{whole}");

    // A first prompt, then all of them.
    let one = place.summary("limited", &["--limit", "1"]);
    assert_ne!(one, whole);
    let head = place.journal("limited");
    assert_eq!(head.lines().count(), 6);
    assert_eq!(place.summary("limited", &[]), whole);
    assert!(place.journal("limited").starts_with(&head), "what was done is not done again");

    // Two halves side by side in one folder, then one report.
    let halves: Vec<_> = ["1/2", "2/2"]
        .map(|shard| {
            let arguments = ["--experiment", "tiny.toml", "--data", "data", "--results", "halves"];
            place.process(&[&arguments[..], &["--quiet", "--shard", shard]].concat())
        })
        .into_iter()
        .map(|mut command| command.spawn().unwrap())
        .collect();
    // Whichever ends first leaves cells outstanding, unless both saw all of them at their end.
    let codes: Vec<_> = halves.into_iter().map(|mut half| half.wait().unwrap().code()).collect();
    assert!(codes.contains(&Some(0)), "{codes:?}");
    assert!(codes.iter().all(|code| [Some(0), Some(5)].contains(code)), "{codes:?}");
    place.bench(&["report", "halves/tiny"]).succeeded();
    assert_eq!(read(&place.results("halves").join("summary.csv")), whole);
    // The whole then has nothing left to compute.
    assert_eq!(place.summary("halves", &[]), whole);
    assert_eq!(place.journal("halves"), "");
    place.run("halves", &["--shard", "5/5"]).failed(4, &["no prompt is selected"]);
    let words = ["stopped, 18 of 24 cells outstanding", "hint: run the other shards"];
    place.run("quarters", &["--shard", "1/4"]).failed(5, &words);
    place.run("quarters", &["--shard", "1/4", "--limit", "1"]).succeeded();

    for lanes in ["1", "6", "40"] {
        let set = format!("run.lanes={lanes}");
        assert_eq!(place.summary(&format!("lanes-{lanes}"), &["--set", &set]), whole, "{lanes}");
    }
    assert_eq!(place.summary("threads", &["--threads", "2"]), whole);
}

#[test]
fn lists_of_the_generation_and_of_the_task_are_told_apart() {
    let place = Workplace::new();
    let lists = [
        "--set",
        "generation.max_new_tokens=[16, 40]",
        "--set",
        "task.drop_published=[false, true]",
    ];
    let two = [&lists[..], &["--limit", "2"]].concat();
    let plan = place.run("results", &[&two[..], &["--dry-run"]].concat()).succeeded();
    assert!(plan.contains("with drop_published=true max_new_tokens=40"), "{plan}");
    assert!(plan.contains("48 cells in all"), "{plan}");
    let summary = place.summary("results", &two);
    let mut reader = csv::Reader::from_reader(summary.as_bytes());
    let swept = reader.headers().unwrap().iter().position(|name| name == "swept").unwrap();
    let rows: Vec<_> = reader.records().map(Result::unwrap).collect();
    assert_eq!(rows.len(), 24, "{summary}");
    let first: Vec<&str> = rows.iter().step_by(6).map(|row| &row[swept]).collect();
    let values = ["drop_published=false", "drop_published=true"];
    let expected: Vec<String> = values
        .iter()
        .flat_map(|value| [16, 40].map(|limit| format!("{value} max_new_tokens={limit}")))
        .collect();
    assert_eq!(first, expected);

    let entries = place.journal("results");
    let entries: Vec<Value> =
        entries.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let mut cells: Vec<&str> =
        entries.iter().map(|entry| entry["cell"].as_str().unwrap()).collect();
    cells.sort_unstable();
    cells.dedup();
    assert_eq!(cells.len(), 48, "each has an id of its own");
    assert!(entries.iter().all(|entry| {
        let tokens = entry["tokens"].as_array().unwrap().len() as u64;
        tokens <= entry["max_new_tokens"].as_u64().unwrap()
    }));
    let plots = fs::read_dir(place.results("results").join("plots")).unwrap().count();
    assert_eq!(plots, 4 * 8, "each setting has its own plots");
    let report = read(&place.results("results").join("report.md"));
    assert!(
        report.contains("3 questions per prompt, drop_published=true max_new_tokens=16"),
        "{report}"
    );
    let journal = place.journal("results");
    place.run("results", &two).succeeded();
    assert_eq!(place.journal("results"), journal, "nothing is computed again");
}

#[test]
fn books_are_cut_in_the_middle_and_summaries_scored() {
    let place = Workplace::new();
    let book = |n: usize| {
        let context = format!("{n} begins. {}. It ends with {n}", "x".repeat(3000));
        serde_json::json!({"id": n, "context": context, "answer": ["It ends."]}).to_string() + "\n"
    };
    fs::create_dir_all(place.path("data/raw")).unwrap();
    fs::write(place.path("data/raw/longbook_sum_eng.jsonl"), book(1) + &book(2)).unwrap();
    place.write_experiment(|text| {
        let task = "dataset = \"en_sum\"\nmax_prompt_tokens = 600";
        text.replace("dataset = \"gsm8k\"", task).replace("questions = 3", "questions = 1")
    });
    let summary = place.summary("results", &[]);
    let mut reader = csv::Reader::from_reader(summary.as_bytes());
    let head = reader.headers().unwrap().clone();
    let rows: Vec<_> = reader.records().map(Result::unwrap).collect();
    assert_eq!(rows.len(), 6);
    for row in &rows {
        let cell = |name: &str| &row[head.iter().position(|known| known == name).unwrap()];
        assert_eq!(
            [cell("dataset"), cell("source"), cell("n_questions")],
            ["en_sum", "unverified", "2"]
        );
        // A token a character, so that cutting is exact.
        assert_eq!(cell("prompt_tokens_mean"), "600.0");
    }
    let report = read(&place.results("results").join("report.md"));
    assert!(report.contains("Scores are ROUGE-L"), "{report}");
    let all = place.run("whole", &["--set", "task.max_prompt_tokens=4000"]);
    all.failed(2, &["exceed the context of 2048"]);
    place.run("two", &["--set", "task.questions=2"]).failed(2, &["1 question in each"]);
    place.run("one", &["--set", "task.max_prompt_tokens=1"]).failed(2, &["must be at least 2"]);
}

#[test]
fn strict_fails_where_an_arm_never_binds() {
    let place = Workplace::new();
    let short = ["--limit", "1", "--set", "arms.slide.prefill.budget=2000"];
    let roomy = [&short[..], &["--set", "arms.slide.decode.budget=2000"]].concat();
    place.run("results", &roomy).succeeded();
    let strict = [&roomy[..], &["--strict"]].concat();
    let message = place.run("results", &strict).failed(7, &["raise an alarm", "hint: "]);
    assert!(message.contains("of 6 rows"), "{message}");
    let summary = read(&place.results("results").join("summary.csv"));
    assert!(summary.lines().any(|line| line.contains(",slide,") && line.contains("never evicted")));
}
