//! Files that appear whole or not at all.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::Path;

use anyhow::{Context, Result};

use crate::fault::Fault;

/// Writes a file under another name in the same folder, and renames it once it is on the disk. What could not be
/// finished is removed.
pub(crate) fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    if path.exists() && !path.is_file() {
        let message =
            format!("`{}` is there, and is no file that could be replaced", path.display());
        return Err(Fault::usage(message).hint("name another file").into());
    }
    let name = path.file_name().context("a file needs a name")?.to_string_lossy();
    let unfinished = path.with_file_name(format!(".{name}.unfinished"));
    let written = File::create(&unfinished).and_then(|mut file| {
        file.write_all(bytes)?;
        file.sync_all()
    });
    let done = written
        .with_context(|| format!("cannot write `{}`", path.display()))
        .and_then(|()| rename(&unfinished, path));
    if done.is_err() {
        // The failure itself is what the caller must hear of.
        let _ = fs::remove_file(&unfinished);
    }
    done
}

/// Renames a file, naming both ends in the error.
fn rename(from: &Path, to: &Path) -> Result<()> {
    fs::rename(from, to)
        .with_context(|| format!("cannot rename `{}` to `{}`", from.display(), to.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_leaves_nothing_behind() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x");
        write(&path, b"one").unwrap();
        write(&path, b"two").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"two");
        let occupied = folder.path().join("folder");
        fs::create_dir(&occupied).unwrap();
        fs::write(occupied.join("y"), "").unwrap();
        assert!(write(&occupied, b"three").is_err());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2);
        assert!(write(&folder.path().join("absent/x"), b"").is_err());
        assert!(write(Path::new("/"), b"").is_err());
    }
}
