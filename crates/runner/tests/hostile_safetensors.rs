//! Weights that are not what they say: safetensors files and their index, broken in each way, are refused by name.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod support;

use std::collections::HashMap;
use std::fs;

use safetensors::SafeTensors;
use safetensors::tensor::{Dtype, TensorView, serialize};
use serde_json::json;
use support::broken::Broken;

/// A safetensors file with one tensor changed, or added.
fn with_tensor(whole: &[u8], name: &str, dtype: Dtype, shape: &[usize], data: &[u8]) -> Vec<u8> {
    let tensors = SafeTensors::deserialize(whole).unwrap();
    let mut views: HashMap<String, TensorView<'_>> =
        tensors.iter().map(|(name, view)| (name.to_owned(), view)).collect();
    views.insert(name.to_owned(), TensorView::new(dtype, shape.to_vec(), data).unwrap());
    serialize(views, None).unwrap()
}

#[test]
fn tensors_that_do_not_fit_are_refused_by_name() {
    let folder = Broken::new("smollm2");
    let (file, norm) = ("model.safetensors", "model.norm.weight");
    let whole = folder.read(file);
    let refused = |dtype, shape: &[usize], data: &[u8], said: &str| {
        let message = folder.refusal(file, &with_tensor(&whole, norm, dtype, shape, data));
        assert!(message.contains(norm) && message.contains(said), "{message}");
    };
    refused(Dtype::F32, &[47], &[0; 47 * 4], "[47], not [48]");
    refused(Dtype::F32, &[48, 1], &[0; 48 * 4], "[48, 1]");
    refused(Dtype::F32, &[0], &[], "[0]");
    refused(Dtype::I32, &[48], &[0; 48 * 4], "I32");
    refused(Dtype::F64, &[48], &[0; 48 * 8], "F64");
    refused(Dtype::F8_E4M3, &[48], &[0; 48], "F8_E4M3");
    for number in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        let mut data = [0; 48 * 4];
        data[40..44].copy_from_slice(&number.to_le_bytes());
        refused(Dtype::F32, &[48], &data, "NaN or infinity");
    }
    let half = [0x00, 0x7c].repeat(48); // infinity in 16 bits
    refused(Dtype::F16, &[48], &half, "NaN or infinity");

    let added = |name: &str| with_tensor(&whole, name, Dtype::F32, &[8], &[0; 32]);
    for name in ["model.layers.0.self_attn.q_norm.weight", "model.layers.2.input_layernorm.weight"]
    {
        let message = folder.refusal(file, &added(name));
        assert!(message.contains(name) && message.contains("no place"), "{message}");
    }
    fs::write(folder.path(file), added("model.layers.0.self_attn.rotary_emb.inv_freq")).unwrap();
    folder.load().unwrap();
}

#[test]
fn headers_that_lie_are_refused() {
    let folder = Broken::new("smollm2");
    let file = "model.safetensors";
    let whole = folder.read(file);
    let header = |length: u64, text: &str, data: usize| {
        [&length.to_le_bytes(), text.as_bytes(), &vec![0; data]].concat()
    };
    let lying = |text: &str, data: usize| header(text.len() as u64, text, data);
    for bytes in [
        Vec::new(),
        whole[..7].to_vec(),
        b"PK\x03\x04 a pickle, which is another thing altogether".to_vec(),
        header(1 << 60, "{}", 0),
        header(u64::MAX, "{}", 0),
        header(99_999_999, "{}", 0),
        lying("", 0),
        lying("[]", 0),
        lying("{\"a\":", 0),
        lying(r#"{"model.norm.weight":{"dtype":"F32","shape":[48],"data_offsets":[0,192]}}"#, 191),
        lying(r#"{"model.norm.weight":{"dtype":"F32","shape":[48],"data_offsets":[0,192]}}"#, 193),
        lying(r#"{"model.norm.weight":{"dtype":"F32","shape":[48],"data_offsets":[192,0]}}"#, 192),
        lying(r#"{"model.norm.weight":{"dtype":"F32","shape":[48],"data_offsets":[8,200]}}"#, 200),
        lying(r#"{"model.norm.weight":{"dtype":"F31","shape":[48],"data_offsets":[0,192]}}"#, 192),
        lying(
            r#"{"model.norm.weight":{"dtype":"F32","shape":[1152921504606846976],"data_offsets":[0,4611686018427387904]}}"#,
            64,
        ),
        lying(
            r#"{"model.norm.weight":{"dtype":"F32","shape":[4294967296,4294967296],"data_offsets":[0,64]}}"#,
            64,
        ),
        lying(
            r#"{"model.norm.weight":{"dtype":"F32","shape":[48],"data_offsets":[0,18446744073709551615]}}"#,
            64,
        ),
    ] {
        folder.refusal(file, &bytes);
    }
    let mut invalid = whole.clone();
    invalid[20] = 0xff;
    folder.refusal(file, &invalid);
    for length in (0..whole.len() - 1).step_by(whole.len() / 97) {
        folder.refusal(file, &whole[..length]);
    }
}

#[test]
fn an_index_that_leads_astray_is_refused() {
    let folder = Broken::new("llama3");
    let file = "model.safetensors.index.json";
    let whole = folder.json(file);
    let to = |place: &str| {
        let mut index = whole.clone();
        index["weight_map"]["model.norm.weight"] = json!(place);
        serde_json::to_vec(&index).unwrap()
    };
    for place in [
        "../model-00001-of-00002.safetensors",
        "/etc/passwd",
        "/x/y.safetensors",
        "a/b.safetensors",
        "..\\x.safetensors",
        "C:x.safetensors",
        "..",
        "",
        "model.bin",
        "x\0.safetensors",
    ] {
        let message = folder.refusal(file, &to(place));
        assert!(message.contains("weight_map.model.norm.weight"), "{place}: {message}");
    }
    for (map, said) in [
        (json!(null), "weight_map"),
        (json!([]), "weight_map"),
        (json!({"model.norm.weight": 7}), "model.norm.weight"),
        (json!({}), "model.embed_tokens.weight"),
    ] {
        let message =
            folder.refusal(file, &serde_json::to_vec(&json!({ "weight_map": map })).unwrap());
        assert!(message.contains(said), "{map}: {message}");
    }
    folder.refusal(file, b"{\"weight_map\": {");

    // A shard that is not there, and one that lacks what it should hold.
    fs::write(folder.path(file), to("model-00003-of-00002.safetensors")).unwrap();
    folder.refusal_of("model-00003-of-00002.safetensors");
    let other = whole["weight_map"]["model.embed_tokens.weight"].as_str().unwrap();
    let other = if whole["weight_map"]["model.norm.weight"] == other {
        "model-00002-of-00002.safetensors"
    } else {
        other
    };
    fs::write(folder.path(file), to(other)).unwrap();
    let message = folder.refusal_of(other);
    assert!(message.contains("model.norm.weight"), "{message}");
}
