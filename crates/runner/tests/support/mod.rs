//! What several tests need: the real model where it has been fetched, a tiny random one anywhere.
#![allow(dead_code, reason = "each test binary uses its part")]

use std::path::PathBuf;
use std::sync::OnceLock;

use candle_core::quantized::gguf_file::{Value, write};
use candle_core::quantized::{GgmlDType, QTensor};
use candle_core::{Device, Tensor};
use runner::{Model, Weights};

/// Where `scripts/fetch-model smollm2-135m` puts the model, if it is there; says so loudly if it is not.
pub fn smollm2_path() -> Option<PathBuf> {
    let cache = std::env::var_os("BENCH_CACHE").map(PathBuf::from).or_else(|| {
        let home = || std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".cache"));
        std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from).or_else(home).map(|cache| cache.join("bench"))
    })?;
    let path = cache.join("models/smollm2-135m/SmolLM2-135M-Instruct.Q4_1.gguf");
    if path.is_file() {
        return Some(path);
    }
    eprintln!("SKIPPED: no model at `{}`; run `scripts/fetch-model smollm2-135m`", path.display());
    None
}

/// The real model with f32 weights, loaded once per test binary.
pub fn smollm2() -> Option<&'static Model> {
    static MODEL: OnceLock<Option<Model>> = OnceLock::new();
    MODEL.get_or_init(|| Some(Model::load("smollm2-135m", &smollm2_path()?, Weights::F32, &Device::Cpu).unwrap())).as_ref()
}

/// A tiny random Llama: 3 layers, 4 query heads on 2 KV heads, byte-like vocabulary of 96, written as GGUF and read back.
pub fn tiny() -> &'static Model {
    static MODEL: OnceLock<Model> = OnceLock::new();
    MODEL.get_or_init(|| {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tiny.gguf");
        write_tiny(&path);
        Model::load("tiny", &path, Weights::F32, &Device::Cpu).unwrap()
    })
}

/// Writes the tiny model's file.
pub fn write_tiny(path: &std::path::Path) {
    const HIDDEN: usize = 32;
    let numbers = |name: &str, shape: &[usize]| {
        let mut state = name.bytes().fold(1u64, |h, b| h.wrapping_mul(0x100_0000_01b3) ^ u64::from(b));
        let count = shape.iter().product();
        let draw = |_| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 40) as f32 / (1u64 << 24) as f32 - 0.5
        };
        let scale = if name.contains("norm") { 0.0 } else { 3.0 / (HIDDEN as f32).sqrt() };
        let offset = if name.contains("norm") { 1.0 } else { 0.0 };
        let values: Vec<f32> = (0..count).map(draw).map(|x| offset + scale * x * 2.0).collect();
        QTensor::quantize(&Tensor::from_vec(values, shape, &Device::Cpu).unwrap(), GgmlDType::F32).unwrap()
    };
    let mut shapes: Vec<(String, Vec<usize>)> =
        vec![("token_embd.weight".into(), vec![96, HIDDEN]), ("output_norm.weight".into(), vec![HIDDEN])];
    for layer in 0..3 {
        for (name, shape) in [
            ("attn_norm", vec![HIDDEN]),
            ("attn_q", vec![32, HIDDEN]),
            ("attn_k", vec![16, HIDDEN]),
            ("attn_v", vec![16, HIDDEN]),
            ("attn_output", vec![HIDDEN, 32]),
            ("ffn_norm", vec![HIDDEN]),
            ("ffn_gate", vec![64, HIDDEN]),
            ("ffn_up", vec![64, HIDDEN]),
            ("ffn_down", vec![HIDDEN, 64]),
        ] {
            shapes.push((format!("blk.{layer}.{name}.weight"), shape));
        }
    }
    let tensors: Vec<(String, QTensor)> = shapes.into_iter().map(|(name, shape)| (name.clone(), numbers(&name, &shape))).collect();
    let tensors: Vec<(&str, &QTensor)> = tensors.iter().map(|(name, tensor)| (name.as_str(), tensor)).collect();

    let text = |text: &str| Value::String(text.to_owned());
    let vocabulary: Vec<Value> = std::iter::once(text("<end>")).chain((0x21u8..=0x7e).map(|b| text(&(b as char).to_string()))).chain([text("Ġ")]).collect();
    let types: Vec<Value> = (0..96).map(|id| Value::I32(if id == 0 { 3 } else { 1 })).collect();
    let metadata = [
        ("general.architecture", text("llama")),
        ("llama.block_count", Value::U32(3)),
        ("llama.embedding_length", Value::U32(32)),
        ("llama.feed_forward_length", Value::U32(64)),
        ("llama.attention.head_count", Value::U32(4)),
        ("llama.attention.head_count_kv", Value::U32(2)),
        ("llama.attention.layer_norm_rms_epsilon", Value::F32(1e-5)),
        ("llama.rope.dimension_count", Value::U32(8)),
        ("llama.rope.freq_base", Value::F32(10_000.0)),
        ("llama.context_length", Value::U32(2048)),
        ("tokenizer.ggml.model", text("gpt2")),
        ("tokenizer.ggml.pre", text("smollm")),
        ("tokenizer.ggml.tokens", Value::Array(vocabulary)),
        ("tokenizer.ggml.token_type", Value::Array(types)),
        ("tokenizer.ggml.merges", Value::Array(vec![])),
        ("tokenizer.ggml.eos_token_id", Value::U32(0)),
    ];
    let metadata: Vec<(&str, &Value)> = metadata.iter().map(|(key, value)| (*key, value)).collect();
    write(&mut std::fs::File::create(path).unwrap(), &metadata, &tensors).unwrap();
}
