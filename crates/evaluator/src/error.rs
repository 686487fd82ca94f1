//! Everything that can go wrong between a file on disk and a score.

use std::io;
use std::path::PathBuf;

use crate::task::Dataset;

/// What this crate's fallible functions return.
pub type Result<T> = std::result::Result<T, Error>;

/// A failure, with the values that a message or a test needs.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A data set was named that does not exist.
    #[error("unknown data set `{given}`: use `gsm8k`, `mmlu`, `csqa`, `en_sum` or `synthetic`")]
    UnknownDataset {
        /// What was asked for.
        given: String,
    },
    /// A prompt without questions was asked for.
    #[error(
        "`{dataset}`: 0 questions per prompt: use at least 1, the published sets have {published}"
    )]
    ZeroQuestions {
        /// The data set.
        dataset: Dataset,
        /// The published numbers, in words.
        published: String,
    },
    /// A set of one text per prompt was asked for in another size.
    #[error(
        "`{dataset}`: {questions} questions per prompt: there is 1 question in each of its prompts"
    )]
    OneQuestion {
        /// The data set.
        dataset: Dataset,
        /// What was asked for.
        questions: usize,
    },
    /// A set was to be built that is read as it comes.
    #[error("`{dataset}` is not built from raw data")]
    NotBuilt {
        /// The data set.
        dataset: Dataset,
    },
    /// The rule cannot make what was asked for: too many questions, a mix without any, a request for rows of nothing.
    #[error("`synthetic`: {reason}")]
    Unmade {
        /// What is wrong.
        reason: String,
    },
    /// A compiled-in `task.toml` cannot be used; only a changed source tree causes it.
    #[error("`datasets/{dataset}/task.toml`: {reason}")]
    Task {
        /// The data set.
        dataset: Dataset,
        /// What the TOML or pattern parser said.
        reason: String,
    },
    /// Neither the published set nor the raw data is there.
    #[error(
        "no data for `{dataset}` with {questions} questions per prompt, tried {}: {}, and name its folder by `--data` or `BENCH_DATA`",
        list(tried),
        way(*dataset, hub)
    )]
    NoData {
        /// The data set.
        dataset: Dataset,
        /// Questions per prompt.
        questions: usize,
        /// Every path that would have done.
        tried: Vec<PathBuf>,
        /// Where the hub keeps the raw data.
        hub: String,
    },
    /// A file could not be opened, read or unpacked.
    #[error("cannot read `{}`", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A file could not be written.
    #[error("cannot write `{}`", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A file is, or unpacks to, more than this program is willing to hold.
    #[error("`{}` holds, or unpacks to, more than {} MiB: check that it is the file you meant, or split it", path.display(), limit_bytes >> 20)]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// The most that is accepted.
        limit_bytes: u64,
    },
    /// A file is not text.
    #[error("`{}`, line {line}: not UTF-8: convert the file, or check that it is the one you meant", path.display())]
    NotUtf8 {
        /// The file.
        path: PathBuf,
        /// The first bad line, from 1.
        line: usize,
    },
    /// A line is not the JSON object that it should be.
    #[error("`{}`, line {line}: not a JSON object with {fields}", path.display())]
    Json {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// The fields that are needed, in words.
        fields: &'static str,
        /// What the parser said, with its column.
        #[source]
        source: serde_json::Error,
    },
    /// A line parses and yet says something that cannot be.
    #[error("`{}`, line {line}: {reason}", path.display())]
    Line {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// What is wrong and what is needed.
        reason: String,
    },
    /// A CSV file is not what it should be.
    #[error("`{}`: not a table of question, four choices and letter", path.display())]
    Csv {
        /// The file, or its name inside an archive.
        path: PathBuf,
        /// What the parser said, with its line.
        #[source]
        source: csv::Error,
    },
    /// A file holds nothing to work on.
    #[error("`{}` holds no {what}", path.display())]
    Empty {
        /// The file.
        path: PathBuf,
        /// What was looked for.
        what: &'static str,
    },
    /// There are too few raw questions.
    #[error("`{dataset}`{}: {needed} questions are needed and {found} are there: use the complete split, or fewer per prompt", subject.as_ref().map(|name| format!(", subject `{name}`")).unwrap_or_default())]
    NotEnoughRows {
        /// The data set.
        dataset: Dataset,
        /// The subject, where prompts are made per subject.
        subject: Option<String>,
        /// Questions needed.
        needed: usize,
        /// Questions found.
        found: usize,
    },
    /// Rows of one data set were handed to another's task.
    #[error("rows of `{rows}` were given to the task `{task}`")]
    WrongRows {
        /// What the task is.
        task: Dataset,
        /// What the rows are.
        rows: Dataset,
    },
    /// The demonstration file lacks a subject.
    #[error(
        "no demonstrations for the subject `{subject}` in {origin}: add the subject to the file, or remove the file to use our own"
    )]
    NoDemonstrations {
        /// The subject.
        subject: String,
        /// Where was looked.
        origin: String,
    },
    /// A folder of worked examples was named that holds none.
    #[error(
        "no worked examples for `{dataset}`, tried {}: name another folder by `--prompts`, or leave it out to use our own",
        list(tried)
    )]
    NoWorked {
        /// The data set.
        dataset: Dataset,
        /// Every path that would have done.
        tried: Vec<PathBuf>,
    },
    /// Raw questions are there as Parquet, which this build cannot read.
    #[error("`{}` is Parquet, which this build cannot read: build with `--features frames`", path.display())]
    NeedsFrames {
        /// The first such file.
        path: PathBuf,
    },
    /// Two lists of scores do not belong to the same prompts.
    #[error(
        "a paired comparison needs one score per prompt on both sides, but there are {left} and {right}: compare runs of the same samples"
    )]
    Unpaired {
        /// Scores on the left.
        left: usize,
        /// Scores on the right.
        right: usize,
    },
    /// A data frame could not be read, changed or written.
    #[cfg(feature = "frames")]
    #[error("cannot use the table `{}`", path.display())]
    Frame {
        /// The file.
        path: PathBuf,
        /// What the frame library said.
        #[source]
        source: polars::error::PolarsError,
    },
}

impl Error {
    /// Whether data is missing or malformed (exit 3), as opposed to a wrong request (exit 2).
    pub fn is_data(&self) -> bool {
        !matches!(
            self,
            Self::UnknownDataset { .. }
                | Self::ZeroQuestions { .. }
                | Self::OneQuestion { .. }
                | Self::NotBuilt { .. }
                | Self::Unmade { .. }
                | Self::Task { .. }
                | Self::WrongRows { .. }
                | Self::Unpaired { .. }
                | Self::Write { .. }
        )
    }
}

/// How to bring a data set.
fn way(dataset: Dataset, hub: &str) -> String {
    match dataset {
        Dataset::EnSum => "bring it as `datasets/en_sum/README.md` says".to_owned(),
        _ => format!("bring it by `scripts/fetch-data` or from the hub's `{hub}`"),
    }
}

fn list(paths: &[PathBuf]) -> String {
    paths.iter().map(|path| format!("`{}`", path.display())).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missing_data_names_every_path_and_the_ways_out() {
        let error = Error::NoData {
            dataset: Dataset::Csqa,
            questions: 40,
            tried: vec!["a/official".into(), "a/raw".into()],
            hub: "tau/commonsense_qa".into(),
        };
        let message = error.to_string();
        for part in ["`a/official`, `a/raw`", "--data", "BENCH_DATA", "tau/commonsense_qa"] {
            assert!(message.contains(part), "{message}");
        }
        assert!(error.is_data());
        let (dataset, tried, hub) = (Dataset::EnSum, vec!["a/raw".into()], "x/y".into());
        let message = Error::NoData { dataset, questions: 1, tried, hub }.to_string();
        assert!(message.contains("`datasets/en_sum/README.md`"), "{message}");
        assert!(!message.contains("scripts/fetch-data"), "{message}");
        assert!(!Error::UnknownDataset { given: "x".into() }.is_data());
    }
}
