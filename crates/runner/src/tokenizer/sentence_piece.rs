//! SentencePiece's BPE, GGUF's model `llama`: tokens with scores and no merges.

use std::collections::BTreeMap;

use tokenizers::decoders::byte_fallback::ByteFallback;
use tokenizers::decoders::fuse::Fuse;
use tokenizers::decoders::sequence::Sequence as DecoderSequence;
use tokenizers::decoders::strip::Strip;
use tokenizers::models::bpe::BPE;
use tokenizers::normalizers::{NormalizerWrapper, Prepend, Replace, Sequence};
use tokenizers::{DecoderWrapper, ModelWrapper, Tokenizer as Inner};

use super::gguf::{Listed, kind};
use crate::{Error, Result};

/// How a blank is written in a token.
const BLANK: &str = "▁";

/// A tokenizer, and that its texts begin with BOS unless the file says otherwise.
///
/// SentencePiece joins the two neighbours whose union scores best. Every way to split a token into two known ones is a merge; ranked by the
/// union's score they give the same ids.
pub(super) fn build(listed: &Listed<'_>) -> Result<(Inner, bool)> {
    let fault = |error: tokenizers::Error| Error::Tokenizer(error.to_string());
    let unknown = listed.special("unknown")?.map_or("<unk>", |(text, _)| text);
    let bpe = BPE::builder()
        .vocab_and_merges(listed.vocabulary()?, merges(listed)?)
        .unk_token(unknown.to_owned())
        .fuse_unk(true)
        .byte_fallback(true)
        .build()
        .map_err(|error| listed.fault(error))?;
    let mut inner = Inner::new(ModelWrapper::BPE(bpe));
    let prefixed = listed.gguf.flag("tokenizer.ggml.add_space_prefix")?.unwrap_or(true);
    let mut normalizers =
        vec![NormalizerWrapper::Replace(Replace::new(" ", BLANK).map_err(fault)?)];
    let mut decoders = vec![
        DecoderWrapper::Replace(Replace::new(BLANK, " ").map_err(fault)?),
        DecoderWrapper::ByteFallback(ByteFallback::default()),
        DecoderWrapper::Fuse(Fuse::default()),
    ];
    if prefixed {
        normalizers.insert(0, NormalizerWrapper::Prepend(Prepend::new(BLANK.to_owned())));
        decoders.push(DecoderWrapper::Strip(Strip::new(' ', 1, 0)));
    }
    inner.with_normalizer(Some(Sequence::new(normalizers))).map_err(fault)?;
    inner.with_decoder(Some(DecoderSequence::new(decoders)));
    Ok((inner, true))
}

/// Every split of a token into two known ones, the best union first; splits of one token by the ids of their parts.
fn merges(listed: &Listed<'_>) -> Result<Vec<(String, String)>> {
    let scores = listed.gguf.floats("tokenizer.ggml.scores")?;
    if scores.len() != listed.tokens.len() {
        return Err(listed.gguf.malformed(format!(
            "its vocabulary has {} tokens and {} scores",
            listed.tokens.len(),
            scores.len()
        )));
    }
    let normal = listed.tokens.iter().zip(0u32..).zip(&listed.kinds);
    let ids: BTreeMap<&str, u32> = normal
        .filter(|(_, kind)| **kind == kind::NORMAL)
        .map(|((token, id), _)| (*token, id))
        .collect();
    let mut ranked: Vec<&str> = ids.keys().copied().collect();
    ranked.sort_by(|a, b| {
        let score = |token: &str| scores[ids[token] as usize];
        score(b).total_cmp(&score(a)).then(ids[a].cmp(&ids[b]))
    });
    let mut merges = Vec::new();
    for token in ranked {
        let cuts = token.char_indices().skip(1).map(|(cut, _)| token.split_at(cut));
        let mut parts: Vec<(u32, u32)> =
            cuts.filter_map(|(left, right)| Some((*ids.get(left)?, *ids.get(right)?))).collect();
        parts.sort_unstable();
        let text = |id: u32| listed.tokens[id as usize].to_owned();
        merges.extend(parts.into_iter().map(|(left, right)| (text(left), text(right))));
    }
    Ok(merges)
}
