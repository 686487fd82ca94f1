//! Text files from outside: plain or gzipped, never more than a fixed size, with line numbers for complaints.

use std::fs::File;
use std::io::{BufReader, Read};
use std::path::{Path, PathBuf};

use flate2::bufread::MultiGzDecoder;
use serde::de::DeserializeOwned;

use crate::error::{Error, Result};

/// The most that a file may hold: twice the largest that is read, the books of En.Sum.
const LIMIT_BYTES: u64 = 192 << 20;

/// What a small file may unpack to.
const SMALL_BYTES: u64 = 16 << 20;

/// How many times its own size a file may unpack to, ten times what text does.
const RATIO: u64 = 100;

/// The bytes of a file, unpacked if its first two bytes are those of gzip, whatever its name.
pub(crate) fn bytes(path: &Path) -> Result<Vec<u8>> {
    bytes_up_to(path, LIMIT_BYTES)
}

/// The most bytes that a packed file or an archive may unpack to.
pub(crate) fn unpacked_limit(path: &Path) -> Result<u64> {
    let file = path.metadata().map_err(|source| Error::Read { path: path.to_owned(), source })?;
    Ok(file.len().saturating_mul(RATIO).clamp(SMALL_BYTES, LIMIT_BYTES))
}

fn bytes_up_to(path: &Path, limit_bytes: u64) -> Result<Vec<u8>> {
    let fail = |source| Error::Read { path: path.to_owned(), source };
    let mut start = Vec::new();
    let mut file = File::open(path).map_err(fail)?;
    file.by_ref().take(2).read_to_end(&mut start).map_err(fail)?;
    let zipped = start == [0x1f, 0x8b];
    let whole = BufReader::new(start.as_slice().chain(file));
    let limit_bytes = if zipped { limit_bytes.min(unpacked_limit(path)?) } else { limit_bytes };
    let mut bytes = Vec::new();
    let read = if zipped {
        MultiGzDecoder::new(whole).take(limit_bytes + 1).read_to_end(&mut bytes)
    } else {
        whole.take(limit_bytes + 1).read_to_end(&mut bytes)
    };
    read.map_err(fail)?;
    if bytes.len() as u64 > limit_bytes {
        return Err(Error::TooLarge { path: path.to_owned(), limit_bytes });
    }
    Ok(bytes)
}

/// The text of a file, unpacked.
pub(crate) fn text(path: &Path) -> Result<String> {
    String::from_utf8(bytes(path)?).map_err(|error| {
        let good = &error.as_bytes()[..error.utf8_error().valid_up_to()];
        let line = good.split(|&byte| byte == b'\n').count();
        Error::NotUtf8 { path: path.to_owned(), line }
    })
}

/// One object per line of a JSON-lines file, with its line number from 1. Lines end at `\n` only, because the
/// published sets hold other characters that Unicode calls line ends. Blank lines are passed over.
pub(crate) fn json_lines<T: DeserializeOwned>(
    path: &Path,
    fields: &'static str,
) -> Result<Vec<(usize, T)>> {
    let text = text(path)?;
    let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
    let lines = (1..).zip(text.split('\n')).filter(|(_, line)| !line.trim().is_empty());
    lines
        .map(|(line, json)| {
            let parsed = serde_json::from_str(json);
            parsed.map(|value| (line, value)).map_err(|source| Error::Json {
                path: path.to_owned(),
                line,
                fields,
                source,
            })
        })
        .collect()
}

/// `path` and `path.gz`, the two names under which a file may lie.
pub(crate) fn either_name(path: &Path) -> [PathBuf; 2] {
    let mut zipped = path.as_os_str().to_owned();
    zipped.push(".gz");
    [path.to_owned(), zipped.into()]
}

/// The first of the two names that exists.
pub(crate) fn find(path: &Path) -> Option<PathBuf> {
    either_name(path).into_iter().find(|path| path.exists())
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::Compression;
    use flate2::write::GzEncoder;
    use serde_json::Value;

    use super::*;

    fn write(name: &str, bytes: &[u8]) -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        (folder, path)
    }

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn gzip_is_known_by_content_not_by_name() {
        let (_folder, path) = write("set.jsonl", &gzip(b"{}\n"));
        assert_eq!(text(&path).unwrap(), "{}\n");
        let (_folder, path) = write("set.jsonl.gz", b"{}\n");
        assert_eq!(text(&path).unwrap(), "{}\n");
    }

    #[test]
    fn a_bomb_is_refused() {
        let (_folder, path) = write("bomb.gz", &gzip(&vec![b' '; 1 << 20]));
        let error = bytes_up_to(&path, 1 << 16).unwrap_err();
        assert!(matches!(error, Error::TooLarge { limit_bytes: 65536, .. }), "{error}");
        assert_eq!(bytes_up_to(&path, 1 << 20).unwrap().len(), 1 << 20);
        let (_folder, path) = write("bomb.gz", &gzip(&vec![b' '; (16 << 20) + 1]));
        let error = bytes(&path).unwrap_err();
        assert!(matches!(error, Error::TooLarge { limit_bytes: SMALL_BYTES, .. }), "{error}");
    }

    #[test]
    fn a_truncated_archive_and_a_folder_are_read_errors() {
        let zipped = gzip(&b"{\"a\": 1}\n".repeat(100));
        let (_folder, path) = write("cut.gz", &zipped[..zipped.len() / 2]);
        assert!(matches!(bytes(&path).unwrap_err(), Error::Read { .. }));
        assert!(matches!(bytes(path.parent().unwrap()).unwrap_err(), Error::Read { .. }));
    }

    #[test]
    fn bad_lines_are_numbered() {
        let (_folder, path) = write("x.jsonl", "{}\n{\"a\": \"\u{85}\"}\n\n{]\n".as_bytes());
        let error = json_lines::<Value>(&path, "anything").unwrap_err();
        assert!(matches!(error, Error::Json { line: 4, .. }), "{error}");
        let (_folder, path) = write("x.jsonl", b"{}\n\xff\n");
        assert!(matches!(text(&path).unwrap_err(), Error::NotUtf8 { line: 2, .. }));
    }
}
