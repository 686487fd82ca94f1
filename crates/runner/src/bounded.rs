//! Whole files from outside, never more of them than they can sensibly hold.

use std::fs::File;
use std::io::{Error, ErrorKind, Read, Result};
use std::path::Path;

/// The bytes of a file.
///
/// # Errors
/// What the file system says, and [`ErrorKind::InvalidData`] for more than `limit_bytes`, whether the file ends or not.
pub fn read_up_to(path: &Path, limit_bytes: u64) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(limit_bytes.saturating_add(1)).read_to_end(&mut bytes)?;
    if bytes.len() as u64 <= limit_bytes {
        return Ok(bytes);
    }
    let reason = match limit_bytes >> 20 {
        0 => format!("it holds more than {limit_bytes} bytes"),
        mebibytes => format!("it holds more than {mebibytes} MiB"),
    };
    Err(Error::new(ErrorKind::InvalidData, reason))
}

/// The text of a file.
///
/// # Errors
/// As [`read_up_to`], and [`ErrorKind::InvalidData`] for bytes that are not UTF-8.
pub fn read_text_up_to(path: &Path, limit_bytes: u64) -> Result<String> {
    String::from_utf8(read_up_to(path, limit_bytes)?)
        .map_err(|error| Error::new(ErrorKind::InvalidData, error.utf8_error()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_than_the_limit_is_refused_even_without_an_end() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x");
        std::fs::write(&path, "four").unwrap();
        assert_eq!(read_text_up_to(&path, 4).unwrap(), "four");
        assert!(read_up_to(&path, 3).unwrap_err().to_string().contains("more than 3 bytes"));
        let endless = read_up_to(Path::new("/dev/zero"), 1 << 20).unwrap_err();
        assert!(endless.to_string().contains("more than 1 MiB"), "{endless}");
        std::fs::write(&path, b"\xff").unwrap();
        assert_eq!(read_text_up_to(&path, 4).unwrap_err().kind(), ErrorKind::InvalidData);
    }
}
