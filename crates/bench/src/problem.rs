//! What is wrong with an experiment file, and with which key.

use std::fmt::Write;

use serde::de::DeserializeOwned;
use serde_path_to_error::Segment;
use toml::Value;

/// What is wrong with a file, and the key that shows where: its parts from the top, an arm by its label.
#[derive(Debug, PartialEq)]
pub(crate) struct Problem {
    pub(crate) key: Vec<String>,
    message: String,
    /// Whether the message tells a value alone, so that the key must be said with it.
    needs_key: bool,
}

impl Problem {
    pub(crate) fn plain(message: impl Into<String>) -> Self {
        Self::at::<String>([], message)
    }

    /// A problem with one key, which the message names.
    pub(crate) fn at<K: Into<String>>(
        key: impl IntoIterator<Item = K>,
        message: impl Into<String>,
    ) -> Self {
        let key = key.into_iter().map(Into::into).collect();
        Self { key, message: message.into(), needs_key: false }
    }

    /// The problem with a word in front on what it is about.
    pub(crate) fn about(mut self, what: &str) -> Self {
        self.message = format!("{what}: {}", self.message);
        self
    }

    /// The problem seen from a table further up.
    pub(crate) fn within<K: Into<String>>(mut self, above: impl IntoIterator<Item = K>) -> Self {
        self.key.splice(0..0, above.into_iter().map(Into::into));
        self
    }

    /// The problem in words.
    pub(crate) fn message(&self) -> String {
        if self.needs_key && !self.key.is_empty() {
            format!("`{}`: {}", self.key.join("."), self.message)
        } else {
            self.message.clone()
        }
    }
}

/// Deserialises, and names the key at fault and the nearest known word to an unknown one.
pub(crate) fn typed<T: DeserializeOwned>(value: Value) -> Result<T, Problem> {
    let whole = value.clone();
    let error = match serde_path_to_error::deserialize(value) {
        Ok(typed) => return Ok(typed),
        Err(error) => error,
    };
    let complaint = error.inner().message();
    let mut key = Vec::new();
    for segment in error.path() {
        let Segment::Map { key: part } = segment else { break };
        key.push(part.clone());
    }
    if !complaint.starts_with("missing field") {
        while let Some(part) = culprit::<T>(&whole, &key, complaint) {
            key.push(part);
        }
    }
    let mut message = complaint.replace("expected usize", "expected a whole number from 0");
    if let Some(near) = suggestion(complaint) {
        let _ = write!(message, "; did you mean `{near}`?");
    }
    // An unknown key is named by the complaint itself.
    let needs_key = !complaint.starts_with("unknown field");
    Err(Problem { key, message, needs_key })
}

/// The part of a table without which the complaint is another one. A method's parameters are read in two steps, so
/// that the path of an error ends at the method. Without its `name` every complaint is another one, so that comes last.
fn culprit<T: DeserializeOwned>(value: &Value, key: &[String], complaint: &str) -> Option<String> {
    let mut parts: Vec<String> = inner(value, key)?.as_table()?.keys().cloned().collect();
    parts.sort_by_key(|part| part == "name");
    parts.into_iter().find(|part| {
        let mut without = value.clone();
        let table = key.iter().try_fold(&mut without, |value, part| value.get_mut(part));
        if let Some(Value::Table(table)) = table {
            table.remove(part);
        }
        without.try_into::<T>().err().is_none_or(|error| error.message() != complaint)
    })
}

fn inner<'v>(value: &'v Value, key: &[String]) -> Option<&'v Value> {
    key.iter().try_fold(value, |value, part| value.get(part))
}

/// The known word nearest to the unknown one that a complaint names first.
fn suggestion(complaint: &str) -> Option<&str> {
    let quoted: Vec<&str> = complaint.split('`').skip(1).step_by(2).collect();
    let (unknown, known) = quoted.split_first().filter(|_| complaint.starts_with("unknown "))?;
    nearest(unknown, known)
}

/// The known word that is most like another, if one is like it at all.
pub(crate) fn nearest<'w>(word: &str, known: &[&'w str]) -> Option<&'w str> {
    let likeness = |known: &&str| strsim::jaro_winkler(word, known);
    let near = known.iter().copied().max_by(|a, b| likeness(a).total_cmp(&likeness(b)));
    near.filter(|near| likeness(near) > 0.7)
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;
    use zoo::Decode;

    use super::*;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    #[allow(dead_code, reason = "only read to be refused")]
    struct Outer {
        count: usize,
        decode: Decode,
    }

    #[test]
    fn the_key_at_fault_is_found_inside_a_method_too() {
        let refuse = |text: &str| {
            let problem = typed::<Outer>(toml::from_str(text).unwrap()).unwrap_err().within(["o"]);
            (problem.key.join("."), problem.message())
        };
        let cases = [
            (
                "count = 'x'",
                "slide",
                "1",
                "o.count",
                "`o.count`: invalid type: string \"x\", expected a whole number from 0",
            ),
            (
                "count = -1",
                "slide",
                "1",
                "o.count",
                "`o.count`: invalid value: integer `-1`, expected a whole number from 0",
            ),
            (
                "count = 1",
                "slide",
                "'many'",
                "o.decode.budget",
                "`o.decode.budget`: invalid type: string \"many\", expected a whole number from 0",
            ),
            ("count = 1", "slid", "1", "o.decode.name", "did you mean `slide`?"),
            (
                "count = 1\ncuont = 2",
                "slide",
                "1",
                "o.cuont",
                "unknown field `cuont`, expected `count` or `decode`; did you mean `count`?",
            ),
        ];
        for (count, method, budget, key, message) in cases {
            let text =
                format!("{count}\ndecode = {{ name = '{method}', recent = 0, budget = {budget} }}");
            let found = refuse(&text);
            assert_eq!(found.0, key, "{found:?}");
            assert!(found.1.ends_with(message), "{found:?}");
        }
        let missing = refuse("count = 1\ndecode = { name = 'slide', budget = 1 }");
        assert_eq!(
            missing,
            ("o.decode".to_owned(), "`o.decode`: missing field `recent`".to_owned())
        );
    }
}
