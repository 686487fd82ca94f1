//! Models that are known by name, and where their files lie.

use std::path::{Path, PathBuf};

use anyhow::Result;
use runner::{Config, Model, RopeScaling, Weights};

use crate::cli::{MachineArgs, ModelArgs};
use crate::fault::Fault;

/// A model of the registry.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Known {
    pub(crate) name: &'static str,
    pub(crate) about: &'static str,
    /// File below the cache folder, for those that a script can bring.
    pub(crate) file: Option<&'static str>,
    /// Name by which the published runs chose its prompt template.
    pub(crate) published_name: &'static str,
    pub(crate) shape: Config,
}

/// A model that was asked for: its shape is known, its file perhaps missing.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Choice {
    pub(crate) name: String,
    pub(crate) published_name: String,
    pub(crate) file: std::result::Result<PathBuf, Missing>,
    pub(crate) shape: Config,
}

/// Why a model cannot be loaded, and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Missing {
    reason: String,
    hint: String,
}

impl Missing {
    fn fault(&self) -> Fault {
        Fault::data(&*self.reason).hint(&*self.hint)
    }
}

/// All models known by name.
pub(crate) fn registry() -> Vec<Known> {
    let llama_3 = RopeScaling {
        factor: 8.0,
        low_frequency_factor: 1.0,
        high_frequency_factor: 4.0,
        original_context: 8192,
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
    let eight_billion = Config {
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
        ..eight_billion.clone()
    };
    vec![
        Known {
            name: "smollm2-135m",
            about: "SmolLM2-135M-Instruct, Q4_1: runs on any machine",
            file: Some("smollm2-135m/SmolLM2-135M-Instruct.Q4_1.gguf"),
            published_name: "SmolLM2-135M-Instruct",
            shape: smollm2,
        },
        Known {
            name: "llama-3.1-8b-instruct",
            about: "Llama-3.1-8B-Instruct, the paper's: can be planned, not run yet",
            file: None,
            published_name: "meta-llama-3.1-8b-instruct",
            shape: eight_billion,
        },
        Known {
            name: "mistral-7b-instruct-v0.3",
            about: "Mistral-7B-Instruct-v0.3, the paper's second: can be planned, not run yet",
            file: None,
            published_name: "mistral-7b-instruct-v0.3",
            shape: mistral,
        },
    ]
}

/// `$BENCH_CACHE`, else `bench` in the user's cache folder.
pub(crate) fn cache_folder() -> PathBuf {
    let variable =
        |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    variable("BENCH_CACHE")
        .or_else(|| variable("XDG_CACHE_HOME").map(|cache| cache.join("bench")))
        .or_else(|| variable("HOME").map(|home| home.join(".cache/bench")))
        .unwrap_or_else(|| PathBuf::from(".bench-cache"))
}

impl Choice {
    /// Finds a model by name or by file.
    pub(crate) fn find(model: &str) -> Result<Self> {
        let path = Path::new(model);
        if path.extension().is_some_and(|extension| extension == "gguf") {
            let (shape, _) = Model::describe(path)?;
            let name = path
                .file_stem()
                .map_or_else(|| model.to_owned(), |stem| stem.to_string_lossy().into_owned());
            return Ok(Self {
                published_name: name.clone(),
                name,
                file: Ok(path.to_owned()),
                shape,
            });
        }
        let registry = registry();
        let Some(known) = registry.iter().find(|known| known.name == model) else {
            let names: Vec<&str> = registry.iter().map(|known| known.name).collect();
            return Err(Fault::data(format!("unknown model `{model}`"))
                .hint(format!("use a `.gguf` file or one of: {}", names.join(", ")))
                .into());
        };
        Ok(Self {
            name: known.name.to_owned(),
            published_name: known.published_name.to_owned(),
            file: known.locate(),
            shape: known.shape.clone(),
        })
    }

    /// Its file.
    pub(crate) fn path(&self) -> Result<&Path> {
        match &self.file {
            Ok(path) => Ok(path),
            Err(missing) => Err(missing.fault().into()),
        }
    }

    pub(crate) fn load(&self, weights: Weights, machine: &MachineArgs) -> Result<Model> {
        let device = runner::device(&machine.device)?;
        Ok(Model::load(&self.name, self.path()?, weights, &device)?)
    }
}

impl Known {
    fn locate(&self) -> std::result::Result<PathBuf, Missing> {
        let Some(file) = self.file else {
            return Err(Missing {
                reason: format!("model `{}` can be planned with `--dry-run`, not run", self.name),
                hint: "only GGUF files are loaded so far; pick another profile, such as `--profile smollm2`".to_owned(),
            });
        };
        let path = cache_folder().join("models").join(file);
        if path.is_file() {
            return Ok(path);
        }
        Err(Missing {
            reason: format!("model `{}` is not at `{}`", self.name, path.display()),
            hint: format!("run `scripts/fetch-model {}`", self.name),
        })
    }
}

/// Loads the model that the arguments name.
pub(crate) fn load(args: &ModelArgs) -> Result<Model> {
    Choice::find(&args.model)?.load(args.weights, &args.machine)
}
