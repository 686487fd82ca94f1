//! Folders that hold no model: each file, broken in each way, is refused by its name, and nothing panics.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod support;

use std::fs;

use runner::Model;
use serde_json::{Value, json};
use support::broken::Broken;

#[test]
fn what_is_no_json_object_is_refused() {
    let folder = Broken::new("smollm2");
    folder.load().unwrap();
    for name in ["config.json", "generation_config.json", "tokenizer_config.json", "tokenizer.json"]
    {
        let whole = folder.read(name);
        for bytes in [
            b"".as_slice(),
            b"[]",
            b"7",
            b"{\"vocab_size\": 1e999}",
            b"\xff\xfe{}",
            b"{\"a\": \"\xc3\x28\"}",
            &whole[..whole.len() / 2],
            &[b"[".repeat(100_000), b"]".repeat(100_000)].concat(),
        ] {
            folder.refusal(name, bytes);
        }
    }
    for name in ["config.json", "tokenizer.json", "model.safetensors"] {
        let whole = folder.read(name);
        fs::remove_file(folder.path(name)).unwrap();
        folder.refusal_of(name);
        fs::write(folder.path(name), whole).unwrap();
    }
    let template = folder.refusal("chat_template.jinja", b"\xff");
    assert!(template.contains("chat_template.jinja"), "{template}");
}

#[test]
fn a_configuration_that_cannot_be_is_refused_with_its_key() {
    let folder = Broken::new("smollm2");
    let huge = json!(1u64 << 60);
    for (key, value, said) in [
        ("model_type", json!("mamba"), "mamba"),
        ("model_type", json!(null), "model_type"),
        ("model_type", json!("mistral"), "MistralForCausalLM"),
        ("architectures", json!(["LlamaForSequenceClassification"]), "architectures"),
        ("architectures", json!([]), "architectures"),
        ("hidden_size", json!(null), "hidden_size"),
        ("hidden_size", json!("48"), "hidden_size"),
        ("hidden_size", json!(-48), "hidden_size"),
        ("hidden_size", json!(48.5), "hidden_size"),
        ("hidden_size", huge.clone(), "absurd"),
        ("hidden_size", json!(64), "model.embed_tokens.weight"),
        ("intermediate_size", json!(1 << 24), "mlp.gate_proj"),
        ("intermediate_size", json!(0), "feed-forward"),
        ("num_hidden_layers", huge, "absurd"),
        ("num_hidden_layers", json!(1 << 24), "model.layers.2."),
        ("num_hidden_layers", json!(3), "model.layers.2."),
        ("num_hidden_layers", json!(1), "model.layers.1."),
        ("num_attention_heads", json!(0), "query heads"),
        ("num_key_value_heads", json!(4), "4 KV heads"),
        ("num_key_value_heads", json!(0), "KV heads"),
        ("head_dim", json!(7), "7"),
        ("head_dim", json!(0), "head width"),
        ("vocab_size", json!(10), "vocab_size"),
        ("vocab_size", json!(301), "model.embed_tokens.weight"),
        ("max_position_embeddings", json!(null), "max_position_embeddings"),
        ("max_position_embeddings", json!(0), "context"),
        ("hidden_act", json!("gelu"), "hidden_act"),
        ("mlp_bias", json!(true), "mlp_bias"),
        ("attention_bias", json!(true), "q_proj.bias"),
        ("attention_bias", json!("no"), "attention_bias"),
        ("tie_word_embeddings", json!(false), "lm_head.weight"),
        ("tie_word_embeddings", json!("yes"), "tie_word_embeddings"),
        ("quantization_config", json!({"quant_method": "gptq"}), "quantization_config"),
        ("rms_norm_eps", json!("small"), "rms_norm_eps"),
        ("rms_norm_eps", json!(1e300), "epsilon"),
        ("partial_rotary_factor", json!(0.5), "partial_rotary_factor"),
        ("rope_parameters", json!([]), "rope_parameters"),
        ("rope_parameters", json!({"rope_theta": 0.0}), "rotary base"),
        ("rope_parameters", json!({"rope_theta": "10000"}), "rope_parameters.rope_theta"),
        ("rope_parameters", json!({"rope_type": "yarn", "factor": 4.0}), "`yarn`"),
        ("rope_parameters", json!({"type": "dynamic"}), "`dynamic`"),
        ("rope_parameters", json!({"rope_type": "llama3"}), "rope_parameters.factor"),
        ("rope_parameters", llama3(0.0, 1.0), "rotary scaling"),
        ("rope_parameters", llama3(8.0, 4.0), "rotary scaling"),
    ] {
        let message = folder.refusal_from("config.json", "model.safetensors", key, &value);
        assert!(message.contains(said), "`{key}` = {value}: {message}");
    }
}

fn llama3(factor: f32, low: f32) -> Value {
    json!({
        "rope_type": "llama3", "factor": factor, "low_freq_factor": low, "high_freq_factor": 4.0,
        "original_max_position_embeddings": 32,
    })
}

#[test]
fn a_window_shortens_the_context_or_is_off() {
    let folder = Broken::new("mistral");
    let context = |changes: &[(&str, Value)]| {
        let mut config = folder.json("config.json");
        for (key, value) in changes {
            config[*key] = value.clone();
        }
        let place = Broken::new("mistral");
        fs::write(place.path("config.json"), serde_json::to_vec(&config).unwrap()).unwrap();
        Model::describe(place.0.path()).unwrap().0.context
    };
    assert_eq!(context(&[("sliding_window", json!(64))]), 64);
    assert_eq!(context(&[("sliding_window", json!(4096))]), 256);
    assert_eq!(context(&[]), 256);
    let message = folder.refusal_with("config.json", &json!({"sliding_window": "wide"}));
    assert!(message.contains("sliding_window"), "{message}");

    let qwen2 = |on: bool| {
        let place = Broken::new("qwen2");
        let mut config = place.json("config.json");
        config["sliding_window"] = json!(64);
        config["use_sliding_window"] = json!(on);
        fs::write(place.path("config.json"), serde_json::to_vec(&config).unwrap()).unwrap();
        Model::describe(place.0.path()).unwrap().0.context
    };
    assert_eq!((qwen2(true), qwen2(false)), (64, 256));
}

#[test]
fn end_tokens_that_no_tokenizer_knows_are_refused() {
    let folder = Broken::new("smollm2");
    for value in [
        json!(300),
        json!(-1),
        json!("<|end|>"),
        json!([299, 5000]),
        json!(1u64 << 40),
        json!([[299]]),
    ] {
        for name in ["generation_config.json", "config.json"] {
            let generation = folder.read("generation_config.json");
            if name == "config.json" {
                fs::write(folder.path("generation_config.json"), b"{}").unwrap();
            }
            let message = folder.refusal_with(name, &json!({ "eos_token_id": value }));
            assert!(message.contains("eos_token_id"), "{value}: {message}");
            fs::write(folder.path("generation_config.json"), generation).unwrap();
        }
    }
}

#[test]
fn a_tokenizer_that_does_not_hang_together_is_refused() {
    let folder = Broken::new("smollm2");
    let whole = folder.json("tokenizer.json");
    let with = |pointer: &str, value: Value| {
        let mut file = whole.clone();
        *file.pointer_mut(pointer).unwrap() = value;
        folder.refusal("tokenizer.json", &serde_json::to_vec(&file).unwrap())
    };
    with("/model", json!(null));
    with("/model/vocab", json!([]));
    with("/model/merges", json!([["nowhere", "else"]]));
    with("/model/merges", json!(["one two three"]));
    with("/model/vocab/!", json!(1u64 << 60));
    with("/model/vocab/!", json!(-1));
    assert!(with("/model/vocab/!", json!(4_000_000)).contains("vocab_size"));
    with("/added_tokens/0/content", json!(7));
    with("/pre_tokenizer", json!({"type": "Clairvoyant"}));
    let regex = json!({"type": "Split", "pattern": {"Regex": "("}, "behavior": "Isolated", "invert": false});
    with("/pre_tokenizer", regex);

    for (changes, said) in [
        (json!({"chat_template": 7}), "chat_template"),
        (json!({"chat_template": [{"name": "default"}]}), "chat_template"),
        (json!({"bos_token": 5}), "bos_token"),
        (json!({"eos_token": {"text": "x"}}), "eos_token"),
        (json!({"add_bos_token": "yes"}), "add_bos_token"),
    ] {
        let message = folder.refusal_with("tokenizer_config.json", &changes);
        assert!(message.contains(said), "{changes}: {message}");
    }
    // One file says what another lacks.
    let mut settings = folder.json("tokenizer_config.json");
    settings["add_bos_token"] = json!(true);
    settings["bos_token"] = json!("<nowhere>");
    fs::write(folder.path("tokenizer_config.json"), serde_json::to_vec(&settings).unwrap())
        .unwrap();
    let message = folder.refusal_of("tokenizer.json");
    assert!(message.contains("add_bos_token"), "{message}");
}

#[test]
fn a_file_with_a_byte_changed_never_panics() {
    let folder = Broken::new("llama3");
    for name in [
        "config.json",
        "tokenizer.json",
        "model.safetensors.index.json",
        "model-00001-of-00002.safetensors",
    ] {
        let whole = folder.read(name);
        for place in (0..whole.len().min(1700)).step_by(13) {
            for byte in [0x00, 0x22, 0x39, 0xff] {
                let mut bytes = whole.clone();
                bytes[place] = byte;
                fs::write(folder.path(name), &bytes).unwrap();
                if let Err(error) = folder.load() {
                    let message = error.to_string();
                    assert!(
                        message.contains(&folder.0.path().display().to_string()),
                        "{name}: byte {place} = {byte}: {message}"
                    );
                }
            }
        }
        fs::write(folder.path(name), whole).unwrap();
    }
}
