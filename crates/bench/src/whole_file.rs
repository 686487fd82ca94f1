//! Files that appear whole or not at all.

use std::fs::{self, File};
use std::io::{self, BufWriter, IntoInnerError, Write as _};
use std::path::Path;

use anyhow::{Context, Result};

use crate::fault::Fault;

/// Writes a file of these bytes, as [`write_with`] does.
pub(crate) fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    write_with(path, |file| Ok(file.write_all(bytes)?))
}

/// Writes a file under another name in the same folder, and renames it once it is on the disk. What could not be
/// finished is removed.
///
/// # Errors
/// What `content` returns, and what the file system refuses.
pub(crate) fn write_with(
    path: &Path,
    content: impl FnOnce(&mut BufWriter<File>) -> Result<()>,
) -> Result<()> {
    if path.exists() && !path.is_file() {
        let message =
            format!("`{}` is there, and is no file that could be replaced", path.display());
        return Err(Fault::usage(message).hint("name another file").into());
    }
    let name = path.file_name().context("a file needs a name")?.to_string_lossy();
    let unfinished = path.with_file_name(format!(".{name}.unfinished"));
    let write = || -> Result<()> {
        let mut file = BufWriter::new(File::create(&unfinished)?);
        content(&mut file)?;
        Ok(file.into_inner().map_err(IntoInnerError::into_error)?.sync_all()?)
    };
    let refused = |error: anyhow::Error| {
        // A fault of the content has nothing to do with the place.
        let of_place = error.chain().any(<dyn std::error::Error>::is::<io::Error>);
        if of_place { error.context(format!("cannot write `{}`", path.display())) } else { error }
    };
    let done = write().map_err(refused).and_then(|()| rename(&unfinished, path));
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
        let broken = write_with(&path, |file| {
            file.write_all(b"half")?;
            anyhow::bail!("and no more")
        });
        assert!(format!("{:#}", broken.unwrap_err()).ends_with("and no more"));
        assert_eq!(fs::read(&path).unwrap(), b"two");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2);
        assert!(write(&folder.path().join("absent/x"), b"").is_err());
        assert!(write(Path::new("/"), b"").is_err());
    }
}
