//! Every family in Hugging Face's layout: a small random model computes and reads what `transformers` does with the same files.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod support;

use std::fs;
use std::path::PathBuf;

use candle_core::Device;
use runner::{Config, Engine, Message, Model, RopeScaling, Weights};
use safetensors::SafeTensors;
use serde_json::Value;
use support::{job, prefill, relative_error};
use zoo::methods::{Full, Never};
use zoo::{Arm, Decode, Prefill};

const FAMILIES: [&str; 4] = ["llama3", "mistral", "qwen2", "smollm2"];

fn folder(family: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/families").join(family)
}

fn load(family: &str) -> Model {
    Model::load(family, &folder(family), Weights::F32, &Device::Cpu).unwrap()
}

fn expected(family: &str) -> Value {
    serde_json::from_slice(&fs::read(folder(family).join("expected.json")).unwrap()).unwrap()
}

fn ids(value: &Value) -> Vec<u32> {
    serde_json::from_value(value.clone()).unwrap()
}

/// Rows of logits that were kept of a text: their places and their values.
fn kept(file: &[u8], text: usize) -> Vec<(usize, Vec<f32>)> {
    let tensors = SafeTensors::deserialize(file).unwrap();
    let (rows, logits) = (
        tensors.tensor(&format!("rows_{text}")).unwrap(),
        tensors.tensor(&format!("logits_{text}")).unwrap(),
    );
    let rows = rows.data().as_chunks::<8>().0.iter().map(|row| i64::from_le_bytes(*row));
    let values: Vec<f32> =
        logits.data().as_chunks::<4>().0.iter().map(|value| f32::from_le_bytes(*value)).collect();
    let values = values.chunks(logits.shape()[1]).map(<[f32]>::to_vec);
    rows.map(|row| usize::try_from(row).unwrap()).zip(values).collect()
}

#[test]
fn logits_are_those_of_transformers() {
    for family in FAMILIES {
        let (model, expected) = (load(family), expected(family));
        let file = fs::read(folder(family).join("logits.safetensors")).unwrap();
        let mut worst = 0f32;
        for (text, of) in expected["texts"].as_array().unwrap().iter().enumerate() {
            let mut rows = Vec::new();
            model
                .logits(&ids(&of["ids"]), |row| {
                    rows.push(row);
                    Ok(())
                })
                .unwrap();
            for (row, logits) in kept(&file, text) {
                worst = worst.max(relative_error(&rows[row], &logits));
            }
        }
        println!("{family}: worst row's relative error {worst:.1e}");
        assert!(worst < 1e-5, "{family}: {worst}");
    }
}

#[test]
fn greedy_text_is_that_of_transformers() {
    for family in FAMILIES {
        let (model, expected) = (load(family), expected(family));
        let greedy = &expected["greedy"];
        let prompt = ids(
            &expected["texts"][usize::try_from(greedy["prompt"].as_u64().unwrap()).unwrap()]["ids"]
        );
        let said = ids(&greedy["ids"]);
        let full = Arm::new("full", Prefill::Full(Full {}), Decode::None(Never {}));
        let job = job(&full, said.len());
        let outcome = Engine::run(&model, &prefill(&model, &prompt, &[]), &job).unwrap();
        assert_eq!(outcome.tokens, said, "{family}");
        assert_eq!(model.tokenizer().decode(&said).unwrap(), greedy["text"], "{family}");
    }
}

#[test]
fn token_ids_and_texts_are_those_of_the_reference_tokenizer() {
    for family in FAMILIES {
        let (_, tokenizer) = Model::describe(&folder(family)).unwrap();
        for of in expected(family)["texts"].as_array().unwrap() {
            let text = of["text"].as_str().unwrap();
            assert_eq!(tokenizer.encode(text).unwrap(), ids(&of["ids"]), "{family}: {text:?}");
            assert_eq!(tokenizer.decode(&ids(&of["ids"])).unwrap(), of["decoded"], "{family}");
        }
    }
}

#[test]
fn chats_are_those_of_transformers_with_one_bos() {
    for family in FAMILIES {
        let (_, tokenizer) = Model::describe(&folder(family)).unwrap();
        let chat = expected(family)["chat"].clone();
        let messages: Vec<Message> = serde_json::from_value(chat["messages"].clone()).unwrap();
        assert_eq!(tokenizer.encode_chat(&messages).unwrap(), ids(&chat["ids"]), "{family}");
    }
}

#[test]
fn texts_end_where_the_files_say() {
    for (family, ends, own) in [
        ("llama3", vec![296, 299], 299),
        ("mistral", vec![2], 2),
        ("qwen2", vec![299, 297], 299),
        ("smollm2", vec![299], 299),
    ] {
        let (_, tokenizer) = Model::describe(&folder(family)).unwrap();
        assert_eq!(tokenizer.end_tokens(), ends, "{family}");
        assert_eq!(tokenizer.own_end_token(), Some(own), "{family}");
    }
}

#[test]
fn shapes_are_read_from_the_newest_layout() {
    let config = |family| Model::describe(&folder(family)).unwrap().0;
    let llama3 = Config {
        layers: 2,
        hidden: 48,
        intermediate: 80,
        query_heads: 4,
        kv_heads: 2,
        head_dim: 12,
        vocabulary: 300,
        context: 256,
        rope_theta: 10_000.0,
        rope_scaling: Some(RopeScaling {
            factor: 8.0,
            low_frequency_factor: 1.0,
            high_frequency_factor: 4.0,
            original_context: 32,
        }),
        norm_epsilon: 1e-5,
        tied: false,
        qkv_bias: false,
        output_bias: false,
    };
    assert_eq!(config("llama3"), llama3);
    let qwen2 = config("qwen2");
    assert!(qwen2.qkv_bias && !qwen2.output_bias && qwen2.tied && qwen2.head_dim == 8);
    assert_eq!((config("mistral").head_dim, config("smollm2").kv_heads), (16, 3));
}

#[test]
fn rows_that_fill_no_block_are_refused_in_eight_bits() {
    let model = Model::load("qwen2", &folder("qwen2"), Weights::Q8_0, &Device::Cpu);
    let message = model.map(|_| ()).unwrap_err().to_string();
    assert!(
        message.contains("qwen2") && message.contains("48") && message.contains("f32"),
        "{message}"
    );
}
