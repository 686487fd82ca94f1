//! The commands that read, and the ways in which a file is broken.

pub(crate) const RUN: [&str; 8] =
    ["run", "--experiment", "tiny.toml", "--data", "data", "--results", "out", "--quiet"];

pub(crate) const FOLDER: [&str; 5] = ["generate", "--model", "model", "--prompt", "one"];

pub(crate) const GGUF: [&str; 5] = ["generate", "--model", "tiny.gguf", "--prompt", "one"];

pub(crate) fn with<'a>(common: &[&'a str], more: &[&'a str]) -> Vec<&'a str> {
    [common, more].concat()
}

pub(crate) fn half(bytes: &[u8]) -> Vec<u8> {
    bytes[..bytes.len() / 2].to_vec()
}

pub(crate) fn swapped(bytes: &[u8], from: &str, to: &str) -> Vec<u8> {
    let text = std::str::from_utf8(bytes).unwrap();
    assert!(text.contains(from), "`{from}` is not in: {text}");
    text.replacen(from, to, 1).into_bytes()
}

/// A copy of a GGUF header's first numbers with another in their place: version at 4, tensors at 8, keys at 16.
pub(crate) fn patched(bytes: &[u8], at: usize, number: u64) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    bytes[at..at + 8].copy_from_slice(&number.to_le_bytes());
    bytes
}
