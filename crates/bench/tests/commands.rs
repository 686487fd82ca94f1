//! The small commands: what they print, and how they refuse.
#![allow(clippy::unwrap_used, reason = "tests")]

mod support;

use std::fs;

use serde_json::{Value, json};
use support::Workplace;

/// An arm whose budgets cover every text of these tests.
const COVERING: &str = "prefill=h2o:budget=1000 decode=slide:budget=1000,recent=8";
const TIGHT: &str = "prefill=h2o:budget=24 decode=slide:budget=16,recent=8";
const TEXT: &str = "The quick brown fox jumps over the lazy dog, and 12 more foxes follow it.";

fn floats(value: &Value) -> Vec<f64> {
    value.as_array().unwrap().iter().map(|value| value.as_f64().unwrap()).collect()
}

fn keys(value: &Value) -> Vec<&str> {
    value.as_object().unwrap().keys().map(String::as_str).collect()
}

#[test]
fn methods_are_listed_shown_and_guessed() {
    let place = Workplace::new();
    let all = place.bench(&["methods"]).succeeded();
    for name in ["slide", "adaptive", "discontinuous", "h2o", "snapkv", "streaming-llm"] {
        assert!(all.lines().any(|line| line.split_whitespace().nth(1) == Some(name)), "{all}");
    }
    for name in all.lines().filter_map(|line| line.split_whitespace().nth(1)) {
        let page = place.bench(&["methods", name]).succeeded();
        for words in ["In TOML", "\n\nParts: ", "\n\nAs published (`mode = \"reference\"`)"] {
            assert!(page.contains(words), "{words}: {page}");
        }
        assert!(!page.contains("\n\n\n"), "{page}");
    }
    for (name, words) in [
        ("adaptive", "- `budget`, required: "),
        ("adaptive", "- `interval`, optional: "),
        ("adaptive", "behind prefill `h2o`, per query head: pin [first 2048 in cache order"),
        ("snapkv", "- `pooling` = \"max\": "),
        ("snapkv", "grows every 15 steps unless told otherwise"),
        ("pyramidinfer", "behind prefill `pyramidinfer`"),
        ("random", "(`mode = \"reference\"`): not in the study's code"),
    ] {
        let page = place.bench(&["methods", name]).succeeded();
        assert!(page.contains(words), "{words}: {page}");
    }
    let page = place.bench(&["methods", "slide"]).succeeded();
    assert!(page.starts_with("# slide\n") && page.contains("Differs"), "{page}");
    place
        .bench(&["methods", "slid"])
        .failed(2, &["unknown method `slid`", "hint: did you mean `slide`?"]);
}

#[test]
fn models_and_machine_are_described() {
    let place = Workplace::new();
    let models = place.bench(&["models"]).succeeded();
    for words in ["smollm2-135m", "llama-3.1-8b-instruct", "`scripts/fetch-model smollm2-135m`"] {
        assert!(models.contains(words), "{models}");
    }
    let doctor = place.bench(&["doctor"]).succeeded();
    let cache = place.path("cache").display().to_string();
    for words in ["cores ", "cuda ", "HF_HUB_OFFLINE     1", "not set", &*cache, &*models] {
        assert!(doctor.contains(words), "{doctor}");
    }
    for name in ["HF_TOKEN ", "HF_TOKEN_PATH ", "HF_HUB_CACHE ", "HF_ENDPOINT ", "HF_HOME "] {
        assert!(doctor.lines().any(|line| line.starts_with(name)), "{name} in {doctor}");
    }
    let mut secret = place.process(&["doctor"]);
    let shown = secret.env("HF_TOKEN", "hf_secret").output().unwrap();
    let shown = String::from_utf8(shown.stdout).unwrap();
    assert!(shown.contains("set, and not shown") && !shown.contains("hf_secret"), "{shown}");
    for command in [&["completions", "bash"][..], &["man"], &["--help"], &["--version"]] {
        assert!(!place.bench(command).succeeded().is_empty());
    }
}

#[test]
fn generations_are_scored() {
    let place = Workplace::new();
    // Both answers, the second a wrong one; then one of two.
    let lines = [
        json!({"pred": "Answer_9:\nThe answer is 5.\n\nAnswer_10:\nThe answer is 7.\n", "answers": ["#### 5", "#### 6"], "more": 1}),
        json!({"pred": "Answer_9:\nThe answer is 8.\n", "answers": ["#### 8", "#### 9"]}),
    ];
    let lines: String = lines.iter().map(|line| line.to_string() + "\n").collect();
    fs::write(place.path("generations.jsonl"), lines).unwrap();
    let score = |dataset: &str, file: &str, format: &str| {
        let arguments = ["--dataset", dataset, "--generations", file, "--format", format];
        place.bench(&[&["score"], &arguments[..]].concat())
    };
    let json = score("gsm8k", "generations.jsonl", "json").json();
    assert_eq!(keys(&json), ["dataset", "samples", "questions", "official", "aligned", "audit"]);
    assert_eq!((&json["dataset"], &json["samples"]), (&"gsm8k".into(), &2.into()));
    assert_eq!(json["questions"], 4);
    for rule in ["official", "aligned"] {
        assert_eq!(keys(&json[rule]), ["score", "ci", "per_sample"]);
        assert_eq!(json[rule]["score"], 50.0, "{json}");
        assert_eq!(floats(&json[rule]["per_sample"]), [0.5, 0.5]);
        assert_eq!(floats(&json[rule]["ci"]), [50.0, 50.0]);
    }
    let audit = &json["audit"];
    for (key, count) in [
        ("answered", 3),
        ("missing", 1),
        ("repeated", 0),
        ("out_of_range", 0),
        ("unreadable", 0),
        ("looping_samples", 0),
    ] {
        assert_eq!(audit[key], count, "{key} in {audit}");
    }
    assert_eq!(
        score("gsm8k", "generations.jsonl", "csv").succeeded(),
        "dataset,samples,questions,scorer,score,score_ci_low,score_ci_high\n\
         gsm8k,2,4,official,50,50,50\ngsm8k,2,4,aligned,50,50,50\n"
    );
    let table = score("gsm8k", "generations.jsonl", "table").succeeded();
    assert!(table.starts_with("gsm8k: 2 samples, 4 questions\nofficial "), "{table}");

    score("gsm8k", "absent.jsonl", "json").failed(3, &["cannot read `absent.jsonl`"]);
    score("trivia", "generations.jsonl", "json").failed(2, &["`trivia`", "`gsm8k`"]);
    fs::write(place.path("bad.jsonl"), "{\"pred\": 1}\n").unwrap();
    score("gsm8k", "bad.jsonl", "json").failed(3, &["`bad.jsonl`, line 1"]);
}

#[test]
fn texts_are_generated() {
    let place = Workplace::new();
    let generate = |more: &[&str]| {
        let common = ["generate", "--model", "tiny.gguf", "--max-new-tokens", "40"];
        place.bench(&[&common, more].concat())
    };
    let prompt = ["--prompt", TEXT, "--format", "json"];
    let plain = generate(&prompt).json();
    for key in
        ["prompt_tokens", "tokens", "text", "stop", "ttft_ms", "decode_tok_s", "kv_bytes_peak"]
    {
        assert!(!plain[key].is_null(), "`{key}` in {plain}");
    }
    assert_eq!(plain["prompt_tokens"].as_array().unwrap().len(), TEXT.len(), "a token a character");
    // Without a chat template, `--raw` changes nothing; nor do budgets that cover everything.
    for more in [&["--raw"][..], &["--arm", COVERING]] {
        let same = generate(&[&prompt, more].concat()).json();
        for key in ["prompt_tokens", "tokens", "text", "stop"] {
            assert_eq!(same[key], plain[key], "{more:?}");
        }
    }
    let tight = generate(&[&prompt[..], &["--arm", TIGHT]].concat()).json();
    assert_ne!(tight["tokens"], plain["tokens"]);
    assert!(tight["kv_bytes_peak"].as_u64() < plain["kv_bytes_peak"].as_u64());
    assert_eq!(tight["kept_end_prefill"], 24.0);

    fs::write(place.path("prompt.txt"), TEXT).unwrap();
    let text = generate(&["--prompt-file", "prompt.txt"]).succeeded();
    assert_eq!(text, format!("{}\n", plain["text"].as_str().unwrap()));

    let refuse = |more: &[&str], code, words: &[&str]| generate(more).failed(code, words);
    refuse(&[], 2, &["--prompt"]);
    refuse(&["--prompt", "x", "--format", "csv"], 2, &["'csv'", "table, json"]);
    refuse(&["--prompt", ""], 2, &["prompt is empty"]);
    refuse(&["--prompt", "é"], 2, &["prompt is empty"]);
    refuse(&["--prompt-file", "absent"], 3, &["cannot read `absent`"]);
    refuse(&["--prompt", &"x".repeat(2100)], 2, &["2100 tokens", "context of 2048"]);
    refuse(&["--prompt", "x", "--arm", "slid"], 2, &["`slid`", "hint: "]);
    refuse(&["--prompt", "x", "--arm", "decode=slid"], 2, &["`slid`"]);
    refuse(
        &["--prompt", "x", "--arm", "decode=slide:budget=8,recent=9"],
        2,
        &["`recent` = 9 exceeds `budget` = 8"],
    );
    refuse(&["--prompt", "x", "--device", "tpu"], 3, &["device `tpu`"]);
    refuse(&["--prompt", "x", "--threads", "0"], 2, &["`--threads`"]);
    place
        .bench(&["generate", "--model", "tiny.gguf", "--prompt", "x", "--max-new-tokens", "0"])
        .failed(2, &["`--max-new-tokens`"]);
}

#[test]
fn models_that_are_not_there_are_named() {
    let place = Workplace::new();
    let generate = |model: &str| place.bench(&["generate", "--model", model, "--prompt", "x"]);
    generate("smollm2-135m").failed(3, &["hint: run `scripts/fetch-model smollm2-135m`"]);
    generate("absent.gguf").failed(3, &["`absent.gguf`"]);
    generate("nonsense").failed(3, &["unknown model `nonsense`", "smollm2-135m"]);
    fs::write(place.path("text.gguf"), "not a model").unwrap();
    generate("text.gguf").failed(3, &["`text.gguf`"]);
}

#[test]
fn likelihoods_are_those_of_the_full_cache_where_budgets_cover_it() {
    let place = Workplace::new();
    fs::write(place.path("text.txt"), TEXT).unwrap();
    let nll = |more: &[&str]| {
        let common = ["nll", "--model", "tiny.gguf", "--text-file", "text.txt"];
        place.bench(&[&common, more].concat())
    };
    let json = |more: &[&str]| nll(&[&["--format", "json"], more].concat()).json();
    let plain = json(&[]);
    let (tokens, logprobs) = (&plain["tokens"], plain["logprobs"].as_array().unwrap());
    assert_eq!((tokens.as_array().unwrap().len(), logprobs.len()), (TEXT.len(), TEXT.len()));
    assert!(logprobs[0].is_null());
    assert_eq!(plain["positions"], TEXT.len() - 1);
    let known = floats(&Value::from(&logprobs[1..]));
    let mean = -known.iter().sum::<f64>() / known.len() as f64;
    assert!((plain["nll"].as_f64().unwrap() - mean).abs() < 1e-6);
    assert!(known.iter().all(|logprob| *logprob < 0.0));

    for more in [&["--arm", COVERING][..], &["--arm", COVERING, "--prompt-tokens", "1"]] {
        let covered = json(more);
        assert_eq!(covered["tokens"], *tokens);
        assert!(covered["logprobs"][0].is_null());
        let found = floats(&Value::from(&covered["logprobs"].as_array().unwrap()[1..]));
        assert_eq!(found.len(), known.len());
        let most = found.iter().zip(&known).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
        assert!(most < 1e-4, "{most} with {more:?}");
    }
    let tight = json(&["--arm", TIGHT, "--prompt-tokens", "40"]);
    assert_eq!(tight["prompt_tokens"], 40);
    assert_ne!(tight["nll"], plain["nll"]);
    let read_whole = floats(&Value::from(&tight["logprobs"].as_array().unwrap()[1..40]));
    assert!(read_whole.iter().zip(&known).all(|(a, b)| (a - b).abs() < 1e-4));
    assert!(nll(&[]).succeeded().starts_with(&format!("{} tokens, nll ", TEXT.len())));
    for outside in ["0", "73", "5000"] {
        nll(&["--arm", TIGHT, "--prompt-tokens", outside]).failed(2, &["`--prompt-tokens`"]);
    }
    fs::write(place.path("text.txt"), "x").unwrap();
    nll(&[]).failed(2, &["fewer than two tokens"]);
    fs::write(place.path("text.txt"), b"\xff\xfe").unwrap();
    nll(&[]).failed(3, &["cannot read `text.txt`"]);
}

#[test]
fn logits_have_a_row_per_token() {
    let place = Workplace::new();
    fs::write(place.path("text.txt"), TEXT).unwrap();
    let logits = |out: &str| {
        place.bench(&["logits", "--model", "tiny.gguf", "--text-file", "text.txt", "--out", out])
    };
    assert_eq!(logits("x.safetensors").succeeded(), "");
    let bytes = fs::read(place.path("x.safetensors")).unwrap();
    let tensors = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    assert_eq!(bytes, safetensors::serialize(tensors.tensors(), None).unwrap());
    let (rows, ids) = (tensors.tensor("logits").unwrap(), tensors.tensor("tokens").unwrap());
    assert_eq!((rows.dtype(), rows.shape()), (safetensors::Dtype::F32, &[TEXT.len(), 96][..]));
    assert_eq!((ids.dtype(), ids.shape()), (safetensors::Dtype::I64, &[TEXT.len()][..]));
    let rows: Vec<f32> =
        rows.data().as_chunks::<4>().0.iter().map(|number| f32::from_le_bytes(*number)).collect();
    assert!(rows.iter().all(|logit| logit.is_finite()));

    // The likelihoods of the same text follow from them.
    let nll = ["nll", "--model", "tiny.gguf", "--text-file", "text.txt", "--format", "json"];
    let nll = place.bench(&nll).json();
    let ids = nll["tokens"].as_array().unwrap();
    for (place, (row, next)) in rows.chunks(96).zip(&ids[1..]).enumerate() {
        let sum: f64 = row.iter().map(|logit| f64::from(*logit).exp()).sum();
        let next = usize::try_from(next.as_u64().unwrap()).unwrap();
        let expected = f64::from(row[next]) - sum.ln();
        assert!((nll["logprobs"][place + 1].as_f64().unwrap() - expected).abs() < 1e-4);
    }
    logits("absent/x.safetensors").failed(2, &["cannot write `absent/x.safetensors`"]);
}
