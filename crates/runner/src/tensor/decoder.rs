//! The Llama decoder in tensors, top to bottom.

use candle_core::{Device, Tensor};
use candle_nn::ops::{rms_norm, silu};

use super::Attend;
use super::linear::{Linear, Linears};
use super::rope::Rope;
use crate::llama::{EMBEDDING, Wanted, layer_tensor};
use crate::rope::frequencies;
use crate::weights::Tensors;
use crate::{Config, Error, Result, Weights};

/// A decoder with its weights, on a device.
#[derive(Debug)]
pub(crate) struct Decoder {
    config: Config,
    device: Device,
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

impl Decoder {
    /// Logits after the wanted ones of some tokens at some positions.
    ///
    /// # Shapes
    /// - `tokens`, `positions`: `(rows,)`
    /// - `logits`: `(rows wanted, vocabulary)`, replaced
    pub(crate) fn forward(
        &self,
        tokens: &[u32],
        positions: &[u32],
        wanted: Wanted,
        attend: &mut impl Attend,
        logits: &mut Vec<f32>,
    ) -> Result<()> {
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
        let x = match wanted {
            Wanted::None => {
                logits.clear();
                return Ok(());
            }
            Wanted::Last => x.narrow(0, rows - 1, 1)?,
            Wanted::All => x,
        };
        let found = self.head.forward(&rms_norm(&x, &self.norm, norm_epsilon)?)?;
        *logits = found.flatten_all()?.to_vec1()?;
        Ok(())
    }

    pub(crate) fn device(&self) -> &Device {
        &self.device
    }

    /// Reads the weights.
    pub(crate) fn new(
        config: &Config,
        tensors: &mut Tensors,
        weights: Weights,
        device: &Device,
    ) -> Result<Self> {
        let embedding = tensors.read(EMBEDDING)?.to_device(device)?;
        let mut linears = Linears { tensors, weights, device };
        let head =
            if config.tied { linears.tied(&embedding)? } else { linears.read("lm_head.weight")? };
        let layers = (0..config.layers).map(|index| Layer::new(config, index, &mut linears));
        Ok(Self {
            layers: layers.collect::<Result<_>>()?,
            norm: tensors.read("model.norm.weight")?.to_device(device)?,
            rope: Rope::new(frequencies(config, tensors.rope_divisors()?.as_deref()), device)?,
            embedding,
            head,
            device: device.clone(),
            config: config.clone(),
        })
    }
}

impl Layer {
    fn new(config: &Config, index: usize, linears: &mut Linears) -> Result<Self> {
        let name = |part: &str| layer_tensor(index, part);
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
