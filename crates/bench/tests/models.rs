//! What a model may be called: a folder, a file, an id of the hub, a name; and what is said where it is not whole.
#![allow(clippy::unwrap_used, reason = "tests")]

#[path = "support/hub.rs"]
mod hub;
mod support;

use std::fs;
use std::path::{Path, PathBuf};

use hub::Server;
use serde_json::Value;
use support::{Workplace, files, read};

const FIXTURES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/configs");
const EXPERIMENT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../experiments/gsm8k_long.toml");

fn family(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../runner/tests/fixtures/families").join(name)
}

/// The arguments that make a family's model say what `transformers` says, and that text's ids.
fn greedy(name: &str) -> (Vec<String>, Value) {
    let expected: Value = serde_json::from_str(&read(&family(name).join("expected.json"))).unwrap();
    let text = expected["texts"][1]["text"].as_str().unwrap();
    let arguments = ["generate", "--raw", "--format", "json", "--max-new-tokens", "5", "--prompt"];
    let arguments = arguments.iter().chain([&text]).map(|argument| (*argument).to_owned());
    let said = expected["greedy"]["ids"].as_array().unwrap()[..5].to_vec();
    (arguments.collect(), Value::Array(said))
}

fn generate(place: &Workplace, environment: &[(&str, &str)], name: &str, model: &str) {
    let (arguments, said) = greedy(name);
    let mut arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    arguments.extend(["--model", model]);
    assert_eq!(place.bench_in(environment, &arguments).json()["tokens"], said, "{model}");
}

#[test]
fn a_folder_speaks() {
    let place = Workplace::new();
    for name in ["llama3", "mistral", "qwen2", "smollm2"] {
        generate(&place, &[], name, family(name).to_str().unwrap());
    }
}

#[test]
fn a_model_of_the_hub_is_brought_and_then_cached() {
    let place = Workplace::new();
    let server = Server::of_folder("org/tiny", &family("llama3"), "secret");
    let online =
        [("HF_HUB_OFFLINE", ""), ("HF_ENDPOINT", &*server.address), ("HF_TOKEN", "secret")];
    let ask = ["generate", "--prompt", "x", "--model", "org/tiny"];

    place.bench(&ask).failed(3, &["org--tiny", "HF_HUB_OFFLINE"]);
    place
        .bench_in(&online, &[&ask[..], &["--offline"]].concat())
        .failed(3, &["org--tiny", "--offline"]);
    let wrong = [online[0], online[1], ("HF_TOKEN", "wrong")];
    place.bench_in(&wrong, &ask).failed(3, &["org/tiny", "401", "accept its terms", "HF_TOKEN"]);
    place
        .bench_in(&online, &["generate", "--prompt", "x", "--model", "org/none"])
        .failed(3, &["org/none", "404"]);

    generate(&place, &online, "llama3", "org/tiny");
    let asked = server.asked().len();
    generate(&place, &[], "llama3", "org/tiny");
    assert_eq!(server.asked().len(), asked);
    generate(&place, &online, "llama3", "org/tiny@v1");
}

#[test]
fn a_plan_asks_no_hub() {
    let place = Workplace::new();
    let server = Server::of_folder("org/tiny", &family("qwen2"), "secret");
    let online =
        [("HF_HUB_OFFLINE", ""), ("HF_ENDPOINT", &*server.address), ("HF_TOKEN", "secret")];
    let plan = ["--experiment", EXPERIMENT, "--dry-run", "--set", "task.source=own"];
    let paper = [&plan[..], &["--profile", "paper"]].concat();
    let planned = place.bench_in(&online, &paper).succeeded();
    assert!(planned.contains("`meta-llama/Llama-3.1-8B-Instruct` is not whole"), "{planned}");
    let unknown = [&plan[..], &["--profile", "smollm2", "--set", "model.name=org/tiny"]].concat();
    place.bench_in(&online, &unknown).failed(3, &["org--tiny", "hint: "]);
    assert_eq!(server.asked(), Vec::<String>::new());
}

/// The real configurations plan without weights and without a tokenizer; what a run would lack is named.
#[test]
fn a_folder_with_nothing_but_its_configuration_plans() {
    let place = Workplace::new();
    for entry in fs::read_dir(FIXTURES).unwrap() {
        let folder = entry.unwrap().path();
        let model = format!("model.name={}", folder.display());
        let common = ["--experiment", EXPERIMENT, "--profile", "smollm2", "--set", &model];
        let common = [&common[..], &["--set", "task.source=own"]].concat();
        let before = files(&folder);
        let plan = place.bench(&[&common[..], &["--dry-run"]].concat()).succeeded();
        assert!(before == files(&folder));
        let name = folder.file_name().unwrap().to_str().unwrap();
        for words in [
            &*format!("model {name} (native)"),
            "estimated from characters",
            "cannot run here",
            "tokenizer.json` is missing",
        ] {
            assert!(plan.contains(words), "`{words}` is not in: {plan}");
        }
        let missing = ["tokenizer.json` is missing", "hint: ", "model.safetensors"];
        place.bench(&common).failed(3, &missing);
        place
            .bench(&["generate", "--prompt", "x", "--model", folder.to_str().unwrap()])
            .failed(3, &missing);
    }
}

#[test]
fn a_folder_without_weights_counts_tokens_and_names_the_file() {
    let place = Workplace::new();
    let folder = place.path("half");
    fs::create_dir(&folder).unwrap();
    for name in
        ["config.json", "tokenizer.json", "tokenizer_config.json", "model.safetensors.index.json"]
    {
        fs::copy(family("llama3").join(name), folder.join(name)).unwrap();
    }
    fs::copy(
        family("llama3").join("model-00001-of-00002.safetensors"),
        folder.join("model-00001-of-00002.safetensors"),
    )
    .unwrap();
    let ask = ["generate", "--prompt", "x", "--model", "half"];
    place.bench(&ask).failed(3, &["half/model-00002-of-00002.safetensors` is missing"]);
    let short = ["--set", "model.name=half", "--set", "generation.max_new_tokens=8"];
    // The context of 256 is too short for these prompts, and their tokens were counted to say so.
    place.run("results", &[&short[..], &["--dry-run"]].concat()).failed(2, &["context of 256"]);
}

#[test]
fn the_published_template_goes_by_any_part_of_a_models_path() {
    let place = Workplace::new();
    for (folder, form) in [("Meta-Llama-3-8B/original", "llama-3"), ("another/llama", "plain")] {
        let path = place.path(folder);
        fs::create_dir_all(&path).unwrap();
        fs::copy(family("llama3").join("config.json"), path.join("config.json")).unwrap();
        let model = format!("model.name={folder}");
        let set = ["--set", &model, "--set", "generation.max_new_tokens=8", "--dry-run"];
        let short = ["--set", "task.max_prompt_tokens=100"];
        let plan = place.run("results", &[&set[..], &short].concat()).succeeded();
        assert!(plan.contains(&format!("prompts as published {form}\n")), "{plan}");
    }
}

#[test]
fn what_is_no_model_is_refused_with_the_ways_to_name_one() {
    let place = Workplace::new();
    for model in ["llama-9", "a/b/c", "./nowhere", ""] {
        let refused = place.bench(&["generate", "--prompt", "x", "--model", model]);
        refused.failed(3, &["unknown model", "org/name", "smollm2-135m", "qwen2.5-7b-instruct"]);
    }
    place
        .bench(&["generate", "--prompt", "x", "--model", "absent.gguf"])
        .failed(3, &["absent.gguf"]);
    let listed = place.bench(&["models"]).succeeded();
    for words in
        ["scripts/fetch-model smollm2-135m", "the hub has it as `Qwen/Qwen2.5-7B-Instruct`"]
    {
        assert!(listed.contains(words), "{listed}");
    }
}

/// A whole experiment on a model of the hub: fetched once, named in the results, resumed from the cache.
#[test]
fn an_experiment_runs_on_a_model_of_the_hub() {
    let place = Workplace::new();
    let folder = place.path("long");
    fs::create_dir(&folder).unwrap();
    for entry in fs::read_dir(family("llama3")).unwrap() {
        let path = entry.unwrap().path();
        fs::copy(&path, folder.join(path.file_name().unwrap())).unwrap();
    }
    let mut config: Value = serde_json::from_str(&read(&folder.join("config.json"))).unwrap();
    config["max_position_embeddings"] = 2048.into();
    fs::write(folder.join("config.json"), config.to_string()).unwrap();
    let server = Server::of_folder("org/long", &folder, "secret");
    let run = |environment: &[(&str, &str)], more: &[&str]| {
        let common =
            ["run", "--experiment", "tiny.toml", "--data", "data", "--quiet", "--limit", "1"];
        let model = ["--set", "model.name=org/long", "--results", "results"];
        place.bench_in(environment, &[&common[..], &model, more].concat())
    };
    let online =
        [("HF_HUB_OFFLINE", ""), ("HF_ENDPOINT", &*server.address), ("HF_TOKEN", "secret")];
    let brought = |server: &Server| {
        server.asked().iter().filter(|line| line.contains(".safetensors ")).count()
    };
    run(&online, &["--dry-run"]).failed(3, &["org--long"]);
    assert_eq!(server.asked().len(), 0);
    run(&online, &[]).succeeded();
    assert_eq!(brought(&server), 6, "{:?}", server.asked()); // two shards, each looked at by us and by the client first
    let journal = place.journal("results");
    assert!(
        journal.lines().count() == 6 && journal.contains("\"model\":\"org/long\""),
        "{journal}"
    );
    run(&online, &[]).succeeded();
    run(&[], &[]).succeeded();
    assert_eq!((brought(&server), place.journal("results")), (6, journal));
    let plan = run(&[], &["--dry-run"]).succeeded();
    assert!(plan.contains("model org/long (f32)") && plan.contains("counted"), "{plan}");
}

/// Files that no library can read end as an error of one line and an exit code, however the library finds out.
#[test]
fn a_file_that_breaks_a_library_is_an_error_like_any_other() {
    let place = Workplace::new();
    let key = b"general.alignment";
    let header = [
        b"GGUF".as_slice(),
        &3u32.to_le_bytes(),
        &0u64.to_le_bytes(), // tensors
        &1u64.to_le_bytes(), // pairs of key and value
        &(key.len() as u64).to_le_bytes(),
        key,
        &4u32.to_le_bytes(), // a u32
        &0u32.to_le_bytes(),
    ];
    fs::write(place.path("zero.gguf"), header.concat()).unwrap();
    place
        .bench(&["generate", "--prompt", "x", "--model", "zero.gguf"])
        .failed(3, &["zero.gguf", "general.alignment"]);
    let folder = place.path("broken");
    fs::create_dir(&folder).unwrap();
    for entry in fs::read_dir(family("smollm2")).unwrap() {
        let path = entry.unwrap().path();
        fs::copy(&path, folder.join(path.file_name().unwrap())).unwrap();
    }
    for name in ["config.json", "tokenizer.json", "tokenizer_config.json", "model.safetensors"] {
        let whole = fs::read(folder.join(name)).unwrap();
        fs::write(folder.join(name), &whole[..whole.len() / 2]).unwrap();
        place
            .bench(&["generate", "--prompt", "x", "--model", "broken"])
            .failed(3, &[&format!("broken/{name}")]);
        fs::write(folder.join(name), whole).unwrap();
    }
}
