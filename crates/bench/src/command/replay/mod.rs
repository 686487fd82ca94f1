//! `bench replay`: policies at work on recorded queries, keys and values, in reference mode.

mod case;
mod kept;

use std::fs;
use std::path::{Component, Path};

use anyhow::Result;
use runner::read_up_to;
use serde::Deserialize;

use self::case::Case;
use super::print;
use crate::cli::ReplayArgs;
use crate::fault::{Class, Fault};
use crate::whole_file;

/// The longest manifest.
const MANIFEST_BYTES: u64 = 4 << 20;

/// Cases, as the published code's parameters describe them.
#[derive(Debug, Deserialize)]
struct Manifest {
    cases: Vec<Case>,
}

/// Replays a manifest's cases and writes what each kept.
pub(crate) fn replay(args: &ReplayArgs) -> Result<()> {
    let cases = read_manifest(&args.manifest)?;
    let chosen = choose(cases, &args.cases)?;
    let folder = args.manifest.parent().filter(|folder| !folder.as_os_str().is_empty());
    let folder = folder.unwrap_or(Path::new("."));
    let same = |out| fs::canonicalize(folder).is_ok_and(|folder| folder == out);
    if fs::canonicalize(&args.out).is_ok_and(same) {
        return Err(Fault::usage("`--out` is the folder of the recordings, which would be lost")
            .hint("give another folder with `--out`")
            .into());
    }
    fs::create_dir_all(&args.out).map_err(|error| unwritable(&args.out, &error))?;
    for case in &chosen {
        let path = folder.join(case.file.clone().unwrap_or_else(|| case.file_name()));
        let replayed = case.run(&path)?;
        let out = args.out.join(case.file_name());
        let bytes = kept::serialise(&replayed)?;
        whole_file::write(&out, &bytes)?;
    }
    print(&format!("{} cases written to {}\n", chosen.len(), args.out.display()))
}

fn unwritable(path: &Path, error: &std::io::Error) -> Fault {
    Fault::usage(format!("cannot write `{}`: {error}", path.display()))
        .hint("give another folder with `--out`")
}

fn read_manifest(path: &Path) -> Result<Vec<Case>> {
    let shown = path.display();
    let bytes = read_up_to(path, MANIFEST_BYTES)
        .map_err(|error| Fault::data(format!("cannot read `{shown}`: {error}")))?;
    let manifest: Manifest = serde_json::from_slice(&bytes).map_err(|error| {
        Fault::data(format!("`{shown}` is not a manifest of replay cases: {error}"))
    })?;
    for case in &manifest.cases {
        let files = [Some(case.file_name()), case.file.clone()];
        if !files.into_iter().flatten().all(|file| is_plain_name(&file)) {
            let message =
                format!("`{shown}`: case `{}` names a file outside its folder", case.name);
            return Err(Fault::data(message).hint("names are plain: no `/` and no `..`").into());
        }
    }
    let mut names: Vec<&str> = manifest.cases.iter().map(|case| case.name.as_str()).collect();
    names.sort_unstable();
    if let Some([twice, _]) = names.array_windows().find(|[a, b]| a == b) {
        return Err(Fault::data(format!("`{shown}`: two cases are called `{twice}`")).into());
    }
    Ok(manifest.cases)
}

fn is_plain_name(file: &Path) -> bool {
    let mut parts = file.components();
    matches!((parts.next(), parts.next()), (Some(Component::Normal(_)), None))
}

/// The cases of these names, in the order of the manifest; all of them if none is named.
fn choose(cases: Vec<Case>, names: &[String]) -> Result<Vec<Case>> {
    let known: Vec<&str> = cases.iter().map(|case| case.name.as_str()).collect();
    if let Some(unknown) = names.iter().find(|name| !known.contains(&name.as_str())) {
        let hint = format!("the manifest has: {}", known.join(", "));
        return Err(Fault::usage(format!("no case `{unknown}`")).hint(hint).into());
    }
    let wanted = |case: &Case| names.is_empty() || names.contains(&case.name);
    let chosen: Vec<Case> = cases.into_iter().filter(wanted).collect();
    if chosen.is_empty() {
        return Err(Fault::new(Class::Empty, "the manifest has no cases").into());
    }
    Ok(chosen)
}
