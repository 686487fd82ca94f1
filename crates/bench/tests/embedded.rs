//! The embedded model gives the same numbers and texts as `transformers` does.
#![allow(clippy::unwrap_used, reason = "tests")]

mod support;

use std::fs;
use std::path::{Path, PathBuf};

use safetensors::SafeTensors;
use support::Workplace;

const DOCUMENTS: usize = 3;

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/embedded").join(name)
}

fn integers(tensors: &SafeTensors<'_>, name: &str) -> Vec<i64> {
    let data = tensors.tensor(name).unwrap().data().to_vec();
    data.as_chunks::<8>().0.iter().map(|bytes| i64::from_le_bytes(*bytes)).collect()
}

/// The rows of a matrix.
fn rows(tensors: &SafeTensors<'_>, name: &str) -> Vec<Vec<f32>> {
    let tensor = tensors.tensor(name).unwrap();
    let numbers: Vec<f32> =
        tensor.data().as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect();
    numbers.chunks(*tensor.shape().last().unwrap()).map(<[f32]>::to_vec).collect()
}

#[test]
fn texts_are_those_of_transformers_token_by_token() {
    let place = Workplace::new();
    for document in 0..DOCUMENTS {
        let bytes = fs::read(fixture(&format!("{document}.safetensors"))).unwrap();
        let expected = SafeTensors::deserialize(&bytes).unwrap();
        let prompt = fixture(&format!("{document}.txt"));
        let arguments = ["generate", "--model", "embedded", "--raw", "--max-new-tokens", "1024"];
        let more = ["--format", "json", "--prompt-file", prompt.to_str().unwrap()];
        let answer = place.bench(&[&arguments[..], &more].concat()).json();
        let tokens = |key: &str| -> Vec<i64> {
            answer[key].as_array().unwrap().iter().map(|id| id.as_i64().unwrap()).collect()
        };
        assert_eq!(tokens("prompt_tokens"), integers(&expected, "prompt"));
        assert_eq!(tokens("tokens"), integers(&expected, "answer"));
    }
}

#[test]
fn logits_are_those_of_transformers() {
    let place = Workplace::new();
    let mut worst = 0.0_f32;
    for document in 0..DOCUMENTS {
        let bytes = fs::read(fixture(&format!("{document}.safetensors"))).unwrap();
        let expected = SafeTensors::deserialize(&bytes).unwrap();
        let prompt = fixture(&format!("{document}.txt"));
        let command = ["logits", "--model", "embedded", "--out", "out.safetensors"];
        place
            .bench(&[&command[..], &["--text-file", prompt.to_str().unwrap()]].concat())
            .succeeded();
        let bytes = fs::read(place.path("out.safetensors")).unwrap();
        let found = rows(&SafeTensors::deserialize(&bytes).unwrap(), "logits");
        let positions = integers(&expected, "positions").into_iter();
        let positions: Vec<usize> = positions.map(|at| usize::try_from(at).unwrap()).collect();
        let within = positions.iter().zip(rows(&expected, "logits"));
        let within: Vec<_> = within.filter(|(at, _)| **at < found.len()).collect();
        assert!(within.len() >= 10);
        for (position, expected) in within {
            let found = &found[*position];
            let squares =
                |values: &mut dyn Iterator<Item = f32>| values.map(|x| x * x).sum::<f32>();
            let off = squares(&mut found.iter().zip(&expected).map(|(a, b)| a - b)).sqrt();
            worst = worst.max(off / squares(&mut expected.iter().copied()).sqrt());
        }
    }
    println!("largest relative error of a row {worst:.1e}");
    assert!(worst < 2e-5, "{worst}");
}
