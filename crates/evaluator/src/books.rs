//! Books to summarise, from `InfiniteBench`'s file of JSON lines.

use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::error::{Error, Result};
use crate::input;
use crate::set::{Sample, Set};
use crate::source::Source;
use crate::task::Task;

/// What stands in a template where the book goes.
const PLACE: &str = "{context}";

#[derive(Deserialize)]
struct Book {
    context: String,
    answer: Vec<String>,
}

/// The paths under which a data folder may hold the books.
pub(crate) fn paths(task: &Task, data: &Path) -> [PathBuf; 2] {
    input::either_name(&data.join("raw").join(&task.files.raw))
}

/// One prompt a book. No checksum of the file is known, so the set is unverified.
/// # Errors
/// [`Error::NoData`] if the file is not there, else the first line that is no book with a summary.
pub(crate) fn load(task: &Task, template: &str, data: &Path) -> Result<Set> {
    let tried = paths(task, data);
    let Some(path) = tried.iter().find(|path| path.exists()) else {
        let (hub, tried) = (task.hub.id.clone(), tried.to_vec());
        return Err(Error::NoData { dataset: task.dataset, questions: 1, tried, hub });
    };
    let lines = input::json_lines::<Book>(path, "`context` (text) and `answer` (list of texts)")?;
    if lines.is_empty() {
        return Err(Error::Empty { path: path.clone(), what: "books" });
    }
    let samples = lines.into_iter().enumerate().map(|(index, (line, book))| {
        let bad =
            |reason: &str| Error::Line { path: path.clone(), line, reason: reason.to_owned() };
        if book.context.trim().is_empty() {
            return Err(bad("`context` is empty: a book is needed"));
        }
        // The published score takes the first reference alone.
        let answer = book.answer.into_iter().next();
        let answer = answer.ok_or_else(|| bad("`answer` is empty: a summary is needed"))?;
        let prompt = template.replace(PLACE, &book.context);
        let questions = vec![template.replace(PLACE, "…")];
        Ok(Sample {
            index,
            subject: None,
            prompt,
            questions,
            answers: vec![answer],
            kinds: Vec::new(),
        })
    });
    Ok(Set {
        dataset: task.dataset,
        questions_per_sample: 1,
        samples: samples.collect::<Result<_>>()?,
        source: Source::Unverified,
        origin: format!("`{}`", path.display()),
    })
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::task::Dataset;

    fn set(lines: &str) -> Result<Set> {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("raw")).unwrap();
        fs::write(folder.path().join("raw/longbook_sum_eng.jsonl"), lines).unwrap();
        Set::load(Task::of(Dataset::EnSum).unwrap(), 1, folder.path())
    }

    #[test]
    fn a_book_stands_inside_the_published_instruction() {
        let line = r#"{"id": 3, "context": "Once {context}.", "input": "", "answer": ["S", "T"], "options": []}"#;
        let set = set(line).unwrap();
        assert_eq!(
            set.samples[0].prompt,
            "You are given a book. Write a one-page summary of the book.\n\nBook:\nOnce {context}.\n\nNow, write a one-page summary of the book.\n\nSummary:"
        );
        assert_eq!(
            (&*set.samples[0].answers, set.source),
            (&["S".to_owned()][..], Source::Unverified)
        );
    }

    #[test]
    fn what_is_no_book_is_named() {
        for (line, part) in [
            ("", "holds no books"),
            ("{\"context\": \"x\"}", "line 1: not a JSON object with `context`"),
            ("{\"context\": \"x\", \"answer\": []}", "line 1: `answer` is empty"),
            ("{\"context\": \" \", \"answer\": [\"a\"]}", "line 1: `context` is empty"),
            ("{\"context\": \"x\", \"answer\": [\"a\"]}\n{\"con", "line 2"),
        ] {
            let error = set(line).unwrap_err();
            assert!(error.is_data() && error.to_string().contains(part), "{error}");
        }
        let task = Task::of(Dataset::EnSum).unwrap();
        let empty = tempfile::tempdir().unwrap();
        let error = Set::load(task, 1, empty.path()).unwrap_err().to_string();
        assert!(error.contains("raw/longbook_sum_eng.jsonl.gz`"), "{error}");
        let error = Set::load(task, 2, empty.path()).unwrap_err();
        assert!(!error.is_data() && error.to_string().contains("1 question"), "{error}");
        let error = Set::build(task, 1, empty.path(), None).unwrap_err();
        assert!(!error.is_data() && error.to_string().contains("is not built"), "{error}");
    }
}
