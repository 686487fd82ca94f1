//! What several tests need: the real model where it has been fetched, a tiny random one anywhere.
#![allow(dead_code, unused_imports, reason = "each test binary uses its part")]
#![allow(clippy::unwrap_used, clippy::print_stderr, reason = "helpers of tests")]
#![allow(clippy::cast_possible_truncation, reason = "small numbers")]

pub(crate) mod broken;

use std::path::PathBuf;
use std::process::Command;
use std::sync::OnceLock;

use candle_core::Device;
use candle_core::quantized::gguf_file::Value;
pub(crate) use runner::testing::{Tiny, prompt};
use runner::{Engine, Job, Limits, Model, Outcome, Prefilled, Weights};
use serde::Serialize;
use serde::de::DeserializeOwned;
use zoo::{Arm, Context, Counters, Decode, Prefill};

/// Where `scripts/fetch-model smollm2-135m` puts the model, if it is there; says so loudly if it is not.
pub(crate) fn smollm2_path() -> Option<PathBuf> {
    let cache = std::env::var_os("BENCH_CACHE").map(PathBuf::from).or_else(|| {
        let home = || std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".cache"));
        std::env::var_os("XDG_CACHE_HOME")
            .map(PathBuf::from)
            .or_else(home)
            .map(|cache| cache.join("bench"))
    })?;
    let path = cache.join("models/smollm2-135m/SmolLM2-135M-Instruct.Q4_1.gguf");
    if path.is_file() {
        return Some(path);
    }
    eprintln!("SKIPPED: no model at `{}`; run `scripts/fetch-model smollm2-135m`", path.display());
    None
}

/// The real model with f32 weights, loaded once per test binary.
pub(crate) fn smollm2() -> Option<&'static Model> {
    static MODEL: OnceLock<Option<Model>> = OnceLock::new();
    MODEL
        .get_or_init(|| {
            Some(Model::load("smollm2-135m", &smollm2_path()?, Weights::F32, &Device::Cpu).unwrap())
        })
        .as_ref()
}

/// The tiny model, loaded once per test binary.
pub(crate) fn tiny() -> &'static Model {
    static MODEL: OnceLock<Model> = OnceLock::new();
    MODEL.get_or_init(|| load(&Tiny::new(2), Weights::F32))
}

/// Writes a tiny model's file and reads it back.
pub(crate) fn load(tiny: &Tiny, weights: Weights) -> Model {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tiny.gguf");
    tiny.write(&path).unwrap();
    Model::load("tiny", &path, weights, &Device::Cpu).unwrap()
}

/// A string of GGUF metadata.
pub(crate) fn text(text: &str) -> Value {
    Value::String(text.to_owned())
}

/// A method with other sizes, wherever it has them: its budget, and what it keeps whatever the score.
pub(crate) fn resized<M: Serialize + DeserializeOwned>(
    method: &M,
    budget: usize,
    recent: usize,
) -> M {
    let mut value = serde_json::to_value(method).unwrap();
    for (key, size) in [("budget", budget), ("recent", recent)] {
        if let Some(known) = value.get_mut(key) {
            *known = size.into();
        }
    }
    serde_json::from_value(value).unwrap()
}

/// Logits after each token of a text.
pub(crate) fn logits(model: &Model, tokens: &[u32]) -> Vec<Vec<f32>> {
    let mut rows = Vec::new();
    model
        .logits(tokens, |row| {
            rows.push(row);
            Ok(())
        })
        .unwrap();
    rows
}

/// Every prefill method with every decode method, at these sizes: `(budget, recent)`.
pub(crate) fn every_arm(prefill: (usize, usize), decode: (usize, usize)) -> Vec<Arm> {
    let pair = |p: &Prefill, d: &Decode| {
        let (prefill, decode) = (resized(p, prefill.0, prefill.1), resized(d, decode.0, decode.1));
        Arm::new(format!("{prefill:?} + {decode:?}"), prefill, decode)
    };
    Prefill::examples()
        .iter()
        .flat_map(|p| Decode::examples().iter().map(move |d| pair(p, d)).collect::<Vec<_>>())
        .collect()
}

/// What an arm is to do for exactly so many tokens.
pub(crate) fn job(arm: &Arm, new_tokens: usize) -> Job {
    Job {
        policies: arm.policies(Context { max_new_tokens: new_tokens }).unwrap(),
        counters: Counters::default(),
        limits: Limits::exactly(new_tokens),
        forced: None,
        seed: 7,
    }
}

/// A prompt, read with whatever the jobs need observed.
pub(crate) fn prefill(model: &Model, tokens: &[u32], jobs: &[Job]) -> Prefilled {
    let observations: Vec<_> = jobs.iter().flat_map(|job| job.policies.observations()).collect();
    model.prefill(tokens, &observations).unwrap()
}

/// Runs jobs in one engine that holds at most `capacity` at a time, and returns their outcomes in the order of the jobs.
pub(crate) fn together(
    model: &Model,
    prefilled: &Prefilled,
    jobs: &[Job],
    capacity: usize,
) -> Vec<Outcome> {
    let mut engine = Engine::new(model, capacity);
    let mut waiting = jobs.iter();
    let mut outcomes = Vec::new();
    loop {
        while engine.has_room()
            && let Some(job) = waiting.next()
        {
            engine.start(prefilled, job).unwrap();
        }
        outcomes.extend(engine.step().unwrap());
        if engine.is_idle() && waiting.len() == 0 {
            outcomes.sort_by_key(|(id, _)| *id);
            return outcomes.into_iter().map(|(_, outcome)| outcome).collect();
        }
    }
}

/// The bits of what a lane computed: its tokens and its log-probabilities.
pub(crate) fn bits(outcome: &Outcome) -> (Vec<u32>, Vec<u32>) {
    (outcome.tokens.clone(), outcome.logprobs.iter().map(|logprob| logprob.to_bits()).collect())
}

/// Runs one ignored test of this binary in a process of its own, and returns the lines that it printed behind `answer: `.
pub(crate) fn in_a_process(test: &str, variables: &[(&str, &str)]) -> Vec<String> {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command
        .args(["--exact", test, "--ignored", "--nocapture", "--test-threads=1"])
        .envs(variables.iter().copied());
    let output = command.output().unwrap();
    let printed = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{printed}{}", String::from_utf8_lossy(&output.stderr));
    let answers: Vec<String> = printed
        .lines()
        .filter_map(|line| Some(line.split_once("answer: ")?.1.to_owned()))
        .collect();
    assert!(!answers.is_empty(), "{printed}");
    answers
}

/// Norm of the difference over norm of the reference.
pub(crate) fn relative_error(found: &[f32], expected: &[f32]) -> f32 {
    assert_eq!(found.len(), expected.len());
    let norm = |values: &mut dyn Iterator<Item = f32>| {
        values.map(|v| f64::from(v).powi(2)).sum::<f64>().sqrt()
    };
    let error = norm(&mut found.iter().zip(expected).map(|(a, b)| a - b));
    (error / norm(&mut expected.iter().copied())) as f32
}
