//! One case of a manifest: its parameters as an arm, its file as a recording.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use runner::{Recording, Replayed, read_up_to};
use safetensors::{Dtype, SafeTensors};
use serde::Deserialize;
use zoo::methods::{
    Adaptive, Discontinuous, Full, H2oDecode, H2oPrefill, Never, Pooling, PyramidInferDecode,
    PyramidInferPrefill, PyramidKv, Slide, SnapKv, StreamingLlmDecode, StreamingLlmPrefill,
};
use zoo::{Arm, Context, Counters, Decode, Mode, Prefill};

use crate::fault::Fault;

/// The longest recording.
const RECORDING_BYTES: u64 = 192 << 20;

/// One recorded run of a published cache class. The names are the published code's.
#[derive(Debug, Deserialize)]
pub(crate) struct Case {
    pub(crate) name: String,
    pub(crate) file: Option<PathBuf>,
    method: Method,
    decode_strategy: Option<Strategy>,
    num_layers: usize,
    num_heads: usize,
    num_key_value_heads: usize,
    head_dim: usize,
    prompt_len: usize,
    decode_steps: usize,
    max_capacity_prompt: usize,
    window_size: usize,
    kernel_size: usize,
    pooling: Kernel,
    beta: usize,
    decoding_window_size: usize,
    decoding_recent_size: usize,
    delta: usize,
    #[serde(default)]
    initial_counters: Initial,
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

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Kernel {
    MaxPool,
    AvgPool,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Initial {
    current_decoding_step: usize,
    jump_step: usize,
    jump_layer: usize,
}

impl Case {
    /// Where its recording lies, if the manifest does not say, and where what it kept goes.
    pub(crate) fn file_name(&self) -> PathBuf {
        PathBuf::from(format!("{}.safetensors", self.name))
    }

    /// Replays it from the recording at `path`.
    pub(crate) fn run(&self, path: &Path) -> Result<Replayed> {
        let blame = || format!("case `{}` of `{}`", self.name, path.display());
        let bytes = read_up_to(path, RECORDING_BYTES)
            .map_err(|error| Fault::data(format!("cannot read `{}`: {error}", path.display())))?;
        let tensors = SafeTensors::deserialize(&bytes)
            .map_err(|error| Fault::data(format!("{}: {error}", blame())))?;
        let tokens = self
            .prompt_len
            .checked_add(self.decode_steps)
            .filter(|&tokens| i16::try_from(tokens).is_ok())
            .ok_or_else(|| Fault::data(format!("{}: positions exceed 32767", blame())))?;
        let numbers = |name, heads| {
            let shape = [self.num_layers, heads, tokens, self.head_dim];
            floats(&tensors, name, shape).with_context(blame)
        };
        let q = numbers("q", self.num_heads)?;
        let k = numbers("k", self.num_key_value_heads)?;
        let v = numbers("v", self.num_key_value_heads)?;
        let shape = [self.num_layers, self.num_heads, tokens, self.head_dim];
        let heads = self.num_key_value_heads;
        let recording = Recording::new(shape, heads, self.prompt_len, (&q, &k, &v))
            .map_err(|error| Fault::data(format!("{}: {error}", blame())))?;
        let policies = self
            .arm()
            .policies(Context { max_new_tokens: self.decode_steps + 1 })
            .with_context(blame)?;
        recording.replay(&policies, self.counters()).with_context(blame)
    }

    /// The published class and strategy as an arm in reference mode.
    fn arm(&self) -> Arm {
        let (budget, window, pool) = (self.max_capacity_prompt, self.window_size, self.kernel_size);
        let slope = self.beta;
        let pooling = match self.pooling {
            Kernel::MaxPool => Pooling::Max,
            Kernel::AvgPool => Pooling::Avg,
        };
        let prefill = match self.method {
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
        };
        Arm { mode: Mode::Reference, ..Arm::new(&self.name, prefill, self.decode()) }
    }

    fn decode(&self) -> Decode {
        let (budget, recent) = (self.decoding_window_size, self.decoding_recent_size);
        let interval = Some(self.delta);
        match self.decode_strategy.unwrap_or(Strategy::Never) {
            Strategy::Never => Decode::None(Never {}),
            Strategy::H2o => Decode::H2o(H2oDecode { budget, recent }),
            Strategy::Slide => Decode::Slide(Slide { budget, recent }),
            Strategy::Adaptive => Decode::Adaptive(Adaptive { budget, recent, interval }),
            Strategy::Discontinuous => {
                Decode::Discontinuous(Discontinuous { budget, recent, interval })
            }
            Strategy::PyramidInfer => Decode::Pyramidinfer(PyramidInferDecode { budget, recent }),
            Strategy::Slm => Decode::StreamingLlm(StreamingLlmDecode {
                budget,
                sinks: None,
                recent: Some(recent),
            }),
        }
    }

    fn counters(&self) -> Counters {
        let Initial { current_decoding_step, jump_step, jump_layer } = self.initial_counters;
        Counters { step: current_decoding_step, skip: jump_step, layer: jump_layer }
    }
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
