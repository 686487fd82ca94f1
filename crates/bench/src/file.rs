//! Files that are there whole or not at all.

use std::io::{self, Write};
use std::path::Path;

/// Puts `bytes` at `path` in place of whatever was there: written beside it first, so that no reader ever finds a part.
pub(crate) fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    let mut file = tempfile::NamedTempFile::new_in(folder.unwrap_or(Path::new(".")))?;
    file.write_all(bytes)?;
    file.as_file().sync_all()?;
    file.persist(path)?;
    Ok(())
}
