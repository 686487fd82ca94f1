//! Building from raw data gives the published sets, byte for byte. Needs `BENCH_DATA`.

#![allow(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "a test may fail, and must say when it checks nothing"
)]

mod support;

use std::fs::File;
use std::io::Read;
use std::path::Path;

use evaluator::{Dataset, Quirks, Rows, Set, Source, Task, Worked};
use flate2::read::MultiGzDecoder;
use serde::Deserialize;

fn unpacked(path: &Path) -> String {
    let mut text = String::new();
    MultiGzDecoder::new(File::open(path).unwrap()).read_to_string(&mut text).unwrap();
    text
}

#[test]
fn all_six_sets_are_rebuilt_exactly() {
    let Some(data) = support::data("all_six_sets_are_rebuilt_exactly") else { return };
    for dataset in Dataset::QUESTIONS {
        let task = Task::of(dataset).unwrap();
        for suite in &task.suites {
            let built = Set::build(task, suite.questions, &data.join("raw"), None).unwrap();
            assert_eq!(built.source, Source::Published);
            assert_eq!(built.samples.len(), suite.samples);
            let name = format!("official/{dataset}_{}.jsonl.gz", suite.questions);
            let (built_text, published) =
                (built.to_json_lines().unwrap(), unpacked(&data.join(&name)));
            assert!(built_text == published, "{name} differs");
            let loaded = Set::load(task, suite.questions, &data).unwrap();
            assert!(loaded.samples == built.samples, "{name}: loading and building differ");
            eprintln!("{name}: {} bytes identical", published.len());
        }
    }
}

#[test]
fn the_published_runs_left_out_four_subjects() {
    let Some(data) = support::data("the_published_runs_left_out_four_subjects") else { return };
    let task = Task::of(Dataset::Mmlu).unwrap();
    let set = Set::load(task, 30, &data).unwrap().without_dropped(task);
    assert_eq!(set.samples.len(), 53);
    assert!(set.samples.iter().all(|sample| sample.subject.as_deref() != Some("professional_law")));
    assert_eq!(set.samples[52].index, 56);
}

#[derive(Deserialize)]
struct Row {
    dataset: String,
    task: String,
    position: usize,
    piece_is_whole_question: u8,
    aligned: u8,
}

#[test]
fn keys_belong_to_questions_where_the_task_file_says_so() {
    let name = "keys_belong_to_questions_where_the_task_file_says_so";
    let Some(data) = support::data(name) else { return };
    let task = Task::of(Dataset::Mmlu).unwrap();
    let mut reader = csv::Reader::from_path(data.join("mmlu_alignment.csv")).unwrap();
    for row in reader.deserialize() {
        let row: Row = row.unwrap();
        let questions = if row.dataset == "mmlu_30" { 30 } else { 60 };
        let leading = task.aligned_prefix(Some(&row.task), questions);
        assert_eq!(row.position < leading, row.aligned == 1, "{}", row.task);
        assert!(row.aligned <= row.piece_is_whole_question);
    }
    let rows = Rows::read(task, &data.join("raw")).unwrap().unwrap();
    let worked = Worked::own(task);
    let set = |quirks| Set::from_rows(task, 60, &rows, &worked, quirks).unwrap();
    let (published, corrected) = (set(Quirks::Published), set(Quirks::Corrected));
    for (old, new) in published.samples.iter().zip(&corrected.samples) {
        let same = old
            .questions
            .iter()
            .zip(&new.questions)
            .take_while(|(a, b)| a.replace("nan", "None") == b.replace("nan", "None"));
        assert_eq!(same.count(), task.aligned_prefix(old.subject.as_deref(), 60));
    }
}
