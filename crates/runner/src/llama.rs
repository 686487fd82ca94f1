//! The Llama decoder, top to bottom.

use std::sync::Arc;

use candle_core::{Device, Tensor};
use candle_nn::ops::rms_norm;

use crate::kernels::Team;
use crate::linear::{Linear, Linears};
use crate::rope::Rope;
use crate::weights::Tensors;
use crate::{Config, Error, Result, Weights};

/// The table of token embeddings, `(vocabulary, hidden)`.
const EMBEDDING: &str = "model.embed_tokens.weight";

/// Where a layer's keys and values go, and what its queries see: the one seam in the decoder.
pub(crate) trait Attend {
    /// # Shapes
    /// - `q`: `(rows, query_heads, head_dim)`; `k`, `v`: `(rows, kv_heads, head_dim)`; q and k are rotated
    /// - returns `(rows, query_heads * head_dim)`
    fn attend(&mut self, layer: usize, q: &Tensor, k: &Tensor, v: &Tensor) -> Result<Tensor>;
}

/// A decoder with its weights.
#[derive(Debug)]
pub(crate) struct Llama {
    pub(crate) config: Config,
    pub(crate) device: Device,
    embedding: Tensor, // (vocabulary, hidden)
    layers: Vec<Layer>,
    norm: Tensor, // (hidden,)
    head: Linear,
    rope: Rope,
}

#[derive(Debug)]
struct Layer {
    attention_norm: Tensor, // (hidden,)
    q: Linear,
    k: Linear,
    v: Linear,
    output: Linear,
    mlp_norm: Tensor, // (hidden,)
    gate: Linear,
    up: Linear,
    down: Linear,
}

impl Llama {
    /// The hidden state after the last norm, for each of some tokens at some positions.
    ///
    /// # Shapes
    /// - `tokens`, `positions`: `(rows,)`
    /// - returns `(rows, hidden)`
    pub(crate) fn forward(
        &self,
        tokens: &[u32],
        positions: &[u32],
        attend: &mut impl Attend,
    ) -> Result<Tensor> {
        let Config { query_heads, kv_heads, head_dim, norm_epsilon, .. } = self.config;
        let rows = tokens.len();
        let rotation = self.rope.at(&Tensor::new(positions, &self.device)?)?;
        let mut x = self.embedding.index_select(&Tensor::new(tokens, &self.device)?, 0)?; // (rows, hidden)
        for (index, layer) in self.layers.iter().enumerate() {
            let normed = rms_norm(&x, &layer.attention_norm, norm_epsilon)?; // (rows, hidden)
            let [q, k, v] = Linear::forward_three([&layer.q, &layer.k, &layer.v], &normed)?;
            let q = q.reshape((rows, query_heads, head_dim))?;
            let (k, v) =
                (k.reshape((rows, kv_heads, head_dim))?, v.reshape((rows, kv_heads, head_dim))?);
            let attended = attend.attend(index, &rotation.apply(&q)?, &rotation.apply(&k)?, &v)?; // (rows, query_heads * head_dim)
            x = (x + layer.output.forward(&attended)?)?;
            let normed = rms_norm(&x, &layer.mlp_norm, norm_epsilon)?; // (rows, hidden)
            let gated = Linear::forward_gated([&layer.gate, &layer.up], &normed)?; // (rows, intermediate)
            x = (x + layer.down.forward(&gated)?)?;
        }
        Ok(rms_norm(&x, &self.norm, norm_epsilon)?)
    }

    /// # Shapes
    /// - `hidden`: `(rows, hidden)`
    /// - returns `(rows, vocabulary)`
    pub(crate) fn logits(&self, hidden: &Tensor) -> Result<Tensor> {
        self.head.forward(hidden)
    }

    /// Reads the weights.
    pub(crate) fn new(
        config: Config,
        tensors: &mut Tensors,
        weights: Weights,
        device: &Device,
    ) -> Result<Self> {
        let embedding = tensors.read(EMBEDDING)?.to_device(device)?;
        let team = Arc::new(Team::new(rayon::current_num_threads()));
        let mut linears = Linears { tensors, weights, device, team };
        let head = if config.tied {
            linears.tied(EMBEDDING, &embedding)?
        } else {
            linears.read("lm_head.weight")?
        };
        let layers = (0..config.layers).map(|index| Layer::new(&config, index, &mut linears));
        Ok(Self {
            layers: layers.collect::<Result<_>>()?,
            norm: tensors.read("model.norm.weight")?.to_device(device)?,
            rope: Rope::new(&config, tensors.rope_divisors()?.as_deref(), device)?,
            embedding,
            head,
            device: device.clone(),
            config,
        })
    }
}

impl Layer {
    fn new(config: &Config, index: usize, linears: &mut Linears) -> Result<Self> {
        let name = |part: &str| format!("model.layers.{index}.{part}");
        let mut norm = |part: &str| linears.vector(&name(part));
        let (attention_norm, mlp_norm) =
            (norm("input_layernorm.weight")?, norm("post_attention_layernorm.weight")?);
        let mut linear = |part: &str, with_bias: bool| {
            let linear = linears.read(&name(&format!("{part}.weight")))?;
            if !with_bias {
                return Ok::<_, Error>(linear);
            }
            Ok(linear.with_bias(linears.vector(&name(&format!("{part}.bias")))?))
        };
        Ok(Self {
            attention_norm,
            q: linear("self_attn.q_proj", config.qkv_bias)?,
            k: linear("self_attn.k_proj", config.qkv_bias)?,
            v: linear("self_attn.v_proj", config.qkv_bias)?,
            output: linear("self_attn.o_proj", config.output_bias)?,
            mlp_norm,
            gate: linear("mlp.gate_proj", false)?,
            up: linear("mlp.up_proj", false)?,
            down: linear("mlp.down_proj", false)?,
        })
    }
}
