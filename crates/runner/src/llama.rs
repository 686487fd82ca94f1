//! A Llama on one of two back ends: the host's own kernels, or candle's tensors on a device. Both read prompts and advance lanes; tests hold them equal.

use candle_core::Device;
use zoo::Observation;

use crate::lane::Lane;
use crate::prefill::{BLOCK, CacheShape, Read};
use crate::weights::Tensors;
use crate::{Config, Error, Result, Weights, host, tensor};

/// The table of token embeddings, `(vocabulary, hidden)`.
pub(crate) const EMBEDDING: &str = "model.embed_tokens.weight";

/// A layer's tensor.
pub(crate) fn layer_tensor(layer: usize, part: &str) -> String {
    format!("model.layers.{layer}.{part}")
}

/// A decoder with its weights.
#[derive(Debug)]
pub(crate) struct Llama {
    pub(crate) config: Config,
    back_end: BackEnd,
}

#[derive(Debug)]
enum BackEnd {
    Host(host::Decoder),
    Tensor(tensor::Decoder),
}

/// Which rows' logits are wanted: the vocabulary's product is a third of a small model's step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wanted {
    None,
    Last,
    All,
}

impl Llama {
    /// Reads the weights, for the host unless another device is named.
    pub(crate) fn new(
        config: Config,
        tensors: &mut Tensors,
        weights: Weights,
        device: &Device,
    ) -> Result<Self> {
        if device.is_cpu() {
            let decoder = host::Decoder::new(&config, tensors, weights)?;
            return Ok(Self { config, back_end: BackEnd::Host(decoder) });
        }
        Self::on_tensors(config, tensors, weights, device)
    }

    /// Reads the weights for candle's tensors, on any device.
    pub(crate) fn on_tensors(
        config: Config,
        tensors: &mut Tensors,
        weights: Weights,
        device: &Device,
    ) -> Result<Self> {
        let decoder = tensor::Decoder::new(&config, tensors, weights, device)?;
        Ok(Self { config, back_end: BackEnd::Tensor(decoder) })
    }

    /// Bytes that one number takes in its cache.
    pub(crate) fn cache_number_bytes(&self) -> usize {
        match &self.back_end {
            BackEnd::Host(decoder) => decoder.numbers().bytes(),
            BackEnd::Tensor(_) => size_of::<f32>(),
        }
    }

    /// Reads tokens block by block, recording what was asked for; the logits of each block's wanted rows, `(rows, vocabulary)`, go to `each`.
    ///
    /// # Errors
    /// [`Error::EmptyPrompt`], [`Error::Context`] if there are too many, [`Error::Vocabulary`], a tensor operation that failed, or whatever `each` returns.
    pub(crate) fn read(
        &self,
        tokens: &[u32],
        observations: &[Observation],
        wanted: Wanted,
        mut each: impl FnMut(&[f32]) -> Result<()>,
    ) -> Result<Read> {
        let (prompt, context) = (tokens.len(), self.config.context);
        if tokens.is_empty() {
            return Err(Error::EmptyPrompt);
        }
        if prompt > context {
            return Err(Error::Context { prompt, output: 0, context });
        }
        let vocabulary = self.config.vocabulary;
        if let Some(&token) = tokens.iter().find(|&&token| token as usize >= vocabulary) {
            return Err(Error::Vocabulary { token, vocabulary });
        }
        let shape = CacheShape::of(&self.config);
        let blocks = tokens.len().div_ceil(BLOCK);
        let blocks = tokens.chunks(BLOCK).enumerate().map(|(block, tokens)| {
            let positions: Vec<u32> =
                (block * BLOCK..).take(tokens.len()).map(|position| position as u32).collect();
            let wanted = match wanted {
                Wanted::Last if block + 1 < blocks => Wanted::None,
                wanted => wanted,
            };
            (tokens, positions, wanted)
        });
        let mut logits = Vec::new();
        match &self.back_end {
            BackEnd::Host(decoder) => {
                let mut reader =
                    host::Reader::new(shape, decoder.numbers(), tokens.len(), observations)?;
                for (tokens, positions, wanted) in blocks {
                    decoder.forward(tokens, &positions, wanted, &mut reader, &mut logits)?;
                    each(&logits)?;
                    reader.advance(tokens.len());
                }
                reader.finish(decoder.host())
            }
            BackEnd::Tensor(decoder) => {
                let mut reader =
                    tensor::Reader::new(shape, tokens.len(), observations, decoder.device())?;
                for (tokens, positions, wanted) in blocks {
                    decoder.forward(tokens, &positions, wanted, &mut reader, &mut logits)?;
                    each(&logits)?;
                    reader.advance(tokens.len());
                }
                reader.finish()
            }
        }
    }

    /// Feeds every lane its next token.
    ///
    /// # Shapes
    /// - `logits`: `(lanes, vocabulary)`, replaced
    pub(crate) fn step(&self, lanes: &mut [Lane], logits: &mut Vec<f32>) -> Result<()> {
        let (tokens, positions): (Vec<u32>, Vec<u32>) = lanes.iter().map(Lane::next).unzip();
        match &self.back_end {
            BackEnd::Host(decoder) => {
                let mut lanes = host::Lanes::new(lanes);
                decoder.forward(&tokens, &positions, Wanted::All, &mut lanes, logits)
            }
            BackEnd::Tensor(decoder) => {
                let mut lanes = tensor::Lanes(lanes);
                decoder.forward(&tokens, &positions, Wanted::All, &mut lanes, logits)
            }
        }
    }
}
