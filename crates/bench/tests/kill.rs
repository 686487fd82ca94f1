//! A run that is killed, cut off in the middle of a line, or kept from writing.
#![allow(clippy::unwrap_used, reason = "tests")]

mod support;

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use support::{CELLS, Workplace, read};

/// One cell after the other, so that the journal grows line by line.
const SLOWLY: [&str; 2] = ["--set", "run.lanes=1"];

fn lines(journal: &Path) -> usize {
    fs::read_to_string(journal).map_or(0, |text| text.matches('\n').count())
}

/// Starts a run, kills it once its journal has so many lines, and returns how many it has then.
fn kill_at(place: &Workplace, under: &str, wanted: usize) -> usize {
    let journal = place.results(under).join("samples.jsonl");
    let common = ["--experiment", "tiny.toml", "--data", "data", "--quiet", "--results", under];
    let mut run = place
        .process(&[&common[..], &SLOWLY].concat())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    while lines(&journal) < wanted && run.try_wait().unwrap().is_none() {
        std::thread::sleep(Duration::from_micros(200));
    }
    run.kill().unwrap();
    run.wait().unwrap();
    lines(&journal)
}

#[test]
fn a_killed_run_goes_on_to_the_same_summary() {
    let place = Workplace::new();
    let unbroken = place.summary("unbroken", &SLOWLY);
    let mut broken = 0;
    for wanted in [1, 4, 9] {
        let under = format!("killed-{wanted}");
        let found = kill_at(&place, &under, wanted);
        assert!(found >= wanted);
        broken += usize::from(found < CELLS);
        let head = place.journal(&under);
        let complete = &head[..=head.rfind('\n').unwrap()];
        assert_eq!(place.summary(&under, &["--resume"]), unbroken, "killed at {found}");
        let journal = place.journal(&under);
        assert!(journal.starts_with(complete), "what was done is not done again");
        assert_eq!(journal.lines().count(), CELLS);
    }
    assert!(broken > 0, "every run was over before it could be killed");

    // Again and again in one folder, before the first line and on to the end.
    for wanted in [0, 2, 5, 11] {
        kill_at(&place, "often", wanted);
    }
    assert_eq!(place.summary("often", &[]), unbroken);
}

#[test]
fn half_a_line_is_cut_off_and_computed_again() {
    let place = Workplace::new();
    let unbroken = place.summary("results", &[]);
    let path = place.results("results").join("samples.jsonl");
    let whole = read(&path);
    let append = |text: &str| {
        OpenOptions::new().append(true).open(&path).unwrap().write_all(text.as_bytes()).unwrap();
    };

    append(r#"{"cell": "0123456789abcdef", "model": "ti"#);
    place.bench(&["report", "results/tiny"]).succeeded();
    assert_eq!(read(&place.results("results").join("summary.csv")), unbroken);
    assert_eq!(place.summary("results", &[]), unbroken);
    assert_eq!(read(&path), whole, "only the half line is gone");

    // At every place in the last line, its first byte and its line feed included.
    let start = whole[..whole.len() - 1].rfind('\n').unwrap() + 1;
    let last = whole.len() - start;
    for cut in [1, last / 2, last - 1] {
        fs::write(&path, &whole[..start + cut]).unwrap();
        assert_eq!(place.summary("results", &[]), unbroken, "{cut} of {last} bytes");
        assert_eq!(lines(&path), CELLS);
    }

    // A whole line that is no entry is damage of another kind: it is named, not dropped.
    append("{\"cell\": 3}\n");
    place.run("results", &[]).failed(3, &["samples.jsonl` line 25: not a journal entry", "hint: "]);
    place.bench(&["report", "results/tiny"]).failed(3, &["line 25"]);
}

#[test]
fn two_runs_do_not_write_to_one_journal() {
    let place = Workplace::new();
    place.run("results", &["--limit", "1"]).succeeded();
    let journal = place.journal("results");
    let held = fs::File::open(place.results("results").join("samples.jsonl")).unwrap();
    held.lock().unwrap();
    place.run("results", &[]).failed(2, &["another run is writing to the journal", "--shard"]);
    assert_eq!(place.journal("results"), journal);
    drop(held);
    place.run("results", &[]).succeeded();
}

#[test]
fn results_that_cannot_be_written_say_so() {
    let place = Workplace::new();
    fs::write(place.path("file"), "").unwrap();
    place.run("file/below", &[]).failed(2, &["cannot create `file/below/tiny`", "caused by: "]);

    let locked = place.path("locked");
    fs::create_dir(&locked).unwrap();
    let mut permissions = fs::metadata(&locked).unwrap().permissions();
    permissions.set_readonly(true);
    fs::set_permissions(&locked, permissions).unwrap();
    if fs::write(locked.join("probe"), "").is_err() {
        place.run("locked", &[]).failed(2, &["cannot create `locked/tiny`"]);
    }
}
