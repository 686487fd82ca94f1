//! Scoring the published generations gives the published scores. Needs `BENCH_GENERATIONS` or `BENCH_DATA`.

#![allow(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "a test may fail, and must say when it checks nothing"
)]

mod support;

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::path::Path;

use evaluator::score::{Aligned, Official};
use evaluator::statistics::by_position;
use evaluator::{
    Dataset, FileScore, PublishedTemplate, Set, SystemText, Task, generations, prompt,
};
use flate2::read::MultiGzDecoder;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

#[derive(Deserialize)]
struct Published {
    file: String,
    dataset: Dataset,
    questions_per_sample: usize,
    samples: usize,
    max_new_tokens: usize,
    official_score: f64,
    aligned_score: f64,
}

#[derive(Deserialize)]
struct PublishedSample {
    file: String,
    n_gold: usize,
    official_extracted: usize,
    official_hits: usize,
    official_accuracy: f64,
    headers: usize,
    present: usize,
    aligned_answered: usize,
    aligned_hits: usize,
    aligned_accuracy: f64,
}

fn table<T: DeserializeOwned>(path: &Path) -> Vec<T> {
    csv::Reader::from_path(path).unwrap().deserialize().collect::<Result<_, _>>().unwrap()
}

#[test]
fn every_file_scores_as_published() {
    let Some(folder) = support::generations("every_file_scores_as_published") else { return };
    let manifest = table::<Published>(&folder.join("manifest.csv"));
    assert!(!manifest.is_empty());
    for row in manifest {
        let task = Task::of(row.dataset).unwrap();
        let texts = generations::read(&folder.join(&row.file)).unwrap();
        let score = FileScore::new(task, &texts);
        assert_eq!(
            (score.samples, score.questions),
            (row.samples, row.samples * row.questions_per_sample)
        );
        assert_eq!(score.official.score.to_bits(), row.official_score.to_bits(), "{}", row.file);
        assert_eq!(score.aligned.score.to_bits(), row.aligned_score.to_bits(), "{}", row.file);
        assert_eq!(task.max_new_tokens(row.questions_per_sample), row.max_new_tokens);
        let audit = score.audit;
        assert_eq!(audit.answered + audit.missing + audit.unreadable, score.questions);
        eprintln!(
            "{}: official {} {:?}, aligned {} {:?}, {audit:?}",
            row.file,
            score.official.score,
            score.official.ci,
            score.aligned.score,
            score.aligned.ci
        );
    }
}

#[test]
fn every_sample_scores_as_published() {
    let Some(folder) = support::generations("every_sample_scores_as_published") else { return };
    let manifest = table::<Published>(&folder.join("manifest.csv"));
    let datasets: BTreeMap<_, _> = manifest.iter().map(|row| (&row.file, row.dataset)).collect();
    let samples = table::<PublishedSample>(&folder.join("per_sample.csv"));
    for (file, &dataset) in &datasets {
        let task = Task::of(dataset).unwrap();
        let texts = generations::read(&folder.join(file)).unwrap();
        let expected: Vec<_> = samples.iter().filter(|sample| &&sample.file == file).collect();
        assert_eq!(texts.len(), expected.len());
        for (text, expected) in texts.iter().zip(expected) {
            let official = Official::score(task, &text.pred, &text.answers);
            assert_eq!(official.questions(), expected.n_gold);
            assert_eq!(official.extracted.len(), expected.official_extracted);
            assert_eq!(official.hits, expected.official_hits);
            assert_eq!(official.accuracy().to_bits(), expected.official_accuracy.to_bits());
            let aligned = Aligned::score(task, &text.pred, &text.answers);
            assert_eq!(aligned.headers(), expected.headers);
            assert_eq!(aligned.present(), expected.present);
            assert_eq!(aligned.answered(), expected.aligned_answered);
            assert_eq!(aligned.hits, expected.aligned_hits);
            assert_eq!(aligned.accuracy().to_bits(), expected.aligned_accuracy.to_bits());
        }
    }
    eprintln!("{} samples equal", samples.len());
}

#[test]
fn figure_4a_is_reproduced_by_its_rule() {
    let Some(folder) = support::generations("figure_4a_is_reproduced_by_its_rule") else { return };
    let task = Task::of(Dataset::Gsm8k).unwrap();
    let texts = generations::read(&folder.join("4K__gsm8k__ALLKV+None__b2-512.jsonl.gz")).unwrap();
    let marks = texts.iter().map(|text| Official::score(task, &text.pred, &text.answers).marks());
    let groups = by_position(&marks.collect::<Vec<_>>(), 5);
    let round = |share: Option<f64>, scale: f64| (share.unwrap() * scale).round() / scale;
    let of_found: Vec<_> =
        groups.iter().map(|group| round(group.accuracy_of_found(), 1e3)).collect();
    assert_eq!(of_found, [0.656, 0.544, 0.567, 0.555, 0.531, 0.526]);
    let of_asked: Vec<_> = groups.iter().map(|group| round(group.accuracy(), 1e3)).collect();
    assert_eq!(of_asked, [0.656, 0.544, 0.553, 0.540, 0.474, 0.428]);
}

#[test]
fn model_inputs_are_those_of_the_published_runs() {
    let name = "model_inputs_are_those_of_the_published_runs";
    let (Some(folder), Some(data)) = (support::generations(name), support::data(name)) else {
        return;
    };
    let mut compared = 0;
    for row in table::<Published>(&folder.join("manifest.csv")) {
        let task = Task::of(row.dataset).unwrap();
        let set = Set::load(task, row.questions_per_sample, &data).unwrap().without_dropped(task);
        let mut text = String::new();
        MultiGzDecoder::new(File::open(folder.join(&row.file)).unwrap())
            .read_to_string(&mut text)
            .unwrap();
        let lines: Vec<Value> =
            text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(lines.len(), set.samples.len());
        for (line, sample) in lines.iter().zip(&set.samples) {
            let template = PublishedTemplate::for_model("meta-llama-3.1-8b-instruct");
            let input = prompt::model_input(task, template, SystemText::Published, sample);
            assert!(line["prompt"] == input, "{}, sample {}", row.file, sample.index);
            compared += 1;
        }
    }
    eprintln!("{compared} model inputs identical");
}
