//! The decoder's shape from Hugging Face's `config.json`.

use crate::config::{Config, RopeScaling};
use crate::json::Json;
use crate::{Error, Result};

/// Architectures that are one decoder with other numbers, and the class of their language model.
const FAMILIES: [(&str, &str); 3] = [
    ("llama", "LlamaForCausalLM"),
    ("mistral", "MistralForCausalLM"),
    ("qwen2", "Qwen2ForCausalLM"),
];

impl Config {
    /// From `config.json`, with the defaults that `transformers` has.
    ///
    /// A model that attends through a sliding window is the same model with full attention as long as the text fits the window: its
    /// context here ends with the window.
    ///
    /// # Errors
    /// [`Error::Malformed`] for another architecture, a missing or mistyped key, numbers that cannot be, and whatever this decoder
    /// does not compute: another activation, another stretching of the rotary frequencies, quantised weights.
    pub(crate) fn from_json(json: &Json) -> Result<Self> {
        let family = family(json)?;
        refuse_unsupported(json)?;
        let query_heads = json.required_count("num_attention_heads")?;
        let hidden = json.required_count("hidden_size")?;
        let positions = json.required_count("max_position_embeddings")?;
        let attention_bias = family == "llama" && json.flag("attention_bias")?.unwrap_or(false);
        let rope = rope(json)?;
        let config = Self {
            layers: json.required_count("num_hidden_layers")?,
            hidden,
            intermediate: json.required_count("intermediate_size")?,
            query_heads,
            kv_heads: match json.count("num_key_value_heads")? {
                Some(kv_heads) => kv_heads,
                None if family == "llama" => query_heads,
                None => return Err(json.missing("num_key_value_heads")),
            },
            head_dim: head_dim(json, hidden, query_heads)?,
            vocabulary: json.required_count("vocab_size")?,
            context: window(json, family)?.map_or(positions, |window| window.min(positions)),
            rope_theta: rope.0,
            rope_scaling: rope.1,
            norm_epsilon: json.float("rms_norm_eps")?.unwrap_or(1e-6),
            tied: json.flag("tie_word_embeddings")?.unwrap_or(false),
            qkv_bias: attention_bias || family == "qwen2",
            output_bias: attention_bias,
        };
        config.fault().map_or(Ok(config), |fault| Err(json.malformed(fault)))
    }
}

/// Which architecture it is, by the name that `transformers` knows it by.
fn family(json: &Json) -> Result<&'static str> {
    let kind = json.text("model_type")?.ok_or_else(|| json.missing("model_type"))?;
    let Some((family, class)) = FAMILIES.into_iter().find(|(family, _)| *family == kind) else {
        return Err(json
            .malformed(format!("`model_type` = `{kind}` is none of `llama`, `mistral`, `qwen2`")));
    };
    match json.value("architectures") {
        Some(classes) if classes.get(0).and_then(|first| first.as_str()) != Some(class) => {
            Err(json.wrong("architectures", &format!("`{class}`")))
        }
        _ => Ok(family),
    }
}

fn refuse_unsupported(json: &Json) -> Result<()> {
    if json.value("quantization_config").is_some() {
        return Err(json.malformed(
            "its weights are quantised (`quantization_config`): take the original in bf16, or a GGUF file",
        ));
    }
    if json.text("hidden_act")?.is_some_and(|activation| activation != "silu") {
        return Err(json.wrong("hidden_act", "`silu`, the only activation supported"));
    }
    if json.flag("mlp_bias")? == Some(true) {
        return Err(json.wrong("mlp_bias", "supported: the MLP has no bias here"));
    }
    Ok(())
}

fn head_dim(json: &Json, hidden: usize, query_heads: usize) -> Result<usize> {
    if let Some(head_dim) = json.count("head_dim")? {
        return Ok(head_dim);
    }
    if query_heads == 0 || !hidden.is_multiple_of(query_heads) {
        return Err(json.malformed(format!(
            "`hidden_size` = {hidden} does not divide into `num_attention_heads` = {query_heads}, and there is no `head_dim`"
        )));
    }
    Ok(hidden / query_heads)
}

/// Tokens that a query sees at most, where that is limited.
fn window(json: &Json, family: &str) -> Result<Option<usize>> {
    match family {
        "mistral" => json.count("sliding_window"),
        "qwen2" if json.flag("use_sliding_window")? == Some(true) => json.count("sliding_window"),
        _ => Ok(None),
    }
}

/// The rotary base and stretching, from where `transformers` 5 writes them (`rope_parameters`) or earlier ones did (`rope_theta` and
/// `rope_scaling`).
fn rope(json: &Json) -> Result<(f32, Option<RopeScaling>)> {
    let parameters = match json.object("rope_parameters")? {
        Some(parameters) => Some(parameters),
        None => json.object("rope_scaling")?,
    };
    let nested = parameters.as_ref().map(|it| it.float("rope_theta")).transpose()?.flatten();
    let theta = nested.map_or_else(|| json.float("rope_theta"), |theta| Ok(Some(theta)))?;
    let scaling = parameters.as_ref().map(scaling).transpose()?.flatten();
    for object in parameters.iter().chain([json]) {
        if object.float("partial_rotary_factor")?.is_some_and(|share| share < 1.0) {
            return Err(object.wrong("partial_rotary_factor", "supported: all channels rotate"));
        }
    }
    Ok((theta.unwrap_or(10_000.0), scaling))
}

fn scaling(parameters: &Json) -> Result<Option<RopeScaling>, Error> {
    let kind = match parameters.text("rope_type")? {
        Some(kind) => Some(kind),
        None => parameters.text("type")?,
    };
    match kind {
        None | Some("default") => Ok(None),
        Some("llama3") => Ok(Some(RopeScaling {
            factor: parameters.required_float("factor")?,
            low_frequency_factor: parameters.required_float("low_freq_factor")?,
            high_frequency_factor: parameters.required_float("high_freq_factor")?,
            original_context: parameters.required_count("original_max_position_embeddings")?,
        })),
        Some(other) => Err(parameters.malformed(format!(
            "its rotary scaling `{other}` is not supported: only `default` and `llama3` are"
        ))),
    }
}
