//! Data sets of the hub, as Parquet.

use std::path::{Path, PathBuf};

use anyhow::Result;
use evaluator::{Set, Task};
use hf_hub::Repo;

use super::Hub;
use crate::fault::Fault;

impl Hub {
    /// Brings the Parquet files of a task's split, or finds them in the cache; returns the folder that holds them.
    pub(crate) fn parquet(&self, task: &Task) -> Result<PathBuf> {
        let repo = Repo::dataset(task.hub.id.clone());
        if !self.asks() {
            return self.cached(&repo, "name a folder by `--data`");
        }
        let fault = |error: &hf_hub::api::sync::ApiError| {
            let hint = "set `HF_TOKEN` if the data set is gated, `HF_ENDPOINT` for a mirror, or name a folder by `--data`";
            Fault::data(format!("the hub does not give `{}`: {error}", task.hub.id)).hint(hint)
        };
        let api = self.api()?;
        let files = api.repo(repo.clone());
        let listed = files.info().map_err(|error| fault(&error))?;
        let wanted = listed
            .siblings
            .iter()
            .map(|file| file.rfilename.as_str())
            .filter(|name| is_split(task, name));
        let wanted: Vec<&str> = wanted.collect();
        if wanted.is_empty() {
            let message = format!(
                "the hub's `{}` has no Parquet of its split `{}`",
                task.hub.id, task.hub.split
            );
            return Err(Fault::data(message).into());
        }
        let cache = self.client_cache().repo(repo.clone());
        for name in wanted.into_iter().filter(|name| cache.get(name).is_none()) {
            Self::fetch(&api, &files, name, |error| fault(error).into())?;
        }
        self.cached(&repo, "name a folder by `--data`")
    }
}

/// Whether a file of a repository is a Parquet part of the task's split and configuration.
fn is_split(task: &Task, name: &str) -> bool {
    let Some((folder, file)) = name.rsplit_once('/') else { return false };
    let config = if task.hub.config == "default" { "data" } else { &task.hub.config };
    let part =
        file.strip_prefix(task.hub.split.as_str()).and_then(|rest| rest.strip_suffix(".parquet"));
    folder == config && part.is_some_and(|rest| rest.is_empty() || rest.starts_with('-'))
}

/// The prompts of a task, built from the hub's raw rows and our own worked examples.
pub(crate) fn load(task: &Task, questions: usize, offline: bool) -> Result<Set> {
    if !cfg!(feature = "frames") {
        let message = format!(
            "no data for `{}`: no data folder is named, and this build cannot read the hub's Parquet",
            task.dataset
        );
        let hint = format!(
            "name a folder that holds `official/` or `raw/` by `--data` or `BENCH_DATA`; or build with `--features frames` to read the hub's \
             `{}`; or, for `gsm8k_long`, take word problems of our own with `--profile own`",
            task.hub.id
        );
        return Err(Fault::data(message).hint(hint).into());
    }
    read(task, questions, &Hub::from_environment(offline).parquet(task)?)
}

#[cfg(feature = "frames")]
fn read(task: &Task, questions: usize, folder: &Path) -> Result<Set> {
    use evaluator::{Quirks, Worked, frames};
    let rows = frames::rows(task, &frames::parquet_files(task, folder)?)?;
    Ok(Set::from_rows(task, questions, &rows, &Worked::own(task), Quirks::Published)?)
}

#[cfg(not(feature = "frames"))]
fn read(_: &Task, _: usize, folder: &Path) -> Result<Set> {
    Err(Fault::data(format!("`{}` holds Parquet, which this build cannot read", folder.display()))
        .into())
}
