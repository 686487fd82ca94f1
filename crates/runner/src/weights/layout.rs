//! Which tensors a decoder has, by Hugging Face's names, and their shapes.

use crate::Config;

/// GGUF's divisors of the rotary frequencies, the one tensor that Hugging Face's files lack.
pub(super) const ROPE_DIVISORS: &str = "rope_freqs.weight";

/// Every tensor that a decoder of this configuration reads, one by one: the number of layers is only a claim so far.
pub(super) fn of(config: &Config) -> impl Iterator<Item = (String, Vec<usize>)> {
    let Config { layers, hidden, vocabulary, tied, .. } = *config;
    let embedding = ("model.embed_tokens.weight".to_owned(), vec![vocabulary, hidden]);
    let norm = ("model.norm.weight".to_owned(), vec![hidden]);
    let head = (!tied).then(|| ("lm_head.weight".to_owned(), vec![vocabulary, hidden]));
    let own = layer_tensors(config);
    let in_layer = move |layer: usize| {
        let named = |(name, shape): &(&str, Vec<usize>)| {
            (format!("model.layers.{layer}.{name}"), shape.clone())
        };
        own.iter().map(named).collect::<Vec<_>>()
    };
    [embedding, norm].into_iter().chain(head).chain((0..layers).flat_map(in_layer))
}

fn layer_tensors(config: &Config) -> Vec<(&'static str, Vec<usize>)> {
    let Config { hidden, intermediate, query_heads, kv_heads, head_dim, .. } = *config;
    let (queries, keys) = (query_heads * head_dim, kv_heads * head_dim);
    let mut tensors = vec![
        ("input_layernorm.weight", vec![hidden]),
        ("self_attn.q_proj.weight", vec![queries, hidden]),
        ("self_attn.k_proj.weight", vec![keys, hidden]),
        ("self_attn.v_proj.weight", vec![keys, hidden]),
        ("self_attn.o_proj.weight", vec![hidden, queries]),
        ("post_attention_layernorm.weight", vec![hidden]),
        ("mlp.gate_proj.weight", vec![intermediate, hidden]),
        ("mlp.up_proj.weight", vec![intermediate, hidden]),
        ("mlp.down_proj.weight", vec![hidden, intermediate]),
    ];
    if config.qkv_bias {
        tensors.extend([
            ("self_attn.q_proj.bias", vec![queries]),
            ("self_attn.k_proj.bias", vec![keys]),
            ("self_attn.v_proj.bias", vec![keys]),
        ]);
    }
    if config.output_bias {
        tensors.push(("self_attn.o_proj.bias", vec![hidden]));
    }
    tensors
}

/// Whether a tensor may be there and need not be read: tables of rotary frequencies, and the second copy of a tied embedding.
pub(super) fn is_ignored(name: &str, config: &Config) -> bool {
    name.ends_with("rotary_emb.inv_freq")
        || name == ROPE_DIVISORS
        || (config.tied && name == "lm_head.weight")
}
