//! Models, as GGUF and as folders.

use std::fs;

use serde_json::{Value, json};

use crate::broken::{FOLDER, GGUF, half, patched, swapped};
use crate::table::Table;

pub(crate) fn gguf(table: &mut Table) {
    let whole = table.bytes("tiny.gguf");
    let mut not_a_number = whole.clone();
    let end = not_a_number.len();
    not_a_number[end - 4..].copy_from_slice(&f32::NAN.to_le_bytes());
    let states = [
        ("empty", Vec::new()),
        ("truncated", half(&whole)),
        ("wrong magic", [b"GGML", &whole[4..]].concat()),
        ("2^60 tensors", patched(&whole, 8, 1 << 60)),
        ("2^60 keys", patched(&whole, 16, 1 << 60)),
        ("a weight that is not a number", not_a_number),
    ];
    table.states("GGUF", "tiny.gguf", 3, &GGUF, &states);
    table.endless("GGUF", "tiny.gguf", 3, &GGUF);
}

pub(crate) fn folders(table: &mut Table) {
    let config = table.bytes("model/config.json");
    let object: Value = serde_json::from_slice(&config).unwrap();
    let changed = |key: &str, value: Value| {
        let mut object = object.clone();
        object[key] = value;
        object.to_string().into_bytes()
    };
    let states = [
        ("empty", Vec::new()),
        ("cut in half", half(&config)),
        ("invalid UTF-8", b"{\"a\": \"\xff\"}".to_vec()),
        ("a wrong type", changed("hidden_size", json!("x"))),
        ("a size of 2^60", changed("hidden_size", json!(1u64 << 60))),
        ("another architecture", changed("model_type", json!("mamba"))),
        ("a shape that the weights have not", changed("intermediate_size", json!(1 << 20))),
    ];
    table.states("config.json", "model/config.json", 3, &FOLDER, &states);
    table.endless("config.json", "model/config.json", 3, &FOLDER);

    let tokenizer = table.bytes("model/tokenizer.json");
    let states = [
        ("empty", Vec::new()),
        ("cut in half", half(&tokenizer)),
        ("no tokenizer", b"{}".to_vec()),
    ];
    table.states("tokenizer.json", "model/tokenizer.json", 3, &FOLDER, &states);
    // Files without an end count as missing where a model's folder is first looked at.
    table.write("model/tokenizer.json", "x".repeat((64 << 20) + 1));
    table.row("tokenizer.json", "longer than any tokenizer", 3, &FOLDER);
    table.write("model/tokenizer.json", &tokenizer);
    table.endless("chat template", "model/chat_template.jinja", 3, &FOLDER);
    let settings = table.bytes("model/tokenizer_config.json");
    for (case, bytes) in [
        ("cut in half", half(&settings)),
        ("invalid UTF-8", b"{\"a\": \"\xff\"}".to_vec()),
        ("a number for a token", b"{\"bos_token\": 7}".to_vec()),
        ("a number for a template", b"{\"chat_template\": 7}".to_vec()),
    ] {
        table.write("model/tokenizer_config.json", bytes);
        table.row("tokenizer_config.json", case, 3, &FOLDER);
    }
    table.write("model/tokenizer_config.json", settings);
    table.endless("tokenizer_config.json", "model/tokenizer_config.json", 3, &FOLDER);
    let generation = table.bytes("model/generation_config.json");
    table.write("model/generation_config.json", b"{\"eos_token_id\": 99999}");
    table.row("generation_config.json", "an end token that the tokenizer lacks", 3, &FOLDER);
    table.write("model/generation_config.json", generation);
    table.write("model/chat_template.jinja", b"{% for %}");
    table.row("chat template", "not Jinja", 3, &FOLDER);
    let grows = "{% set ns = namespace(s='xx') %}{% for i in range(60) %}{% set ns.s = ns.s ~ ns.s %}{% endfor %}";
    table.write("model/chat_template.jinja", grows);
    table.row("chat template", "a text doubled 60 times", 3, &FOLDER);
    let endless = "{% for i in range(9999) %}{% for j in range(9999) %}{% endfor %}{% endfor %}";
    table.write("model/chat_template.jinja", endless);
    table.row("chat template", "a loop of 10^8 rounds", 3, &FOLDER);
    fs::remove_file(table.place.path("model/chat_template.jinja")).unwrap();

    let weights = table.bytes("model/model.safetensors");
    let header = u64::from_le_bytes(weights[..8].try_into().unwrap()) as usize;
    let described = std::str::from_utf8(&weights[8..8 + header]).unwrap();
    let rewritten = |from: &str, to: &str| {
        assert_eq!(from.len(), to.len());
        [&weights[..8], &swapped(described.as_bytes(), from, to), &weights[8 + header..]].concat()
    };
    let mut not_a_number = weights.clone();
    let end = not_a_number.len();
    not_a_number[end - 4..].copy_from_slice(&f32::NAN.to_le_bytes());
    let states = [
        ("empty", Vec::new()),
        ("truncated", half(&weights)),
        ("a header of 2^60 bytes", patched(&weights, 0, 1 << 60)),
        ("a wrong dtype", rewritten("\"dtype\":\"F32\"", "\"dtype\":\"I32\"")),
        ("a weight that is not a number", not_a_number),
    ];
    table.states("safetensors", "model/model.safetensors", 3, &FOLDER, &states);
    table.endless("safetensors", "model/model.safetensors", 3, &FOLDER);

    let map = json!({ "weight_map": { "model.embed_tokens.weight": "../outside.safetensors" } });
    table.write("model/model.safetensors.index.json", map.to_string());
    fs::rename(table.place.path("model/model.safetensors"), table.place.path("aside")).unwrap();
    table.row("safetensors index", "a shard with `../`", 3, &FOLDER);
    table.write("model/model.safetensors.index.json", b"{");
    table.row("safetensors index", "cut", 3, &FOLDER);
    fs::remove_file(table.place.path("model/model.safetensors.index.json")).unwrap();
    fs::rename(table.place.path("aside"), table.place.path("model/model.safetensors")).unwrap();
}
