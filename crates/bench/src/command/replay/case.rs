//! One case of a manifest: its parameters as an arm, its file as a recording.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use runner::{Recording, Replayed, read_up_to};
use safetensors::{Dtype, SafeTensors};
use serde::Deserialize;
use serde_json::Value;
use zoo::methods::{
    Adaptive, Discontinuous, Full, H2oDecode, H2oPrefill, Never, Pooling, PyramidInferDecode,
    PyramidInferPrefill, PyramidKv, Slide, SnapKv, StreamingLlmDecode, StreamingLlmPrefill,
};
use zoo::{Arm, Context, Counters, Decode, Mode, Prefill};

use crate::fault::Fault;

/// The longest recording.
const RECORDING_BYTES: u64 = 192 << 20;

/// One recorded run of a published cache class. The names are the published code's; keys that it does not know are notes.
#[derive(Debug, Deserialize)]
pub(super) struct Case {
    name: String,
    file: Option<PathBuf>,
    method: Method,
    decode_strategy: Option<Strategy>,
    num_layers: usize,
    num_heads: usize,
    num_key_value_heads: usize,
    head_dim: usize,
    prompt_len: usize,
    decode_steps: usize,
    max_capacity_prompt: Option<usize>,
    window_size: Option<usize>,
    kernel_size: Option<usize>,
    pooling: Option<Kernel>,
    beta: Option<usize>,
    decoding_window_size: Option<usize>,
    decoding_recent_size: Option<usize>,
    delta: Option<usize>,
    initial_counters: Option<Initial>,
}

#[derive(Debug, Clone, Copy, Deserialize)]
enum Method {
    #[serde(rename = "ALLKV")]
    All,
    H2O,
    SnapKV,
    PyramidKV,
    PyramidInfer,
    StreamingLLM,
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Strategy {
    #[serde(rename = "None", alias = "none")]
    Never,
    H2o,
    Slide,
    Adaptive,
    Discontinuous,
    PyramidInfer,
    Slm,
}

/// Average pooling is the published classes' default, which SCOPE's own runs never use.
#[derive(Debug, Default, Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Kernel {
    MaxPool,
    #[default]
    AvgPool,
}

/// What an earlier sample left in the counters that a class shares; 0 where nothing is said.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Initial {
    current_decoding_step: usize,
    jump_step: usize,
    jump_layer: usize,
}

/// The highest that a counter may stand at the start, so that it is still recorded in 32 bits at the end.
const MOST_COUNTED: usize = 1 << 30;

/// The published classes' defaults.
const KERNEL_SIZE: usize = 5;
const BETA: usize = 20;

impl Case {
    /// Reads an entry of a manifest.
    ///
    /// # Errors
    /// [`Fault`] of class data, naming the key, if one is missing or no value of its type.
    pub(super) fn read(entry: &Value) -> Result<Self> {
        serde_path_to_error::deserialize(entry).map_err(|error| {
            let path = error.path().to_string();
            let complaint = error.inner().to_string();
            let complaint = complaint.replace("expected usize", "expected a whole number from 0");
            let key = if path == "." { String::new() } else { format!("`{path}`: ") };
            Fault::data(format!("{key}{complaint}")).into()
        })
    }

    /// Where its recording lies beside the manifest.
    pub(super) fn recording(&self) -> PathBuf {
        self.file.clone().unwrap_or_else(|| self.file_name())
    }

    /// Where what it kept goes.
    pub(super) fn file_name(&self) -> PathBuf {
        PathBuf::from(format!("{}.safetensors", self.name))
    }

    /// Replays it from the recording at `path`.
    ///
    /// # Errors
    /// [`Fault`] of class data if the recording is not the one that the case describes, or lacks a parameter that its class reads;
    /// [`zoo::Error`] and [`runner::Error`] on parameters and prompts with which the published code fails.
    pub(super) fn run(&self, path: &Path) -> Result<Replayed> {
        let bytes = read_up_to(path, RECORDING_BYTES)
            .map_err(|error| Fault::data(format!("cannot read `{}`: {error}", path.display())))?;
        let tensors = SafeTensors::deserialize(&bytes)
            .map_err(|error| Fault::data(format!("`{}`: {error}", path.display())))?;
        let tokens = self
            .prompt_len
            .checked_add(self.decode_steps)
            .filter(|&tokens| i16::try_from(tokens).is_ok())
            .ok_or_else(|| Fault::data("positions exceed 32767"))?;
        let numbers = |name, heads| {
            let shape = [self.num_layers, heads, tokens, self.head_dim];
            floats(&tensors, name, shape).with_context(|| format!("`{}`", path.display()))
        };
        let q = numbers("q", self.num_heads)?;
        let k = numbers("k", self.num_key_value_heads)?;
        let v = numbers("v", self.num_key_value_heads)?;
        let shape = [self.num_layers, self.num_heads, tokens, self.head_dim];
        let heads = self.num_key_value_heads;
        let recording = Recording::new(shape, heads, self.prompt_len, (&q, &k, &v))
            .map_err(|error| Fault::data(error.to_string()))?;
        let context = Context { max_new_tokens: self.decode_steps + 1 };
        Ok(recording.replay(&self.arm()?.policies(context)?, self.counters()?)?)
    }

    /// The published class and strategy as an arm in reference mode.
    fn arm(&self) -> Result<Arm> {
        let arm = Arm::new(&self.name, self.prefill()?, self.decode()?);
        Ok(Arm { mode: Mode::Reference, ..arm })
    }

    fn prefill(&self) -> Result<Prefill> {
        if matches!(self.method, Method::All) {
            return Ok(Prefill::Full(Full {}));
        }
        let budget = needed("max_capacity_prompt", self.max_capacity_prompt)?;
        let window = needed("window_size", self.window_size)?;
        if window == 0 {
            let reason = "`window_size` = 0: the published code's windows hold one query at least";
            return Err(Fault::data(reason).into());
        }
        let pool = self.kernel_size.unwrap_or(KERNEL_SIZE);
        let slope = self.beta.unwrap_or(BETA);
        let pooling = match self.pooling.unwrap_or_default() {
            Kernel::MaxPool => Pooling::Max,
            Kernel::AvgPool => Pooling::Avg,
        };
        Ok(match self.method {
            Method::All => Prefill::Full(Full {}),
            Method::H2O => Prefill::H2o(H2oPrefill { budget, window }),
            Method::SnapKV => Prefill::Snapkv(SnapKv { budget, window, pool, pooling }),
            Method::PyramidKV => {
                Prefill::Pyramidkv(PyramidKv { budget, window, pool, pooling, slope })
            }
            Method::PyramidInfer => {
                Prefill::Pyramidinfer(PyramidInferPrefill { budget, window, slope })
            }
            Method::StreamingLLM => Prefill::StreamingLlm(StreamingLlmPrefill {
                budget,
                sinks: None,
                recent: Some(window),
            }),
        })
    }

    fn decode(&self) -> Result<Decode> {
        let budget = || needed("decoding_window_size", self.decoding_window_size);
        let recent = || needed("decoding_recent_size", self.decoding_recent_size);
        Ok(match self.decode_strategy.unwrap_or(Strategy::Never) {
            Strategy::Never => Decode::None(Never {}),
            Strategy::H2o => Decode::H2o(H2oDecode { budget: budget()?, recent: recent()? }),
            Strategy::Slide => Decode::Slide(Slide { budget: budget()?, recent: recent()? }),
            Strategy::Adaptive => {
                let (budget, recent) = (self.unread_budget()?, recent()?);
                Decode::Adaptive(Adaptive { budget, recent, interval: self.interval()? })
            }
            Strategy::Discontinuous => {
                let (budget, recent) = (self.unread_budget()?, recent()?);
                Decode::Discontinuous(Discontinuous { budget, recent, interval: self.interval()? })
            }
            Strategy::PyramidInfer => {
                Decode::Pyramidinfer(PyramidInferDecode { budget: budget()?, recent: recent()? })
            }
            Strategy::Slm => Decode::StreamingLlm(StreamingLlmDecode {
                budget: budget()?,
                sinks: None,
                recent: Some(recent()?),
            }),
        })
    }

    /// A budget that holds the recent window, for the strategies whose published code grows by `delta` and reads no budget.
    fn unread_budget(&self) -> Result<usize> {
        let recent = needed("decoding_recent_size", self.decoding_recent_size)?;
        Ok(self.decoding_window_size.unwrap_or(recent).max(recent))
    }

    /// δ as the class was told it; two classes have one of their own.
    fn interval(&self) -> Result<Option<usize>> {
        match self.method {
            Method::SnapKV | Method::PyramidKV => Ok(self.delta),
            _ => needed("delta", self.delta).map(Some),
        }
    }

    /// Where its counters stand; a class that has none has nothing to carry.
    fn counters(&self) -> Result<Counters> {
        let initial = match (self.method, &self.initial_counters) {
            (Method::PyramidInfer | Method::StreamingLLM, _) | (_, None) => &Initial::default(),
            (_, Some(initial)) => initial,
        };
        let Initial { current_decoding_step: step, jump_step: skip, jump_layer: layer } = *initial;
        if [step, skip, layer].iter().any(|count| *count > MOST_COUNTED) {
            let reason = format!("`initial_counters`: a counter above {MOST_COUNTED}");
            return Err(Fault::data(reason).into());
        }
        Ok(Counters { step, skip, layer })
    }
}

/// A parameter that the case's class or strategy reads, and that has no default in the published code.
fn needed(key: &str, value: Option<usize>) -> Result<usize> {
    value.ok_or_else(|| {
        Fault::data(format!("`{key}` is missing, which this method and strategy need")).into()
    })
}

/// A tensor of f32 that has this shape and no number that is none.
fn floats(tensors: &SafeTensors<'_>, name: &str, shape: [usize; 4]) -> Result<Vec<f32>> {
    let tensor =
        tensors.tensor(name).map_err(|_| Fault::data(format!("tensor `{name}` is missing")))?;
    if tensor.dtype() != Dtype::F32 || tensor.shape() != shape {
        let (dtype, found) = (tensor.dtype(), tensor.shape());
        return Err(Fault::data(format!(
            "tensor `{name}` is {dtype:?} {found:?}, the manifest says F32 {shape:?}"
        ))
        .into());
    }
    let numbers: Vec<f32> =
        tensor.data().as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect();
    if numbers.iter().all(|number| number.is_finite()) {
        return Ok(numbers);
    }
    Err(Fault::data(format!("tensor `{name}` holds a number that is not finite")).into())
}
