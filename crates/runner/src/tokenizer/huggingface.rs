//! The tokenizer of a folder in Hugging Face's layout.

use std::path::{Path, PathBuf};

use serde_json::Value;
use tokenizers::Tokenizer as Inner;

use super::Tokenizer;
use crate::caught::caught;
use crate::json::Json;
use crate::{ChatTemplate, Error, Result, read_up_to};

/// Three times the largest tokenizer of a known model.
const LIMIT_BYTES: u64 = 64 << 20;

impl Tokenizer {
    /// From `tokenizer.json` and what the files beside it say of special tokens and of chats.
    ///
    /// Texts end at `eos_token_id` of `generation_config.json`, else of `config.json`; the tokenizer's own end token is `eos_token` of
    /// `tokenizer_config.json`. BOS comes from the file's own post-processor, and
    /// `add_bos_token` overrules it.
    pub(crate) fn from_folder(
        path: &Path,
        config: &Json,
        generation: Option<&Json>,
        settings: Option<&Json>,
        template: Option<(PathBuf, String)>,
    ) -> Result<Self> {
        let mut inner = read(path)?;
        let vocabulary = config.required_count("vocab_size")?;
        let largest = inner.get_vocab(true).into_values().max().unwrap_or(0) as usize;
        if largest >= vocabulary {
            let reason = format!(
                "it has token {largest}, and `vocab_size` of `config.json` is {vocabulary}"
            );
            return Err(Error::Malformed { path: path.to_owned(), reason });
        }
        let bos = special(settings, "bos_token")?;
        let eos = special(settings, "eos_token")?;
        if let Some(begins) = settings.map(|it| it.flag("add_bos_token")).transpose()?.flatten() {
            overrule(&mut inner, begins, bos.as_deref(), path)?;
        }
        let end_tokens = end_tokens(&inner, config, generation)?;
        let template = match template {
            Some(it) => Some(it),
            None => settings.map(chat_template).transpose()?.flatten(),
        };
        let template = template.map(|(path, source)| {
            ChatTemplate::new(&path, &source, bos.as_deref(), eos.as_deref())
        });
        let own_end_token = eos.and_then(|text| inner.token_to_id(&text));
        Ok(Self { inner, end_tokens, own_end_token, template })
    }
}

fn read(path: &Path) -> Result<Inner> {
    let bytes = read_up_to(path, LIMIT_BYTES)
        .map_err(|source| Error::Read { path: path.to_owned(), source })?;
    let malformed = |reason: String| Error::Malformed { path: path.to_owned(), reason };
    let unusable = |reason: &str| malformed(format!("it is no tokenizer: {reason}"));
    // Some of what cannot be, the library finds out by a panic.
    let mut inner = caught(|| Inner::from_bytes(&bytes))
        .ok_or_else(|| unusable("its parts do not fit together"))?
        .map_err(|error| unusable(&error.to_string()))?;
    // A prompt is never cut or filled up in silence.
    inner.with_padding(None);
    inner.with_truncation(None).map_err(|error| unusable(&error.to_string()))?;
    Ok(inner)
}

/// Puts BOS in front of every text or takes it away, where the post-processor does otherwise.
fn overrule(inner: &mut Inner, begins: bool, bos: Option<&str>, path: &Path) -> Result<()> {
    let bos = bos.and_then(|text| Some((text, inner.token_to_id(text)?)));
    let empty = inner.encode("", true).map_err(|error| Error::Tokenizer(error.to_string()))?;
    let first = empty.get_ids().first();
    let as_it_is = first.is_some_and(|first| bos.is_some_and(|(_, id)| *first == id));
    match (begins, bos) {
        _ if begins == as_it_is => Ok(()),
        (true, None) => Err(Error::Malformed {
            path: path.to_owned(),
            reason: "`add_bos_token` of `tokenizer_config.json` is true, and its `bos_token` is not here"
                .to_owned(),
        }),
        (true, bos) => super::begin_with(inner, bos),
        (false, _) => super::begin_with(inner, None),
    }
}

/// A special token's text: a string, or an object that holds it as `content`.
fn special(settings: Option<&Json>, key: &str) -> Result<Option<String>> {
    let Some((settings, value)) = settings.and_then(|it| Some((it, it.value(key)?))) else {
        return Ok(None);
    };
    let text = value.as_str().or_else(|| value.get("content")?.as_str());
    text.map(|text| Some(text.to_owned())).ok_or_else(|| settings.wrong(key, "a token"))
}

/// The template for chats: a string, or the one called `default` of a list.
fn chat_template(settings: &Json) -> Result<Option<(PathBuf, String)>> {
    let key = "chat_template";
    let wrong = || settings.wrong(key, "a template or a list of named ones");
    let here = |source: &str| (settings.path().to_owned(), source.to_owned());
    match settings.value(key) {
        None => Ok(None),
        Some(Value::String(source)) => Ok(Some(here(source))),
        Some(Value::Array(named)) => {
            let default = named.iter().find(|entry| entry["name"] == "default");
            let source = default.map(|entry| entry["template"].as_str().ok_or_else(wrong));
            Ok(source.transpose()?.map(here))
        }
        Some(_) => Err(wrong()),
    }
}

/// Tokens that end a text, each known to the tokenizer.
fn end_tokens(inner: &Inner, config: &Json, generation: Option<&Json>) -> Result<Vec<u32>> {
    let key = "eos_token_id";
    let Some((file, value)) =
        generation.into_iter().chain([config]).find_map(|file| Some((file, file.value(key)?)))
    else {
        return Ok(Vec::new());
    };
    let one = [value.clone()];
    let ids = value.as_array().map_or(&one[..], Vec::as_slice);
    let known = ids.iter().map(|id| {
        let id = id.as_u64().and_then(|id| u32::try_from(id).ok());
        let known = id.filter(|id| inner.id_to_token(*id).is_some());
        known.ok_or_else(|| file.wrong(key, "a token of `tokenizer.json`, or a list of them"))
    });
    known.collect()
}
