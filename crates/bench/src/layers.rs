//! The layers of an experiment file: the file that it extends, the file itself, a profile, keys set from the command
//! line. Later ones win, and for every key it can be said where it was written.

use std::path::{Path, PathBuf};

use serde::Deserialize;
use toml::de::{DeTable, DeValue};
use toml::{Table, Value};

use crate::problem::{Problem, nearest, typed};
use crate::sweep;

/// Files that may extend one another; more of them are taken for a circle.
const MOST_FILES: usize = 8;

/// All layers laid over each other, and each of them for itself.
#[derive(Debug)]
pub(crate) struct Layers {
    /// The file that was asked for, then the one that it extends, and so on.
    files: Vec<Text>,
    profile: String,
    /// Keys set from the command line.
    set: Vec<String>,
    table: Table,
}

/// One file as written.
#[derive(Debug)]
struct Text {
    path: PathBuf,
    text: String,
}

/// Which file a file builds on.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Extends {
    /// Its path, from the folder of the file that names it.
    file: PathBuf,
    /// Those of its profiles that hold here too.
    #[serde(default)]
    profiles: Vec<String>,
    /// Labels of those of its arms that hold here too; all, where it is left out.
    arms: Option<Vec<String>>,
}

/// The text of an experiment file.
pub(crate) fn read(path: &Path) -> std::io::Result<String> {
    const LIMIT_BYTES: u64 = 1 << 20;
    runner::read_text_up_to(path, LIMIT_BYTES)
}

impl Layers {
    /// Lays everything over each other. Without a profile the file's default is taken.
    ///
    /// # Errors
    /// What is wrong, with the place.
    pub(crate) fn parse(
        path: &Path,
        text: String,
        profile: Option<&str>,
        set: &[String],
    ) -> Result<Self, String> {
        let mut layers = Self {
            files: Vec::new(),
            profile: String::new(),
            set: Vec::new(),
            table: Table::new(),
        };
        layers.table = layers.file(path.to_owned(), text)?;
        layers.apply_profile(profile).map_err(|problem| layers.explain(&problem))?;
        for assignment in set {
            layers.assign(assignment).map_err(|problem| layers.explain(&problem))?;
        }
        Ok(layers)
    }

    pub(crate) fn table(&self) -> &Table {
        &self.table
    }

    /// The profile that was applied, or an empty text.
    pub(crate) fn profile(&self) -> &str {
        &self.profile
    }

    /// A file over the one that it extends.
    fn file(&mut self, path: PathBuf, text: String) -> Result<Table, String> {
        let mut table: Table =
            toml::from_str(&text).map_err(|error| format!("`{}`: {error}", path.display()))?;
        let extends = table.remove("extends");
        let place = self.files.len();
        self.files.push(Text { path, text });
        let Some(extends) = extends else { return Ok(table) };
        let problem = |layers: &Self, problem: Problem| {
            layers.files[place].explain(&problem.within(["extends"]))
        };
        let extends: Extends = typed(extends).map_err(|wrong| problem(self, wrong))?;
        let path = self.files[place].path.with_file_name(&extends.file);
        let read = if self.files.len() >= MOST_FILES {
            Err(format!("more than {MOST_FILES} files extend each other"))
        } else if !path.is_file() {
            Err(format!("`extends.file`: there is no file `{}`", path.display()))
        } else {
            read(&path).map_err(|error| {
                format!("`extends.file`: cannot read `{}`: {error}", path.display())
            })
        };
        let text = read.map_err(|wrong| problem(self, Problem::at(["file"], wrong)))?;
        let mut base = self.file(path, text)?;
        let kept = keep_profiles(&mut base, &extends.profiles)
            .and_then(|()| keep_arms(&mut base, extends.arms.as_deref()));
        kept.map_err(|wrong| problem(self, wrong))?;
        sweep::overlay(&mut base, &table);
        Ok(base)
    }

    /// Takes `profiles` out of the table and lays the chosen one over the rest.
    fn apply_profile(&mut self, profile: Option<&str>) -> Result<(), Problem> {
        let default = match self.table.remove("profile") {
            None => None,
            Some(Value::String(name)) => Some(name),
            Some(_) => return Err(Problem::at(["profile"], "`profile` must be a name")),
        };
        let profiles = take_profiles(&mut self.table)?;
        let Some(name) = profile.map(str::to_owned).or(default) else { return Ok(()) };
        let Some(Value::Table(over)) = profiles.get(&name) else {
            let key = if profile.is_some() { "" } else { "profile" };
            return Err(Problem::at([key], no_profile(&name, &profiles)));
        };
        sweep::overlay(&mut self.table, over);
        self.profile = name;
        Ok(())
    }

    fn assign(&mut self, assignment: &str) -> Result<(), Problem> {
        let (key, value) = assignment
            .split_once('=')
            .ok_or_else(|| Problem::plain(format!("`--set {assignment}`: give `key=value`")))?;
        sweep::set(&mut self.table, key, value)
            .map_err(|part| Problem::plain(format!("`--set {key}`: there is no `{part}`")))?;
        self.set.push(key.to_owned());
        Ok(())
    }

    /// A problem in words, with the place where its key was written, or else where the table that it is missing from was.
    pub(crate) fn explain(&self, problem: &Problem) -> String {
        let (message, first) = (problem.message(), self.files[0].path.display());
        for length in (1..=problem.key.len()).rev() {
            let key = &problem.key[..length];
            let dotted = key.join(".");
            let covers = |set: &&String| {
                dotted
                    .strip_prefix(&***set)
                    .is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
            };
            if let Some(set) = self.set.iter().rev().find(covers) {
                return format!("`{first}`, `--set {set}`: {message}");
            }
            let mut in_profile = vec!["profiles".to_owned(), self.profile.clone()];
            in_profile.extend(key.iter().cloned());
            let keys = [in_profile.as_slice(), key];
            let places = keys.into_iter().flat_map(|key| {
                self.files.iter().filter_map(|file| Some((file, file.locate(key)?)))
            });
            if let Some((file, place)) = { places }.next() {
                return file.at(place, &message);
            }
        }
        format!("`{first}`: {message}")
    }
}

impl Text {
    /// A problem of this file alone.
    fn explain(&self, problem: &Problem) -> String {
        let places = (1..=problem.key.len()).rev();
        match { places }.find_map(|length| self.locate(&problem.key[..length])) {
            Some(place) => self.at(place, &problem.message()),
            None => format!("`{}`: {}", self.path.display(), problem.message()),
        }
    }

    fn at(&self, (line, column): (usize, usize), message: &str) -> String {
        format!("`{}` line {line}, column {column}: {message}", self.path.display())
    }

    /// Line and column, from 1, of a key. An arm goes by its label.
    fn locate(&self, key: &[String]) -> Option<(usize, usize)> {
        let document = DeTable::parse(&self.text).ok()?;
        let before = &self.text[..find(document.get_ref(), key)?];
        let line = before.matches('\n').count() + 1;
        let column = before.rsplit('\n').next().map_or(0, |line| line.chars().count()) + 1;
        Some((line, column))
    }
}

/// Where a key starts, in bytes.
fn find(table: &DeTable<'_>, key: &[String]) -> Option<usize> {
    let (first, rest) = key.split_first()?;
    let (name, value) = table.iter().find(|(name, _)| name.get_ref() == first)?;
    let Some((next, deeper)) = rest.split_first() else { return Some(name.span().start) };
    match value.get_ref() {
        DeValue::Table(table) => find(table, rest),
        DeValue::Array(items) => {
            let tables = items.iter().filter_map(|item| item.get_ref().as_table());
            let item = tables.filter(|item| goes_by(label(item), next));
            let item = item.max_by_key(|item| label(item).map_or(0, str::len))?;
            if deeper.is_empty() { find(item, &["label".to_owned()]) } else { find(item, deeper) }
        }
        _ => None,
    }
}

/// Whether an arm of this label is meant: by it, or by that of an arm that its lists made of it, as in `slide-512`.
fn goes_by(label: Option<&str>, wanted: &str) -> bool {
    let rest = label.and_then(|label| wanted.strip_prefix(label));
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('-'))
}

fn label<'t>(table: &'t DeTable<'_>) -> Option<&'t str> {
    table.iter().find(|(name, _)| name.get_ref() == "label")?.1.get_ref().as_str()
}

fn take_profiles(table: &mut Table) -> Result<Table, Problem> {
    match table.remove("profiles") {
        Some(Value::Table(profiles)) => Ok(profiles),
        None => Ok(Table::new()),
        Some(_) => Err(Problem::at(["profiles"], "`profiles` must be a table of tables")),
    }
}

/// Drops the profiles of a file that is extended, but for those named.
fn keep_profiles(base: &mut Table, names: &[String]) -> Result<(), Problem> {
    let mut profiles = take_profiles(base)?;
    if let Some(name) = names.iter().find(|name| !profiles.contains_key(*name)) {
        return Err(Problem::at(["profiles"], no_profile(name, &profiles)));
    }
    profiles.retain(|name, _| names.iter().any(|kept| kept == name));
    base.insert("profiles".to_owned(), Value::Table(profiles));
    Ok(())
}

/// Drops the arms of a file that is extended, but for those named.
fn keep_arms(base: &mut Table, labels: Option<&[String]>) -> Result<(), Problem> {
    let (Some(labels), Some(Value::Array(arms))) = (labels, base.get_mut("arms")) else {
        return Ok(());
    };
    let has = |arm: &Value, label: &String| sweep::label(arm) == Some(label);
    if let Some(label) = labels.iter().find(|label| !arms.iter().any(|arm| has(arm, label))) {
        return Err(Problem::at(["arms"], format!("there is no arm `{label}` to keep")));
    }
    arms.retain(|arm| labels.iter().any(|label| has(arm, label)));
    Ok(())
}

fn no_profile(name: &str, profiles: &Table) -> String {
    let names: Vec<&str> = profiles.keys().map(String::as_str).collect();
    let known = if names.is_empty() {
        "none is defined".to_owned()
    } else {
        format!("there is {}", names.join(", "))
    };
    let near =
        nearest(name, &names).map_or_else(String::new, |near| format!("; did you mean `{near}`?"));
    format!("no profile `{name}`: {known}{near}")
}

#[cfg(test)]
mod tests {
    use super::*;

    const BASE: &str = "name = 'base'\nprofile = 'small'\n[g]\nn = 1\nm = 2\n[[arms]]\nlabel = 'a'\nx = 1\n\
                        [profiles.small.g]\nn = 3\n[profiles.own]\nname = 'own'\n";

    fn write(folder: &Path, name: &str, text: &str) -> PathBuf {
        let path = folder.join(name);
        std::fs::write(&path, text).unwrap();
        path
    }

    fn parse(path: &Path, profile: Option<&str>, set: &[&str]) -> Result<Layers, String> {
        let set: Vec<String> = set.iter().map(|&set| set.to_owned()).collect();
        Layers::parse(path, std::fs::read_to_string(path).unwrap(), profile, &set)
    }

    #[test]
    fn files_profiles_and_flags_lie_over_each_other_and_are_found_again() {
        let folder = tempfile::tempdir().unwrap();
        write(folder.path(), "base.toml", BASE);
        let text = "extends = { file = 'base.toml', profiles = ['small'] }\nname = 'top'\n[g]\nk = 9\n\
                    [[arms]]\nlabel = 'b'\ny = 2\n[profiles.small]\n[profiles.small.g]\nk = 8\n";
        let path = write(folder.path(), "top.toml", text);
        let layers = parse(&path, None, &["arms.a.x=7"]).unwrap();
        let expected: Table = toml::from_str(
            "name = 'top'\n[g]\nn = 3\nm = 2\nk = 8\n[[arms]]\nlabel = 'a'\nx = 7\n[[arms]]\nlabel = 'b'\ny = 2\n",
        )
        .unwrap();
        assert_eq!((layers.table(), layers.profile()), (&expected, "small"));

        let place = |key: &[&str]| {
            let key = key.iter().map(|&part| part.to_owned());
            let text = layers.explain(&Problem::at(key, "M"));
            text.replace(&*folder.path().to_string_lossy(), "")
        };
        assert_eq!(place(&["name"]), "`/top.toml` line 2, column 1: M");
        assert_eq!(place(&["g", "m"]), "`/base.toml` line 5, column 1: M");
        assert_eq!(place(&["g", "n"]), "`/base.toml` line 10, column 1: M");
        assert_eq!(place(&["g", "k"]), "`/top.toml` line 10, column 1: M");
        assert_eq!(place(&["g", "absent"]), "`/top.toml` line 9, column 17: M");
        assert_eq!(place(&["arms", "b", "y"]), "`/top.toml` line 7, column 1: M");
        assert_eq!(place(&["arms", "b"]), "`/top.toml` line 6, column 1: M");
        assert_eq!(place(&["arms", "a", "x"]), "`/top.toml`, `--set arms.a.x`: M");
        assert_eq!(place(&["nowhere"]), "`/top.toml`: M");
        let none = "extends = { file = 'base.toml', profiles = ['small'], arms = [] }\n";
        let path = write(folder.path(), "none.toml", none);
        assert_eq!(parse(&path, None, &[]).unwrap().table()["arms"].as_array().unwrap().len(), 0);
        let refused = parse(&path, Some("own"), &[]).unwrap_err();
        assert!(refused.ends_with("none.toml`: no profile `own`: there is small"), "{refused}");
    }

    #[test]
    fn what_cannot_be_extended_is_named() {
        let folder = tempfile::tempdir().unwrap();
        write(folder.path(), "base.toml", BASE);
        let refuse = |extends: &str, words: &[&str]| {
            let path = write(folder.path(), "top.toml", &format!("a = 1\nextends = {extends}\n"));
            let message = parse(&path, None, &[]).unwrap_err();
            for word in words {
                assert!(message.contains(word), "{message}");
            }
        };
        refuse(
            "{ file = 'no.toml' }",
            &["line 2, column 13", "`extends.file`: there is no file", "no.toml"],
        );
        refuse(
            "{ file = 'base.toml', profiles = ['smal'] }",
            &["no profile `smal`", "did you mean `small`?"],
        );
        refuse(
            "{ file = 'base.toml', arms = ['c'] }",
            &["line 2, column 33", "there is no arm `c` to keep"],
        );
        refuse("{ fil = 'base.toml' }", &["line 2, column 13", "did you mean `file`?"]);
        refuse("'base.toml'", &["line 2, column 1", "`extends`: invalid type"]);
        refuse("{ file = 'top.toml' }", &["more than 8 files extend each other"]);
        write(folder.path(), "base.toml", "x = ");
        refuse("{ file = 'base.toml' }", &["base.toml`", "line 1"]);
    }
}
