//! Byte-level BPE, GGUF's model `gpt2`: which merges, and how a text is split before them.

use tokenizers::decoders::byte_level::ByteLevel as ByteLevelDecoder;
use tokenizers::models::bpe::BPE;
use tokenizers::normalizers::unicode::NFC;
use tokenizers::pre_tokenizers::PreTokenizerWrapper;
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::pre_tokenizers::digits::Digits;
use tokenizers::pre_tokenizers::sequence::Sequence;
use tokenizers::pre_tokenizers::split::{Split, SplitPattern};
use tokenizers::{ModelWrapper, SplitDelimiterBehavior, Tokenizer as Inner};

use super::gguf::Listed;
use crate::{Error, Result};

/// Llama 3's split: contractions, words with one sign in front, up to three digits, signs, lines, blanks.
const LLAMA3: &str = r"(?:'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD])|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
/// Qwen2's: the same with every digit on its own.
const QWEN2: &str = r"(?:'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD])|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";

/// A tokenizer for one of the pre-tokenizers that are known, and whether its texts begin with BOS unless the file says otherwise.
///
/// # Differs
/// Qwen2's own tokenizer composes characters (NFC) before it splits, and so does this one; llama.cpp does not.
pub(super) fn build(listed: &Listed<'_>, pre: &str) -> Result<(Inner, bool)> {
    let bpe = BPE::builder().vocab_and_merges(listed.vocabulary()?, merges(listed)?);
    let (bpe, split, begins) = match pre {
        "smollm" => (bpe, None, false),
        "llama-bpe" => (bpe.ignore_merges(true), Some(LLAMA3), true),
        "qwen2" => (bpe, Some(QWEN2), false),
        other => {
            return Err(listed.gguf.malformed(format!(
                "its pre-tokenizer `{other}` is not supported: only `smollm`, `llama-bpe` and `qwen2` are"
            )));
        }
    };
    let bpe = bpe.build().map_err(|error| listed.fault(error))?;
    let mut inner = Inner::new(ModelWrapper::BPE(bpe));
    inner.with_pre_tokenizer(Some(pre_tokenizer(split)?));
    inner.with_decoder(Some(ByteLevelDecoder::default()));
    if pre == "qwen2" {
        inner.with_normalizer(Some(NFC)).map_err(|error| Error::Tokenizer(error.to_string()))?;
    }
    Ok((inner, begins))
}

/// By a pattern, or as GPT-2 splits after every digit was set apart.
fn pre_tokenizer(pattern: Option<&str>) -> Result<PreTokenizerWrapper> {
    let steps = match pattern {
        Some(pattern) => {
            let pattern = SplitPattern::Regex(pattern.to_owned());
            let split = Split::new(pattern, SplitDelimiterBehavior::Isolated, false)
                .map_err(|error| Error::Tokenizer(error.to_string()))?;
            vec![
                PreTokenizerWrapper::Split(split),
                PreTokenizerWrapper::ByteLevel(ByteLevel::new(false, true, false)),
            ]
        }
        None => vec![
            PreTokenizerWrapper::Digits(Digits::new(true)),
            PreTokenizerWrapper::ByteLevel(ByteLevel::new(false, true, true)),
        ],
    };
    Ok(PreTokenizerWrapper::Sequence(Sequence::new(steps)))
}

fn merges(listed: &Listed<'_>) -> Result<Vec<(String, String)>> {
    let merges = listed.gguf.texts("tokenizer.ggml.merges")?.into_iter().map(|merge| {
        let pair = merge.split_once(' ').map(|(left, right)| (left.to_owned(), right.to_owned()));
        pair.ok_or_else(|| listed.gguf.malformed(format!("`{merge}` is not a merge of two tokens")))
    });
    merges.collect()
}
