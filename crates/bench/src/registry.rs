//! Models that are known by name: their shapes, and where their files come from.

use runner::{Config, RopeScaling};

use crate::embedded;

/// A model of the registry.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Known {
    pub(crate) name: &'static str,
    pub(crate) about: &'static str,
    pub(crate) home: Home,
    /// Name by which the published runs chose its prompt template.
    pub(crate) published_name: &'static str,
    pub(crate) shape: Config,
}

/// Where a known model comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Home {
    /// The program itself.
    Embedded,
    /// A file below the cache folder, which a script brings.
    Script(&'static str),
    /// The hub, by its name there.
    Hub(&'static str),
}

/// All models known by name.
pub(crate) fn registry() -> Vec<Known> {
    let Shapes { embedded, smollm2, llama, mistral, qwen } = Shapes::all();
    vec![
        Known {
            name: embedded::NAME,
            about: "a Llama of 0.8 M parameters for the synthetic task: compiled in",
            home: Home::Embedded,
            published_name: embedded::NAME,
            shape: embedded,
        },
        Known {
            name: "smollm2-135m",
            about: "SmolLM2-135M-Instruct, Q4_1: runs on any machine",
            home: Home::Script("smollm2-135m/SmolLM2-135M-Instruct.Q4_1.gguf"),
            published_name: "SmolLM2-135M-Instruct",
            shape: smollm2,
        },
        Known {
            name: "llama-3.1-8b-instruct",
            about: "Llama-3.1-8B-Instruct, the paper's",
            home: Home::Hub("meta-llama/Llama-3.1-8B-Instruct"),
            published_name: "meta-llama-3.1-8b-instruct",
            shape: llama,
        },
        Known {
            name: "mistral-7b-instruct-v0.3",
            about: "Mistral-7B-Instruct-v0.3, the paper's second",
            home: Home::Hub("mistralai/Mistral-7B-Instruct-v0.3"),
            published_name: "mistral-7b-instruct-v0.3",
            shape: mistral,
        },
        Known {
            name: "qwen2.5-7b-instruct",
            about: "Qwen2.5-7B-Instruct: a third family, with biases",
            home: Home::Hub("Qwen/Qwen2.5-7B-Instruct"),
            published_name: "qwen2.5-7b-instruct",
            shape: qwen,
        },
    ]
}

/// The decoders' shapes, so that a model can be planned before a file of it is here.
struct Shapes {
    embedded: Config,
    smollm2: Config,
    llama: Config,
    mistral: Config,
    qwen: Config,
}

impl Shapes {
    fn all() -> Self {
        let llama_3 = RopeScaling {
            factor: 8.0,
            low_frequency_factor: 1.0,
            high_frequency_factor: 4.0,
            original_context: 8192,
        };
        let embedded = Config {
            layers: 4,
            hidden: 128,
            intermediate: 384,
            query_heads: 4,
            kv_heads: 2,
            head_dim: 32,
            vocabulary: 338,
            context: 4096,
            rope_theta: 1e6,
            rope_scaling: None,
            norm_epsilon: 1e-5,
            tied: true,
            qkv_bias: false,
            output_bias: false,
        };
        let smollm2 = Config {
            layers: 30,
            hidden: 576,
            intermediate: 1536,
            query_heads: 9,
            kv_heads: 3,
            head_dim: 64,
            vocabulary: 49_152,
            context: 8192,
            rope_theta: 100_000.0,
            rope_scaling: None,
            norm_epsilon: 1e-5,
            tied: true,
            qkv_bias: false,
            output_bias: false,
        };
        let llama = Config {
            layers: 32,
            hidden: 4096,
            intermediate: 14_336,
            query_heads: 32,
            kv_heads: 8,
            head_dim: 128,
            vocabulary: 128_256,
            context: 131_072,
            rope_theta: 500_000.0,
            rope_scaling: Some(llama_3),
            norm_epsilon: 1e-5,
            tied: false,
            qkv_bias: false,
            output_bias: false,
        };
        let mistral = Config {
            vocabulary: 32_768,
            context: 32_768,
            rope_theta: 1e6,
            rope_scaling: None,
            ..llama.clone()
        };
        let qwen = Config {
            layers: 28,
            hidden: 3584,
            intermediate: 18_944,
            query_heads: 28,
            kv_heads: 4,
            vocabulary: 152_064,
            norm_epsilon: 1e-6,
            qkv_bias: true,
            ..mistral.clone()
        };
        Self { embedded, smollm2, llama, mistral, qwen }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use runner::Checkpoint;

    use super::*;

    /// The `config.json` that each of the hub's models has says what the registry says.
    #[test]
    fn shapes_are_those_of_the_real_configurations() {
        let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/configs");
        let on_hub = registry().into_iter().filter(|known| matches!(known.home, Home::Hub(_)));
        let mut checked = 0;
        for known in on_hub {
            let folder = Checkpoint::open(&fixtures.join(known.name)).unwrap();
            assert_eq!(folder.config().unwrap(), known.shape, "{}", known.name);
            checked += 1;
        }
        assert_eq!(checked, 3);
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("embedded");
        let embedded = Checkpoint::open(&folder).unwrap().config().unwrap();
        assert_eq!(embedded, registry()[0].shape);
    }
}
