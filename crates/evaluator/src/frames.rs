//! Data frames: the hub's Parquet files in, result tables out. Behind the feature `frames`.
//!
//! Everything else in this crate works without it; a frame is for whoever wants to go on with the numbers elsewhere.

use std::fs::File;
use std::path::{Path, PathBuf};

use polars::prelude::*;

use crate::error::{Error, Result};
pub use crate::rows::parquet_files;
use crate::rows::{Choices, CsqaRow, Gsm8kRow, MmluRow, Rows};
use crate::task::{Dataset, Task};

/// Raw questions from the hub's Parquet files, in the order given.
/// # Errors
/// [`Error::Frame`] for a file that is not Parquet, lacks a column, or has a row without a value.
pub fn rows(task: &Task, files: &[PathBuf]) -> Result<Rows> {
    Ok(match task.dataset {
        Dataset::Gsm8k => Rows::Gsm8k(each(files, gsm8k)?),
        Dataset::Mmlu => Rows::Mmlu(each(files, mmlu)?),
        Dataset::Csqa => Rows::Csqa(each(files, csqa)?),
        Dataset::EnSum | Dataset::Synthetic => {
            return Err(Error::NotBuilt { dataset: task.dataset });
        }
    })
}

fn each<T>(files: &[PathBuf], read: fn(&DataFrame) -> PolarsResult<Vec<T>>) -> Result<Vec<T>> {
    let mut rows = Vec::new();
    for path in files {
        let frame = read_parquet(path)?;
        rows.extend(read(&frame).map_err(|source| frame_error(path, source))?);
    }
    Ok(rows)
}

fn gsm8k(frame: &DataFrame) -> PolarsResult<Vec<Gsm8kRow>> {
    let (question, answer) = (frame.column("question")?.str()?, frame.column("answer")?.str()?);
    let row =
        |place| Ok(Gsm8kRow { question: cell(question, place)?, answer: cell(answer, place)? });
    (0..frame.height()).map(row).collect()
}

fn csqa(frame: &DataFrame) -> PolarsResult<Vec<CsqaRow>> {
    let (question, key) = (frame.column("question")?.str()?, frame.column("answerKey")?.str()?);
    let choices = frame.column("choices")?.struct_()?;
    let (label, text) = (choices.field_by_name("label")?, choices.field_by_name("text")?);
    let (label, text) = (label.list()?, text.list()?);
    let row = |place| {
        let choices = Choices { label: list(label, place)?, text: list(text, place)? };
        Ok(CsqaRow { question: cell(question, place)?, choices, answer_key: cell(key, place)? })
    };
    (0..frame.height()).map(row).collect()
}

fn mmlu(frame: &DataFrame) -> PolarsResult<Vec<MmluRow>> {
    let (question, subject) = (frame.column("question")?.str()?, frame.column("subject")?.str()?);
    let choices = frame.column("choices")?.list()?;
    let answer = frame.column("answer")?.cast(&DataType::Int64)?;
    let answer = answer.i64()?;
    let row = |place| {
        let four = list(choices, place)?.try_into();
        let letter = answer.get(place).and_then(|label| "ABCD".get(usize::try_from(label).ok()?..));
        let letter = letter.and_then(|letters| letters.chars().next());
        Ok(MmluRow {
            subject: cell(subject, place)?,
            question: cell(question, place)?,
            choices: four.map_err(|_| broken(place, "four choices are needed"))?,
            answer: letter.ok_or_else(|| broken(place, "`answer` must be 0 to 3"))?.to_string(),
        })
    };
    (0..frame.height()).map(row).collect()
}

fn cell(column: &StringChunked, place: usize) -> PolarsResult<String> {
    let value = column.get(place).map(str::to_owned);
    value.ok_or_else(|| broken(place, &format!("`{}` is empty", column.name())))
}

fn list(column: &ListChunked, place: usize) -> PolarsResult<Vec<String>> {
    let missing = || broken(place, &format!("`{}` is empty", column.name()));
    let values = column.get_as_series(place).ok_or_else(missing)?;
    let values = values.str()?;
    (0..values.len()).map(|inner| cell(values, inner)).collect()
}

fn broken(place: usize, reason: &str) -> PolarsError {
    PolarsError::ComputeError(format!("row {}: {reason}", place + 1).into())
}

/// Writes a CSV table, such as a run's `summary.csv`, as Parquet. Types are inferred from all rows.
/// # Errors
/// [`Error::Frame`] for a table that cannot be parsed or encoded, [`Error::Write`] for a file that cannot be made.
pub fn rows_to_parquet(csv: &Path, parquet: &Path) -> Result<()> {
    let table = scan_csv(csv).and_then(LazyFrame::collect);
    let mut table = table.map_err(|source| frame_error(csv, source))?;
    let file = File::create(parquet);
    let file = file.map_err(|source| Error::Write { path: parquet.to_owned(), source })?;
    let written = ParquetWriter::new(file).finish(&mut table);
    written.map(|_| ()).map_err(|source| frame_error(parquet, source))
}

/// The `summary.csv` of every results folder in one frame, with the folder's name in the column `results`. A column
/// that some tables lack is null there.
/// # Errors
/// [`Error::Frame`] for a table that is missing or cannot be parsed, or types that have nothing in common.
pub fn summaries(folders: &[PathBuf]) -> Result<DataFrame> {
    let mut tables = Vec::new();
    for folder in folders {
        let path = folder.join("summary.csv");
        let name = folder.file_name().unwrap_or(folder.as_os_str()).to_string_lossy().into_owned();
        let table = scan_csv(&path).map_err(|source| frame_error(&path, source))?;
        tables.push(table.with_column(lit(name).alias("results")));
    }
    let together = UnionArgs { to_supertypes: true, ..UnionArgs::default() };
    let joined = concat_lf_diagonal(tables, together).and_then(LazyFrame::collect);
    joined.map_err(|source| frame_error(Path::new("summary.csv"), source))
}

fn scan_csv(path: &Path) -> PolarsResult<LazyFrame> {
    let path = PlRefPath::try_from_path(path)?;
    LazyCsvReader::new(path).with_infer_schema_length(None).with_glob(false).finish()
}

fn read_parquet(path: &Path) -> Result<DataFrame> {
    let file = File::open(path).map_err(|source| Error::Read { path: path.to_owned(), source })?;
    ParquetReader::new(file).finish().map_err(|source| frame_error(path, source))
}

fn frame_error(path: &Path, source: PolarsError) -> Error {
    Error::Frame { path: path.to_owned(), source }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::rows::Quirks;
    use crate::{Set, Worked};

    fn write(folder: &Path, name: &str, frame: &mut DataFrame) {
        let path = folder.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        ParquetWriter::new(File::create(path).unwrap()).finish(frame).unwrap();
    }

    #[test]
    fn word_problems_come_out_of_parquet_as_they_went_in() {
        let folder = tempfile::tempdir().unwrap();
        let mut frame = df!("question" => ["q", "r"], "answer" => ["#### 1", "#### 2"]).unwrap();
        write(folder.path(), "main/test-00000-of-00001.parquet", &mut frame);
        write(folder.path(), "main/train-00000-of-00001.parquet", &mut frame);
        let task = Task::of(Dataset::Gsm8k).unwrap();
        let files = parquet_files(task, folder.path()).unwrap();
        assert_eq!(files.len(), 1);
        let rows = rows(task, &files).unwrap();
        let set = Set::from_rows(task, 2, &rows, &Worked::own(task), Quirks::Published).unwrap();
        assert_eq!(set.samples[0].questions, ["q", "r"]);
    }

    #[test]
    fn choices_come_out_of_nested_columns() {
        let folder = tempfile::tempdir().unwrap();
        let texts = Series::new("text".into(), ["v", "w", "x", "y"]);
        let column = |name: &str| Series::new(name.into(), [texts.clone()]);
        let parts = [column("label"), column("text")];
        let choices = StructChunked::from_series("choices".into(), 1, parts.iter()).unwrap();
        let mut frame = df!("question" => ["q"], "answerKey" => ["v"]).unwrap();
        frame.with_column(choices.into_series().into()).unwrap();
        write(folder.path(), "data/validation-00000-of-00001.parquet", &mut frame);
        let task = Task::of(Dataset::Csqa).unwrap();
        let Rows::Csqa(found) = rows(task, &parquet_files(task, folder.path()).unwrap()).unwrap()
        else {
            panic!("other rows")
        };
        assert_eq!(found[0].choices.text, ["v", "w", "x", "y"]);
        let mut frame =
            df!("question" => ["q"], "subject" => ["law"], "answer" => [3_i64]).unwrap();
        frame.with_column(column("choices").into()).unwrap();
        write(folder.path(), "law/test-00000-of-00001.parquet", &mut frame);
        let task = Task::of(Dataset::Mmlu).unwrap();
        let Rows::Mmlu(found) = rows(task, &parquet_files(task, folder.path()).unwrap()).unwrap()
        else {
            panic!("other rows")
        };
        assert_eq!(found[0].answer, "D");
    }

    #[test]
    fn summaries_of_different_width_are_joined_and_exported() {
        let folder = tempfile::tempdir().unwrap();
        let (one, two) = (folder.path().join("one"), folder.path().join("two"));
        for (results, text) in [(&one, "arm,score\nfull,1\n"), (&two, "arm,score,n\nh2o,0.5,3\n")] {
            fs::create_dir(results).unwrap();
            fs::write(results.join("summary.csv"), text).unwrap();
        }
        let frame = summaries(&[one.clone(), two]).unwrap();
        assert_eq!(frame.shape(), (2, 4));
        let parquet = folder.path().join("one.parquet");
        rows_to_parquet(&one.join("summary.csv"), &parquet).unwrap();
        assert_eq!(read_parquet(&parquet).unwrap().shape(), (1, 2));
        assert!(summaries(&[folder.path().to_owned()]).unwrap_err().is_data());
    }
}
