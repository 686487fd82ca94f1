//! Tensors of a GGUF file, under Hugging Face's names and in Hugging Face's order of rotary channels.

use candle_core::Tensor;

use super::Source;
use crate::gguf::Gguf;
use crate::kernels::Stored;
use crate::{Error, Result};

/// Tensors outside the layers, by both names.
const MODEL: [(&str, &str); 3] = [
    ("model.embed_tokens.weight", "token_embd.weight"),
    ("model.norm.weight", "output_norm.weight"),
    ("lm_head.weight", "output.weight"),
];

/// What stands in a layer, by both names, before `.weight` or `.bias`.
const LAYER: [(&str, &str); 9] = [
    ("input_layernorm", "attn_norm"),
    ("self_attn.q_proj", "attn_q"),
    ("self_attn.k_proj", "attn_k"),
    ("self_attn.v_proj", "attn_v"),
    ("self_attn.o_proj", "attn_output"),
    ("post_attention_layernorm", "ffn_norm"),
    ("mlp.gate_proj", "ffn_gate"),
    ("mlp.up_proj", "ffn_up"),
    ("mlp.down_proj", "ffn_down"),
];

impl Source for Gguf {
    fn names(&self) -> Vec<String> {
        let mut names: Vec<String> = self.tensor_names().map(huggingface_name).collect();
        names.sort(); // the header is a hash map here
        names
    }

    fn shape(&self, name: &str) -> Result<Option<Vec<usize>>> {
        self.tensor_shape(&gguf_name(name))
    }

    fn read(&mut self, name: &str) -> Result<Tensor> {
        let tensor = self.dequantised(&gguf_name(name))?;
        match self.rotated_heads(name)? {
            Some(heads) => halves(&tensor, heads),
            None => Ok(tensor),
        }
    }

    fn stored(&mut self, name: &str) -> Result<Option<Stored>> {
        let Some(stored) = self.blocks(&gguf_name(name))? else { return Ok(None) };
        Ok(Some(match self.rotated_heads(name)? {
            Some(heads) => {
                let rows = stored.outputs / heads;
                // As `halves` orders rows.
                let order = (0..stored.outputs).map(|row| {
                    let (head, channel) = (row / rows, row % rows);
                    head * rows + channel % (rows / 2) * 2 + channel / (rows / 2)
                });
                stored.reordered(order)
            }
            None => stored,
        }))
    }

    fn fault(&self, name: &str, reason: &str) -> Error {
        self.malformed(format!("tensor `{}` {reason}", gguf_name(name)))
    }
}

impl Gguf {
    /// Heads of a tensor whose rotary channels the file holds as neighbours in pairs, which it does for `llama` alone.
    fn rotated_heads(&self, name: &str) -> Result<Option<usize>> {
        if !self.pairs_rotary_channels()? {
            return Ok(None);
        }
        let (query_heads, kv_heads) = self.heads()?;
        let heads = [(".q_proj.", query_heads), (".k_proj.", kv_heads)];
        Ok(heads.iter().find(|(projection, _)| name.contains(projection)).map(|(_, heads)| *heads))
    }
}

/// From pairs of neighbouring rotary channels to halves, which `Rope` turns.
///
/// # Shapes
/// - `tensor` and the result: `(heads * head_dim, inputs)`, or `(heads * head_dim,)` for a bias
fn halves(tensor: &Tensor, heads: usize) -> Result<Tensor> {
    let (outputs, inputs) = (tensor.dim(0)?, tensor.elem_count() / tensor.dim(0)?);
    let pairs = tensor.reshape((heads, outputs / heads / 2, 2, inputs))?;
    Ok(pairs.transpose(1, 2)?.contiguous()?.reshape(tensor.shape())?)
}

fn gguf_name(name: &str) -> String {
    if let Some((_, gguf)) = MODEL.iter().find(|(huggingface, _)| *huggingface == name) {
        return (*gguf).to_owned();
    }
    translate(name, ("model.layers.", "blk."), |part| {
        LAYER.iter().find(|(huggingface, _)| *huggingface == part).map(|(_, gguf)| *gguf)
    })
}

fn huggingface_name(name: &str) -> String {
    if let Some((huggingface, _)) = MODEL.iter().find(|(_, gguf)| *gguf == name) {
        return (*huggingface).to_owned();
    }
    translate(name, ("blk.", "model.layers."), |part| {
        LAYER.iter().find(|(_, gguf)| *gguf == part).map(|(huggingface, _)| *huggingface)
    })
}

/// A layer's tensor under the other name; what is none keeps its name.
fn translate<'a>(
    name: &'a str,
    prefixes: (&str, &str),
    part: impl Fn(&'a str) -> Option<&'static str>,
) -> String {
    let translated = || {
        let (layer, rest) = name.strip_prefix(prefixes.0)?.split_once('.')?;
        let (projection, kind) = rest.rsplit_once('.')?;
        Some(format!("{}{layer}.{}.{kind}", prefixes.1, part(projection)?))
    };
    translated().unwrap_or_else(|| name.to_owned())
}

#[cfg(test)]
mod tests {
    use candle_core::Device;

    use super::*;

    #[test]
    fn names_translate_there_and_back() {
        for (huggingface, gguf) in [
            ("model.embed_tokens.weight", "token_embd.weight"),
            ("model.layers.0.self_attn.q_proj.bias", "blk.0.attn_q.bias"),
            ("model.layers.31.post_attention_layernorm.weight", "blk.31.ffn_norm.weight"),
            ("rope_freqs.weight", "rope_freqs.weight"),
        ] {
            assert_eq!(gguf_name(huggingface), gguf);
            assert_eq!(huggingface_name(gguf), huggingface);
        }
    }

    #[test]
    fn neighbours_in_pairs_become_halves() {
        let of = |values: &[f32]| Tensor::new(values, &Device::Cpu).unwrap();
        let pairs = of(&[0.0, 3.0, 1.0, 4.0, 2.0, 5.0, 10.0, 13.0, 11.0, 14.0, 12.0, 15.0]);
        let found = halves(&pairs, 2).unwrap().to_vec1::<f32>().unwrap();
        let wanted = [0u8, 1, 2, 3, 4, 5, 10, 11, 12, 13, 14, 15].map(f32::from);
        assert!(found.iter().zip(wanted).all(|(a, b)| a.to_bits() == b.to_bits()), "{found:?}");
    }
}
