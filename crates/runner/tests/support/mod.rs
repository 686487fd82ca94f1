//! What several tests need: the real model where it has been fetched, a tiny random one anywhere.
#![allow(dead_code, reason = "each test binary uses its part")]
#![allow(clippy::unwrap_used, clippy::print_stderr, reason = "helpers of tests")]
#![allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "small numbers")]

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use candle_core::quantized::gguf_file::{Value, write};
use candle_core::quantized::{GgmlDType, QTensor};
use candle_core::{Device, Tensor};
use runner::{Engine, Job, Limits, Model, Outcome, Prefilled, Weights};
use serde::Serialize;
use serde::de::DeserializeOwned;
use zoo::{Arm, Context, Decode, Prefill};

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
    MODEL.get_or_init(|| Tiny::new(2).load(Weights::F32))
}

/// A tiny random Llama as a GGUF file: 3 layers, 4 query heads, a vocabulary of 96 single characters.
pub(crate) struct Tiny {
    metadata: Vec<(&'static str, Value)>,
    tensors: Vec<(String, Vec<usize>)>,
}

impl Tiny {
    /// Tokens in its vocabulary.
    pub(crate) const VOCABULARY: u32 = 96;

    /// With so many KV heads, which must divide 4.
    pub(crate) fn new(kv_heads: usize) -> Self {
        Self::of_width(32, kv_heads)
    }

    /// With another hidden width, a multiple of 8.
    pub(crate) fn of_width(hidden: usize, kv_heads: usize) -> Self {
        let (head_dim, intermediate) = (hidden / 4, hidden * 2);
        let number = |count: usize| Value::U32(u32::try_from(count).unwrap());
        let mut tensors = vec![
            ("token_embd.weight".to_owned(), vec![96, hidden]),
            ("output_norm.weight".to_owned(), vec![hidden]),
        ];
        for layer in 0..3 {
            for (name, shape) in [
                ("attn_norm", vec![hidden]),
                ("attn_q", vec![hidden, hidden]),
                ("attn_k", vec![kv_heads * head_dim, hidden]),
                ("attn_v", vec![kv_heads * head_dim, hidden]),
                ("attn_output", vec![hidden, hidden]),
                ("ffn_norm", vec![hidden]),
                ("ffn_gate", vec![intermediate, hidden]),
                ("ffn_up", vec![intermediate, hidden]),
                ("ffn_down", vec![hidden, intermediate]),
            ] {
                tensors.push((format!("blk.{layer}.{name}.weight"), shape));
            }
        }
        let characters = (0x21u8..=0x7e).map(|byte| (byte as char).to_string());
        let tokens = std::iter::once("<end>".to_owned()).chain(characters).chain(["Ġ".to_owned()]);
        let types = (0..Self::VOCABULARY).map(|id| Value::I32(if id == 0 { 3 } else { 1 }));
        let metadata = vec![
            ("general.architecture", text("llama")),
            ("llama.block_count", Value::U32(3)),
            ("llama.embedding_length", number(hidden)),
            ("llama.feed_forward_length", number(intermediate)),
            ("llama.attention.head_count", Value::U32(4)),
            ("llama.attention.head_count_kv", number(kv_heads)),
            ("llama.attention.layer_norm_rms_epsilon", Value::F32(1e-5)),
            ("llama.rope.dimension_count", number(head_dim)),
            ("llama.rope.freq_base", Value::F32(10_000.0)),
            ("llama.context_length", Value::U32(2048)),
            ("tokenizer.ggml.model", text("gpt2")),
            ("tokenizer.ggml.pre", text("smollm")),
            ("tokenizer.ggml.tokens", Value::Array(tokens.map(Value::String).collect())),
            ("tokenizer.ggml.token_type", Value::Array(types.collect())),
            ("tokenizer.ggml.merges", Value::Array(vec![])),
            ("tokenizer.ggml.eos_token_id", Value::U32(0)),
        ];
        Self { metadata, tensors }
    }

    /// With another value under a key, or one more.
    pub(crate) fn with(mut self, key: &'static str, value: Value) -> Self {
        self.metadata.retain(|(known, _)| *known != key);
        self.metadata.push((key, value));
        self
    }

    /// Without a key.
    pub(crate) fn without(mut self, key: &str) -> Self {
        self.metadata.retain(|(known, _)| *known != key);
        self
    }

    /// With another shape for a tensor.
    pub(crate) fn with_shape(mut self, name: &str, shape: &[usize]) -> Self {
        let (_, known) = self.tensors.iter_mut().find(|(known, _)| known == name).unwrap();
        *known = shape.to_vec();
        self
    }

    /// Writes the file.
    pub(crate) fn write(&self, path: &Path) {
        let tensors: Vec<(&str, QTensor)> = self
            .tensors
            .iter()
            .map(|(name, shape)| (name.as_str(), numbers(name, shape)))
            .collect();
        let tensors: Vec<(&str, &QTensor)> =
            tensors.iter().map(|(name, tensor)| (*name, tensor)).collect();
        let metadata: Vec<(&str, &Value)> =
            self.metadata.iter().map(|(key, value)| (*key, value)).collect();
        write(&mut std::fs::File::create(path).unwrap(), &metadata, &tensors).unwrap();
    }

    /// Writes the file and reads it back.
    pub(crate) fn load(&self, weights: Weights) -> Model {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tiny.gguf");
        self.write(&path);
        Model::load("tiny", &path, weights, &Device::Cpu).unwrap()
    }
}

/// A string of GGUF metadata.
pub(crate) fn text(text: &str) -> Value {
    Value::String(text.to_owned())
}

/// Numbers that depend on a tensor's name and shape alone: ones for a norm, else uniform, of a size that keeps attention sharp.
fn numbers(name: &str, shape: &[usize]) -> QTensor {
    let mut random = Random(
        name.bytes().fold(1, |hash, byte| hash.wrapping_mul(0x100_0000_01b3) ^ u64::from(byte)),
    );
    let scale = 6.0 / (shape[shape.len() - 1].min(shape[0]) as f32).sqrt();
    let draw = |_| if name.contains("norm") { 1.0 } else { scale * (random.next() - 0.5) };
    let values: Vec<f32> = (0..shape.iter().product()).map(draw).collect();
    QTensor::quantize(&Tensor::from_vec(values, shape, &Device::Cpu).unwrap(), GgmlDType::F32)
        .unwrap()
}

/// A linear congruential generator (Knuth's MMIX constants).
pub(crate) struct Random(pub(crate) u64);

impl Random {
    /// Uniform in [0, 1).
    pub(crate) fn next(&mut self) -> f32 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 40) as f32 / (1u64 << 24) as f32
    }
}

/// A random prompt for the tiny model.
pub(crate) fn prompt(seed: u64, tokens: usize) -> Vec<u32> {
    let mut random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 1);
    (0..tokens).map(|_| 1 + (random.next() * (Tiny::VOCABULARY - 1) as f32) as u32).collect()
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

/// Every prefill method with every decode method, at these sizes: `(budget, recent)`.
pub(crate) fn every_arm(prefill: (usize, usize), decode: (usize, usize)) -> Vec<Arm> {
    let pair = |p: &Prefill, d: &Decode| {
        let (prefill, decode) = (resized(p, prefill.0, prefill.1), resized(d, decode.0, decode.1));
        Arm { label: format!("{prefill:?} + {decode:?}"), prefill, decode }
    };
    Prefill::examples()
        .iter()
        .flat_map(|p| Decode::examples().iter().map(move |d| pair(p, d)).collect::<Vec<_>>())
        .collect()
}

/// What an arm is to do for exactly so many tokens.
pub(crate) fn job(arm: &Arm, new_tokens: usize) -> Job {
    let (prefill, decode) = arm.policies(Context { max_new_tokens: new_tokens }).unwrap();
    Job { prefill, decode, limits: Limits::exactly(new_tokens), forced: None, seed: 7 }
}

/// A prompt, read with whatever the jobs need observed.
pub(crate) fn prefill(model: &Model, tokens: &[u32], jobs: &[Job]) -> Prefilled {
    let observations: Vec<_> = jobs.iter().filter_map(|job| job.prefill.observation()).collect();
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
