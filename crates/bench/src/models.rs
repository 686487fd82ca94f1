//! From what a user calls a model to its files.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use evaluator::PublishedTemplate;
use runner::{Checkpoint, Config, Model, Tokenizer, Weights};

use crate::cli::{MachineArgs, ModelArgs};
use crate::embedded;
use crate::fault::Fault;
use crate::hub::{Hub, HubModel};
use crate::registry::{Home, Known, registry};

/// A model that was asked for: its shape is known, its files perhaps missing.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Choice {
    pub(crate) name: String,
    /// What the published runs would wrap its prompts in.
    pub(crate) template: PublishedTemplate,
    pub(crate) shape: Config,
    files: Files,
}

/// What there is of a model.
#[derive(Debug, Clone, PartialEq)]
enum Files {
    /// A GGUF file, or a folder with all that it takes.
    Here(PathBuf),
    /// A folder of the hub's cache with all but the weights; the hub has them.
    Settings(PathBuf, HubModel, Hub),
    /// Not enough to run; perhaps a folder that holds a tokenizer.
    Missing(Option<PathBuf>, Missing),
}

/// Why a model cannot be loaded, and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Missing {
    reason: String,
    hint: String,
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
    /// Finds a model by name, by file, by folder, or on the hub.
    pub(crate) fn find(model: &str, hub: &Hub) -> Result<Self> {
        let registry = registry();
        if let Some(known) = registry.iter().find(|known| known.name == model) {
            return Self::known(known, hub);
        }
        let path = Path::new(model);
        if path.is_dir() {
            return Self::folder(path);
        }
        if path.is_file() || path.extension().is_some_and(|extension| extension == "gguf") {
            return Self::file(path);
        }
        if let Some(id) = HubModel::parse(model) {
            return Self::on_hub(&id, hub);
        }
        let names: Vec<&str> = registry.iter().map(|known| known.name).collect();
        let hint = format!(
            "use a folder in Hugging Face's layout, a `.gguf` file, an id of the hub (`org/name`), or one of: {}",
            names.join(", ")
        );
        Err(Fault::data(format!("unknown model `{model}`")).hint(hint).into())
    }

    fn known(known: &Known, hub: &Hub) -> Result<Self> {
        let (shape, files) = match known.home {
            Home::Embedded => (known.shape.clone(), Files::Here(embedded::folder()?)),
            Home::Script(file) => (known.shape.clone(), script_file(known.name, file)),
            Home::Hub(id) => of_hub(known, id, hub).with_context(|| {
                format!("model `{}` comes from the hub, and does not", known.name)
            })?,
        };
        let template = PublishedTemplate::for_model(known.published_name);
        Ok(Self { name: known.name.to_owned(), template, shape, files })
    }

    fn on_hub(id: &HubModel, hub: &Hub) -> Result<Self> {
        let (shape, files) = hub_files(id, &hub.settings(id)?, hub)?;
        let known = registry()
            .into_iter()
            .find(|known| matches!(known.home, Home::Hub(home) if home == id.id()));
        let published_name = known.map_or(id.id(), |known| known.published_name);
        let template = PublishedTemplate::for_model(published_name);
        Ok(Self { name: id.to_string(), template, shape, files })
    }

    fn folder(path: &Path) -> Result<Self> {
        let checkpoint = Checkpoint::open(path)?;
        let files = match missing_file(&checkpoint)? {
            None => Files::Here(path.to_owned()),
            Some(file) => Files::Missing(
                Some(path.to_owned()),
                Missing {
                    reason: format!("`{}` is missing", file.display()),
                    hint: "a folder in Hugging Face's layout holds `config.json`, `tokenizer.json` and `model.safetensors`, or an index and the files that it names".to_owned(),
                },
            ),
        };
        let whole = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
        let name = whole.file_name().unwrap_or(whole.as_os_str()).to_string_lossy().into_owned();
        Ok(Self { name, template: of_path(path), shape: checkpoint.config()?, files })
    }

    fn file(path: &Path) -> Result<Self> {
        let shape = Checkpoint::open(path)?.config()?;
        let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let files = Files::Here(path.to_owned());
        Ok(Self { name, template: of_path(path), shape, files })
    }

    /// Its file, or a folder that holds its settings at least.
    ///
    /// # Errors
    /// If it could not be loaded.
    pub(crate) fn path(&self) -> Result<&Path> {
        match &self.files {
            Files::Here(path) | Files::Settings(path, ..) => Ok(path),
            Files::Missing(_, Missing { reason, hint }) => {
                Err(Fault::data(&**reason).hint(&**hint).into())
            }
        }
    }

    /// Its tokenizer, if that is here.
    pub(crate) fn tokenizer(&self) -> Result<Option<Tokenizer>> {
        let (Files::Here(path) | Files::Settings(path, ..) | Files::Missing(Some(path), _)) =
            &self.files
        else {
            return Ok(None);
        };
        let checkpoint = Checkpoint::open(path)?;
        match checkpoint.missing_tokenizer() {
            Some(_) => Ok(None),
            None => Ok(Some(checkpoint.tokenizer()?)),
        }
    }

    pub(crate) fn load(&self, weights: Weights, machine: &MachineArgs) -> Result<Model> {
        let device = runner::device(&machine.device)?;
        let path = self.path()?;
        if let Files::Settings(folder, id, hub) = &self.files {
            hub.weights(id, folder)?;
        }
        Ok(Model::load(&self.name, path, weights, &device)?)
    }
}

/// The template of a model on disk goes by its path as it was given, as in the published runs.
fn of_path(path: &Path) -> PublishedTemplate {
    PublishedTemplate::for_model(&path.to_string_lossy())
}

/// What a checkpoint needs to be loaded and does not have.
fn missing_file(checkpoint: &Checkpoint) -> Result<Option<PathBuf>> {
    let weights = checkpoint.missing_weights()?.into_iter();
    Ok(checkpoint.missing_tokenizer().into_iter().chain(weights).next())
}

fn script_file(name: &str, file: &str) -> Files {
    let path = cache_folder().join("models").join(file);
    if path.is_file() {
        return Files::Here(path);
    }
    let reason = format!("model `{name}` is not at `{}`", path.display());
    Files::Missing(None, Missing { reason, hint: format!("run `scripts/fetch-model {name}`") })
}

/// The shape and the files of a known model; where nothing of it is cached and nothing is asked, its shape is known all the same.
fn of_hub(known: &Known, id: &str, hub: &Hub) -> Result<(Config, Files)> {
    let id = HubModel::parse(id).with_context(|| format!("`{id}` is no id of the hub"))?;
    match hub.settings(&id) {
        Ok(folder) => hub_files(&id, &folder, hub),
        Err(error) if hub.asks() => Err(error),
        Err(_) => {
            let missing = not_cached(&id, hub);
            let reason = format!("model `{}`: {}", known.name, missing.reason);
            Ok((known.shape.clone(), Files::Missing(None, Missing { reason, ..missing })))
        }
    }
}

/// The shape and the files of a model whose settings lie in the hub's cache.
fn hub_files(id: &HubModel, folder: &Path, hub: &Hub) -> Result<(Config, Files)> {
    let checkpoint = Checkpoint::open(folder)?;
    let files = match missing_file(&checkpoint)? {
        None => Files::Here(folder.to_owned()),
        Some(_) if hub.asks() => Files::Settings(folder.to_owned(), id.clone(), hub.clone()),
        Some(file) => {
            let missing = not_cached(id, hub);
            let reason = format!("{}: `{}` is missing", missing.reason, file.display());
            Files::Missing(Some(folder.to_owned()), Missing { reason, ..missing })
        }
    };
    Ok((checkpoint.config()?, files))
}

fn not_cached(id: &HubModel, hub: &Hub) -> Missing {
    let reason = format!("`{id}` is not whole in the hub's cache");
    let hint = if hub.is_offline() {
        "unset `HF_HUB_OFFLINE` and leave out `--offline`, so that the hub is asked; or name a folder"
    } else {
        "a run asks the hub for it"
    };
    Missing { reason, hint: hint.to_owned() }
}

/// Loads the model that the arguments name.
pub(crate) fn load(args: &ModelArgs) -> Result<Model> {
    let hub = Hub::from_environment(args.offline).showing_progress(true);
    Choice::find(&args.model, &hub)?.load(args.weights, &args.machine)
}
