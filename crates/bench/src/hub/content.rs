//! Whether a file that a hub sent is of the kind that its name says, and not the page of a proxy or of a portal.

use std::fs::File;
use std::io::{BufReader, Read};
use std::path::Path;

use serde::de::IgnoredAny;

/// Whether a file is what its name promises, as far as that is seen without reading it as what it is.
pub(super) fn is_what_it_says(name: &str, path: &Path) -> bool {
    let kind = Path::new(name).extension().and_then(|kind| kind.to_str()).unwrap_or_default();
    let start = start(path);
    match kind {
        "json" => start.trim_ascii_start().starts_with(b"{") && is_json(path),
        "parquet" => start.starts_with(b"PAR1"),
        "safetensors" => start.get(8) == Some(&b'{'),
        _ => !is_page(&start),
    }
}

/// The first bytes of a file, none if it cannot be read.
fn start(path: &Path) -> Vec<u8> {
    const BYTES: u64 = 256;
    let mut start = Vec::new();
    let read = File::open(path).and_then(|file| file.take(BYTES).read_to_end(&mut start));
    read.map_or_else(|_| Vec::new(), |_| start)
}

fn is_json(path: &Path) -> bool {
    File::open(path)
        .is_ok_and(|file| serde_json::from_reader::<_, IgnoredAny>(BufReader::new(file)).is_ok())
}

fn is_page(start: &[u8]) -> bool {
    let start = start.trim_ascii_start().to_ascii_lowercase();
    [b"<!doctype".as_slice(), b"<html"].iter().any(|tag| start.starts_with(tag))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_no_file_of_a_model() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("blob");
        let check = |name: &str, bytes: &[u8]| {
            std::fs::write(&path, bytes).unwrap();
            is_what_it_says(name, &path)
        };
        let header = [&2_u64.to_le_bytes(), b"{}".as_slice()].concat();
        for (name, bytes) in [
            ("config.json", b" {\"a\": 1}\n".as_slice()),
            ("main/test.parquet", b"PAR1..."),
            ("model.safetensors", &*header),
            ("chat_template.jinja", b"{% for m in messages %}<html>{% endfor %}"),
        ] {
            assert!(check(name, bytes), "{name}");
            assert!(!check(name, b"\n<!DOCTYPE html><html><body>Log in</body></html>"), "{name}");
        }
        for bytes in [b"".as_slice(), b"{\"a\": ", b"[]", b"{} {}"] {
            assert!(!check("config.json", bytes));
        }
    }
}
