//! The same families as GGUF: a file made of the same weights is the same model, whatever order it keeps them in.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod support;

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};

use candle_core::quantized::gguf_file::{Content, Value, write};
use candle_core::quantized::{GgmlDType, QTensor};
use candle_core::{DType, Device, Tensor};
use runner::{Model, Weights};
use support::{Tiny, logits, prompt, relative_error};

fn folder(family: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/families").join(family)
}

/// GGUF's name of a tensor, by its converter's table.
fn renamed(name: &str) -> String {
    let parts = [
        ("model.embed_tokens", "token_embd"),
        ("model.norm", "output_norm"),
        ("lm_head", "output"),
        ("model.layers", "blk"),
        ("post_attention_layernorm", "ffn_norm"),
        ("input_layernorm", "attn_norm"),
        ("self_attn.o_proj", "attn_output"),
        ("self_attn.", "attn_"),
        ("mlp.", "ffn_"),
        ("_proj", ""),
    ];
    parts.iter().fold(name.to_owned(), |name, (from, to)| name.replace(from, to))
}

/// Rotary channels from halves to neighbours in pairs, as the converter leaves them for `llama`.
fn paired(weight: &Tensor, heads: usize) -> Tensor {
    let (outputs, inputs) = weight.dims2().unwrap();
    let halves = weight.reshape((heads, 2, outputs / heads / 2, inputs)).unwrap();
    halves.transpose(1, 2).unwrap().contiguous().unwrap().reshape((outputs, inputs)).unwrap()
}

/// A family's weights behind the header that the script wrote, which carries its metadata and its rotary divisors.
fn convert(family: &str, to: &Path) {
    let mut header = File::open(folder(family).join("header.gguf")).unwrap();
    let content = Content::read(&mut header).unwrap();
    let metadata: BTreeMap<&str, &Value> =
        content.metadata.iter().map(|(key, value)| (key.as_str(), value)).collect();
    let metadata: Vec<(&str, &Value)> = metadata.into_iter().collect();
    let mut tensors: Vec<(String, QTensor)> = Vec::new();
    if let Ok(divisors) = content.tensor(&mut header, "rope_freqs.weight", &Device::Cpu) {
        tensors.push(("rope_freqs.weight".to_owned(), divisors));
    }
    let mut weights = BTreeMap::new();
    for file in fs::read_dir(folder(family)).unwrap().map(|entry| entry.unwrap().path()) {
        let name = file.file_name().unwrap().to_str().unwrap();
        if Path::new(name).extension().is_some_and(|it| it == "safetensors")
            && name.starts_with("model")
        {
            weights.extend(candle_core::safetensors::load(&file, &Device::Cpu).unwrap());
        }
    }
    let (config, _) = Model::describe(&folder(family)).unwrap();
    for (name, weight) in weights {
        let mut weight = weight.to_dtype(DType::F32).unwrap();
        for (part, heads) in
            [("q_proj.weight", config.query_heads), ("k_proj.weight", config.kv_heads)]
        {
            if family != "qwen2" && name.ends_with(part) {
                weight = paired(&weight, heads);
            }
        }
        tensors.push((renamed(&name), QTensor::quantize(&weight, GgmlDType::F32).unwrap()));
    }
    let tensors: Vec<(&str, &QTensor)> = tensors.iter().map(|(name, it)| (&**name, it)).collect();
    write(&mut File::create(to).unwrap(), &metadata, &tensors).unwrap();
}

#[test]
fn a_converted_family_is_the_same_model() {
    let place = tempfile::tempdir().unwrap();
    for family in ["llama3", "mistral", "qwen2"] {
        let path = place.path().join(format!("{family}.gguf"));
        convert(family, &path);
        let gguf = Model::load(family, &path, Weights::F32, &Device::Cpu).unwrap();
        let folder = Model::load(family, &folder(family), Weights::F32, &Device::Cpu).unwrap();
        let tokens: Vec<u32> = (0..120).map(|place| (place * 37 + 11) % 290).collect();
        let rows = logits(&gguf, &tokens).into_iter().zip(logits(&folder, &tokens));
        let worst = rows.map(|(a, b)| relative_error(&a, &b)).fold(0f32, f32::max);
        println!("{family}: GGUF against safetensors, worst row's relative error {worst:.1e}");
        // Only the rotary divisors are rounded on the way.
        assert!(
            worst < if family == "llama3" { 1e-5 } else { f32::MIN_POSITIVE },
            "{family}: {worst}"
        );
    }
}

#[test]
fn token_ids_are_those_of_llama_cpp() {
    for family in ["llama3", "mistral", "qwen2"] {
        let expected = fs::read(folder(family).join("expected.json")).unwrap();
        let expected: serde_json::Value = serde_json::from_slice(&expected).unwrap();
        let (_, tokenizer) = Model::describe(&folder(family).join("header.gguf")).unwrap();
        let texts = expected["gguf"].as_array().unwrap();
        assert!(texts.len() > 40);
        for of in texts {
            let ids: Vec<u32> = serde_json::from_value(of["ids"].clone()).unwrap();
            let text = of["text"].as_str().unwrap();
            assert_eq!(tokenizer.encode(text).unwrap(), ids, "{family}: {text:?}");
        }
        for of in expected["texts"].as_array().unwrap() {
            let ids: Vec<u32> = serde_json::from_value(of["ids"].clone()).unwrap();
            assert_eq!(tokenizer.decode(&ids).unwrap(), of["decoded"], "{family}");
        }
    }
}

#[test]
fn texts_end_at_each_of_the_end_tokens_that_a_header_names() {
    for (family, ends) in
        [("llama3", vec![299, 296]), ("mistral", vec![2]), ("qwen2", vec![299, 297])]
    {
        let (_, tokenizer) = Model::describe(&folder(family).join("header.gguf")).unwrap();
        assert_eq!(tokenizer.end_tokens(), ends, "{family}");
        assert_eq!(tokenizer.own_end_token(), Some(ends[0]), "{family}");
    }
}

/// Every type that candle reads computes, bit for bit, what the numbers that it can hold compute in f32.
#[test]
fn stored_types_are_read_as_the_numbers_that_they_hold() {
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("tiny.gguf");
    let tokens = prompt(5, 20);
    let load = |tiny: &Tiny| {
        tiny.write(&path).unwrap();
        logits(&Model::load("tiny", &path, Weights::F32, &Device::Cpu).unwrap(), &tokens)
    };
    let exact = load(&Tiny::of_width(256, 2));
    for (kind, error) in [
        (GgmlDType::F16, 1e-2),
        (GgmlDType::BF16, 5e-2),
        (GgmlDType::Q8_0, 1e-1),
        (GgmlDType::Q6K, 0.4),
        (GgmlDType::Q5_0, 1.0),
        (GgmlDType::Q5_1, 1.0),
        (GgmlDType::Q5K, 1.0),
        (GgmlDType::Q4_0, 1.5),
        (GgmlDType::Q4_1, 1.5),
        (GgmlDType::Q4K, 1.5),
        (GgmlDType::Q3K, 2.0),
        (GgmlDType::Q2K, 2.0), // of a random model, nothing is left
    ] {
        let stored = load(&Tiny::of_width(256, 2).stored_as(kind));
        let rounded = load(&Tiny::of_width(256, 2).rounded_to(kind));
        assert!(stored == rounded, "{kind:?}");
        let worst =
            stored.iter().zip(&exact).map(|(a, b)| relative_error(a, b)).fold(0f32, f32::max);
        println!("{kind:?}: worst row's relative error {worst:.1e}");
        assert!(worst > 0.0 && worst < error, "{kind:?}: {worst}");
    }
    for kind in [GgmlDType::Q8_1, GgmlDType::Q8K] {
        Tiny::of_width(256, 2).stored_as(kind).write(&path).unwrap();
        let refused = Model::load("tiny", &path, Weights::F32, &Device::Cpu);
        let message = refused.map(|_| ()).unwrap_err().to_string();
        assert!(
            message.contains(&format!("{kind:?}")) && message.contains("token_embd"),
            "{message}"
        );
    }
}

/// Blocks that are multiplied as they are differ from the numbers that they hold by the rounding of activations; those that are not, by that of weights to 8
/// bits beside it; and what is not quantised by nothing.
#[test]
fn native_weights_are_the_stored_ones() {
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("tiny.gguf");
    let tokens = prompt(5, 20);
    for (kind, error) in [
        (GgmlDType::F16, 0.0),
        (GgmlDType::F32, 0.0),
        (GgmlDType::Q8_0, 0.1),
        (GgmlDType::Q4_0, 0.1),
        (GgmlDType::Q4_1, 0.1),
        (GgmlDType::Q6K, 0.15),
        (GgmlDType::Q4K, 0.15),
        (GgmlDType::Q5_0, 0.15),
    ] {
        Tiny::of_width(256, 2).stored_as(kind).write(&path).unwrap();
        let [exact, native] = [Weights::F32, Weights::Native].map(|weights| {
            logits(&Model::load("tiny", &path, weights, &Device::Cpu).unwrap(), &tokens)
        });
        let worst =
            native.iter().zip(&exact).map(|(a, b)| relative_error(a, b)).fold(0f32, f32::max);
        println!("{kind:?}: worst row's relative error {worst:.1e}");
        assert!(worst <= error && (worst > 0.0) == (error > 0.0), "{kind:?}: {worst}");
    }
}
