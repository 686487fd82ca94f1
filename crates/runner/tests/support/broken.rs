//! A model's folder, to break.

use std::fs;
use std::path::{Path, PathBuf};

use candle_core::Device;
use runner::{Model, Weights};
use serde_json::Value;

/// A copy of a family's folder, to break.
pub(crate) struct Broken(pub(crate) tempfile::TempDir);

impl Broken {
    pub(crate) fn new(family: &str) -> Self {
        let from =
            Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/families").join(family);
        let folder = Self(tempfile::tempdir().unwrap());
        for path in fs::read_dir(from).unwrap().map(|entry| entry.unwrap().path()) {
            let name = path.file_name().unwrap().to_str().unwrap().to_owned();
            if name != "logits.safetensors" {
                fs::copy(&path, folder.path(&name)).unwrap();
            }
        }
        folder
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub(crate) fn read(&self, name: &str) -> Vec<u8> {
        fs::read(self.path(name)).unwrap()
    }

    pub(crate) fn json(&self, name: &str) -> Value {
        serde_json::from_slice(&self.read(name)).unwrap()
    }

    pub(crate) fn load(&self) -> Result<(), runner::Error> {
        Model::load("broken", self.0.path(), Weights::F32, &Device::Cpu).map(|_| ())
    }

    /// What is said of a file with these bytes; it is that file that is named, and then it is whole again.
    pub(crate) fn refusal(&self, name: &str, bytes: &[u8]) -> String {
        let whole = fs::read(self.path(name));
        fs::write(self.path(name), bytes).unwrap();
        let message = self.refusal_of(name);
        match whole {
            Ok(whole) => fs::write(self.path(name), whole).unwrap(),
            Err(_) => fs::remove_file(self.path(name)).unwrap(),
        }
        message
    }

    pub(crate) fn refusal_of(&self, name: &str) -> String {
        let Err(error) = self.load() else { panic!("`{name}` was taken for whole") };
        assert!(error.is_data(), "{error:?}");
        let message = error.to_string();
        assert!(message.contains(&self.path(name).display().to_string()), "{name}: {message}");
        message
    }

    /// What is said where a configuration does not fit: of itself, of the weights, or of the tokenizer.
    pub(crate) fn refusal_from(
        &self,
        name: &str,
        weights: &str,
        key: &str,
        value: &Value,
    ) -> String {
        let whole = self.read(name);
        let mut file = self.json(name);
        file[key] = value.clone();
        fs::write(self.path(name), serde_json::to_vec(&file).unwrap()).unwrap();
        let Err(error) = self.load() else { panic!("`{key}` = {value} was taken") };
        fs::write(self.path(name), whole).unwrap();
        assert!(error.is_data(), "{error:?}");
        let message = error.to_string();
        let names =
            [name, weights, "tokenizer.json"].map(|name| self.path(name).display().to_string());
        assert!(names.iter().any(|name| message.contains(name)), "{message}");
        message
    }

    /// What is said of a JSON file with other values; a null takes its key away.
    pub(crate) fn refusal_with(&self, name: &str, changes: &Value) -> String {
        let mut file = self.json(name);
        for (key, value) in changes.as_object().unwrap() {
            if value.is_null() {
                file.as_object_mut().unwrap().remove(key);
            } else {
                file[key] = value.clone();
            }
        }
        self.refusal(name, &serde_json::to_vec(&file).unwrap())
    }
}
