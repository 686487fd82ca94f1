//! The Llama decoder, top to bottom.

use candle_core::{Device, Tensor};
use candle_nn::ops::{rms_norm, silu};

use crate::gguf::Gguf;
use crate::linear::Linear;
use crate::rope::Rope;
use crate::{Config, Result, Weights};

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
            let q = layer.q.forward(&normed)?.reshape((rows, query_heads, head_dim))?;
            let k = layer.k.forward(&normed)?.reshape((rows, kv_heads, head_dim))?;
            let v = layer.v.forward(&normed)?.reshape((rows, kv_heads, head_dim))?;
            let attended = attend.attend(index, &rotation.apply(&q)?, &rotation.apply(&k)?, &v)?; // (rows, query_heads * head_dim)
            x = (x + layer.output.forward(&attended)?)?;
            let normed = rms_norm(&x, &layer.mlp_norm, norm_epsilon)?; // (rows, hidden)
            let gated = (silu(&layer.gate.forward(&normed)?)? * layer.up.forward(&normed)?)?; // (rows, intermediate)
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

    /// Reads the weights of a GGUF file.
    pub(crate) fn from_gguf(gguf: &mut Gguf, weights: Weights, device: &Device) -> Result<Self> {
        let config = gguf.config()?;
        let embedding = gguf
            .dense("token_embd.weight", &[config.vocabulary, config.hidden])?
            .to_device(device)?;
        let head = if gguf.has("output.weight") {
            Linear::new(
                &gguf.dense("output.weight", &[config.vocabulary, config.hidden])?,
                weights,
                device,
            )?
        } else {
            Linear::tied(&embedding, weights, device)?
        };
        let divisors = if gguf.has("rope_freqs.weight") {
            Some(gguf.dense("rope_freqs.weight", &[config.head_dim / 2])?.to_vec1::<f32>()?)
        } else {
            None
        };
        Ok(Self {
            layers: (0..config.layers)
                .map(|index| Layer::from_gguf(gguf, &config, index, weights, device))
                .collect::<Result<_>>()?,
            norm: gguf.dense("output_norm.weight", &[config.hidden])?.to_device(device)?,
            rope: Rope::new(&config, divisors.as_deref(), device)?,
            embedding,
            head,
            device: device.clone(),
            config,
        })
    }
}

impl Layer {
    fn from_gguf(
        gguf: &mut Gguf,
        config: &Config,
        index: usize,
        weights: Weights,
        device: &Device,
    ) -> Result<Self> {
        let Config { hidden, intermediate, query_heads, kv_heads, head_dim, .. } = *config;
        let mut read =
            |name: &str, shape: &[usize]| gguf.dense(&format!("blk.{index}.{name}.weight"), shape);
        let linear = |weight: Tensor| Linear::new(&weight, weights, device);
        Ok(Self {
            attention_norm: read("attn_norm", &[hidden])?.to_device(device)?,
            q: linear(halves(&read("attn_q", &[query_heads * head_dim, hidden])?, query_heads)?)?,
            k: linear(halves(&read("attn_k", &[kv_heads * head_dim, hidden])?, kv_heads)?)?,
            v: linear(read("attn_v", &[kv_heads * head_dim, hidden])?)?,
            output: linear(read("attn_output", &[hidden, query_heads * head_dim])?)?,
            mlp_norm: read("ffn_norm", &[hidden])?.to_device(device)?,
            gate: linear(read("ffn_gate", &[intermediate, hidden])?)?,
            up: linear(read("ffn_up", &[intermediate, hidden])?)?,
            down: linear(read("ffn_down", &[hidden, intermediate])?)?,
        })
    }
}

/// From GGUF's order of rotary channels, neighbours in pairs, to halves, which [`Rope`] turns.
///
/// # Shapes
/// - `weight` and the result: `(heads * head_dim, inputs)`
fn halves(weight: &Tensor, heads: usize) -> Result<Tensor> {
    let (outputs, inputs) = weight.dims2()?;
    let pairs = weight.reshape((heads, outputs / heads / 2, 2, inputs))?;
    Ok(pairs.transpose(1, 2)?.contiguous()?.reshape((outputs, inputs))?)
}
