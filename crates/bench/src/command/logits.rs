//! `bench logits`: logits of a text, written as they are computed.

use std::io::Write;

use anyhow::Result;
use safetensors::Dtype;
use safetensors::tensor::{Metadata, TensorInfo};

use super::text::read_text;
use crate::cli::LogitsArgs;
use crate::{models, whole_file};

/// `bench logits`
pub(crate) fn logits(args: &LogitsArgs) -> Result<()> {
    let model = models::load(&args.model)?;
    let tokens = model.tokenizer().encode(&read_text(&args.text_file)?)?;
    whole_file::write_with(&args.out, |file| {
        file.write_all(&header(tokens.len(), model.config().vocabulary)?)?;
        for &token in &tokens {
            file.write_all(&i64::from(token).to_le_bytes())?;
        }
        Ok(model.logits(&tokens, |row| {
            let bytes: Vec<u8> = row.iter().flat_map(|logit| logit.to_le_bytes()).collect();
            Ok(file.write_all(&bytes)?)
        })?)
    })
}

/// What stands in a safetensors file before its numbers: here the `tokens`, and behind them their `logits`.
fn header(tokens: usize, vocabulary: usize) -> Result<Vec<u8>> {
    let middle = 8 * tokens;
    let end = middle + 4 * tokens * vocabulary;
    let tensor = |dtype, shape, data_offsets| TensorInfo { dtype, shape, data_offsets };
    let tensors = vec![
        ("tokens".to_owned(), tensor(Dtype::I64, vec![tokens], (0, middle))),
        ("logits".to_owned(), tensor(Dtype::F32, vec![tokens, vocabulary], (middle, end))),
    ];
    let mut described = serde_json::to_vec(&Metadata::new(None, tensors)?)?;
    described.resize(described.len().next_multiple_of(8), b' ');
    Ok([&(described.len() as u64).to_le_bytes(), &*described].concat())
}
