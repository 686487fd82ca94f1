//! Experiment files: what a plan prints, and what it refuses before a weight is read.
#![allow(clippy::unwrap_used, reason = "tests")]

mod support;

use std::fs;
use std::io::Write;
use std::path::Path;

use support::{Workplace, files, read};

const EXPERIMENTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../experiments");

#[test]
fn a_plan_touches_nothing_and_says_what_will_run() {
    let place = Workplace::new();
    let before = files(&place.path(""));
    let plan = place.run("results", &["--dry-run"]).succeeded();
    assert!(before == files(&place.path("")) && !place.path("results").exists());
    insta::with_settings!({filters => filters()}, {
        insta::assert_snapshot!(plan, @"
    tiny: A tiny model on four small prompts

    model tiny (f32)
      gsm8k, 3 questions per prompt, from `data/official/gsm8k_3.jsonl`: unverified
      prompts as published plain
      4 prompts of 510 / 510 / 510 tokens (min / mean / max; counted)
      up to 80 new tokens, 384 bytes of cache per token with one cache per KV head
      arm                      peak entries     peak MiB  binds
      full                              590          0.2  never: nothing is dropped
      h2o                               152          0.1  at prefill, and while decoding
      slide                             152          0.1  at prefill, and while decoding
      discontinuous                     156          0.1  at prefill, and while decoding
      random                            152          0.1  at prefill, and while decoding
      recency                           152          0.1  at prefill, and while decoding
      memory: [MEMORY]
      about [TIME]

    24 cells in all
    ");
    });

    // What cannot bind is said, and a limit counts.
    let roomy = ["--set", "arms.slide.prefill.budget=2000", "--set", "arms.slide.decode.budget=90"];
    let plan = place.run("results", &[&roomy[..], &["--dry-run", "--limit", "2"]].concat());
    let plan = plan.succeeded();
    let line = plan.lines().find(|line| line.trim_start().starts_with("slide ")).unwrap();
    assert!(line.ends_with("never: nothing is dropped"), "{plan}");
    assert!(plan.contains("12 cells in all"), "{plan}");
}

/// Whatever depends on the machine or the moment.
fn filters() -> Vec<(&'static str, &'static str)> {
    vec![
        (r"(?m)^  about .*", "  about [TIME]"),
        (r"(?m)^  memory: .*", "  memory: [MEMORY]"),
        (r"`/[^`]*/", "`[FOLDER]/"),
    ]
}

/// Stand-ins for the published sets: as many prompts, but short ones.
fn write_sets(place: &Workplace) {
    for dataset in evaluator::Dataset::QUESTIONS {
        let task = evaluator::Task::of(dataset).unwrap();
        for suite in &task.suites {
            let (key, subject) = match task.answer {
                evaluator::task::AnswerKind::Number => ("#### 1", ""),
                _ => ("A", "\"task\": \"a_subject\", "),
            };
            let texts = |text: &str| serde_json::to_string(&vec![text; suite.questions]).unwrap();
            let line = format!(
                "{{{subject}\"prompt\": \"a prompt of its own\", \"questions\": {}, \"answers\": {}}}\n",
                texts("a question"),
                texts(key)
            );
            let path = format!("data/official/{dataset}_{}.jsonl", suite.questions);
            fs::write(place.path(&path), line.repeat(suite.samples)).unwrap();
        }
    }
    fs::create_dir_all(place.path("data/raw")).unwrap();
    let book = "{\"context\": \"a book\", \"answer\": [\"a summary\"]}\n";
    fs::write(place.path("data/raw/longbook_sum_eng.jsonl"), book.repeat(103)).unwrap();
}

/// The methods that an experiment names and this program does not have yet.
fn unknown_methods(place: &Workplace, table: &toml::Table) -> Vec<String> {
    let all = place.bench(&["methods"]).succeeded();
    let known = |name: &&str| all.lines().any(|line| line.split_whitespace().nth(1) == Some(name));
    let arms = table.get("arms").and_then(toml::Value::as_array);
    let halves = arms.into_iter().flatten().flat_map(|arm| [arm.get("prefill"), arm.get("decode")]);
    let names = halves.filter_map(|half| half?.get("name")?.as_str());
    names.filter(|name| !known(name)).map(str::to_owned).collect()
}

#[test]
fn every_experiment_plans_under_every_profile() {
    let place = Workplace::new();
    write_sets(&place);
    let paths = fs::read_dir(EXPERIMENTS).unwrap().map(|entry| entry.unwrap().path());
    let paths: Vec<_> =
        paths.filter(|path| path.extension().is_some_and(|it| it == "toml")).collect();
    assert!(paths.len() >= 7);
    for path in paths {
        let file = path.to_str().unwrap();
        let table: toml::Table = toml::from_str(&read(&path)).unwrap();
        let unknown = unknown_methods(&place, &table);
        if !unknown.is_empty() {
            let notice = format!("SKIPPED `{file}`: it checked nothing; there is no {unknown:?}");
            // Goes round the test harness, which would swallow it.
            let _ = writeln!(std::io::stderr(), "{notice}");
            continue;
        }
        let name = table["name"].as_str().unwrap();
        assert_eq!(path.file_stem().unwrap(), name);
        let usual = table.get("profile").and_then(|it| it.as_str()).unwrap_or("smollm2");
        for profile in ["smollm2", "paper"] {
            let mut arguments = vec!["--experiment", file, "--dry-run", "--data", "data"];
            if profile != usual {
                arguments.extend(["--profile", profile]);
            }
            let plan = place.bench(&arguments).succeeded();
            // No model is here: lengths are estimates.
            for words in [name, "estimated from characters", "cannot run here", "full  "] {
                assert!(plan.contains(words), "{file} {profile}: {plan}");
            }
            let lines = plan.lines().filter(|line| line.starts_with("profile "));
            assert!(lines.eq([format!("profile {profile}")]), "{plan}");
        }
    }
    let own = ["--experiment", &format!("{EXPERIMENTS}/gsm8k_long.toml"), "--profile", "own"];
    let plan = place.bench(&[&own[..], &["--dry-run"]].concat()).succeeded();
    assert!(plan.contains("word problems of our own: own problems"), "{plan}");
    let front = format!("{EXPERIMENTS}/gsm8k_long.toml");
    let plan = place.bench(&["--experiment", &front, "--dry-run"]).succeeded();
    for words in ["profile embedded", "24 prompts of", "counted", "prompts as raw"] {
        assert!(plan.contains(words), "{plan}");
    }
    assert!(!plan.contains("cannot run here"), "{plan}");
}

/// The plan of an experiment as the study ran it.
fn planned(place: &Workplace, experiment: &str) -> String {
    let file = format!("{EXPERIMENTS}/{experiment}.toml");
    let arguments = ["--experiment", &file, "--profile", "paper", "--dry-run", "--data", "data"];
    place.bench(&arguments).succeeded()
}

#[test]
fn the_paper_profile_runs_what_the_study_ran() {
    let place = Workplace::new();
    write_sets(&place);
    for (experiment, prompts, new_tokens) in [
        ("gsm8k_long", 43, 4096),
        ("mmlu_long", 53, 4096),
        ("csqa_long", 30, 7950),
        ("gsm8k_long_8k", 21, 7950),
        ("mmlu_long_8k", 53, 7950),
        ("csqa_long_8k", 15, 7950),
        ("en_sum", 103, 4096),
    ] {
        let plan = planned(&place, experiment);
        assert!(plan.contains(&format!("  {prompts} prompts of ")), "{experiment}: {plan}");
        assert!(plan.contains(&format!("up to {new_tokens} new tokens")), "{experiment}: {plan}");
        assert!(plan.contains("prompts as published llama-3"), "{experiment}: {plan}");
        assert!(!plan.contains("recency"), "{experiment}: {plan}");
    }
}

#[test]
fn what_is_missing_is_named_with_the_way_to_get_it() {
    let place = Workplace::new();
    let experiment = Path::new(EXPERIMENTS).join("gsm8k_long.toml");
    let run = |more: &[&str]| {
        let common = ["run", "--experiment", experiment.to_str().unwrap()];
        place.bench(&[&common, more].concat())
    };
    run(&["--profile", "own"]).failed(3, &["smollm2-135m", "scripts/fetch-model smollm2-135m"]);
    run(&["--profile", "paper", "--set", "task.source=own"]).failed(3, &["llama-3.1-8b-instruct"]);
    // Neither a data folder nor the hub; then a folder without the data.
    let plan = |more: &[&str]| run(&[&["--profile", "smollm2", "--dry-run"], more].concat());
    plan(&[]).failed(3, &["--data"]);
    plan(&["--offline"]).failed(3, &["--data"]);
    plan(&["--data", "cache"]).failed(3, &["--data", "official/gsm8k_30.jsonl"]);
    plan(&["--data", "absent"]).failed(3, &["--data"]);
    assert!(!place.path("results").exists(), "what cannot run leaves no folder behind");

    place.bench(&[]).failed(2, &["nothing to do", "hint: "]);
    place.bench(&["run"]).failed(2, &["no experiment", "hint: "]);
    place.bench(&["run", "--experiment", "nowhere"]).failed(2, &["`nowhere`", "experiments/"]);
    place.bench(&["run", "--experiment", "data"]).failed(2, &["no experiment `data`"]);
    place.bench(&["report", "nowhere"]).failed(3, &["nowhere/manifest.json", "hint: "]);
}

#[test]
fn mistakes_in_a_file_are_shown_where_they_are() {
    let place = Workplace::new();
    let refuse = |from: &str, to: &str, words: &[&str]| {
        place.write_experiment(|text| {
            assert!(text.contains(from), "{from}");
            text.replacen(from, to, 1)
        });
        for more in [&[][..], &["--dry-run"]] {
            place.run("results", more).failed(2, words);
        }
        assert!(!place.path("results").exists(), "{from} to {to}");
    };
    let misspelt =
        ["`tiny.toml` line 14, column 1", "`max_new_token`", "did you mean `max_new_tokens`"];
    refuse("max_new_tokens", "max_new_token", &misspelt);
    refuse("\"slide\" }", "\"slid\" }", &["tiny.toml` line 34", "did you mean `slide`"]);
    refuse("[budget]", "[budgets]", &["line 16", "did you mean `budget`"]);
    refuse("name = \"tiny\"", "name = \"../tiny\"", &["`name` = \"../tiny\"", "use letters"]);
    refuse("name = \"tiny\"", "name = \"..\"", &["`name`"]);
    refuse("name = \"tiny\"", "name = \"\"", &["`name`"]);
    refuse("decode = 24", "decode = 7", &["`recent` = 8 exceeds `budget` = 7"]);
    refuse("decode = 24", "decode = 0", &["exceeds `budget` = 0"]);
    refuse("prefill = 128", "prefill = 0", &["`budget` = 0 must be at least 1"]);
    refuse("decode = 24", "decode = -1", &["tiny.toml", "-1"]);
    refuse("decode = 24", "decode = \"many\"", &["tiny.toml", "many"]);
    refuse("decode = 24", "decode = []", &["tiny.toml", "an empty list"]);
    refuse("recent = 8", "recent = 0", &["`recent` = 0 must be at least 1"]);
    refuse("lanes = 3", "lanes = 0", &["`run.lanes` must be at least 1"]);
    refuse("= 80", "= 0", &["`generation.max_new_tokens` must be at least 1"]);
    refuse("= 80", "= 1600", &["exceed the context of 2048", "sample 0", "hint: "]);
    refuse("= 80", "= 18446744073709551615", &["tiny.toml"]);
    refuse("= 80", "= 9223372036854775807", &["exceed the context of 2048"]);
    refuse("questions = 3", "questions = 0", &["`task.questions` must be at least 1"]);
    refuse("\"gsm8k\"", "\"trivia\"", &["tiny.toml", "`trivia`"]);
    refuse("schema_version = 1", "schema_version = 2", &["reads version 1"]);
    refuse("[task]", "[task", &["tiny.toml", "line 6"]);
    refuse("title = \"A", "profile = \"big\"\ntitle = \"A", &["no profile `big`"]);
    refuse("\"h2o\"\nprefill", "\"slide\"\nprefill", &["two arms are called `slide`"]);
}

#[test]
fn mistakes_on_the_command_line_are_named() {
    let place = Workplace::new();
    for (more, words) in [
        (["--set", "generation"], "give `key=value`"),
        (["--set", "nowhere.x=1"], "there is no `nowhere`"),
        (["--set", "generation.max_new_token=1"], "did you mean `max_new_tokens`"),
        (["--set", "arms.slid.decode.budget=1"], "there is no `slid`"),
        (["--set", "=1"], "tiny.toml"),
        (["--profile", "big"], "no profile `big`"),
        (["--shard", "3/2"], "give `I/N`"),
        (["--shard", "0/2"], "give `I/N`"),
        (["--limit", "-1"], "-1"),
        (["--threads", "0"], "`--threads`"),
    ] {
        place.run("results", &more).failed(2, &[words]);
    }
    place.run("results", &["--limit", "0"]).failed(4, &["no prompt is selected"]);
    place.run("results", &["--device", "cuda:9"]).failed(3, &["device `cuda:9`"]);
    assert!(!place.path("results").exists());
}
