//! The real model against other programs: `transformers` on the same file dequantised to f32, and llama.cpp's tokenizer.

mod support;

use std::path::{Path, PathBuf};

use candle_core::{Device, Tensor, safetensors};
use runner::{ChatTemplate, Engine, Job, Limits, Message, Model, Weights};
use zoo::{DecodePolicy, PrefillPolicy};

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)
}

/// A reference's logits at some positions and some ids of the vocabulary, and its best eight.
struct Reference {
    tokens: Vec<u32>,
    positions: Vec<usize>,
    vocab_ids: Vec<usize>,
    logits: Vec<Vec<f32>>,
    top_ids: Vec<Vec<i64>>,
    top_logits: Vec<Vec<f32>>,
    next_logprobs: Vec<f32>,
    greedy: Option<Vec<i64>>,
}

impl Reference {
    fn load(name: &str) -> Self {
        let tensors = safetensors::load(fixture(&format!("logits_{name}.safetensors")), &Device::Cpu).unwrap();
        let integers = |key: &str| tensors[key].to_vec1::<i64>().unwrap();
        Self {
            tokens: integers("tokens").iter().map(|&id| id as u32).collect(),
            positions: integers("positions").iter().map(|&p| p as usize).collect(),
            vocab_ids: integers("vocab_ids").iter().map(|&id| id as usize).collect(),
            logits: tensors["logits_sample"].to_vec2().unwrap(),
            top_ids: tensors["top_ids"].to_vec2().unwrap(),
            top_logits: tensors["top_logits"].to_vec2().unwrap(),
            next_logprobs: tensors["next_logprobs"].to_vec1().unwrap(),
            greedy: tensors.get("greedy").map(|greedy: &Tensor| greedy.to_vec1().unwrap()),
        }
    }
}

/// Largest relative error over rows (norm of the difference over norm of the reference), largest absolute one, and the rows whose
/// best token differs although the reference's margin exceeds twice that row's largest error.
fn compare(model: &Model, reference: &Reference) -> (f32, f32, usize) {
    let mut rows = Vec::new();
    model.logits(&reference.tokens, |row| {
        rows.push(row);
        Ok(())
    })
    .unwrap();
    let (mut relative, mut absolute, mut flips) = (0f32, 0f32, 0);
    for (i, &position) in reference.positions.iter().enumerate() {
        let row = &rows[position];
        let errors: Vec<f32> = reference.vocab_ids.iter().zip(&reference.logits[i]).map(|(&id, &want)| row[id] - want).collect();
        let norm = |values: &[f32]| values.iter().map(|v| v * v).sum::<f32>().sqrt();
        relative = relative.max(norm(&errors) / norm(&reference.logits[i]));
        let worst = errors.iter().fold(0f32, |most, error| most.max(error.abs()));
        absolute = absolute.max(worst);
        let best = (0..row.len()).max_by(|&a, &b| row[a].total_cmp(&row[b])).unwrap();
        let margin = reference.top_logits[i][0] - reference.top_logits[i][1];
        flips += usize::from(best as i64 != reference.top_ids[i][0] && margin > 2.0 * worst);
    }
    (relative, absolute, flips)
}

#[test]
fn f32_logits_equal_transformers() {
    let Some(model) = support::smollm2() else { return };
    for name in ["short", "code", "long"] {
        let reference = Reference::load(name);
        let text = std::fs::read_to_string(fixture(&format!("logits_{name}.txt"))).unwrap();
        assert_eq!(model.tokenizer().encode(&text).unwrap(), reference.tokens, "{name}");
        let (relative, absolute, flips) = compare(model, &reference);
        println!("{name}: {} tokens, relative error {relative:.1e}, absolute {absolute:.1e}", reference.tokens.len());
        assert!(relative <= 1e-4 && flips == 0, "{name}: relative {relative}, flips {flips}");
        let logprobs = model.log_probabilities(&reference.tokens).unwrap();
        let worst = logprobs.iter().zip(&reference.next_logprobs).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        assert!(logprobs.len() == reference.next_logprobs.len() && worst < 1e-3, "{name}: {worst}");
    }
}

#[test]
fn quantised_logits_stay_near_transformers() {
    let Some(path) = support::smollm2_path() else { return };
    let model = Model::load("smollm2-135m", &path, Weights::Q8_0, &Device::Cpu).unwrap();
    for name in ["short", "code"] {
        let (relative, absolute, flips) = compare(&model, &Reference::load(name));
        println!("{name}: relative error {relative:.1e}, absolute {absolute:.1e}, flips beyond the error {flips}");
        assert!(relative <= 5e-2 && flips == 0, "{name}: relative {relative}, flips {flips}");
    }
}

#[test]
fn greedy_text_equals_transformers() {
    let Some(model) = support::smollm2() else { return };
    let reference = Reference::load("short");
    let greedy = reference.greedy.unwrap();
    let prefilled = model.prefill(&reference.tokens, &[]).unwrap();
    let job = Job {
        prefill: PrefillPolicy::All,
        decode: DecodePolicy::never(),
        limits: Limits::exactly(greedy.len()),
        forced: None,
        seed: 0,
    };
    let outcome = Engine::run(model, &prefilled, &job).unwrap();
    assert_eq!(outcome.tokens.iter().map(|&id| i64::from(id)).collect::<Vec<_>>(), greedy);
}

#[test]
fn token_ids_equal_llama_cpp() {
    let Some(model) = support::smollm2() else { return };
    let lines = std::fs::read_to_string(fixture("tokenizer_ids.jsonl")).unwrap();
    let mut strings = 0;
    for line in lines.split('\n').filter(|line| !line.is_empty()) {
        let case: serde_json::Value = serde_json::from_str(line).unwrap();
        let text = case["text"].as_str().unwrap();
        let ids: Vec<u32> = serde_json::from_value(case["ids"].clone()).unwrap();
        assert_eq!(model.tokenizer().encode(text).unwrap(), ids, "{text:?}");
        strings += 1;
    }
    assert!(strings >= 200, "{strings}");
}

#[test]
fn chat_template_renders_as_llama_cpp_does() {
    let Some(model) = support::smollm2() else { return };
    let template: &ChatTemplate = model.tokenizer().template().unwrap();
    let lines = std::fs::read_to_string(fixture("chat_template.jsonl")).unwrap();
    for line in lines.split('\n').filter(|line| !line.is_empty()) {
        let case: serde_json::Value = serde_json::from_str(line).unwrap();
        let messages: Vec<Message> = serde_json::from_value(case["messages"].clone()).unwrap();
        assert_eq!(template.render(&messages).unwrap(), case["text"].as_str().unwrap());
    }
}
