//! Every reader of the program against every way in which its input can be broken: one exit code, one message, nothing left behind.
//!
//! The messages are `docs/bad-input.md`; `BENCH_BLESS=1 cargo test -p bench --test bad_input` writes that file anew.
#![allow(clippy::unwrap_used, reason = "tests")]

mod broken;
mod data;
mod experiment;
mod hub;
mod model;
mod results;
#[path = "../support/hub.rs"]
mod server;
#[path = "../support/mod.rs"]
mod support;
mod table;
mod text;

use std::fs;
use std::path::Path;

use table::Table;

const HEAD: &str = "# What broken input is answered with

Each row is a command that `crates/bench/tests/bad_input` runs: an input broken in one way, the exit code, and all that is printed, with the
folder of the test and the hub's address as `…`. The program runs in 512 MiB of address space, so that no size that a file claims can be believed before it is checked.
Exit code 2 is for how the program was called, 3 for a model or data that is missing or broken. The crates' own tests hold more: `runner/tests/hostile*.rs`
(GGUF, folders, safetensors, tokenizers), `bench/tests/{replay,dataset,models,plans,kill}.rs`, and the readers' unit tests.

| reader | case | exit | message |
|---|---|---|---|
";

#[test]
fn every_reader_refuses_what_is_broken() {
    let mut table = Table::new();
    let groups: [fn(&mut Table); 14] = [
        experiment::experiments,
        data::data,
        data::raw_data,
        data::archives,
        data::generations,
        model::gguf,
        model::folders,
        hub::answers,
        text::texts,
        text::recordings,
        experiment::environment,
        results::results,
        results::summaries,
        results::requests,
    ];
    for group in groups {
        group(&mut table);
    }
    assert_eq!(table.wrong, "");
    let document = format!("{HEAD}{}", table.rows);
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/bad-input.md");
    if std::env::var_os("BENCH_BLESS").is_some() {
        fs::write(&path, &document).unwrap();
    }
    let kept = fs::read_to_string(&path).unwrap_or_default();
    for (found, kept) in document.lines().zip(kept.lines()) {
        assert_eq!(found, kept, "docs/bad-input.md; BENCH_BLESS=1 writes it anew");
    }
    assert_eq!(document.lines().count(), kept.lines().count());
}
