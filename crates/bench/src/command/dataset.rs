//! `bench dataset`: sets built from raw data, and what sets there are.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use anyhow::Result;
use evaluator::{Dataset, Set, Source, Task};
use serde::Serialize;

use super::{print, print_json};
use crate::cli::{BuildArgs, Format, ListArgs};
use crate::fault::Fault;
use crate::report::table;
use crate::whole_file;

/// `bench dataset build`: the checksum and the file on stdout, what was built on stderr.
#[allow(clippy::print_stderr, reason = "stdout carries the checksum alone")]
pub(crate) fn build(args: &BuildArgs) -> Result<()> {
    let task = Task::of(args.dataset.parse()?)?;
    check_target(&args.out)?;
    let set = match (&task.mix, &args.raw) {
        (Some(mix), None) => evaluator::synthetic::set(task, args.k, mix)?,
        (_, Some(raw)) if raw.is_dir() => Set::build(task, args.k, raw, args.prompts.as_deref())?,
        (_, raw) => {
            let raw = raw.as_deref().unwrap_or(Path::new(""));
            return Err(Fault::data(format!("`--raw`: `{}` is no folder", raw.display()))
                .hint(format!("name the folder that holds `{}`, gzipped or not", task.files.raw))
                .into());
        }
    };
    let text = set.to_json_lines()?;
    let sha256 = evaluator::set::sha256(text.as_bytes());
    whole_file::write(&args.out, text.as_bytes()).map_err(|error| {
        let cause = error.root_cause();
        Fault::usage(format!("cannot write `{}`: {cause}", args.out.display()))
            .hint("name a file in a folder that exists and may be written to by `--out`")
    })?;
    eprintln!(
        "{} with {} questions per prompt: {} prompts from {}; {}",
        set.dataset,
        args.k,
        set.samples.len(),
        set.origin,
        standing(task, &set)
    );
    print(&format!("{sha256}  {}\n", args.out.display()))
}

/// What a set is worth beside the published one.
fn standing(task: &Task, set: &Set) -> String {
    match (set.source, task.suite(set.questions_per_sample)) {
        (Source::Synthetic, _) => "made by rule".to_owned(),
        (Source::Published, _) => "identical to the published set".to_owned(),
        (Source::OwnDemonstrations, _) => {
            "worked examples of our own, since the published ones are absent: not the published prompts".to_owned()
        }
        (_, Some(suite)) => format!(
            "not the published set, whose sha256 is {}: the raw data or the worked examples differ",
            suite.sha256.as_deref().unwrap_or("not known")
        ),
        (_, None) => "no set of this size was published".to_owned(),
    }
}

/// Refuses a target that a rename would damage or could not replace.
fn check_target(out: &Path) -> Result<()> {
    let refuse = |reason: &str| {
        Err(Fault::usage(format!("`--out`: `{}` {reason}", out.display()))
            .hint("name a file to write")
            .into())
    };
    if out.file_name().is_none() {
        return refuse("names no file");
    }
    match std::fs::metadata(out) {
        Ok(found) if !found.is_file() => refuse("is there already, and is no file"),
        _ => Ok(()),
    }
}

/// One published set.
#[derive(Debug, Serialize)]
struct Known {
    dataset: Dataset,
    title: &'static str,
    suite: &'static str,
    questions: usize,
    samples: usize,
    /// Where the raw questions come from.
    source: String,
    licence: &'static str,
    sha256: Option<&'static str>,
    /// `published`, another word for a file that is there and is not it, `raw` where it can be built, or none.
    present: Option<String>,
    /// The file or folder that was found.
    path: Option<PathBuf>,
}

/// `bench dataset list`
pub(crate) fn list(args: &ListArgs) -> Result<()> {
    let sets = known(args.data.as_deref())?;
    match args.format {
        Format::Json => print_json(&serde_json::json!({"data": args.data, "sets": sets})),
        Format::Csv => print(&String::from_utf8(table::csv(&sets)?)?),
        Format::Table => print(&text(&sets, args.data.as_deref())),
    }
}

/// Every published set, and what a data folder has of it.
fn known(data: Option<&Path>) -> Result<Vec<Known>> {
    let mut sets = Vec::new();
    for dataset in Dataset::ALL {
        let task = Task::of(dataset)?;
        for suite in &task.suites {
            let (present, path) = match data {
                Some(data) => find(task, suite.questions, data),
                None => (None, None),
            };
            sets.push(Known {
                dataset,
                title: &task.title,
                suite: &suite.name,
                questions: suite.questions,
                samples: suite.samples,
                source: match task.mix {
                    Some(_) => "made by rule".to_owned(),
                    None => format!("{} {}", task.hub.id, task.hub.split),
                },
                licence: &task.licence,
                sha256: suite.sha256.as_deref(),
                present,
                path,
            });
        }
    }
    Ok(sets)
}

/// What a data folder has of a set: a file is read and its checksum compared, raw data is only looked for.
fn find(task: &Task, questions: usize, data: &Path) -> (Option<String>, Option<PathBuf>) {
    if task.mix.is_some() {
        return (None, None);
    }
    if let Some(path) = Set::file(task, questions, data) {
        let word = match Set::load(task, questions, data) {
            Ok(set) => set.source.to_string(),
            Err(_) => "unreadable".to_owned(),
        };
        return (Some(word), Some(path));
    }
    let raw =
        evaluator::Rows::paths(task, &data.join("raw")).into_iter().find(|path| path.exists());
    (raw.as_ref().map(|_| "raw".to_owned()), raw)
}

fn text(sets: &[Known], data: Option<&Path>) -> String {
    let mut text = format!(
        "{:<9} {:<6} {:>3} {:>8}  {:<47} {:<17} {:<10} sha256\n",
        "dataset", "suite", "K", "samples", "source", "licence", "present"
    );
    for set in sets {
        let made = set.dataset == Dataset::Synthetic;
        let present = set.present.as_deref().unwrap_or(if made { "made" } else { "no" });
        let _ = writeln!(
            text,
            "{:<9} {:<6} {:>3} {:>8}  {:<47} {:<17} {present:<10} {}",
            set.dataset,
            set.suite,
            set.questions,
            set.samples,
            set.source,
            set.licence,
            set.sha256.unwrap_or(if made { "" } else { "not known" })
        );
    }
    let _ = match data {
        Some(data) => {
            let absent = if data.is_dir() { "" } else { " (not there)" };
            writeln!(text, "\ndata folder: {}{absent}", data.display())
        }
        None => writeln!(
            text,
            "\nno data folder is named: give `--data` or `BENCH_DATA`; `scripts/fetch-data` brings one"
        ),
    };
    text
}
