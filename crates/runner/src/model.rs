//! A model as one thing: decoder, tokenizer, identity.

use std::path::Path;

use candle_core::Device;
use serde::{Deserialize, Serialize};
use zoo::Observation;

use crate::checkpoint::Checkpoint;
use crate::likelihood::log_probability;
use crate::llama::{Llama, Wanted};
use crate::weights::Tensors;
use crate::{Config, Error, Prefilled, Result, Tokenizer, Weights};

/// What a model's numbers depend on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// Name by which it was asked for.
    pub name: String,
    /// SHA-256 of its file, or of all its files in order, in hexadecimal.
    pub sha256: String,
    /// How its weights are held.
    pub weights: Weights,
}

/// A decoder with its tokenizer.
#[derive(Debug)]
pub struct Model {
    llama: Llama,
    tokenizer: Tokenizer,
    identity: Identity,
}

impl Model {
    /// Loads a GGUF file, or a folder in Hugging Face's layout.
    ///
    /// # Errors
    /// [`Error::Read`] or [`Error::Malformed`], naming the file.
    pub fn load(name: &str, path: &Path, weights: Weights, device: &Device) -> Result<Self> {
        Self::load_with(name, path, weights, |config, tensors| {
            Llama::new(config, tensors, weights, device)
        })
    }

    /// The same on candle's tensors, whatever the device: what a device computes, where there is none.
    ///
    /// # Errors
    /// As [`Model::load`].
    #[cfg(feature = "testing")]
    pub fn load_on_tensors(name: &str, path: &Path, weights: Weights) -> Result<Self> {
        Self::load_with(name, path, weights, |config, tensors| {
            Llama::on_tensors(config, tensors, weights, &Device::Cpu)
        })
    }

    fn load_with(
        name: &str,
        path: &Path,
        weights: Weights,
        llama: impl FnOnce(Config, &mut Tensors) -> Result<Llama>,
    ) -> Result<Self> {
        let checkpoint = Checkpoint::open(path)?;
        let (config, tokenizer) = (checkpoint.config()?, checkpoint.tokenizer()?);
        if let Some(reason) = weights.fault(&config) {
            return Err(Error::Malformed { path: path.to_owned(), reason });
        }
        let sha256 = checkpoint.sha256()?;
        let mut source = checkpoint.weights()?;
        let mut tensors = Tensors::new(&mut *source, &config)?;
        let llama = llama(config, &mut tensors)?;
        Ok(Self { llama, tokenizer, identity: Identity { name: name.to_owned(), sha256, weights } })
    }

    /// A model's shape and tokenizer, without its weights.
    ///
    /// # Errors
    /// As [`Model::load`].
    pub fn describe(path: &Path) -> Result<(Config, Tokenizer)> {
        let checkpoint = Checkpoint::open(path)?;
        Ok((checkpoint.config()?, checkpoint.tokenizer()?))
    }

    /// Its shape.
    pub fn config(&self) -> &Config {
        &self.llama.config
    }

    /// Its tokenizer.
    pub fn tokenizer(&self) -> &Tokenizer {
        &self.tokenizer
    }

    /// What its numbers depend on.
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// Bytes that one number takes in its cache.
    pub fn cache_number_bytes(&self) -> usize {
        self.llama.cache_number_bytes()
    }

    pub(crate) fn llama(&self) -> &Llama {
        &self.llama
    }

    /// Reads a prompt once, recording what the policies to come need.
    ///
    /// # Errors
    /// [`Error::EmptyPrompt`], or [`Error::Context`] if it is too long.
    pub fn prefill(&self, tokens: &[u32], observations: &[Observation]) -> Result<Prefilled> {
        Prefilled::new(&self.llama, tokens, observations)
    }

    /// Logits after each token, row by row, `(vocabulary,)` each, to `each`.
    ///
    /// # Errors
    /// As [`Model::prefill`], or whatever `each` returns.
    pub fn logits(
        &self,
        tokens: &[u32],
        mut each: impl FnMut(Vec<f32>) -> Result<()>,
    ) -> Result<()> {
        self.llama.read(tokens, &[], Wanted::All, |logits| {
            let mut rows = logits.chunks(self.config().vocabulary);
            rows.try_for_each(|row| each(row.to_vec()))
        })?;
        Ok(())
    }

    /// Log-probability of each token but the first, given all before it.
    ///
    /// # Errors
    /// As [`Model::prefill`].
    pub fn log_probabilities(&self, tokens: &[u32]) -> Result<Vec<f32>> {
        let mut next = tokens.iter().skip(1);
        let mut found = Vec::with_capacity(tokens.len().saturating_sub(1));
        self.logits(tokens, |logits| {
            found.extend(next.next().map(|&token| log_probability(&logits, token)));
            Ok(())
        })?;
        Ok(found)
    }
}

/// A device by name: `cpu`, `cuda` or `cuda:N`.
///
/// # Errors
/// [`Error::Device`] if the name is unknown, the build has no CUDA, or the machine lacks the device.
pub fn device(name: &str) -> Result<Device> {
    let unavailable = |reason: String| Error::Device { name: name.to_owned(), reason };
    let ordinal = match name.split_once(':') {
        _ if name == "cpu" => return Ok(Device::Cpu),
        None if name == "cuda" => 0,
        Some(("cuda", ordinal)) => {
            ordinal.parse().map_err(|_| unavailable("no such number".to_owned()))?
        }
        _ => return Err(unavailable("give `cpu` or `cuda:N`".to_owned())),
    };
    if !cfg!(feature = "cuda") {
        return Err(unavailable("this program was built without the feature `cuda`".to_owned()));
    }
    Device::new_cuda(ordinal).map_err(|error| unavailable(error.to_string()))
}
