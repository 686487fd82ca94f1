//! Raw questions from a folder: JSON lines, or for MMLU the release of one CSV file per subject.

use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use super::{CsqaRow, Gsm8kRow, MmluRow, Rows};
use crate::error::{Error, Result};
use crate::input;
use crate::task::{Dataset, Task};

/// How a subject's file of test questions is named.
const SUFFIX: &str = "_test.csv";

impl Rows {
    /// The paths under which [`Rows::read`] looks inside a folder of raw data.
    pub fn paths(task: &Task, raw: &Path) -> Vec<PathBuf> {
        let mut paths = input::either_name(&raw.join(&task.files.raw)).to_vec();
        if task.dataset == Dataset::Mmlu {
            paths.extend([raw.join("mmlu/test"), raw.join("test")]);
        }
        paths
    }

    /// The raw questions in a folder, or none if it holds no file by one of the expected names.
    /// # Errors
    /// Any file that is there and cannot be read, or says what cannot be; the error names its line.
    pub fn read(task: &Task, raw: &Path) -> Result<Option<Self>> {
        let Some(path) = Self::paths(task, raw).into_iter().find(|path| path.exists()) else {
            return Ok(None);
        };
        let rows = match task.dataset {
            Dataset::Gsm8k => Self::Gsm8k(gsm8k(&path)?),
            Dataset::Csqa => Self::Csqa(csqa(&path)?),
            Dataset::Mmlu if path.is_dir() => Self::Mmlu(mmlu_folder(&path)?),
            Dataset::Mmlu => Self::Mmlu(mmlu_archive(&path)?),
            Dataset::EnSum | Dataset::Synthetic => {
                return Err(Error::NotBuilt { dataset: task.dataset });
            }
        };
        if rows.is_empty() {
            return Err(Error::Empty { path, what: "questions" });
        }
        Ok(Some(rows))
    }
}

fn gsm8k(path: &Path) -> Result<Vec<Gsm8kRow>> {
    let lines = input::json_lines::<Gsm8kRow>(path, "`question` and `answer`")?;
    let lines = lines.into_iter().map(|(line, row)| {
        if row.answer.contains("####") {
            return Ok(row);
        }
        let reason = "`answer` has no `####` before its number".to_owned();
        Err(Error::Line { path: path.to_owned(), line, reason })
    });
    lines.collect()
}

fn csqa(path: &Path) -> Result<Vec<CsqaRow>> {
    let fields = "`question`, `choices` of `label` and `text`, and `answerKey`";
    let lines = input::json_lines::<CsqaRow>(path, fields)?;
    let lines = lines.into_iter().map(|(line, row)| {
        let (labels, texts) = (row.choices.label.len(), row.choices.text.len());
        let reason = if labels != texts {
            format!("`choices` has {labels} labels and {texts} texts: they must pair up")
        } else if !row.choices.label.contains(&row.answer_key) {
            format!("`answerKey` is `{}`, which is none of the labels", row.answer_key)
        } else {
            return Ok(row);
        };
        Err(Error::Line { path: path.to_owned(), line, reason })
    });
    lines.collect()
}

fn mmlu_folder(folder: &Path) -> Result<Vec<MmluRow>> {
    let fail = |source| Error::Read { path: folder.to_owned(), source };
    let entries = fs::read_dir(folder).map_err(fail)?.collect::<io::Result<Vec<_>>>();
    let mut paths: Vec<_> = entries.map_err(fail)?.into_iter().map(|entry| entry.path()).collect();
    paths.sort();
    let mut rows = Vec::new();
    for path in paths {
        if let Some(subject) = subject(&path) {
            rows.extend(mmlu_table(&path, &subject, &input::bytes(&path)?)?);
        }
    }
    Ok(rows)
}

fn mmlu_archive(archive: &Path) -> Result<Vec<MmluRow>> {
    let fail = |source| Error::Read { path: archive.to_owned(), source };
    let bytes = input::bytes(archive)?;
    // An archive may declare holes, so its entries can be larger than itself.
    let limit_bytes = input::unpacked_limit(archive)?;
    let mut left = limit_bytes;
    let mut rows = Vec::new();
    let mut files = tar::Archive::new(bytes.as_slice());
    for file in files.entries().map_err(fail)? {
        let file = file.map_err(fail)?;
        let name = file.path().map_err(fail)?.into_owned();
        let Some(subject) = subject(&name) else { continue };
        let mut table = Vec::new();
        file.take(left + 1).read_to_end(&mut table).map_err(fail)?;
        left = left
            .checked_sub(table.len() as u64)
            .ok_or_else(|| Error::TooLarge { path: archive.to_owned(), limit_bytes })?;
        rows.extend(mmlu_table(&archive.join(&name), &subject, &table)?);
    }
    Ok(rows)
}

fn subject(path: &Path) -> Option<String> {
    let name = path.file_name()?.to_str()?;
    let subject = name.strip_suffix(SUFFIX)?;
    (!name.starts_with('.')).then(|| subject.to_owned())
}

fn mmlu_table(path: &Path, subject: &str, bytes: &[u8]) -> Result<Vec<MmluRow>> {
    let fail = |source| Error::Csv { path: path.to_owned(), source };
    let mut reader = csv::ReaderBuilder::new().has_headers(false).from_reader(bytes);
    let mut rows = Vec::new();
    for record in reader.records() {
        let record = record.map_err(fail)?;
        let (question, a, b, c, d, answer): (_, _, _, _, _, String) =
            record.deserialize(None).map_err(fail)?;
        if !matches!(answer.as_bytes(), [b'A'..=b'D']) {
            let line = record.position().map_or(1, csv::Position::line);
            let line = usize::try_from(line).unwrap_or(usize::MAX);
            let reason = format!("the key is `{answer}`: a letter from `A` to `D` is needed");
            return Err(Error::Line { path: path.to_owned(), line, reason });
        }
        let choices = [a, b, c, d];
        rows.push(MmluRow { subject: subject.to_owned(), question, choices, answer });
    }
    Ok(rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(name: &str, content: &str) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
        folder
    }

    fn read(dataset: Dataset, folder: &tempfile::TempDir) -> Result<Option<Rows>> {
        Rows::read(Task::of(dataset).unwrap(), folder.path())
    }

    #[test]
    fn nothing_there_is_no_error() {
        let empty = tempfile::tempdir().unwrap();
        for dataset in Dataset::QUESTIONS {
            assert_eq!(read(dataset, &empty).unwrap(), None);
        }
    }

    #[test]
    fn an_archive_that_is_mostly_holes_is_refused() {
        let mut header = tar::Header::new_gnu();
        header.set_path("law_test.csv").unwrap();
        header.set_entry_type(tar::EntryType::GNUSparse);
        header.set_size(0);
        let gnu = header.as_gnu_mut().unwrap();
        gnu.realsize[..11].copy_from_slice(b"07777777777");
        gnu.sparse[0].offset[..11].copy_from_slice(b"07777777777");
        gnu.sparse[0].numbytes[..11].copy_from_slice(b"00000000000");
        header.set_cksum();
        let archive = [header.as_bytes().as_slice(), &[0; 1024]].concat();
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("mmlu_test.tar"), archive).unwrap();
        let error = read(Dataset::Mmlu, &folder).unwrap_err();
        assert!(matches!(error, Error::TooLarge { .. }), "{error:?}");
    }

    #[test]
    fn quoted_cells_may_hold_commas_quotes_and_lines() {
        let csv = "\"a \"\"b\"\",\nc\",1,2,3,4,D\n";
        let rows = read(Dataset::Mmlu, &folder("mmlu/test/law_test.csv", csv)).unwrap().unwrap();
        let Rows::Mmlu(rows) = rows else { panic!("{rows:?}") };
        assert_eq!((&*rows[0].question, &*rows[0].subject), ("a \"b\",\nc", "law"));
    }

    #[test]
    fn malformed_raw_data_is_named() {
        let cases = [
            (
                Dataset::Gsm8k,
                "gsm8k_test.jsonl",
                "{\"question\": \"q\", \"answer\": \"5\"}",
                "`####`",
            ),
            (
                Dataset::Gsm8k,
                "gsm8k_test.jsonl",
                "{\"question\": \"q\"}",
                "`question` and `answer`",
            ),
            (Dataset::Gsm8k, "gsm8k_test.jsonl", "", "no questions"),
            (
                Dataset::Csqa,
                "csqa_validation.jsonl",
                "{\"question\": \"q\", \"choices\": {\"label\": [\"A\"], \"text\": []}, \"answerKey\": \"A\"}",
                "1 labels and 0 texts",
            ),
            (Dataset::Mmlu, "mmlu/test/law_test.csv", "q,1,2,3,4,E\n", "`E`"),
            (Dataset::Mmlu, "mmlu/test/law_test.csv", "q,1,2\n", "table of question"),
            (Dataset::Mmlu, "mmlu_test.tar", "this is no archive at all", "cannot read"),
        ];
        for (dataset, name, content, part) in cases {
            let error = read(dataset, &folder(name, content)).unwrap_err();
            assert!(error.to_string().contains(part), "{error}");
            assert!(error.is_data());
        }
    }
}
