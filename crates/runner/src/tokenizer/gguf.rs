//! The tokenizer that a GGUF file's metadata describes.

use tokenizers::decoders::byte_level::ByteLevel as ByteLevelDecoder;
use tokenizers::models::bpe::{BPE, Vocab};
use tokenizers::pre_tokenizers::PreTokenizerWrapper;
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::pre_tokenizers::digits::Digits;
use tokenizers::pre_tokenizers::sequence::Sequence;
use tokenizers::{AddedToken, ModelWrapper, Tokenizer as Inner};

use super::Tokenizer;
use crate::gguf::Gguf;
use crate::{ChatTemplate, Error, Result};

/// GGUF's mark of a control token.
const CONTROL: i64 = 3;

impl Tokenizer {
    /// From a GGUF file's metadata.
    ///
    /// Byte-level BPE as SmolLM2 has it (`gpt2`, pre-tokenizer `smollm`): every digit on its own, no space in front. Candle's own
    /// reader of this metadata differs from the reference on most strings.
    ///
    /// # Errors
    /// [`Error::Malformed`] for another kind of tokenizer, ids that the vocabulary lacks, or a merge that is none.
    pub(crate) fn from_gguf(gguf: &Gguf) -> Result<Self> {
        let kind = (gguf.text("tokenizer.ggml.model")?, gguf.text("tokenizer.ggml.pre")?);
        if kind != (Some("gpt2"), Some("smollm")) {
            let (model, pre) = (kind.0.unwrap_or("none"), kind.1.unwrap_or("none"));
            return Err(gguf.malformed(format!(
                "its tokenizer `{model}`, pre-tokenizer `{pre}`, is not supported"
            )));
        }
        let tokens = gguf.texts("tokenizer.ggml.tokens")?;
        let types = gguf.integers("tokenizer.ggml.token_type")?;
        let vocabulary: Vocab =
            tokens.iter().zip(0u32..).map(|(token, id)| ((*token).to_owned(), id)).collect();
        if vocabulary.len() != tokens.len() || types.len() != tokens.len() {
            return Err(gguf.malformed("its vocabulary repeats tokens, or lacks their types"));
        }
        let merges = gguf.texts("tokenizer.ggml.merges")?.into_iter().map(|merge| {
            let pair =
                merge.split_once(' ').map(|(left, right)| (left.to_owned(), right.to_owned()));
            pair.ok_or_else(|| gguf.malformed(format!("`{merge}` is not a merge of two tokens")))
        });
        let bpe = BPE::builder()
            .vocab_and_merges(vocabulary, merges.collect::<Result<Vec<_>>>()?)
            .build()
            .map_err(|error| {
                gguf.malformed(format!("its merges do not fit its vocabulary: {error}"))
            })?;

        let mut inner = Inner::new(ModelWrapper::BPE(bpe));
        inner.with_pre_tokenizer(Some(PreTokenizerWrapper::Sequence(Sequence::new(vec![
            PreTokenizerWrapper::Digits(Digits::new(true)),
            PreTokenizerWrapper::ByteLevel(ByteLevel::new(false, true, true)),
        ]))));
        inner.with_decoder(Some(ByteLevelDecoder::default()));
        let special = tokens.iter().zip(&types).filter(|(_, kind)| **kind == CONTROL);
        let special: Vec<AddedToken> =
            special.map(|(token, _)| AddedToken::from(*token, true)).collect();
        inner.add_special_tokens(special).map_err(|error| Error::Tokenizer(error.to_string()))?;

        let token = |key: &str| -> Result<Option<u32>> {
            let Some(id) = gguf.count(&format!("tokenizer.ggml.{key}_token_id"))? else {
                return Ok(None);
            };
            let known = u32::try_from(id).ok().filter(|_| id < tokens.len());
            known.map(Some).ok_or_else(|| {
                gguf.malformed(format!("its {key} token {id} is not in the vocabulary"))
            })
        };
        let (bos, eos) = (token("bos")?, token("eos")?);
        let text_of = |id: Option<u32>| id.map(|id| tokens[id as usize]);
        let template = gguf.text("tokenizer.chat_template")?;
        if gguf.flag("tokenizer.ggml.add_bos_token")?.unwrap_or(false) {
            super::begin_with(&mut inner, text_of(bos).zip(bos))?;
        }
        Ok(Self {
            template: template.map(|source| ChatTemplate::new(source, text_of(bos), text_of(eos))),
            end_tokens: eos.into_iter().collect(),
            inner,
        })
    }
}
