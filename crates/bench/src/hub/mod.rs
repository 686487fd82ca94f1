//! The Hugging Face hub: its environment, its cache, and what is read from it.
//!
//! The client ignores most of the hub's environment variables, so they are resolved here, once, and handed to it.

mod content;
mod dataset;
mod model;

use std::fmt;
use std::path::{Path, PathBuf};

use anyhow::Result;
use hf_hub::api::sync::{Api, ApiBuilder, ApiError, ApiRepo};
use hf_hub::{Cache, Repo};
use runner::read_text_up_to;

pub(crate) use self::dataset::load;
pub(crate) use self::model::HubModel;
use crate::fault::Fault;

/// What the hub's environment variables say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Hub {
    cache: PathBuf,
    endpoint: Option<String>,
    token: Option<Token>,
    offline: bool,
    /// Whether only the cache is looked at, for now.
    cache_only: bool,
    /// Whether a terminal sees how far a file has come.
    progress: bool,
}

/// A secret, which nothing prints.
#[derive(Clone, PartialEq, Eq)]
struct Token(String);

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token")
    }
}

/// What to do about a hub that contradicts itself.
const DISTRUST: &str = "see whether `HF_ENDPOINT` names a hub that you trust, or name a folder";

/// Whether a word of the hub's may become part of a path.
fn is_plain(word: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    (1..=255).contains(&word.len()) && !word.starts_with('.') && word.chars().all(plain)
}

/// More than a token or the name of a commit takes.
const WORD_BYTES: u64 = 1 << 12;

/// How often a file that breaks off is taken up again, where it broke off.
const RETRIES: usize = 3;

impl Hub {
    /// From the process's environment.
    pub(crate) fn from_environment(offline: bool) -> Self {
        let hub = Self::resolve(|name| std::env::var(name).ok());
        Self { offline: offline || hub.offline, ..hub }
    }

    /// The same, but asking nothing where only a plan or a list is made.
    pub(crate) fn without_asking(self, cache_only: bool) -> Self {
        Self { cache_only, ..self }
    }

    /// The same, showing on a terminal how far each file has come.
    pub(crate) fn showing_progress(self, progress: bool) -> Self {
        Self { progress, ..self }
    }

    /// Whether it may never be asked.
    pub(crate) fn is_offline(&self) -> bool {
        self.offline
    }

    /// Whether it is asked now.
    pub(crate) fn asks(&self) -> bool {
        !self.offline && !self.cache_only
    }

    /// `HF_HUB_CACHE`, else `HF_HOME/hub`, else the user's cache; the token in `HF_TOKEN`, else in the file `HF_TOKEN_PATH`, else in
    /// `HF_HOME/token`.
    fn resolve(variable: impl Fn(&str) -> Option<String>) -> Self {
        let variable = |name: &str| variable(name).filter(|value| !value.is_empty());
        let user_cache = variable("XDG_CACHE_HOME").map(PathBuf::from);
        let user_cache =
            user_cache.or_else(|| variable("HOME").map(|home| Path::new(&home).join(".cache")));
        let home = variable("HF_HOME")
            .map_or_else(|| user_cache.unwrap_or_default().join("huggingface"), PathBuf::from);
        let token_file =
            variable("HF_TOKEN_PATH").map_or_else(|| home.join("token"), PathBuf::from);
        let stored = || Some(read_text_up_to(&token_file, WORD_BYTES).ok()?.trim().to_owned());
        Self {
            cache: variable("HF_HUB_CACHE").map_or_else(|| home.join("hub"), PathBuf::from),
            endpoint: variable("HF_ENDPOINT"),
            token: variable("HF_TOKEN")
                .or_else(stored)
                .filter(|token| !token.is_empty())
                .map(Token),
            offline: variable("HF_HUB_OFFLINE").is_some_and(|value| {
                matches!(value.to_uppercase().as_str(), "1" | "ON" | "YES" | "TRUE")
            }),
            cache_only: false,
            progress: false,
        }
    }

    fn api(&self) -> Result<Api> {
        let mut builder = ApiBuilder::from_cache(self.client_cache())
            .with_progress(self.progress)
            .with_retries(RETRIES)
            .with_token(self.token.as_ref().map(|token| token.0.clone()));
        if let Some(endpoint) = &self.endpoint {
            builder = builder.with_endpoint(endpoint.trim_end_matches('/').to_owned());
        }
        builder.build().map_err(|error| {
            Fault::data(format!("the hub's client cannot be set up: {error}")).into()
        })
    }

    fn client_cache(&self) -> Cache {
        Cache::new(self.cache.clone())
    }

    /// Brings one file into the cache, after a look at what the hub says of it: the client makes paths of those words, and believes the size
    /// and the content.
    fn fetch(
        api: &Api,
        files: &ApiRepo,
        name: &str,
        refused: impl Fn(&ApiError) -> anyhow::Error,
    ) -> Result<()> {
        let said = api.metadata(&files.url(name)).map_err(|error| refused(&error))?;
        for word in [said.etag().trim_start_matches("W/"), said.commit_hash()] {
            if !is_plain(word) {
                let message =
                    format!("the hub marks `{name}` with `{word}`, which is no file's name");
                return Err(Fault::data(message).hint(DISTRUST).into());
            }
        }
        let path = files.get(name).map_err(|error| refused(&error))?;
        let there = std::fs::metadata(&path).map(|file| file.len());
        let message = if !there.is_ok_and(|length| length == said.size() as u64) {
            format!("the hub promised `{name}` with {} bytes and sent others", said.size())
        } else if !content::is_what_it_says(name, &path) {
            format!("what the hub sent as `{name}` is no such file, but perhaps a page of a proxy")
        } else {
            return Ok(());
        };
        // What is not what was promised must not be found by the next run.
        let _ = std::fs::canonicalize(&path).and_then(std::fs::remove_file);
        let _ = std::fs::remove_file(&path);
        Err(Fault::data(message).hint(DISTRUST).into())
    }

    /// A repository's snapshot in the cache: the one that its revision means there.
    fn cached(&self, repo: &Repo, instead: &str) -> Result<PathBuf> {
        let folder = self.cache.join(repo.folder_name());
        let commit = folder.join("snapshots").join(repo.revision());
        if commit.is_dir() {
            return Ok(commit); // the revision is a commit
        }
        let reference = folder.join("refs").join(repo.revision());
        let snapshot = read_text_up_to(&reference, WORD_BYTES)
            .map(|hash| folder.join("snapshots").join(hash.trim()));
        snapshot.ok().filter(|snapshot| snapshot.is_dir()).ok_or_else(|| {
            let message =
                format!("`{}` is missing, and the hub may not be asked", reference.display());
            let hint = format!("unset `HF_HUB_OFFLINE` and leave out `--offline`, or {instead}");
            Fault::data(message).hint(hint).into()
        })
    }
}

#[cfg(test)]
mod tests;
