//! The Hugging Face hub: its environment, its cache, and the data sets that are read from it.
//!
//! The client ignores most of the hub's environment variables, so they are resolved here, once, and handed to it.

use std::path::{Path, PathBuf};

use anyhow::Result;
use evaluator::{Set, Task};
use hf_hub::api::sync::{Api, ApiBuilder};
use hf_hub::{Cache, Repo};

use crate::fault::Fault;

/// What the hub's environment variables say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Hub {
    cache: PathBuf,
    endpoint: Option<String>,
    token: Option<String>,
    offline: bool,
}

impl Hub {
    /// From the process's environment.
    pub(crate) fn from_environment(offline: bool) -> Self {
        let hub = Self::resolve(|name| std::env::var(name).ok());
        Self { offline: offline || hub.offline, ..hub }
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
        let stored = || Some(std::fs::read_to_string(token_file).ok()?.trim().to_owned());
        Self {
            cache: variable("HF_HUB_CACHE").map_or_else(|| home.join("hub"), PathBuf::from),
            endpoint: variable("HF_ENDPOINT"),
            token: variable("HF_TOKEN").or_else(stored).filter(|token| !token.is_empty()),
            offline: variable("HF_HUB_OFFLINE").is_some_and(|value| {
                matches!(value.to_uppercase().as_str(), "1" | "ON" | "YES" | "TRUE")
            }),
        }
    }

    fn api(&self) -> Result<Api> {
        let mut builder =
            ApiBuilder::from_cache(Cache::new(self.cache.clone())).with_progress(false);
        builder = builder.with_token(self.token.clone());
        if let Some(endpoint) = &self.endpoint {
            builder = builder.with_endpoint(endpoint.trim_end_matches('/').to_owned());
        }
        builder.build().map_err(|error| {
            Fault::data(format!("the hub's client cannot be set up: {error}")).into()
        })
    }

    /// Brings the Parquet files of a task's split, or finds them in the cache; returns the folder that holds them.
    pub(crate) fn parquet(&self, task: &Task) -> Result<PathBuf> {
        let repo = Repo::dataset(task.hub.id.clone());
        if self.offline {
            return self.cached(&repo);
        }
        let fault = |error: hf_hub::api::sync::ApiError| {
            let hint = "set `HF_TOKEN` if the data set is gated, `HF_ENDPOINT` for a mirror, or name a folder by `--data`";
            Fault::data(format!("the hub does not give `{}`: {error}", task.hub.id)).hint(hint)
        };
        let files = self.api()?.repo(repo.clone());
        let listed = files.info().map_err(fault)?;
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
        for name in wanted {
            files.get(name).map_err(fault)?;
        }
        self.cached(&repo)
    }

    /// The newest snapshot of a repository in the cache.
    fn cached(&self, repo: &Repo) -> Result<PathBuf> {
        let folder = self.cache.join(repo.folder_name());
        let reference = folder.join("refs").join(repo.revision());
        let snapshot = std::fs::read_to_string(&reference)
            .map(|hash| folder.join("snapshots").join(hash.trim()));
        snapshot.ok().filter(|snapshot| snapshot.is_dir()).ok_or_else(|| {
            let message = format!("`{}` is missing, and the hub may not be asked", reference.display());
            Fault::data(message).hint("unset `HF_HUB_OFFLINE` and leave out `--offline`, or name a folder by `--data`").into()
        })
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

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::io::{BufRead, BufReader, Write};
    use std::net::TcpListener;

    use evaluator::Dataset;

    use super::*;

    fn environment(pairs: &[(&str, &str)]) -> Hub {
        let map: BTreeMap<String, String> =
            pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        Hub::resolve(|name| map.get(name).cloned())
    }

    #[test]
    fn the_environment_is_read_as_the_hub_documents_it() {
        assert_eq!(environment(&[("HOME", "/h")]).cache, Path::new("/h/.cache/huggingface/hub"));
        assert_eq!(
            environment(&[("HOME", "/h"), ("XDG_CACHE_HOME", "/x")]).cache,
            Path::new("/x/huggingface/hub")
        );
        assert_eq!(
            environment(&[("XDG_CACHE_HOME", "/x"), ("HF_HOME", "/f")]).cache,
            Path::new("/f/hub")
        );
        assert_eq!(
            environment(&[("HF_HOME", "/f"), ("HF_HUB_CACHE", "/c")]).cache,
            Path::new("/c")
        );
        for (value, offline) in
            [("1", true), ("on", true), ("Yes", true), ("TRUE", true), ("0", false), ("", false)]
        {
            assert_eq!(environment(&[("HF_HUB_OFFLINE", value)]).offline, offline, "{value}");
        }
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("token"), "from-file\n").unwrap();
        let home = folder.path().to_str().unwrap();
        assert_eq!(environment(&[("HF_HOME", home)]).token.as_deref(), Some("from-file"));
        assert_eq!(
            environment(&[("HF_HOME", home), ("HF_TOKEN", "direct")]).token.as_deref(),
            Some("direct")
        );
    }

    /// Serves one file of one data set in the hub's protocol, and demands the token.
    fn serve(body: &'static [u8]) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        std::thread::spawn(move || {
            for stream in listener.incoming().take(8) {
                let mut stream = stream.unwrap();
                let mut request = Vec::new();
                for line in BufReader::new(&stream).lines() {
                    let line = line.unwrap();
                    if line.is_empty() {
                        break;
                    }
                    request.push(line);
                }
                let has =
                    |part: &str| request.iter().any(|line| line.to_lowercase().contains(part));
                let commit = "0123456789abcdef0123456789abcdef01234567";
                let (status, headers, content): (&str, String, &[u8]) = if !has(
                    "authorization: bearer secret",
                ) {
                    ("401 Unauthorized", String::new(), b"")
                } else if request[0].starts_with("GET /api/datasets/openai/gsm8k/revision/main") {
                    let listing = br#"{"sha":"x","siblings":[{"rfilename":"main/test-00000-of-00001.parquet"},{"rfilename":"main/train-00000-of-00001.parquet"},{"rfilename":"socratic/test-00000-of-00001.parquet"}]}"#;
                    ("200 OK", String::new(), listing)
                } else if request[0].starts_with(
                    "GET /datasets/openai/gsm8k/resolve/main/main/test-00000-of-00001.parquet",
                ) {
                    let content = if has("range: bytes=0-0") { &body[..1] } else { body };
                    let range = format!("bytes 0-{}/{}", content.len() - 1, body.len());
                    (
                        "206 Partial Content",
                        format!(
                            "ETag: \"tag\"\r\nX-Repo-Commit: {commit}\r\nContent-Range: {range}\r\n"
                        ),
                        content,
                    )
                } else {
                    ("404 Not Found", String::new(), b"")
                };
                let head = format!(
                    "HTTP/1.1 {status}\r\n{headers}Content-Length: {}\r\nConnection: close\r\n\r\n",
                    content.len()
                );
                stream.write_all(head.as_bytes()).unwrap();
                stream.write_all(content).unwrap();
            }
        });
        address
    }

    #[test]
    fn files_come_from_a_server_and_then_from_the_cache() {
        let cache = tempfile::tempdir().unwrap();
        let task = Task::of(Dataset::Gsm8k).unwrap();
        let endpoint = serve(b"PAR1 not really");
        let home = cache.path().to_str().unwrap();
        let pairs = [("HF_HOME", home), ("HF_ENDPOINT", &*endpoint), ("HF_TOKEN", "secret")];
        let folder = environment(&pairs).parquet(task).unwrap();
        assert_eq!(
            std::fs::read(folder.join("main/test-00000-of-00001.parquet")).unwrap(),
            b"PAR1 not really"
        );
        assert!(!folder.join("main/train-00000-of-00001.parquet").exists());

        let offline = environment(&[
            ("HF_HOME", home),
            ("HF_HUB_OFFLINE", "1"),
            ("HF_ENDPOINT", "http://127.0.0.1:9"),
        ]);
        assert_eq!(offline.parquet(task).unwrap(), folder);
    }

    #[test]
    fn what_the_hub_refuses_is_said_without_the_token() {
        let cache = tempfile::tempdir().unwrap();
        let task = Task::of(Dataset::Gsm8k).unwrap();
        let endpoint = serve(b"x");
        let home = cache.path().to_str().unwrap();
        let error = environment(&[
            ("HF_HOME", home),
            ("HF_ENDPOINT", &*endpoint),
            ("HF_TOKEN", "wrong-token"),
        ])
        .parquet(task)
        .unwrap_err();
        let text = format!("{error:#}");
        assert!(
            text.contains("openai/gsm8k") && text.contains("401") && !text.contains("wrong-token"),
            "{text}"
        );
        let error =
            environment(&[("HF_HOME", home), ("HF_HUB_OFFLINE", "1")]).parquet(task).unwrap_err();
        assert!(format!("{error:#}").contains("refs/main"), "{error:#}");
    }
}
