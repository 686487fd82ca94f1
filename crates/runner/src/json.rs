//! JSON files, read key by key: whatever is wrong is said with the file and the key.

use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use crate::{Error, Result, read_up_to};

/// Ten times the longest settings of a known model.
const LIMIT_BYTES: u64 = 4 << 20;

/// An object in a JSON file.
#[derive(Debug, Clone)]
pub(crate) struct Json {
    path: PathBuf,
    /// Keys that lead to this object, each with a dot behind it.
    parents: String,
    object: Map<String, Value>,
}

impl Json {
    /// Reads a file that holds one object.
    pub(crate) fn read(path: &Path) -> Result<Self> {
        let bytes = read_up_to(path, LIMIT_BYTES)
            .map_err(|source| Error::Read { path: path.to_owned(), source })?;
        let malformed = |reason: String| Error::Malformed { path: path.to_owned(), reason };
        let text = std::str::from_utf8(&bytes)
            .map_err(|error| malformed(format!("it is not UTF-8: {error}")))?;
        let object = serde_json::from_str(text)
            .map_err(|error| malformed(format!("it is not a JSON object: {error}")))?;
        Ok(Self { path: path.to_owned(), parents: String::new(), object })
    }

    /// The same for a file that need not be there.
    pub(crate) fn read_if_there(path: &Path) -> Result<Option<Self>> {
        path.try_exists().unwrap_or(true).then(|| Self::read(path)).transpose()
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn malformed(&self, reason: impl Into<String>) -> Error {
        Error::Malformed { path: self.path.clone(), reason: reason.into() }
    }

    /// What lies under a key; a null is an absence.
    pub(crate) fn value(&self, key: &str) -> Option<&Value> {
        self.object.get(key).filter(|value| !value.is_null())
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, &Value)> {
        self.object.iter().map(|(key, value)| (key.as_str(), value))
    }

    /// The error for a value that is not what its key asks for.
    pub(crate) fn wrong(&self, key: &str, wanted: &str) -> Error {
        let found = self.object.get(key).unwrap_or(&Value::Null).to_string();
        let found: String = found.chars().take(60).collect();
        self.malformed(format!("`{}{key}` = {found} is not {wanted}", self.parents))
    }

    /// The error for a key that must be there.
    pub(crate) fn missing(&self, key: &str) -> Error {
        self.malformed(format!("it has no `{}{key}`", self.parents))
    }

    fn typed<'a, T>(
        &'a self,
        key: &str,
        wanted: &str,
        read: impl FnOnce(&'a Value) -> Option<T>,
    ) -> Result<Option<T>> {
        let Some(value) = self.value(key) else { return Ok(None) };
        read(value).map(Some).ok_or_else(|| self.wrong(key, wanted))
    }

    pub(crate) fn count(&self, key: &str) -> Result<Option<usize>> {
        self.typed(key, "a count", |value| value.as_u64().and_then(|n| usize::try_from(n).ok()))
    }

    pub(crate) fn required_count(&self, key: &str) -> Result<usize> {
        self.count(key)?.ok_or_else(|| self.missing(key))
    }

    pub(crate) fn float(&self, key: &str) -> Result<Option<f32>> {
        self.typed(key, "a number", |value| value.as_f64().map(|number| number as f32))
    }

    pub(crate) fn required_float(&self, key: &str) -> Result<f32> {
        self.float(key)?.ok_or_else(|| self.missing(key))
    }

    pub(crate) fn flag(&self, key: &str) -> Result<Option<bool>> {
        self.typed(key, "true or false", Value::as_bool)
    }

    pub(crate) fn text(&self, key: &str) -> Result<Option<&str>> {
        self.typed(key, "a string", Value::as_str)
    }

    /// An object under a key.
    pub(crate) fn object(&self, key: &str) -> Result<Option<Self>> {
        let object = self.typed(key, "an object", Value::as_object)?;
        Ok(object.map(|object| Self {
            path: self.path.clone(),
            parents: format!("{}{key}.", self.parents),
            object: object.clone(),
        }))
    }
}
