//! A second oracle: candle's own Llama, written by others, with its own cache and its own rotary embedding, on the same files.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod support;

use std::fs::File;
use std::path::Path;

use candle_core::quantized::gguf_file::Content;
use candle_core::{Device, Tensor};
use candle_transformers::models::quantized_llama::ModelWeights;
use runner::{Engine, Model, Weights};
use support::{Tiny, in_a_process, job, prefill, prompt, relative_error, smollm2_path};
use zoo::methods::{Full, Never};
use zoo::{Arm, Decode, Prefill};

const NEW_TOKENS: usize = 30;

/// Logits of candle's model after a prompt and after each of the tokens that we chose; whether it would have chosen them too.
fn compare(path: &Path, tokens: &[u32]) -> (f32, bool) {
    let model = Model::load("ours", path, Weights::F32, &Device::Cpu).unwrap();
    let job = job(&Arm::new("full", Prefill::Full(Full {}), Decode::None(Never {})), NEW_TOKENS);
    let ours = Engine::run(&model, &prefill(&model, tokens, &[]), &job).unwrap().tokens;
    let mut rows = Vec::new();
    let text: Vec<u32> = tokens.iter().chain(&ours).copied().collect();
    model
        .logits(&text, |row| {
            rows.push(row);
            Ok(())
        })
        .unwrap();

    let mut reader = File::open(path).unwrap();
    let content = Content::read(&mut reader).unwrap();
    let mut theirs = ModelWeights::from_gguf(content, &mut reader, &Device::Cpu).unwrap();
    let mut forward = |tokens: &[u32], position: usize| -> Vec<f32> {
        let input = Tensor::new(tokens, &Device::Cpu).unwrap().unsqueeze(0).unwrap();
        theirs.forward(&input, position).unwrap().squeeze(0).unwrap().to_vec1().unwrap()
    };
    let (mut worst, mut same) = (0f32, true);
    let mut logits = forward(tokens, 0);
    for (step, &token) in ours.iter().enumerate() {
        worst = worst.max(relative_error(&rows[tokens.len() - 1 + step], &logits));
        let best = (0..logits.len()).max_by(|&a, &b| logits[a].total_cmp(&logits[b])).unwrap();
        same &= best == token as usize;
        logits = forward(&[token], tokens.len() + step);
    }
    (worst, same)
}

#[test]
fn a_tiny_model_computes_what_candles_own_llama_computes() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tiny.gguf");
    for kv_heads in [1, 2, 4] {
        Tiny::new(kv_heads).write(&path).unwrap();
        for tokens in [1, 17, 300] {
            let (worst, same) = compare(&path, &prompt(41, tokens));
            println!("{kv_heads} KV heads, prompt of {tokens}: relative error {worst:.1e}");
            assert!(
                worst < 1e-4 && same,
                "{kv_heads} KV heads, prompt of {tokens}: relative error {worst}, same text: {same}"
            );
        }
    }
}

/// Candle multiplies quantised weights with quantised activations unless a variable, read once per process, tells it not to.
#[test]
fn so_does_smollm2() {
    let Some(_) = smollm2_path() else { return };
    let answers = in_a_process("compare_smollm2", &[("CANDLE_DEQUANTIZE_ALL", "1")]);
    let [worst, same] = &answers[..] else { panic!("{answers:?}") };
    println!("relative error {worst}");
    assert!(worst.parse::<f32>().unwrap() < 1e-4 && same == "true", "{answers:?}");
}

#[test]
#[ignore = "a child process of `so_does_smollm2`"]
fn compare_smollm2() {
    let path = smollm2_path().unwrap();
    let text = include_str!("fixtures/logits_short.txt");
    let (_, tokenizer) = Model::describe(&path).unwrap();
    let (worst, same) = compare(&path, &tokenizer.encode(text).unwrap());
    println!("\nanswer: {worst:e}\nanswer: {same}");
}
