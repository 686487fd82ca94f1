//! What is wrong with an experiment file, and where.

use std::fmt::Write;
use std::path::Path;

use serde::de::DeserializeOwned;
use toml::Value;
use toml::de::{DeTable, DeValue};

/// What is wrong with a file, and the key that shows where.
#[derive(Debug, PartialEq)]
pub(crate) struct Problem {
    pub(crate) message: String,
    key: Option<String>,
}

impl Problem {
    pub(crate) fn plain(message: impl Into<String>) -> Self {
        Self { message: message.into(), key: None }
    }

    /// The message with the file and, where the key is found in it, the line and column.
    pub(crate) fn at(&self, path: &Path, text: &str) -> String {
        let place = self.key.as_ref().and_then(|key| locate(text, key));
        match place {
            Some((line, column)) => {
                format!("`{}` line {line}, column {column}: {}", path.display(), self.message)
            }
            None => format!("`{}`: {}", path.display(), self.message),
        }
    }
}

/// Deserialises, and names the nearest known key or method to an unknown one.
pub(crate) fn typed<T: DeserializeOwned>(value: Value) -> Result<T, Problem> {
    value.try_into().map_err(|error: toml::de::Error| {
        let mut message = error.message().to_owned();
        let quoted: Vec<&str> = error.message().split('`').skip(1).step_by(2).collect();
        let unknown = message.starts_with("unknown ");
        let Some((&key, known)) = quoted.split_first().filter(|_| unknown) else {
            return Problem::plain(message);
        };
        let near = known
            .iter()
            .max_by(|a, b| strsim::jaro_winkler(key, a).total_cmp(&strsim::jaro_winkler(key, b)));
        if let Some(near) = near.filter(|near| strsim::jaro_winkler(key, near) > 0.7) {
            let _ = write!(message, "; did you mean `{near}`?");
        }
        Problem { message, key: Some(key.to_owned()) }
    })
}

/// Line and column, from 1, of the first key or text value `name` in a TOML document.
fn locate(text: &str, name: &str) -> Option<(usize, usize)> {
    let document = DeTable::parse(text).ok()?;
    let start = find_in_table(document.get_ref(), name)?;
    let before = &text[..start];
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().map_or(0, |line| line.chars().count()) + 1;
    Some((line, column))
}

fn find_in_table(table: &DeTable<'_>, name: &str) -> Option<usize> {
    table.iter().find_map(|(key, value)| {
        if key.get_ref() == name {
            return Some(key.span().start);
        }
        find_in_value(value.get_ref(), value.span().start, name)
    })
}

fn find_in_value(value: &DeValue<'_>, start: usize, name: &str) -> Option<usize> {
    match value {
        DeValue::Table(table) => find_in_table(table, name),
        DeValue::Array(items) => {
            items.iter().find_map(|item| find_in_value(item.get_ref(), item.span().start, name))
        }
        DeValue::String(text) if text == name => Some(start),
        _ => None,
    }
}
