//! Where the recorded cases of the published code are.

use std::path::PathBuf;

/// The published code's recorded cases, if they are here; says so loudly if they are not.
pub(crate) fn recorded_cases() -> Option<PathBuf> {
    let folder = std::env::var_os("BENCH_GOLDEN").map(PathBuf::from).or_else(|| {
        let data = PathBuf::from(std::env::var_os("BENCH_DATA")?);
        Some(data.parent()?.parent()?.join("golden"))
    });
    let found = folder.filter(|folder| folder.join("manifest.json").is_file());
    if found.is_none() {
        eprintln!("SKIPPED: no recorded cases; set BENCH_GOLDEN to their folder");
    }
    found
}
