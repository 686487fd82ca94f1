//! Texts, arms and output files of the commands that run a model.

use std::fs;

use safetensors::Dtype;
use safetensors::tensor::TensorView;
use serde_json::json;

use crate::broken::{half, patched, swapped, with};
use crate::table::Table;

pub(crate) fn texts(table: &mut Table) {
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
}

/// A case of one layer, two heads and four tokens, and its recording.
pub(crate) fn recordings(table: &mut Table) {
    table.write("manifest.json", b"{\"cases\": [");
    table.row("replay manifest", "cut in half", 3, &["replay", "manifest.json", "--out", "kept"]);
    table.row("replay manifest", "missing", 3, &["replay", "absent.json", "--out", "kept"]);
    table.endless(
        "replay manifest",
        "manifest.json",
        3,
        &["replay", "manifest.json", "--out", "kept"],
    );
    let case = json!({
        "name": "one", "method": "H2O", "decode_strategy": "None", "num_layers": 1, "num_heads": 2,
        "num_key_value_heads": 2, "head_dim": 2, "prompt_len": 3, "decode_steps": 1,
        "max_capacity_prompt": 2, "window_size": 1, "kernel_size": 1, "pooling": "maxpool", "beta": 20,
        "decoding_window_size": 4, "decoding_recent_size": 2, "delta": 1,
    });
    let manifest = json!({ "cases": [case] }).to_string();
    let recording = |dtype, shape: [usize; 4], value: f32| {
        let bytes = value.to_le_bytes().repeat(shape.iter().product());
        let view = || TensorView::new(dtype, shape.to_vec(), &bytes).unwrap();
        let tensors = ["q", "k", "v"].map(|name| (name, view()));
        safetensors::serialize(tensors, None).unwrap()
    };
    let (shape, replay) = ([1, 2, 4, 2], ["replay", "manifest.json", "--out", "kept"]);
    let good = recording(Dtype::F32, shape, 0.5);
    table.write("manifest.json", &manifest);
    table.write("one.safetensors", &good);
    assert!(table.bench("", &replay).status.success(), "what is broken below is whole");
    let states = [
        ("empty", Vec::new()),
        ("truncated", half(&good)),
        ("a header of 2^60 bytes", patched(&good, 0, 1 << 60)),
        ("a wrong dtype", recording(Dtype::I32, shape, 0.5)),
        ("a wrong shape", recording(Dtype::F32, [1, 2, 4, 1], 0.5)),
        ("a number that is none", recording(Dtype::F32, shape, f32::NAN)),
    ];
    table.states("recording", "one.safetensors", 3, &replay, &states);
    table.endless("recording", "one.safetensors", 3, &replay);
    for (case, from, to) in [
        ("an unknown method", "\"H2O\"", "\"H3O\""),
        ("2^60 layers", "\"num_layers\":1", "\"num_layers\":1152921504606846976"),
        ("2^60 steps", "\"decode_steps\":1", "\"decode_steps\":1152921504606846976"),
        ("no heads", "\"num_key_value_heads\":2", "\"num_key_value_heads\":0"),
        ("a file outside its folder", "\"name\":\"one\"", "\"name\":\"../one\""),
    ] {
        table.write("manifest.json", swapped(manifest.as_bytes(), from, to));
        table.row("replay manifest", case, 3, &replay);
    }
}
