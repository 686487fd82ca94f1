//! The small commands: one function each.

pub(crate) mod dataset;
mod list;
mod replay;
pub(crate) mod rows;
mod score;
mod text;

use std::io::Write;

use anyhow::{Context, Result};
use serde_json::Value;

pub(crate) use list::{doctor, methods, models};
pub(crate) use replay::replay;
pub(crate) use score::score;
pub(crate) use text::{generate, logits, nll};

/// Prints to stdout. A reader that has gone away, as `head` does, is no failure.
pub(crate) fn print(text: &str) -> Result<()> {
    match std::io::stdout().write_all(text.as_bytes()) {
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        other => other.context("cannot write to stdout"),
    }
}

fn print_json(value: &Value) -> Result<()> {
    print(&format!("{value}\n"))
}
