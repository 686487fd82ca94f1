//! Text to token ids and back.

mod byte_level;
mod gguf;
mod huggingface;
mod sentence_piece;

use tokenizers::Tokenizer as Inner;
use tokenizers::processors::template::TemplateProcessing;

use crate::{ChatTemplate, Error, Message, Result};

/// A model's tokenizer, its special tokens and its chat template.
#[derive(Debug, Clone)]
pub struct Tokenizer {
    /// Its post-processor adds BOS where the model wants one.
    inner: Inner,
    end_tokens: Vec<u32>,
    own_end_token: Option<u32>,
    template: Option<ChatTemplate>,
}

/// Puts this token in front of every text, or none.
fn begin_with(inner: &mut Inner, bos: Option<(&str, u32)>) -> Result<()> {
    let fault = |error: &dyn std::fmt::Display| Error::Tokenizer(error.to_string());
    let Some((text, id)) = bos else {
        inner.with_post_processor(None::<TemplateProcessing>);
        return Ok(());
    };
    let bos = TemplateProcessing::builder()
        .try_single(vec![text.to_owned(), "$A".to_owned()])
        .map_err(|error| fault(&error))?
        .special_tokens(vec![(text.to_owned(), id)])
        .build()
        .map_err(|error| fault(&error))?;
    inner.with_post_processor(Some(bos));
    Ok(())
}

impl Tokenizer {
    /// Token ids of a text; special tokens written out in it are recognised, and BOS comes first if the model wants one.
    ///
    /// # Errors
    /// [`Error::Tokenizer`] if the text cannot be split.
    pub fn encode(&self, text: &str) -> Result<Vec<u32>> {
        let encoding =
            self.inner.encode(text, true).map_err(|error| Error::Tokenizer(error.to_string()))?;
        Ok(encoding.get_ids().to_vec())
    }

    /// The text of some tokens, special ones left out.
    ///
    /// # Errors
    /// [`Error::Tokenizer`] if an id is unknown.
    pub fn decode(&self, tokens: &[u32]) -> Result<String> {
        self.inner.decode(tokens, true).map_err(|error| Error::Tokenizer(error.to_string()))
    }

    /// A conversation's tokens by the model's own template, which writes BOS itself if there is to be one.
    ///
    /// # Errors
    /// [`Error::NoTemplate`], or [`Error::Template`] if the template refuses it.
    pub fn encode_chat(&self, messages: &[Message]) -> Result<Vec<u32>> {
        let text = self.template.as_ref().ok_or(Error::NoTemplate)?.render(messages)?;
        let encoding =
            self.inner.encode(text, false).map_err(|error| Error::Tokenizer(error.to_string()))?;
        Ok(encoding.get_ids().to_vec())
    }

    /// The model's own chat template.
    pub fn template(&self) -> Option<&ChatTemplate> {
        self.template.as_ref()
    }

    /// Tokens that end a text, as the model names them.
    pub fn end_tokens(&self) -> &[u32] {
        &self.end_tokens
    }

    /// The one end token that is the tokenizer's own, whatever the model's settings name beside it.
    pub fn own_end_token(&self) -> Option<u32> {
        self.own_end_token
    }
}
