//! The small commands: one function each.

pub(crate) mod dataset;
mod list;
mod logits;
mod replay;
pub(crate) mod rows;
mod score;
mod speed;
mod text;

use std::io::Write;

use anyhow::{Context, Result};
use serde_json::Value;

pub(crate) use list::{doctor, methods, models};
pub(crate) use logits::logits;
pub(crate) use replay::replay;
pub(crate) use score::score;
pub(crate) use speed::speed;
pub(crate) use text::{generate, nll};

/// Prints to stdout. A reader that has gone away, as `head` does, is no failure.
pub(crate) fn print(text: &str) -> Result<()> {
    print_bytes(text.as_bytes())
}

/// The same for what a library made.
pub(crate) fn print_bytes(bytes: &[u8]) -> Result<()> {
    let mut stdout = std::io::stdout();
    match stdout.write_all(bytes).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        other => other.context("cannot write to stdout"),
    }
}

fn print_json(value: &Value) -> Result<()> {
    print(&format!("{value}\n"))
}
