//! Every reader of the program against every way in which its input can be broken: one exit code, one message, nothing left behind.
//!
//! The messages are `docs/bad-input.md`; `BENCH_BLESS=1 cargo test -p bench --test bad_input` writes that file anew.
#![allow(clippy::unwrap_used, reason = "tests")]

#[path = "../support/mod.rs"]
mod support;
mod table;

use std::fs;
use std::io::Write as _;
use std::path::Path;

use serde_json::{Value, json};
use table::Table;

const RUN: [&str; 8] =
    ["run", "--experiment", "tiny.toml", "--data", "data", "--results", "out", "--quiet"];
const FOLDER: [&str; 5] = ["generate", "--model", "model", "--prompt", "one"];
const GGUF: [&str; 5] = ["generate", "--model", "tiny.gguf", "--prompt", "one"];

fn with<'a>(common: &[&'a str], more: &[&'a str]) -> Vec<&'a str> {
    [common, more].concat()
}

fn half(bytes: &[u8]) -> Vec<u8> {
    bytes[..bytes.len() / 2].to_vec()
}

fn swapped(bytes: &[u8], from: &str, to: &str) -> Vec<u8> {
    let text = std::str::from_utf8(bytes).unwrap();
    assert!(text.contains(from), "`{from}` is not in: {text}");
    text.replacen(from, to, 1).into_bytes()
}

fn experiments(table: &mut Table) {
    let whole = table.bytes("tiny.toml");
    let changed = |from: &str, to: &str| swapped(&whole, from, to);
    let states = [
        ("empty", Vec::new()),
        ("cut in half", half(&whole)),
        ("invalid UTF-8", b"name = \"\xff\"".to_vec()),
        ("an unknown key", changed("questions = 3", "questions = 3\nquestoins = 4")),
        ("a number where a text belongs", changed("dataset = \"gsm8k\"", "dataset = 7")),
        ("a text where a number belongs", changed("max_new_tokens = 80", "max_new_tokens = \"x\"")),
        ("a negative number", changed("questions = 3", "questions = -3")),
        ("another version", changed("schema_version = 1", "schema_version = 9")),
        ("an unknown data set", changed("\"gsm8k\"", "\"gsm9k\"")),
        ("an unknown method", changed("name = \"slide\"", "name = \"slid\"")),
        ("a budget of 0", changed("decode = 24", "decode = 0")),
        ("a budget below `recent`", changed("decode = 24", "decode = 4")),
        ("`recent` of 0", changed("recent = 8", "recent = 0")),
        (
            "an output longer than the context",
            changed("max_new_tokens = 80", "max_new_tokens = 4096"),
        ),
        ("a size of 2^60", changed("max_new_tokens = 80", "max_new_tokens = 1152921504606846976")),
        ("a name with `../`", changed("name = \"tiny\"", "name = \"../tiny\"")),
        ("two arms of one name", changed("label = \"slide\"", "label = \"h2o\"")),
        (
            "`mode` for what was not published",
            changed("label = \"random\"", "label = \"random\"\nmode = \"reference\""),
        ),
        (
            "`extends` a file that is not there",
            changed(
                "schema_version = 1",
                "schema_version = 1\nextends = { file = \"absent.toml\" }",
            ),
        ),
    ];
    table.states("experiment", "tiny.toml", 2, &RUN, &states);
    table.write("long.toml", "#".repeat(2 << 20));
    let long = ["run", "--experiment", "long.toml"];
    table.row("experiment", "longer than any experiment", 2, &long);
    for (case, more) in [
        ("an unknown profile", ["--profile", "big"]),
        ("`--set` of an unknown key", ["--set", "task.qestions=3"]),
        ("`--set` without a value", ["--set", "task.questions"]),
        ("`--shard` beyond the last", ["--shard", "3/2"]),
    ] {
        table.row("command line", case, 2, &with(&RUN, &more));
    }
    let list =
        |from: usize, count: usize| format!("{:?}", (from..from + count).collect::<Vec<_>>());
    let (seeds, budgets) = (
        format!("generation.seed={}", list(0, 1000)),
        format!("budget.decode={}", list(100, 1000)),
    );
    let many = with(&RUN, &["--set", &seeds, "--set", &budgets]);
    table.row("command line", "lists that make millions of settings", 2, &many);
    table.row(
        "command line",
        "an unknown word in `--set`",
        2,
        &with(&RUN, &["--set", "mode=refrence"]),
    );
    let prompts = table.bytes("data/official/gsm8k_3.jsonl");
    table.write("data/official/gsm8k_3.jsonl", prompts.repeat(100));
    let budgets = format!("budget.decode={}", list(100, 200));
    let many = with(&RUN, &["--set", &budgets]);
    table.row("command line", "lists and prompts that make too many cells", 2, &many);
    table.write("data/official/gsm8k_3.jsonl", prompts);
    table.row("command line", "an unknown device", 3, &with(&RUN, &["--device", "tpu"]));
}

fn data(table: &mut Table) {
    let file = "data/official/gsm8k_3.jsonl";
    let whole = table.bytes(file);
    let states = [
        ("empty", Vec::new()),
        ("a line cut in half", whole[..whole.len() - 40].to_vec()),
        ("invalid UTF-8", [&whole[..20], b"\xff", &whole[21..]].concat()),
        ("wrong types", swapped(&whole, "\"prompt\":\"", "\"prompt\":7,\"x\":\"")),
        ("not JSON lines", b"PAR1 is no JSON".to_vec()),
    ];
    table.states("data set", file, 3, &RUN, &states);
    table.endless("data set", file, 3, &RUN);
    table.write("raw/gsm8k_test.jsonl.gz", b"\x1f\x8b\x08\x00cut");
    table.write("raw/gsm8k_test.jsonl", b"");
    let build = ["dataset", "build", "gsm8k", "--k", "3", "--raw", "raw", "--out", "set.jsonl"];
    table.row("raw data", "empty", 3, &build);
    table.row(
        "raw data",
        "no such folder",
        3,
        &with(&build[..6], &["absent", "--out", "set.jsonl"]),
    );
    assert!(!table.place.path("set.jsonl").exists(), "nothing half-written");
}

fn generations(table: &mut Table) {
    let line = json!({ "pred": "Answer_9: The answer is 5.", "answers": ["#### 5"] }).to_string();
    let score = ["score", "--dataset", "gsm8k", "--generations", "made.jsonl"];
    table.write("made.jsonl", &line);
    let states = [
        ("empty", Vec::new()),
        ("a line cut in half", half(line.as_bytes())),
        ("invalid UTF-8", b"{\"pred\": \"\xff\", \"answers\": []}".to_vec()),
        ("wrong types", b"{\"pred\": 7, \"answers\": []}".to_vec()),
        ("a broken gzip", b"\x1f\x8b\x08\x00cut".to_vec()),
    ];
    table.states("generations", "made.jsonl", 3, &score, &states);
    table.endless("generations", "made.jsonl", 3, &score);
}

/// A copy of a GGUF header's first numbers with another in their place: version at 4, tensors at 8, keys at 16.
fn patched(bytes: &[u8], at: usize, number: u64) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    bytes[at..at + 8].copy_from_slice(&number.to_le_bytes());
    bytes
}

fn gguf(table: &mut Table) {
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

fn folders(table: &mut Table) {
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

fn texts(table: &mut Table) {
    let model = ["--model", "tiny.gguf"];
    let prompt = with(&with(&["generate"], &model), &["--prompt-file", "prompt.txt"]);
    table.write("prompt.txt", b"\xff\xfe");
    table.row("prompt file", "invalid UTF-8", 3, &prompt);
    table.write("prompt.txt", b"");
    table.row("prompt file", "empty", 2, &prompt);
    table.write("prompt.txt", "x".repeat(5000));
    table.row("prompt file", "longer than the context", 2, &prompt);
    fs::remove_file(table.place.path("prompt.txt")).unwrap();
    table.row("prompt file", "missing", 3, &prompt);
    table.endless("prompt file", "prompt.txt", 3, &prompt);
    let likelihood = with(&with(&["nll"], &model), &["--text-file", "prompt.txt"]);
    table.endless("text file", "prompt.txt", 3, &likelihood);
    table.write("prompt.txt", "one two three");
    table.row("arm", "no such method", 2, &with(&prompt, &["--arm", "decode=slid"]));
    let small = "decode=slide:budget=4,recent=8";
    table.row("arm", "a budget below `recent`", 2, &with(&prompt, &["--arm", small]));
    let huge = "decode=slide:budget=99999999999999999999,recent=8";
    table.row("arm", "a number beyond all sizes", 2, &with(&prompt, &["--arm", huge]));
    table.row(
        "model",
        "no such name, file or folder",
        3,
        &["nll", "--model", "absent", "--text-file", "prompt.txt"],
    );
    let logits = with(&with(&["logits"], &model), &["--text-file", "prompt.txt", "--out"]);
    table.row("output file", "in no folder", 2, &with(&logits, &["absent/x.safetensors"]));
    let limit = "trap '' XFSZ; ulimit -f 2;";
    table.limited(limit, "output file", "a full disk", 2, &with(&logits, &["x.safetensors"]));
    table.row("output file", "a device in its place", 2, &with(&logits, &["/dev/null"]));
    table.write("manifest.json", b"{\"cases\": [");
    table.row("replay manifest", "cut in half", 3, &["replay", "manifest.json", "--out", "kept"]);
    table.row("replay manifest", "missing", 3, &["replay", "absent.json", "--out", "kept"]);
    table.endless(
        "replay manifest",
        "manifest.json",
        3,
        &["replay", "manifest.json", "--out", "kept"],
    );
}

fn environment(table: &mut Table) {
    for (value, case) in [("99999999", "a hundred million"), ("-1", "-1"), ("many", "no number")] {
        let set = format!("export RAYON_NUM_THREADS={value};");
        table.limited(&set, "`RAYON_NUM_THREADS`", case, 2, &GGUF);
    }
    let run = with(&RUN[..3], &RUN[5..]);
    table.limited("export BENCH_DATA=absent;", "`BENCH_DATA`", "no such folder", 3, &run);
    table.limited("export BENCH_DATA=tiny.toml;", "`BENCH_DATA`", "a file", 3, &run);
    for (value, case) in [("nonsense", "no address"), ("http://127.0.0.1:9", "nobody there")] {
        let set = format!("export HF_HUB_OFFLINE=0 HF_ENDPOINT={value};");
        let id = ["generate", "--model", "org/name", "--prompt", "one"];
        table.limited(&set, "`HF_ENDPOINT`", case, 3, &id);
    }
    for command in [["completions", "bash"].as_slice(), &["man"], &["methods"], &["models"]] {
        let case = format!("a full disk under `{}`", command[0]);
        table.limited("exec >/dev/full;", "output", &case, 2, command);
    }
}

fn results(table: &mut Table) {
    table.row("results folder", "no such folder", 3, &["report", "absent"]);
    fs::create_dir(table.place.path("empty")).unwrap();
    table.row("results folder", "empty", 3, &["report", "empty"]);
    table.write("blocked", b"a file");
    let blocked =
        ["run", "--experiment", "tiny.toml", "--data", "data", "--results", "blocked", "--quiet"];
    table.row("results folder", "a file in its place", 2, &blocked);

    let full = |blocks: usize| format!("trap '' XFSZ; ulimit -f {blocks};");
    table.limited(&full(2), "results folder", "a full disk", 2, &RUN);
    let journal = table.place.results("out").join("samples.jsonl");
    let good = table.bench("", &RUN);
    assert!(
        good.status.success(),
        "the next run goes on: {}",
        String::from_utf8_lossy(&good.stderr)
    );
    let lines = fs::read_to_string(&journal).unwrap();
    assert_eq!(lines.lines().count(), support::CELLS);
    assert!(lines.lines().all(|line| serde_json::from_str::<Value>(line).is_ok()));

    let plots = table.place.results("out").join("plots");
    fs::remove_dir_all(&plots).unwrap();
    table.limited(&full(60), "plots", "a full disk", 2, &["report", "out/tiny"]);
    let hidden = |name: &std::ffi::OsStr| name.to_string_lossy().starts_with('.');
    let mut left = fs::read_dir(&plots).unwrap().map(|entry| entry.unwrap().file_name());
    assert!(!left.any(|name| hidden(&name)), "nothing half-written");
    assert!(table.bench("", &["report", "out/tiny"]).status.success(), "the next report goes on");

    let other = with(&RUN, &["--set", "generation.max_new_tokens=40"]);
    table.row("results folder", "of other settings", 2, &other);
    let mut file = fs::OpenOptions::new().append(true).open(&journal).unwrap();
    file.write_all(b"{\"cell\": 7}\n").unwrap();
    table.row("journal", "a line of another kind", 3, &RUN);
    let first: Value = serde_json::from_str(lines.lines().next().unwrap()).unwrap();
    let lines_with = |key: &str, value: Value| {
        let mut record = first.clone();
        record[key] = value;
        format!("{record}\n{}", lines.split_once('\n').unwrap().1)
    };
    for (case, key, value) in [
        ("2^64 - 1 evictions", "evictions", json!(u64::MAX)),
        ("2^64 - 1 prompt tokens", "prompt_tokens", json!(u64::MAX)),
        ("a trace over 2^64 - 1 steps", "trace_steps", json!(u64::MAX)),
        ("2^60 questions", "questions", json!(1u64 << 60)),
        ("a negative number of entries", "kept_mean_decode", json!(-1e308)),
        ("no answers", "answers", json!([])),
        ("an unknown data set", "dataset", json!("gsm9k")),
    ] {
        fs::write(&journal, lines_with(key, value)).unwrap();
        table.row("journal", case, 3, &["report", "out/tiny"]);
        table.row("journal", &format!("{case}, resumed"), 3, &RUN);
    }
    table.endless("journal", "out/tiny/samples.jsonl", 3, &["report", "out/tiny"]);
    table.endless("results folder", "out/tiny/manifest.json", 3, &["report", "out/tiny"]);
    fs::write(&journal, lines_with("arm", json!("stranger"))).unwrap();
    table.row("journal", "an arm that the manifest does not name", 3, &["report", "out/tiny"]);
    fs::write(&journal, format!("{lines}{first}\n")).unwrap();
    table.row("journal", "a cell that is there twice", 3, &["report", "out/tiny"]);
    let config = table.place.results("out").join("config.toml");
    let settings = fs::read(&config).unwrap();
    fs::write(&journal, &lines).unwrap();
    fs::write(&config, b"\xff").unwrap();
    table.row("results folder", "settings that are not UTF-8", 2, &RUN);
    assert_eq!(fs::read(&config).unwrap(), b"\xff", "left as it was");
    fs::write(&config, settings).unwrap();
    fs::write(&journal, [lines.as_bytes(), b"\xff\xff\n"].concat()).unwrap();
    table.row("journal", "invalid UTF-8", 3, &RUN);
    fs::write(&journal, &lines.as_bytes()[..lines.len() - 30]).unwrap();
    let good = table.bench("", &RUN);
    assert!(good.status.success(), "a cut last line is computed again");
    assert_eq!(fs::read_to_string(&journal).unwrap().lines().count(), support::CELLS);
}

const HEAD: &str = "# What broken input is answered with

Each row is a command that `crates/bench/tests/bad_input` runs: an input broken in one way, the exit code, and all that is printed, with the
folder of the test as `…`. The program runs in 512 MiB of address space, so that no size that a file claims can be believed before it is checked.
Exit code 2 is for how the program was called, 3 for a model or data that is missing or broken. The crates' own tests hold more: `runner/tests/hostile*.rs`
(GGUF, folders, safetensors, tokenizers), `bench/tests/{replay,dataset,models,plans,kill}.rs`, and the readers' unit tests.

| reader | case | exit | message |
|---|---|---|---|
";

#[test]
fn every_reader_refuses_what_is_broken() {
    let mut table = Table::new();
    for group in [experiments, data, generations, gguf, folders, texts, environment, results] {
        group(&mut table);
    }
    assert_eq!(table.wrong, "");
    let document = format!("{HEAD}{}", table.rows);
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/bad-input.md");
    if std::env::var_os("BENCH_BLESS").is_some() {
        fs::write(&path, &document).unwrap();
    }
    let kept = fs::read_to_string(&path).unwrap_or_default();
    for (found, kept) in document.lines().zip(kept.lines()) {
        assert_eq!(found, kept, "docs/bad-input.md; BENCH_BLESS=1 writes it anew");
    }
    assert_eq!(document.lines().count(), kept.lines().count());
}
