//! Models of the hub: their settings first, their weights when a model is loaded.

use std::fmt;
use std::path::{Path, PathBuf};

use anyhow::Result;
use hf_hub::api::RepoInfo;
use hf_hub::api::sync::ApiError;
use hf_hub::{Repo, RepoType};
use runner::Checkpoint;

use super::Hub;
use crate::fault::Fault;

/// A model of the hub at one revision, written `org/name` or `org/name@revision`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct HubModel {
    id: String,
    revision: String,
}

impl HubModel {
    /// From a text that can be nothing else.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (id, revision) = text.split_once('@').unwrap_or((text, "main"));
        let plain = |part: &str, more: &[char]| {
            !part.is_empty()
                && !part.starts_with(['.', '-', '/'])
                && !part.contains("..")
                && part.chars().all(|c| c.is_ascii_alphanumeric() || more.contains(&c))
        };
        let (organisation, name) = id.split_once('/')?;
        let word = ['-', '_', '.'];
        let sound = plain(organisation, &word)
            && plain(name, &word)
            && plain(revision, &['-', '_', '.', '/']);
        sound.then(|| Self { id: id.to_owned(), revision: revision.to_owned() })
    }

    /// Its name without the revision.
    pub(crate) fn id(&self) -> &str {
        &self.id
    }

    fn at(&self, revision: &str) -> Repo {
        Repo::with_revision(self.id.clone(), RepoType::Model, revision.to_owned())
    }
}

impl fmt::Display for HubModel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.revision.as_str() {
            "main" => write!(f, "{}", self.id),
            revision => write!(f, "{}@{revision}", self.id),
        }
    }
}

impl Hub {
    /// The folder in the cache that holds a model's settings, all of one commit; brings them first where the hub may be asked.
    ///
    /// A hub that cannot be reached is no error as long as the cache has the model.
    pub(crate) fn settings(&self, model: &HubModel) -> Result<PathBuf> {
        let cached = || self.cached(&model.at(&model.revision), "name a folder");
        if !self.asks() {
            return cached();
        }
        let info = match self.api()?.repo(model.at(&model.revision)).info() {
            Ok(info) => info,
            Err(error) if status(&error).is_none() => {
                return cached().map_err(|_| self.refused(model, &error));
            }
            Err(error) => return Err(self.refused(model, &error)),
        };
        let wanted = wanted(model, &info)?;
        self.bring(model, &info.sha, &wanted)?;
        // Only now is the commit what the revision means here: a cache that was filled half is not taken for whole.
        let cache = self.client_cache().repo(model.at(&model.revision));
        cache.create_ref(&info.sha).map_err(|error| {
            Fault::data(format!("cannot write to `{}`: {error}", self.cache.display()))
        })?;
        Ok(self.snapshot(model, &info.sha))
    }

    /// Brings whatever weights a folder of [`Hub::settings`] still lacks.
    pub(crate) fn weights(&self, model: &HubModel, folder: &Path) -> Result<()> {
        let missing = Checkpoint::open(folder)?.missing_weights()?;
        let name = |path: &PathBuf| Some(path.file_name()?.to_str()?.to_owned());
        let names: Vec<String> = missing.iter().filter_map(name).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let commit = folder.file_name().unwrap_or_default().to_string_lossy();
        self.bring(model, &commit, &names)
    }

    fn snapshot(&self, model: &HubModel, commit: &str) -> PathBuf {
        self.client_cache().repo(model.at(commit)).pointer_path(commit)
    }

    /// Brings the files of a commit that the cache lacks.
    fn bring(&self, model: &HubModel, commit: &str, names: &[&str]) -> Result<()> {
        let folder = self.snapshot(model, commit);
        let missing: Vec<&&str> =
            names.iter().filter(|name| !folder.join(**name).is_file()).collect();
        if missing.is_empty() {
            return Ok(());
        }
        let api = self.api()?;
        let files = api.repo(model.at(commit));
        for name in missing {
            Self::fetch(&api, &files, name, |error| self.refused(model, error))?;
        }
        Ok(())
    }

    /// What the hub's answer means, and what to do about it.
    fn refused(&self, model: &HubModel, error: &ApiError) -> anyhow::Error {
        let address = self.endpoint.as_deref().unwrap_or("https://huggingface.co");
        let hint = match status(error) {
            Some(401 | 403) => format!(
                "it is gated, private, or not there: accept its terms at {address}/{} and give a token that may read it in `HF_TOKEN`",
                model.id
            ),
            Some(404) => "check the name and the revision".to_owned(),
            _ => "see `HF_ENDPOINT` for a mirror, or name a folder that holds the model".to_owned(),
        };
        Fault::data(format!("the hub does not give `{model}`: {error}")).hint(hint).into()
    }
}

/// What a model's repository has of settings, and the index of its weights if they lie in many files.
fn wanted(model: &HubModel, info: &RepoInfo) -> Result<Vec<&'static str>> {
    if info.sha.is_empty() || !info.sha.chars().all(|c| c.is_ascii_alphanumeric()) {
        let message = format!("the hub names no commit for `{model}`, but `{}`", info.sha);
        return Err(Fault::data(message).into());
    }
    let there = |name: &str| info.siblings.iter().any(|file| file.rfilename == name);
    let [one, index] = Checkpoint::WEIGHTS;
    if !there(one) && !there(index) {
        let hint = "only safetensors are read from the hub; for GGUF, name a `.gguf` file here";
        return Err(Fault::data(format!("the hub's `{model}` has no `{one}`")).hint(hint).into());
    }
    let settings = Checkpoint::SETTINGS.into_iter().filter(|name| there(name));
    Ok(settings.chain((!there(one)).then_some(index)).collect())
}

/// The HTTP status of a refusal, if the hub was reached at all.
fn status(error: &ApiError) -> Option<u16> {
    let text = error.to_string();
    text.rsplit_once("status: ")?.1.get(..3)?.parse().ok()
}
