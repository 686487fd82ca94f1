//! Where the published data lies, which is never part of the repository.

use std::env;
use std::io::{self, Write};
use std::path::PathBuf;

/// The folder named by `BENCH_DATA`, or a loud notice that the test checks nothing.
pub(crate) fn data(test: &str) -> Option<PathBuf> {
    let folder = env::var_os("BENCH_DATA").map(PathBuf::from).filter(|path| path.is_dir());
    if folder.is_none() {
        skipped(test, "set `BENCH_DATA` to a folder with `official/`, `raw/` and `prompts/`");
    }
    folder
}

/// The folder named by `BENCH_GENERATIONS`, or `published_generations` beside `BENCH_DATA`, or a loud notice.
#[allow(dead_code, reason = "not every test program uses it")]
pub(crate) fn generations(test: &str) -> Option<PathBuf> {
    let named = env::var_os("BENCH_GENERATIONS").map(PathBuf::from);
    let beside =
        || Some(PathBuf::from(env::var_os("BENCH_DATA")?).join("../published_generations"));
    let folder = named.or_else(beside).filter(|path| path.is_dir());
    if folder.is_none() {
        skipped(test, "set `BENCH_GENERATIONS` to the folder of published generations");
    }
    folder
}

/// Goes round the test harness, which would swallow it.
fn skipped(test: &str, fix: &str) {
    let _ = writeln!(io::stderr(), "SKIPPED {test}: it checked nothing; {fix}");
}
