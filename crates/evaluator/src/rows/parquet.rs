//! Where the hub's Parquet files lie in a folder; reading them takes the feature `frames`.

use std::fs;
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};
use crate::rows::Rows;
use crate::task::Task;

/// How deep below a folder Parquet files are looked for: `<config>/<split>-*.parquet` inside a repository's copy.
const DEPTH: usize = 3;

/// The Parquet files of the task's split in a folder laid out as the hub serves it, in order of their names. Where
/// the task's configuration has a folder of its own there, files of other configurations are left out.
/// # Errors
/// [`Error::Read`] for a folder that cannot be listed.
pub fn parquet_files(task: &Task, folder: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    walk(&task.hub.split, folder, DEPTH, &mut files)?;
    files.sort();
    let chosen = |path: &PathBuf| path.parent().is_some_and(|it| it.ends_with(&task.hub.config));
    if files.iter().any(chosen) {
        files.retain(chosen);
    }
    Ok(files)
}

fn walk(split: &str, folder: &Path, depth: usize, files: &mut Vec<PathBuf>) -> Result<()> {
    let fail = |source| Error::Read { path: folder.to_owned(), source };
    for entry in fs::read_dir(folder).map_err(fail)? {
        let path = entry.map_err(fail)?.path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let rest = name.strip_prefix(split).and_then(|rest| rest.strip_suffix(".parquet"));
        if rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('-')) {
            files.push(path);
        } else if depth > 0 && path.is_dir() {
            walk(split, &path, depth - 1, files)?;
        }
    }
    Ok(())
}

impl Rows {
    /// The raw questions in a folder of the hub's Parquet files, or none if there is no such file.
    /// # Errors
    /// [`Error::NeedsFrames`] without the feature `frames`; else whatever is wrong with a file.
    pub(crate) fn read_parquet(task: &Task, raw: &Path) -> Result<Option<Self>> {
        if !raw.is_dir() {
            return Ok(None);
        }
        let files = parquet_files(task, raw)?;
        let Some(first) = files.first() else { return Ok(None) };
        let rows = decode(task, &files)?;
        if rows.is_empty() {
            return Err(Error::Empty { path: first.clone(), what: "questions" });
        }
        Ok(Some(rows))
    }
}

#[cfg(feature = "frames")]
fn decode(task: &Task, files: &[PathBuf]) -> Result<Rows> {
    crate::frames::rows(task, files)
}

#[cfg(not(feature = "frames"))]
fn decode(_: &Task, files: &[PathBuf]) -> Result<Rows> {
    Err(Error::NeedsFrames { path: files.first().cloned().unwrap_or_default() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::task::Dataset;

    fn folder(names: &[&str]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for name in names {
            let path = folder.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "PAR1").unwrap();
        }
        folder
    }

    #[test]
    fn the_split_and_the_configuration_decide() {
        let task = Task::of(Dataset::Gsm8k).unwrap();
        let names =
            ["main/test-0.parquet", "main/train-0.parquet", "socratic/test-0.parquet", "test.json"];
        let all = folder(&names);
        let found = parquet_files(task, all.path()).unwrap();
        assert_eq!(found, [all.path().join("main/test-0.parquet")]);
        let flat = folder(&["test.parquet", "testing.parquet"]);
        assert_eq!(parquet_files(task, flat.path()).unwrap(), [flat.path().join("test.parquet")]);
    }

    #[cfg(not(feature = "frames"))]
    #[test]
    fn without_frames_the_error_says_how_to_build() {
        let task = Task::of(Dataset::Csqa).unwrap();
        let raw = folder(&["data/validation-0.parquet"]);
        let error = Rows::read_parquet(task, raw.path()).unwrap_err();
        assert!(error.is_data());
        let message = error.to_string();
        assert!(message.contains("validation-0.parquet") && message.contains("--features frames"));
        assert_eq!(Rows::read_parquet(task, &raw.path().join("absent")).unwrap(), None);
    }
}
