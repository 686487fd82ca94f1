//! `bench replay`: policies at work on recorded queries, keys and values, in reference mode.

mod case;
mod kept;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Component, Path};

use anyhow::{Context as _, Result};
use runner::read_up_to;
use serde::Deserialize;
use serde_json::{Map, Value};

use self::case::Case;
use super::print;
use crate::cli::ReplayArgs;
use crate::fault::{self, Class, Fault};
use crate::whole_file;

/// The longest manifest.
const MANIFEST_BYTES: u64 = 4 << 20;

/// Cases, as the published code's parameters describe them. One that cannot be read costs the others nothing.
#[derive(Debug, Deserialize)]
struct Manifest {
    cases: Vec<Entry>,
}

#[derive(Debug, Deserialize)]
struct Entry {
    name: String,
    #[serde(flatten)]
    parameters: Map<String, Value>,
}

/// Replays a manifest's cases, writes what each kept, and reports each that cannot be replayed.
///
/// # Errors
/// [`Fault`] of the gravest case's class, after all of them.
pub(crate) fn replay(args: &ReplayArgs) -> Result<()> {
    let entries = choose(read_manifest(&args.manifest)?, &args.cases)?;
    let folder = args.manifest.parent().filter(|folder| !folder.as_os_str().is_empty());
    let folder = folder.unwrap_or(Path::new("."));
    let same = |out| fs::canonicalize(folder).is_ok_and(|folder| folder == out);
    if fs::canonicalize(&args.out).is_ok_and(same) {
        return Err(Fault::usage("`--out` is the folder of the recordings, which would be lost")
            .hint("give another folder with `--out`")
            .into());
    }
    fs::create_dir_all(&args.out).map_err(|error| unwritable(&args.out, &error))?;
    let total = entries.len();
    let mut failures: Vec<Class> = Vec::new();
    let mut names = BTreeSet::new();
    for Entry { name, parameters } in entries {
        let replayed = if names.insert(name.clone()) {
            replay_one(&name, parameters, folder, &args.out)
        } else {
            Err(Fault::data("another case has this name").into())
        };
        match replayed.with_context(|| format!("case `{name}`")) {
            Ok(()) => {}
            Err(error) if total == 1 => return Err(error),
            Err(error) => failures.push(fault::report(&error)),
        }
    }
    let failed = failures.len();
    print(&format!("{} cases written to {}\n", total - failed, args.out.display()))?;
    match failures.into_iter().max_by_key(|class| class.gravity()) {
        Some(gravest) => {
            Err(Fault::new(gravest, format!("{failed} of {total} cases not replayed")).into())
        }
        None => Ok(()),
    }
}

fn replay_one(name: &str, mut entry: Map<String, Value>, folder: &Path, out: &Path) -> Result<()> {
    entry.insert("name".to_owned(), name.into());
    let case = Case::read(&Value::Object(entry))?;
    if ![case.file_name(), case.recording()].iter().all(|file| is_plain_name(file)) {
        let fault = Fault::data("names a file outside its folder");
        return Err(fault.hint("names are plain: no `/` and no `..`").into());
    }
    let replayed = case.run(&folder.join(case.recording()))?;
    whole_file::write(&out.join(case.file_name()), &kept::serialise(&replayed)?)?;
    Ok(())
}

fn unwritable(path: &Path, error: &std::io::Error) -> Fault {
    Fault::usage(format!("cannot write `{}`: {error}", path.display()))
        .hint("give another folder with `--out`")
}

fn read_manifest(path: &Path) -> Result<Vec<Entry>> {
    let shown = path.display();
    let bytes = read_up_to(path, MANIFEST_BYTES)
        .map_err(|error| Fault::data(format!("cannot read `{shown}`: {error}")))?;
    let Manifest { cases } = serde_json::from_slice(&bytes).map_err(|error| {
        Fault::data(format!("`{shown}` is not a manifest of replay cases: {error}"))
    })?;
    Ok(cases)
}

fn is_plain_name(file: &Path) -> bool {
    let mut parts = file.components();
    matches!((parts.next(), parts.next()), (Some(Component::Normal(_)), None))
}

/// The cases of these names, in the order of the manifest; all of them if none is named.
fn choose(cases: Vec<Entry>, names: &[String]) -> Result<Vec<Entry>> {
    let known: Vec<&str> = cases.iter().map(|case| case.name.as_str()).collect();
    if let Some(unknown) = names.iter().find(|name| !known.contains(&name.as_str())) {
        let hint = format!("the manifest has: {}", known.join(", "));
        return Err(Fault::usage(format!("no case `{unknown}`")).hint(hint).into());
    }
    let wanted = |case: &Entry| names.is_empty() || names.contains(&case.name);
    let chosen: Vec<Entry> = cases.into_iter().filter(wanted).collect();
    if chosen.is_empty() {
        return Err(Fault::new(Class::Empty, "the manifest has no cases").into());
    }
    Ok(chosen)
}
