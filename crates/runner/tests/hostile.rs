//! Files that are no models: each is refused by name, and nothing panics.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod support;

use std::fs;
use std::path::{Path, PathBuf};

use candle_core::Device;
use candle_core::quantized::GgmlDType;
use candle_core::quantized::gguf_file::Value;
use runner::{Error, Model, Weights};
use support::{Tiny, text};

/// Loads what must not load: both ways in say why, under the file's name.
fn refusal(path: &Path) -> String {
    let whole = Model::load("hostile", path, Weights::F32, &Device::Cpu).map(|_| ());
    let Err(error) = whole else { panic!("`{}` was taken for a model", path.display()) };
    assert!(error.is_data(), "{error:?}");
    let message = error.to_string();
    assert!(message.contains(&path.display().to_string()), "{message}");
    if let Err(error) = Model::describe(path) {
        assert!(error.to_string().contains(&path.display().to_string()), "{error}");
    }
    message
}

struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn bytes(&self, bytes: &[u8]) -> PathBuf {
        let path = self.0.path().join("hostile.gguf");
        fs::write(&path, bytes).unwrap();
        path
    }

    fn tiny(&self, tiny: &Tiny) -> PathBuf {
        let path = self.0.path().join("hostile.gguf");
        tiny.write(&path).unwrap();
        path
    }
}

#[test]
fn what_is_no_gguf_file_is_refused() {
    let folder = Folder::new();
    refusal(&folder.0.path().join("absent.gguf"));
    refusal(folder.0.path());
    refusal(&folder.bytes(b""));
    refusal(&folder.bytes(b"GGUF"));
    refusal(&folder.bytes(b"PK\x03\x04 not a model at all, but long enough to be read as one"));
    let version_9 = [b"GGUF".as_slice(), &9u32.to_le_bytes(), &[0; 64]].concat();
    refusal(&folder.bytes(&version_9));
}

#[test]
fn a_file_cut_anywhere_is_refused() {
    let folder = Folder::new();
    let whole = fs::read(folder.tiny(&Tiny::new(2))).unwrap();
    assert!(Model::load("whole", &folder.bytes(&whole), Weights::F32, &Device::Cpu).is_ok());
    let everywhere_in_the_header = (0..4096).step_by(61);
    let here_and_there = (4096..whole.len() - 32).step_by(whole.len() / 40); // the last tensor ends less than 32 bytes of padding early
    for length in everywhere_in_the_header.chain(here_and_there) {
        refusal(&folder.bytes(&whole[..length]));
    }
}

#[test]
fn a_file_with_a_byte_changed_never_panics() {
    let folder = Folder::new();
    let whole = fs::read(folder.tiny(&Tiny::new(2).stored_as(GgmlDType::Q4_0))).unwrap();
    for place in (0..6000).step_by(29) {
        for byte in [0x00, 0x7f, 0xff] {
            let mut bytes = whole.clone();
            bytes[place] = byte;
            let path = folder.bytes(&bytes);
            for weights in [Weights::F32, Weights::Native] {
                if let Err(error) = Model::load("changed", &path, weights, &Device::Cpu) {
                    assert!(
                        error.to_string().contains(&path.display().to_string()),
                        "byte {place} = {byte}: {error}"
                    );
                }
            }
        }
    }
}

#[test]
fn a_header_that_cannot_be_is_refused_with_its_key() {
    let folder = Folder::new();
    let number = Value::U32;
    for (key, value, said) in [
        ("general.architecture", text("mamba"), "mamba"),
        ("general.architecture", number(1), "general.architecture"),
        ("general.alignment", number(0), "general.alignment"),
        ("tokenizer.ggml.model", text("t5"), "t5"),
        ("tokenizer.ggml.model", text("llama"), "tokenizer.ggml.scores"),
        ("tokenizer.ggml.pre", text("deepseek-llm"), "deepseek-llm"),
        ("tokenizer.ggml.tokens", text("a"), "tokenizer.ggml.tokens"),
        ("tokenizer.ggml.tokens", Value::Array(vec![text("a"), text("a")]), "vocabulary"),
        ("tokenizer.ggml.token_type", Value::Array(vec![]), "types"),
        ("tokenizer.ggml.merges", Value::Array(vec![text("ab")]), "ab"),
        ("tokenizer.ggml.merges", Value::Array(vec![text("a zz")]), "merges"),
        ("tokenizer.ggml.eos_token_id", number(96), "96"),
        ("llama.block_count", number(4), "blk.3"),
        ("llama.block_count", number(0), "layers"),
        ("llama.block_count", number(u32::MAX), "layers"),
        ("llama.attention.head_count", number(0), "head"),
        ("llama.attention.head_count", text("4"), "llama.attention.head_count"),
        ("llama.attention.head_count_kv", number(3), "3 KV heads"),
        ("llama.attention.head_count_kv", number(0), "KV heads"),
        ("llama.attention.key_length", number(7), "7"),
        ("llama.embedding_length", Value::I64(-32), "llama.embedding_length"),
        ("llama.context_length", Value::U64(u64::MAX), "context"),
        ("llama.rope.scaling.type", text("yarn"), "yarn"),
        ("llama.attention.value_length", number(16), "llama.attention.value_length"),
        ("llama.rope.freq_base", Value::F32(f32::NAN), "rotary"),
        ("llama.attention.layer_norm_rms_epsilon", Value::F32(f32::INFINITY), "epsilon"),
    ] {
        let said_so = refusal(&folder.tiny(&Tiny::new(2).with(key, value.clone())));
        assert!(said_so.contains(said), "`{key}` = {value:?}: {said_so}");
    }
    for key in [
        "general.architecture",
        "llama.block_count",
        "llama.context_length",
        "tokenizer.ggml.model",
        "tokenizer.ggml.tokens",
    ] {
        refusal(&folder.tiny(&Tiny::new(2).without(key)));
    }
}

/// A length that no file can have is refused before anything of that size is asked for.
#[test]
fn absurd_lengths_are_refused() {
    let folder = Folder::new();
    let header = |tensors: u64, pairs: u64, rest: &[u8]| {
        let counts = [tensors.to_le_bytes(), pairs.to_le_bytes()].concat();
        [b"GGUF".as_slice(), &3u32.to_le_bytes(), &counts, rest, &[0; 64]].concat()
    };
    let huge = (1u64 << 60).to_le_bytes();
    let key = [1u64.to_le_bytes().as_slice(), b"k"].concat();
    let (string, array, of_u8) = (8u32.to_le_bytes(), 9u32.to_le_bytes(), 0u32.to_le_bytes());
    for bytes in [
        header(1 << 60, 0, &[]),
        header(0, 1 << 60, &[]),
        header(0, 1, &huge),
        header(0, 1, &[&key[..], &string, &huge].concat()),
        header(0, 1, &[&key[..], &array, &of_u8, &huge].concat()),
        header(1, 0, &[&key[..], &1u32.to_le_bytes(), &huge, &0u32.to_le_bytes()].concat()),
    ] {
        refusal(&folder.bytes(&bytes));
    }
}

#[test]
fn a_weight_that_is_no_number_is_refused_by_its_tensors_name() {
    let folder = Folder::new();
    let whole = fs::read(folder.tiny(&Tiny::new(2))).unwrap();
    for number in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        let mut bytes = whole.clone();
        let place = bytes.len() - 64; // in the last tensor
        bytes[place..place + 4].copy_from_slice(&number.to_le_bytes());
        let said = refusal(&folder.bytes(&bytes));
        assert!(said.contains("blk.2.ffn_down.weight") && said.contains("NaN"), "{said}");
    }
}

#[test]
fn a_tensor_of_another_shape_is_refused_by_name() {
    let folder = Folder::new();
    for (name, shape) in [
        ("token_embd.weight", [95, 32].as_slice()),
        ("token_embd.weight", &[96 * 32]),
        ("output_norm.weight", &[31]),
        ("blk.1.attn_k.weight", &[32, 32]),
        ("blk.2.ffn_down.weight", &[64, 32]),
    ] {
        let said_so = refusal(&folder.tiny(&Tiny::new(2).with_shape(name, shape)));
        assert!(said_so.contains(name), "{said_so}");
    }
}

#[test]
fn errors_that_are_the_callers_are_not_the_files() {
    assert!(!Error::EmptyPrompt.is_data());
    assert!(runner::device("abacus").is_err_and(|error| error.to_string().contains("abacus")));
}
