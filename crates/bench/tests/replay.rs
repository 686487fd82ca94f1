//! `bench replay`: every published case, and manifests that cannot be replayed.
#![allow(clippy::unwrap_used, clippy::print_stderr, reason = "helpers of tests")]

use std::fs;
use std::path::{Path, PathBuf};

#[path = "support/recorded.rs"]
mod recorded;

use recorded::recorded_cases;
use safetensors::SafeTensors;
use serde_json::json;

fn replay(manifest: &Path, out: &Path, more: &[&str]) -> assert_cmd::assert::Assert {
    assert_cmd::Command::new(env!("CARGO_BIN_EXE_bench"))
        .arg("replay")
        .arg(manifest)
        .arg("--out")
        .arg(out)
        .args(more)
        .assert()
}

/// Each head's positions in ascending order: the order in the cache is not part of the contract.
fn sets(tensor: &safetensors::tensor::TensorView<'_>) -> Vec<Vec<i16>> {
    let width = *tensor.shape().last().unwrap();
    let positions: Vec<i16> =
        tensor.data().as_chunks::<2>().0.iter().map(|bytes| i16::from_le_bytes(*bytes)).collect();
    let sorted = |head: &[i16]| {
        let mut head = head.to_vec();
        head.sort_unstable();
        head
    };
    positions.chunks(width).map(sorted).collect()
}

#[test]
fn every_published_case_is_reproduced() {
    let Some(golden) = recorded_cases() else { return };
    let out = tempfile::tempdir().unwrap();
    replay(&golden.join("manifest.json"), out.path(), &[]).success();
    let manifest: serde_json::Value =
        serde_json::from_slice(&fs::read(golden.join("manifest.json")).unwrap()).unwrap();
    let cases = manifest["cases"].as_array().unwrap();
    assert!(cases.len() >= 11);
    for case in cases {
        let name = case["name"].as_str().unwrap();
        let read = |folder: &Path| fs::read(folder.join(format!("{name}.safetensors"))).unwrap();
        let (expected, found) = (read(&golden), read(out.path()));
        let expected = SafeTensors::deserialize(&expected).unwrap();
        let found = SafeTensors::deserialize(&found).unwrap();
        for tensor in [
            "kept_prefill",
            "len_prefill",
            "kept_steps",
            "len_before",
            "len_after",
            "evict_ran",
            "counters",
        ] {
            let (a, b) = (expected.tensor(tensor).unwrap(), found.tensor(tensor).unwrap());
            assert_eq!((a.dtype(), a.shape()), (b.dtype(), b.shape()), "{name}: {tensor}");
            if tensor.starts_with("kept") {
                assert_eq!(sets(&a), sets(&b), "{name}: {tensor}");
            } else {
                assert_eq!(a.data(), b.data(), "{name}: {tensor}");
            }
        }
    }
}

/// A manifest of one small case, with some of its values changed.
fn case(changes: &serde_json::Value) -> serde_json::Value {
    let mut case = json!({
        "name": "small", "method": "H2O", "decode_strategy": "slide", "num_layers": 1, "num_heads": 2,
        "num_key_value_heads": 1, "head_dim": 4, "prompt_len": 20, "decode_steps": 10, "max_capacity_prompt": 12,
        "window_size": 2, "kernel_size": 7, "pooling": "maxpool", "beta": 20, "decoding_window_size": 6,
        "decoding_recent_size": 2, "delta": 4, "initial_counters": {},
    });
    for (key, value) in changes.as_object().unwrap() {
        case[key] = value.clone();
    }
    json!({ "format": "scope-golden-1", "cases": [case] })
}

/// Writes that manifest beside a recording of 30 tokens.
fn recorded(folder: &Path, changes: &serde_json::Value) -> PathBuf {
    let numbers = |heads: usize| -> Vec<u8> {
        (0..heads * 30 * 4)
            .flat_map(|i| ((i * 37 % 101) as f32 / 50.0 - 1.0).to_le_bytes())
            .collect()
    };
    let (q, kv) = (numbers(2), numbers(1));
    let view = |heads, data| {
        safetensors::tensor::TensorView::new(safetensors::Dtype::F32, vec![1, heads, 30, 4], data)
            .unwrap()
    };
    let views = [("q", view(2, &q)), ("k", view(1, &kv)), ("v", view(1, &kv))];
    fs::write(folder.join("small.safetensors"), safetensors::serialize(views, None).unwrap())
        .unwrap();
    let manifest = folder.join("manifest.json");
    fs::write(&manifest, case(changes).to_string()).unwrap();
    manifest
}

#[test]
fn a_case_is_replayed_from_its_parameters_alone() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("new/out");
    replay(&recorded(folder.path(), &json!({})), &out, &["--case", "small"]).success();
    let bytes = fs::read(out.join("small.safetensors")).unwrap();
    let kept = SafeTensors::deserialize(&bytes).unwrap();
    assert_eq!(kept.tensor("kept_prefill").unwrap().shape(), [1, 2, 12]);
    assert_eq!(kept.tensor("kept_steps").unwrap().shape(), [10, 1, 2, 18]);
    assert_eq!(fs::read_dir(&out).unwrap().count(), 1, "nothing else is left behind");
}

#[test]
fn what_cannot_be_replayed_is_refused_and_nothing_is_written() {
    let huge = json!(1u64 << 60);
    let cases: [(serde_json::Value, i32, &str); 17] = [
        (json!({ "name": "../escaped" }), 3, "names a file outside its folder"),
        (json!({ "file": "/etc/passwd" }), 3, "names a file outside its folder"),
        (json!({ "file": "absent.safetensors" }), 3, "cannot read"),
        (json!({ "method": "H3O" }), 3, "unknown variant `H3O`"),
        (json!({ "decode_steps": huge }), 3, "positions exceed 32767"),
        (json!({ "num_layers": huge }), 3, "the manifest says F32"),
        (json!({ "head_dim": 8 }), 3, "the manifest says F32 [1, 2, 30, 8]"),
        (json!({ "prompt_len": 0, "decode_steps": 30 }), 3, "does not hold"),
        (json!({ "prompt_len": -1 }), 3, "`prompt_len`: invalid value: integer `-1`"),
        (json!({ "delta": "4" }), 3, "`delta`: invalid type: string"),
        (json!({ "initial_counters": { "jump_step": 0.5 } }), 3, "`initial_counters.jump_step`"),
        (json!({ "window_size": null }), 3, "`window_size` is missing"),
        (json!({ "decoding_window_size": null }), 3, "`decoding_window_size` is missing"),
        (json!({ "delta": null, "decode_strategy": "adaptive" }), 3, "`delta` is missing"),
        (json!({ "decoding_recent_size": 9 }), 2, "`recent` = 9 exceeds `budget` = 6"),
        (json!({ "delta": 0, "decode_strategy": "adaptive" }), 2, "`interval` = 0"),
        (
            json!({ "method": "PyramidInfer", "max_capacity_prompt": 19 }),
            2,
            "the published code fails on a prompt of 20 tokens",
        ),
    ];
    for (changes, code, message) in cases {
        let folder = tempfile::tempdir().unwrap();
        let out = folder.path().join("out");
        let run = replay(&recorded(folder.path(), &changes), &out, &[]).code(code);
        let stderr = String::from_utf8(run.get_output().stderr.clone()).unwrap();
        assert!(stderr.contains(message), "{changes}: {stderr}");
        assert!(stderr.contains("error: case `"), "{changes}: {stderr}");
        let left = fs::read_dir(&out).map_or(0, Iterator::count);
        assert_eq!(left, 0, "{changes}");
    }
}

/// What a case kept when the keys of `without` are not in the manifest.
fn kept(changes: &serde_json::Value, without: &[&str]) -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    let manifest = recorded(folder.path(), changes);
    let mut cases = case(changes);
    for key in without {
        cases["cases"][0].as_object_mut().unwrap().remove(*key).unwrap();
    }
    fs::write(&manifest, cases.to_string()).unwrap();
    replay(&manifest, &folder.path().join("out"), &[]).success();
    fs::read(folder.path().join("out/small.safetensors")).unwrap()
}

#[test]
fn what_a_class_does_not_read_may_be_left_out() {
    let pooling = ["kernel_size", "pooling", "beta"];
    let decode = ["decoding_window_size", "decoding_recent_size", "delta", "initial_counters"];
    let of =
        |method: &str, strategy: &str| json!({ "method": method, "decode_strategy": strategy });
    let cases = [
        (of("H2O", "None"), [&pooling[..], &decode].concat()),
        (of("H2O", "slide"), [&pooling[..], &["delta"]].concat()),
        (of("H2O", "adaptive"), [&pooling[..], &["decoding_window_size"]].concat()),
        (of("StreamingLLM", "slm"), [&pooling[..], &["delta", "initial_counters"]].concat()),
        (of("PyramidInfer", "pyramidinfer"), vec!["kernel_size", "pooling", "delta"]),
        (of("ALLKV", "h2o"), [&pooling[..], &["max_capacity_prompt", "window_size"]].concat()),
    ];
    for (changes, without) in cases {
        assert_eq!(kept(&changes, &[]), kept(&changes, &without), "{changes} without {without:?}");
    }
    let noted = json!({ "note": "of no meaning", "seed": { "any": [1, null] } });
    assert_eq!(kept(&noted, &[]), kept(&json!({ "initial_counters": null }), &[]));
}

#[test]
fn what_the_published_classes_default_to_may_be_left_out() {
    let of = |changes: serde_json::Value| {
        let mut all = json!({ "method": "PyramidKV", "decode_strategy": "adaptive", "max_capacity_prompt": 8 });
        all.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
        all
    };
    let stated = json!({ "kernel_size": 5, "pooling": "avgpool", "beta": 20, "delta": 15 });
    let defaults = kept(&of(stated), &[]);
    assert_eq!(defaults, kept(&of(json!({})), &["kernel_size", "pooling", "beta", "delta"]));
    for other in [json!({ "kernel_size": 1 }), json!({ "beta": 1 }), json!({ "delta": 1 })] {
        let key = other.as_object().unwrap().keys().next().unwrap();
        assert_ne!(kept(&of(other.clone()), &[]), kept(&of(json!({})), &[key]), "{key} matters");
    }
}

#[test]
fn a_case_that_fails_costs_the_others_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let manifest = recorded(folder.path(), &json!({}));
    let named = |name: &str, changes: serde_json::Value| {
        let mut case = case(&changes)["cases"][0].clone();
        case["name"] = json!(name);
        case["file"] = json!("small.safetensors");
        case
    };
    let cases = [
        named("refused", json!({ "decoding_recent_size": 9 })),
        named("untyped", json!({ "head_dim": "4" })),
        named("good", json!({})),
        named("absent", json!({ "max_capacity_prompt": null })),
        named("also-good", json!({ "decode_strategy": "h2o" })),
    ];
    fs::write(&manifest, json!({ "cases": cases }).to_string()).unwrap();
    let out = folder.path().join("out");
    let run = replay(&manifest, &out, &[]).code(3);
    let stderr = String::from_utf8(run.get_output().stderr.clone()).unwrap();
    for name in ["refused", "untyped", "absent"] {
        assert!(stderr.contains(&format!("error: case `{name}`\n")), "{stderr}");
    }
    assert!(stderr.ends_with("error: 3 of 5 cases not replayed\n"), "{stderr}");
    let mut written: Vec<_> =
        fs::read_dir(&out).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    written.sort();
    assert_eq!(written, ["also-good.safetensors", "good.safetensors"]);
    replay(&manifest, &out, &["--case", "good", "--case", "refused"]).code(2);
}

#[test]
fn recordings_are_never_overwritten() {
    let folder = tempfile::tempdir().unwrap();
    let manifest = recorded(folder.path(), &json!({}));
    let before = fs::read(folder.path().join("small.safetensors")).unwrap();
    replay(&manifest, &folder.path().join("."), &[]).code(2);
    assert_eq!(fs::read(folder.path().join("small.safetensors")).unwrap(), before);
}

/// What a decode half is told of a counter that an earlier sample left, and what it makes of it.
#[test]
fn counters_start_where_the_published_class_has_them() {
    let last = |changes: serde_json::Value| {
        let folder = tempfile::tempdir().unwrap();
        let out = folder.path().join("out");
        replay(&recorded(folder.path(), &changes), &out, &[]).success();
        let bytes = fs::read(out.join("small.safetensors")).unwrap();
        let kept = SafeTensors::deserialize(&bytes).unwrap();
        let counters = kept.tensor("counters").unwrap().data().to_vec();
        let words: Vec<i32> =
            counters.as_chunks::<4>().0.iter().map(|bytes| i32::from_le_bytes(*bytes)).collect();
        words[words.len() - 3..].to_vec()
    };
    let carried = json!({ "current_decoding_step": 40, "jump_step": 2, "jump_layer": 0 });
    let start = |method: &str, strategy: &str| json!({ "method": method, "decode_strategy": strategy, "initial_counters": carried });
    assert_eq!(last(start("SnapKV", "slide")), [40, 2, 0], "kept, and not counted");
    assert_eq!(last(start("SnapKV", "adaptive")), [50, 2, 0], "kept, and counted");
    assert_eq!(last(start("H2O", "adaptive")), [10, 0, 0], "reset, and counted");
}

#[test]
fn broken_files_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let manifest = recorded(folder.path(), &json!({}));
    let recording = folder.path().join("small.safetensors");
    let whole = fs::read(&recording).unwrap();
    let mut not_finite = whole.clone();
    let at = not_finite.len() - 4;
    not_finite[at..].copy_from_slice(&f32::NAN.to_le_bytes());
    let mut header_of_2_60 = whole.clone();
    header_of_2_60[..8].copy_from_slice(&(1u64 << 60).to_le_bytes());
    for bytes in [&whole[..0], &whole[..5], &whole[..whole.len() - 1], &not_finite, &header_of_2_60]
    {
        fs::write(&recording, bytes).unwrap();
        let run = replay(&manifest, &folder.path().join("out"), &[]).code(3);
        let stderr = String::from_utf8(run.get_output().stderr.clone()).unwrap();
        assert!(stderr.contains("small.safetensors"), "{stderr}");
    }
    for text in ["", "{", "[1, 2]", "\u{feff}{}"] {
        fs::write(&manifest, text).unwrap();
        replay(&manifest, &folder.path().join("out"), &[]).code(3);
    }
    replay(&folder.path().join("absent.json"), &folder.path().join("out"), &[]).code(3);
    fs::write(&manifest, case(&json!({})).to_string()).unwrap();
    replay(&manifest, &folder.path().join("out"), &["--case", "other"]).code(2);
}
