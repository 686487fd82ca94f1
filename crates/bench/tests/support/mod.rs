//! A workplace for one test: a tiny model, four prompts of our own, an experiment, and the program itself.
#![allow(dead_code, reason = "each test binary uses its part")]
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use assert_cmd::Command;
use runner::testing::Tiny;
use serde_json::{Value, json};
use tempfile::TempDir;

/// Cells of the experiment: four prompts under six arms.
pub(crate) const CELLS: usize = 24;

/// What the experiment file says, but for the model's path.
const EXPERIMENT: &str = r#"
schema_version = 1
name = "tiny"
title = "A tiny model on four small prompts"

[task]
dataset = "gsm8k"
questions = 3

[model]
name = "MODEL"

[generation]
max_new_tokens = 80

[budget]
prefill = 128
decode = 24
recent = 8

[[arms]]
label = "full"
prefill = { name = "full" }
decode = { name = "none" }

[[arms]]
label = "h2o"
prefill = { name = "h2o" }
decode = { name = "h2o" }

[[arms]]
label = "slide"
prefill = { name = "h2o" }
decode = { name = "slide" }

[[arms]]
label = "discontinuous"
prefill = { name = "h2o" }
decode = { name = "discontinuous" }

[[arms]]
label = "random"
prefill = { name = "h2o" }
decode = { name = "random" }

[[arms]]
label = "recency"
prefill = { name = "h2o" }
decode = { name = "recency" }

[run]
lanes = 3
"#;

/// A folder with all that a run needs; it goes with the value.
pub(crate) struct Workplace(TempDir);

impl Workplace {
    pub(crate) fn new() -> Self {
        let place = Self(tempfile::tempdir().unwrap());
        Tiny::new(2).write(&place.model()).unwrap();
        let official = place.path("data/official");
        fs::create_dir_all(&official).unwrap();
        let lines: Vec<String> = (0..4).map(|sample| line(sample).to_string() + "\n").collect();
        fs::write(official.join("gsm8k_3.jsonl"), lines.concat()).unwrap();
        fs::create_dir_all(place.path("cache")).unwrap();
        place.write_experiment(|text| text);
        place
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub(crate) fn model(&self) -> PathBuf {
        self.path("tiny.gguf")
    }

    /// Folder of the experiment's results below a `--results` folder.
    pub(crate) fn results(&self, under: &str) -> PathBuf {
        self.path(under).join("tiny")
    }

    /// Writes the experiment, changed.
    pub(crate) fn write_experiment(&self, change: impl Fn(String) -> String) {
        let text = EXPERIMENT.replace("MODEL", self.model().to_str().unwrap());
        fs::write(self.path("tiny.toml"), change(text)).unwrap();
    }

    /// The program as a process that nothing of this machine reaches: no cache, no hub, one thread.
    pub(crate) fn process(&self, arguments: &[&str]) -> std::process::Command {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_bench"));
        command
            .args(arguments)
            .current_dir(self.0.path())
            .stdin(Stdio::null())
            .env_remove("BENCH_DATA")
            .env_remove("RUST_BACKTRACE")
            .env_remove("HF_HUB_CACHE")
            .env("BENCH_CACHE", self.path("cache"))
            .env("HF_HOME", self.path("cache"))
            .env("HF_HUB_OFFLINE", "1")
            .env("RAYON_NUM_THREADS", "1")
            .env("CANDLE_NUM_THREADS", "1");
        command
    }

    /// Runs the program to its end.
    pub(crate) fn bench(&self, arguments: &[&str]) -> Answer {
        self.bench_in(&[], arguments)
    }

    /// The same with other variables in its environment; an empty one counts as absent.
    pub(crate) fn bench_in(&self, environment: &[(&str, &str)], arguments: &[&str]) -> Answer {
        let mut process = self.process(arguments);
        process.envs(environment.iter().copied());
        let output = Command::from_std(process).output().unwrap();
        let answer = Answer {
            code: output.status.code(),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        };
        assert!(!answer.stderr.contains("panicked"), "{arguments:?}: {}", answer.stderr);
        answer
    }

    /// Runs the experiment into `--results UNDER`.
    pub(crate) fn run(&self, under: &str, more: &[&str]) -> Answer {
        let common =
            ["run", "--experiment", "tiny.toml", "--data", "data", "--results", under, "--quiet"];
        self.bench(&[&common, more].concat())
    }

    /// The summary of a run into a folder of its own.
    pub(crate) fn summary(&self, under: &str, more: &[&str]) -> String {
        self.run(under, more).succeeded();
        read(&self.results(under).join("summary.csv"))
    }

    /// The journal of a run, as it lies there.
    pub(crate) fn journal(&self, under: &str) -> String {
        read(&self.results(under).join("samples.jsonl"))
    }
}

/// What the program said, and how it ended.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Answer {
    /// Its output, if all went well.
    pub(crate) fn succeeded(self) -> String {
        assert_eq!(self.code, Some(0), "{}", self.stderr);
        self.stdout
    }

    /// Its message, if it failed with this code and these words, and printed nothing else.
    pub(crate) fn failed(self, code: i32, words: &[&str]) -> String {
        assert_eq!(self.code, Some(code), "{}{}", self.stdout, self.stderr);
        assert!(self.stderr.starts_with("error: "), "{}", self.stderr);
        assert_eq!(self.stdout, "", "a failure prints to stderr alone");
        for word in words {
            assert!(self.stderr.contains(word), "`{word}` is not in: {}", self.stderr);
        }
        self.stderr
    }

    /// Its output as the one JSON document that it must be.
    pub(crate) fn json(self) -> Value {
        let text = self.succeeded();
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
    }
}

pub(crate) fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("`{}`: {error}", path.display()))
}

/// All files below a folder with their bytes, by path.
pub(crate) fn files(folder: &Path) -> Vec<(String, Vec<u8>)> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        for path in fs::read_dir(next).unwrap().map(|entry| entry.unwrap().path()) {
            if path.is_dir() {
                folders.push(path);
            } else {
                let name = path.strip_prefix(folder).unwrap().to_str().unwrap().to_owned();
                found.push((name, fs::read(&path).unwrap()));
            }
        }
    }
    found.sort();
    found
}

/// A prompt of three questions in the published format.
fn line(sample: usize) -> Value {
    let questions: Vec<String> = (1..=3)
        .map(|n| format!("Vera has {} pens and buys {n} more. How many has she?", sample + 4))
        .collect();
    let answers: Vec<String> = (1..=3).map(|n| format!("#### {}", sample + 4 + n)).collect();
    let asked: Vec<String> =
        (9..).zip(&questions).map(|(n, question)| format!("Question_{n}:\n{question}\n")).collect();
    let prompt = format!("Examples: \nnone\n\nFollowing Question: \n{}\n", asked.concat());
    json!({"prompt": prompt, "questions": questions, "answers": answers})
}
