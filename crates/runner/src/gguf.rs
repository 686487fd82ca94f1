//! Reading GGUF: metadata, tensors, and the tokenizer that the metadata describes.

use std::fs::File;
use std::io::BufReader;
use std::path::{Path, PathBuf};

use candle_core::quantized::gguf_file::{Content, Value};
use candle_core::quantized::{GgmlDType, QTensor};
use candle_core::{Device, Tensor};

use crate::caught::caught;
use crate::kernels::{BLOCK, Stored};
use crate::{Config, Error, Result};

/// An open GGUF file whose header has been read and found sane.
#[derive(Debug)]
pub(crate) struct Gguf {
    path: PathBuf,
    reader: BufReader<File>,
    content: Content,
}

impl Gguf {
    /// Opens `path` and reads its header; no tensor is touched.
    pub(crate) fn open(path: &Path) -> Result<Self> {
        let file =
            File::open(path).map_err(|source| Error::Read { path: path.to_owned(), source })?;
        let mut reader = BufReader::new(file);
        let malformed = |reason: String| Error::Malformed { path: path.to_owned(), reason };
        // Candle's reader divides by the alignment that the file names.
        let content = caught(|| Content::read(&mut reader))
            .ok_or_else(|| {
                malformed("its header cannot be read: is `general.alignment` 0?".to_owned())
            })?
            .map_err(|error| malformed(first_line(&error)))?;
        Ok(Self { path: path.to_owned(), reader, content })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn malformed(&self, reason: impl Into<String>) -> Error {
        Error::Malformed { path: self.path.clone(), reason: reason.into() }
    }

    fn value(&self, key: &str) -> Option<&Value> {
        self.content.metadata.get(key)
    }

    fn required(&self, key: &str) -> Result<&Value> {
        self.value(key).ok_or_else(|| self.malformed(format!("it has no `{key}`")))
    }

    fn wrong(&self, key: &str, value: &Value) -> Error {
        self.malformed(format!("`{key}` has the wrong type, {:?}", value.value_type()))
    }

    /// A count, whatever integer type it is stored as.
    pub(crate) fn count(&self, key: &str) -> Result<Option<usize>> {
        let Some(value) = self.value(key) else { return Ok(None) };
        let count = match value {
            Value::U8(n) => Some(u64::from(*n)),
            Value::U16(n) => Some(u64::from(*n)),
            Value::U32(n) => Some(u64::from(*n)),
            Value::U64(n) => Some(*n),
            Value::I32(n) => u64::try_from(*n).ok(),
            Value::I64(n) => u64::try_from(*n).ok(),
            _ => None,
        };
        count.and_then(|n| usize::try_from(n).ok()).map(Some).ok_or_else(|| self.wrong(key, value))
    }

    fn required_count(&self, key: &str) -> Result<usize> {
        self.count(key)?.ok_or_else(|| self.malformed(format!("it has no `{key}`")))
    }

    fn float(&self, key: &str) -> Result<Option<f32>> {
        self.value(key).map(|value| value.to_f32().map_err(|_| self.wrong(key, value))).transpose()
    }

    pub(crate) fn flag(&self, key: &str) -> Result<Option<bool>> {
        self.value(key).map(|value| value.to_bool().map_err(|_| self.wrong(key, value))).transpose()
    }

    pub(crate) fn text(&self, key: &str) -> Result<Option<&str>> {
        self.value(key)
            .map(|value| value.to_string().map(String::as_str).map_err(|_| self.wrong(key, value)))
            .transpose()
    }

    pub(crate) fn texts(&self, key: &str) -> Result<Vec<&str>> {
        let value = self.required(key)?;
        let Value::Array(items) = value else { return Err(self.wrong(key, value)) };
        items
            .iter()
            .map(|item| item.to_string().map(String::as_str).map_err(|_| self.wrong(key, item)))
            .collect()
    }

    pub(crate) fn integers(&self, key: &str) -> Result<Vec<i64>> {
        let value = self.required(key)?;
        let Value::Array(items) = value else { return Err(self.wrong(key, value)) };
        items
            .iter()
            .map(|item| match item {
                Value::I32(n) => Ok(i64::from(*n)),
                Value::U32(n) => Ok(i64::from(*n)),
                Value::I64(n) => Ok(*n),
                other => Err(self.wrong(key, other)),
            })
            .collect()
    }

    pub(crate) fn floats(&self, key: &str) -> Result<Vec<f32>> {
        let value = self.required(key)?;
        let Value::Array(items) = value else { return Err(self.wrong(key, value)) };
        items.iter().map(|item| item.to_f32().map_err(|_| self.wrong(key, item))).collect()
    }

    /// The architecture that it says it holds.
    ///
    /// # Errors
    /// [`Error::Malformed`] for one that is not read.
    fn architecture(&self) -> Result<&str> {
        match self.text("general.architecture")?.unwrap_or_default() {
            known @ ("llama" | "qwen2") => Ok(known),
            other => {
                Err(self
                    .malformed(format!("architecture `{other}` is neither `llama` nor `qwen2`")))
            }
        }
    }

    /// Whether its rotary channels lie as neighbours in pairs.
    pub(crate) fn pairs_rotary_channels(&self) -> Result<bool> {
        Ok(self.architecture()? == "llama")
    }

    /// Query heads and KV heads.
    pub(crate) fn heads(&self) -> Result<(usize, usize)> {
        let architecture = self.architecture()?;
        let query_heads = self.required_count(&format!("{architecture}.attention.head_count"))?;
        let kv_heads = self.count(&format!("{architecture}.attention.head_count_kv"))?;
        Ok((query_heads, kv_heads.unwrap_or(query_heads)))
    }

    /// The decoder's shape.
    ///
    /// # Errors
    /// [`Error::Malformed`] for an architecture that is not read, a missing key, or numbers that cannot be.
    pub(crate) fn config(&self) -> Result<Config> {
        let architecture = self.architecture()?;
        let key = |name: &str| format!("{architecture}.{name}");
        let (query_heads, kv_heads) = self.heads()?;
        let hidden = self.required_count(&key("embedding_length"))?;
        let config = Config {
            layers: self.required_count(&key("block_count"))?,
            hidden,
            intermediate: self.required_count(&key("feed_forward_length"))?,
            query_heads,
            kv_heads,
            head_dim: match self.count(&key("attention.key_length"))? {
                Some(head_dim) => head_dim,
                None => hidden.checked_div(query_heads).unwrap_or(0),
            },
            vocabulary: self.texts("tokenizer.ggml.tokens")?.len(),
            context: self.required_count(&key("context_length"))?,
            rope_theta: self.float(&key("rope.freq_base"))?.unwrap_or(10_000.0),
            rope_scaling: None,
            norm_epsilon: self.float(&key("attention.layer_norm_rms_epsilon"))?.unwrap_or(1e-5),
            tied: !self.has("output.weight"),
            qkv_bias: architecture == "qwen2" || self.has("blk.0.attn_q.bias"),
            output_bias: self.has("blk.0.attn_output.bias"),
        };
        if let Some(fault) = config.fault() {
            return Err(self.malformed(fault));
        }
        self.refuse_unsupported(architecture, &config)?;
        Ok(config)
    }

    fn refuse_unsupported(&self, architecture: &str, config: &Config) -> Result<()> {
        let head_dim = config.head_dim;
        for name in ["rope.dimension_count", "attention.value_length"] {
            let key = format!("{architecture}.{name}");
            if let Some(other) = self.count(&key)?.filter(|count| *count != head_dim) {
                return Err(self.malformed(format!(
                    "`{key}` = {other} for heads of {head_dim} channels is not supported"
                )));
            }
        }
        let scaling = self.text(&format!("{architecture}.rope.scaling.type"))?;
        match scaling.filter(|scaling| *scaling != "none") {
            Some(scaling) => {
                Err(self.malformed(format!("its rotary scaling `{scaling}` is not supported")))
            }
            None => Ok(()),
        }
    }

    fn has(&self, name: &str) -> bool {
        self.content.tensor_infos.contains_key(name)
    }

    pub(crate) fn tensor_names(&self) -> impl Iterator<Item = &str> {
        self.content.tensor_infos.keys().map(String::as_str)
    }

    /// A tensor's shape, if it is there and its type is read.
    pub(crate) fn tensor_shape(&self, name: &str) -> Result<Option<Vec<usize>>> {
        let Some(info) = self.content.tensor_infos.get(name) else { return Ok(None) };
        // Types of intermediate results, which no model file holds and candle does not read.
        if let kind @ (GgmlDType::Q8_1 | GgmlDType::Q8K) = info.ggml_dtype {
            return Err(
                self.malformed(format!("tensor `{name}` is stored as {kind:?}, which is not read"))
            );
        }
        Ok(Some(info.shape.dims().to_vec()))
    }

    /// A tensor in f32, whatever it is stored as. Its size must have been found sane.
    pub(crate) fn dequantised(&mut self, name: &str) -> Result<Tensor> {
        Ok(self.tensor(name)?.dequantize(&Device::Cpu)?)
    }

    /// A matrix in blocks of 32, requantised to 8 bits if it is stored in others; `None` if it is not quantised. Its size must have been found sane.
    pub(crate) fn blocks(&mut self, name: &str) -> Result<Option<Stored>> {
        let tensor = self.tensor(name)?;
        match tensor.dtype() {
            GgmlDType::F32 | GgmlDType::F16 | GgmlDType::BF16 => Ok(None),
            _ if !tensor.shape().dims().last().is_some_and(|row| row.is_multiple_of(BLOCK)) => {
                let shape = tensor.shape();
                Err(self.malformed(format!(
                    "tensor `{name}` is {shape:?}: its rows do not fill blocks of {BLOCK}"
                )))
            }
            _ => Stored::of(&tensor).map(Some),
        }
    }

    fn tensor(&mut self, name: &str) -> Result<QTensor> {
        self.content
            .tensor(&mut self.reader, name, &Device::Cpu)
            .map_err(|error| self.malformed(format!("tensor `{name}`: {}", first_line(&error))))
    }
}

/// What a tensor library's error says, without the trace that it appends where traces are asked for.
fn first_line(error: &candle_core::Error) -> String {
    error.to_string().lines().next().unwrap_or_default().to_owned()
}
