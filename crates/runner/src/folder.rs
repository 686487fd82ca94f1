//! A model as Hugging Face lays it out: `config.json`, `tokenizer.json`, safetensors.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::json::Json;
use crate::weights::Safetensors;
use crate::{Config, Error, Result, Tokenizer, read_text_up_to};

/// All weights in one file.
pub(crate) const WEIGHTS: &str = "model.safetensors";
/// Which of several files holds which tensor.
pub(crate) const INDEX: &str = "model.safetensors.index.json";
/// What beside the weights decides a model's numbers, texts and ends.
pub(crate) const SETTINGS: [&str; 5] = [
    "config.json",
    "generation_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "chat_template.jinja",
];

/// Ten times the longest chat template of a known model.
const TEMPLATE_BYTES: u64 = 1 << 20;

/// A folder that holds a model, or a part of one.
#[derive(Debug, Clone)]
pub(crate) struct Folder {
    path: PathBuf,
}

impl Folder {
    pub(crate) fn new(path: &Path) -> Self {
        Self { path: path.to_owned() }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    pub(crate) fn tokenizer_file(&self) -> PathBuf {
        self.file("tokenizer.json")
    }

    pub(crate) fn config(&self) -> Result<Config> {
        Config::from_json(&Json::read(&self.file("config.json"))?)
    }

    /// # Errors
    /// [`Error::Read`] or [`Error::Malformed`], naming the file; also if the tokenizer knows more tokens than the model, or lacks those
    /// that end a text.
    pub(crate) fn tokenizer(&self) -> Result<Tokenizer> {
        let config = Json::read(&self.file("config.json"))?;
        let generation = Json::read_if_there(&self.file("generation_config.json"))?;
        let settings = Json::read_if_there(&self.file("tokenizer_config.json"))?;
        let template = self.file("chat_template.jinja");
        let template = match read_text_up_to(&template, TEMPLATE_BYTES) {
            Ok(text) => Some((template, text)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
            Err(source) => return Err(Error::Read { path: template, source }),
        };
        Tokenizer::from_folder(
            &self.tokenizer_file(),
            &config,
            generation.as_ref(),
            settings.as_ref(),
            template,
        )
    }

    /// # Errors
    /// [`Error::Read`] or [`Error::Malformed`], naming the file.
    pub(crate) fn weights(&self) -> Result<Safetensors> {
        if self.is_sharded() {
            let paths = self.shards()?.into_iter();
            let paths = paths.map(|(tensor, file)| (tensor, self.path.join(file))).collect();
            return Safetensors::open_shards(&self.file(INDEX), &paths);
        }
        Safetensors::open(&self.file(WEIGHTS))
    }

    /// The files that hold the weights, by name.
    ///
    /// # Errors
    /// As [`Folder::weights`]; the files themselves need not be there.
    pub(crate) fn weight_files(&self) -> Result<Vec<PathBuf>> {
        if !self.is_sharded() {
            return Ok(vec![self.file(WEIGHTS)]);
        }
        let mut names: Vec<String> = self.shards()?.into_values().collect();
        names.sort();
        names.dedup();
        Ok(names.into_iter().map(|name| self.path.join(name)).collect())
    }

    /// All files that a model is read from, settings first, then the weights by name.
    pub(crate) fn files(&self) -> Result<Vec<PathBuf>> {
        let settings = SETTINGS.iter().map(|name| self.file(name)).filter(|path| path.is_file());
        Ok(settings.chain(self.weight_files()?).collect())
    }

    fn is_sharded(&self) -> bool {
        !self.file(WEIGHTS).is_file() && self.file(INDEX).is_file()
    }

    /// Which file holds each tensor, by the index.
    fn shards(&self) -> Result<BTreeMap<String, String>> {
        let index = Json::read(&self.file(INDEX))?;
        let map = index.object("weight_map")?.ok_or_else(|| index.missing("weight_map"))?;
        let files = map.iter().map(|(tensor, file)| {
            // A name from outside must not lead out of the folder.
            let plain = file.as_str().filter(|name| {
                name.ends_with(".safetensors") && !name.contains(['/', '\\', ':', '\0'])
            });
            let file = plain.ok_or_else(|| map.wrong(tensor, "the name of a safetensors file"))?;
            Ok((tensor.to_owned(), file.to_owned()))
        });
        files.collect()
    }
}
