//! The tokenizer that a GGUF file's metadata describes.

use tokenizers::AddedToken;
use tokenizers::models::bpe::Vocab;

use super::{Tokenizer, byte_level, sentence_piece};
use crate::gguf::Gguf;
use crate::{ChatTemplate, Error, Result};

/// GGUF's kinds of tokens, as far as they are told apart here.
pub(super) mod kind {
    pub(crate) const NORMAL: i64 = 1;
    pub(crate) const UNKNOWN: i64 = 2;
    pub(crate) const CONTROL: i64 = 3;
    pub(crate) const USER_DEFINED: i64 = 4;
}

/// The tokens of a file, by id, each with its kind.
pub(super) struct Listed<'a> {
    pub(super) gguf: &'a Gguf,
    pub(super) tokens: Vec<&'a str>,
    pub(super) kinds: Vec<i64>,
}

impl Tokenizer {
    /// From a GGUF file's metadata, as llama.cpp reads it; candle's own reader differs from it on most strings.
    ///
    /// # Errors
    /// [`Error::Malformed`] for another kind of tokenizer, ids that the vocabulary lacks, or a merge that is none.
    pub(crate) fn from_gguf(gguf: &Gguf) -> Result<Self> {
        let model = gguf.text("tokenizer.ggml.model")?.unwrap_or("none");
        let pre = gguf.text("tokenizer.ggml.pre")?.unwrap_or("none");
        let listed = Listed::read(gguf)?;
        let (mut inner, begins) = match model {
            "gpt2" => byte_level::build(&listed, pre)?,
            "llama" => sentence_piece::build(&listed)?,
            other => {
                return Err(gguf.malformed(format!(
                    "its tokenizer `{other}` is not supported: only `gpt2` and `llama` are"
                )));
            }
        };
        inner
            .add_tokens(listed.added().collect::<Vec<_>>())
            .map_err(|error| Error::Tokenizer(error.to_string()))?;
        let (bos, eos) = (listed.special("bos")?, listed.special("eos")?);
        if gguf.flag("tokenizer.ggml.add_bos_token")?.unwrap_or(begins) {
            super::begin_with(&mut inner, bos)?;
        }
        let mut end_tokens = Vec::new();
        for name in ["eos", "eot", "eom"] {
            let end = listed.special(name)?.map(|(_, id)| id);
            end_tokens.extend(end.filter(|id| !end_tokens.contains(id)));
        }
        let own_end_token = eos.map(|(_, id)| id);
        let text = |token: Option<(&'_ str, u32)>| token.map(|(text, _)| text.to_owned());
        let (bos, eos) = (text(bos), text(eos));
        let template = gguf.text("tokenizer.chat_template")?;
        let template =
            template.map(|it| ChatTemplate::new(gguf.path(), it, bos.as_deref(), eos.as_deref()));
        Ok(Self { inner, end_tokens, own_end_token, template })
    }
}

impl<'a> Listed<'a> {
    fn read(gguf: &'a Gguf) -> Result<Self> {
        let tokens = gguf.texts("tokenizer.ggml.tokens")?;
        let kinds = gguf.integers("tokenizer.ggml.token_type")?;
        if kinds.len() != tokens.len() {
            return Err(gguf.malformed(format!(
                "its vocabulary has {} tokens and {} types",
                tokens.len(),
                kinds.len()
            )));
        }
        Ok(Self { gguf, tokens, kinds })
    }

    /// Ids by text.
    pub(super) fn vocabulary(&self) -> Result<Vocab> {
        let ids = self.tokens.iter().zip(0u32..).map(|(token, id)| ((*token).to_owned(), id));
        let vocabulary: Vocab = ids.collect();
        if vocabulary.len() == self.tokens.len() {
            Ok(vocabulary)
        } else {
            Err(self.gguf.malformed("its vocabulary has a token twice"))
        }
    }

    /// Tokens that are found in a text before it is split: control tokens, the unknown one, and the user's.
    fn added(&self) -> impl Iterator<Item = AddedToken> {
        self.tokens.iter().zip(&self.kinds).filter_map(|(token, kind)| match *kind {
            kind::CONTROL | kind::UNKNOWN => Some(AddedToken::from(*token, true)),
            kind::USER_DEFINED => Some(AddedToken::from(*token, false).normalized(false)),
            _ => None,
        })
    }

    /// The token that a file names as one of its special ones.
    pub(super) fn special(&self, name: &str) -> Result<Option<(&'a str, u32)>> {
        let Some(id) = self.gguf.count(&format!("tokenizer.ggml.{name}_token_id"))? else {
            return Ok(None);
        };
        let known = self.tokens.get(id).copied().zip(u32::try_from(id).ok());
        known.map(Some).ok_or_else(|| {
            self.gguf.malformed(format!("its {name} token {id} is not in the vocabulary"))
        })
    }

    /// A library's complaint about the vocabulary.
    pub(super) fn fault(&self, error: impl std::fmt::Display) -> Error {
        self.gguf.malformed(format!("its merges do not fit its vocabulary: {error}"))
    }
}
