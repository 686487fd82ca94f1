//! Experiment files as values: profiles laid over them, keys set from the command line, lists multiplied out.

use toml::{Table, Value};

use crate::problem::Problem;

/// Lays `over` on `base`: tables are merged, lists of tables by their `label`, all else is replaced.
pub(crate) fn overlay(base: &mut Table, over: &Table) {
    for (key, value) in over {
        match (base.get_mut(key), value) {
            (Some(Value::Table(base)), Value::Table(over)) => overlay(base, over),
            (Some(Value::Array(base)), Value::Array(over)) if is_labelled(over) => {
                overlay_list(base, over);
            }
            _ => {
                base.insert(key.clone(), value.clone());
            }
        }
    }
}

/// The name that an arm goes by.
pub(crate) fn label(value: &Value) -> Option<&str> {
    value.as_table()?.get("label")?.as_str()
}

fn is_labelled(list: &[Value]) -> bool {
    !list.is_empty() && list.iter().all(|value| label(value).is_some())
}

fn overlay_list(base: &mut Vec<Value>, over: &[Value]) {
    for item in over {
        match (base.iter_mut().find(|value| label(value) == label(item)), item) {
            (Some(Value::Table(base)), Value::Table(over)) => overlay(base, over),
            _ => base.push(item.clone()),
        }
    }
}

/// Sets `key`, a dotted path in which an arm goes by its label, to `value`, read as TOML where it can be and as text where not.
///
/// # Errors
/// The part of the path that leads nowhere.
pub(crate) fn set(root: &mut Table, key: &str, value: &str) -> Result<(), String> {
    let parsed = toml::from_str::<Table>(&format!("value = {value}"))
        .ok()
        .and_then(|mut table| table.remove("value"));
    let value = parsed.unwrap_or_else(|| Value::String(value.to_owned()));
    let mut parts = key.split('.').peekable();
    let Some(mut part) = parts.next() else { return Err(key.to_owned()) };
    let mut table = root;
    while parts.peek().is_some() {
        let lost = || part.to_owned();
        table = match table.get_mut(part).ok_or_else(lost)? {
            Value::Table(inner) => inner,
            Value::Array(items) => {
                let name = parts.next().unwrap_or_default();
                let item = items.iter_mut().find(|item| label(item) == Some(name));
                item.and_then(Value::as_table_mut).ok_or_else(|| name.to_owned())?
            }
            _ => return Err(lost()),
        };
        match parts.next() {
            Some(next) => part = next,
            None => return Err(key.to_owned()),
        }
    }
    table.insert(part.to_owned(), value);
    Ok(())
}

/// The most settings of an experiment: combinations of models, workloads and arms.
pub(crate) const MOST_SETTINGS: usize = 4096;

/// Refuses parts of an experiment, each a key and how many there are, that multiply to more than [`MOST_SETTINGS`].
///
/// # Errors
/// The product and the keys that make it.
pub(crate) fn check_product(parts: &[(String, usize)]) -> Result<(), Problem> {
    let product = parts.iter().fold(1_usize, |product, (_, count)| product.saturating_mul(*count));
    if product <= MOST_SETTINGS {
        return Ok(());
    }
    let several = || parts.iter().filter(|(_, count)| *count > 1);
    let shown: Vec<String> = several().map(|(key, count)| format!("`{key}` ({count})")).collect();
    let message = format!(
        "{} make {product} settings: an experiment has at most {MOST_SETTINGS}",
        shown.join(" × ")
    );
    let longest = several().max_by_key(|(_, count)| *count);
    Err(Problem::at(longest.iter().flat_map(|(key, _)| key.split('.')), message))
}

/// The lists of a table that stand for sweeps: their dotted keys, behind those above the table, and their lengths.
pub(crate) fn lists(table: &Table, above: &str) -> Vec<(String, usize)> {
    let found = table.iter().flat_map(|(key, value)| match value {
        Value::Table(inner) => lists(inner, &format!("{above}{key}.")),
        Value::Array(items) if !items.iter().any(Value::is_table) => {
            vec![(format!("{above}{key}"), items.len())]
        }
        _ => Vec::new(),
    });
    found.collect()
}

/// Every combination of a table's lists, each with the values that were picked, as `key=value` texts.
///
/// A list stands for a sweep wherever a scalar is meant; a list of tables stands for itself.
///
/// # Errors
/// As [`check_product`].
pub(crate) fn expand(table: &Table) -> Result<Vec<(Table, Vec<String>)>, Problem> {
    check_product(&lists(table, ""))?;
    Ok(multiplied(table))
}

fn multiplied(table: &Table) -> Vec<(Table, Vec<String>)> {
    let mut combinations = vec![(Table::new(), Vec::new())];
    for (key, value) in table {
        let choices: Vec<(Value, Vec<String>)> = match value {
            Value::Table(inner) => multiplied(inner)
                .into_iter()
                .map(|(table, picked)| (Value::Table(table), picked))
                .collect(),
            Value::Array(items) if !items.iter().any(Value::is_table) => {
                items.iter().map(|item| (item.clone(), vec![plain(item)])).collect()
            }
            other => vec![(other.clone(), Vec::new())],
        };
        combinations = combinations
            .iter()
            .flat_map(|(table, picked): &(Table, Vec<String>)| {
                choices.iter().map(move |(choice, more)| {
                    let mut table = table.clone();
                    table.insert(key.clone(), choice.clone());
                    (table, [picked.clone(), more.clone()].concat())
                })
            })
            .collect();
    }
    combinations
}

/// What was picked from each list: its key and the value.
pub(crate) type Picked = Vec<(String, String)>;

/// As [`expand`], for a table that holds nothing but lists and scalars, with the key of each value that was picked.
///
/// # Errors
/// An empty list; else as [`expand`].
pub(crate) fn expand_named(table: &Table) -> Result<Vec<(Table, Picked)>, Problem> {
    let lists = || table.iter().filter_map(|(key, value)| Some((key, value.as_array()?)));
    let lists = || lists().filter(|(_, items)| !items.iter().any(Value::is_table));
    if let Some((key, _)) = lists().find(|(_, items)| items.is_empty()) {
        let message = format!("`{key}`: an empty list leaves nothing to run");
        return Err(Problem::at([key], message));
    }
    let combinations = expand(table)?.into_iter().map(|(table, picked)| {
        let keys = lists().map(|(key, _)| key.clone());
        (table, keys.zip(picked).collect())
    });
    Ok(combinations.collect())
}

fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(text: &str) -> Table {
        toml::from_str(text).unwrap()
    }

    #[test]
    fn a_profile_changes_an_arm_by_its_label() {
        let mut base = table("[[arms]]\nlabel = 'a'\nx = 1\ny = 2\n[[arms]]\nlabel = 'b'\n");
        overlay(&mut base, &table("[[arms]]\nlabel = 'a'\ny = 3\n[[arms]]\nlabel = 'c'\n"));
        assert_eq!(
            base,
            table(
                "[[arms]]\nlabel = 'a'\nx = 1\ny = 3\n[[arms]]\nlabel = 'b'\n[[arms]]\nlabel = 'c'\n"
            )
        );
        overlay(&mut base, &table("arms = []\n"));
        assert_eq!(base, table("arms = []\n"));
    }

    #[test]
    fn lists_multiply_out() {
        let labels: Vec<String> = expand(&table("a = [1, 2]\n[b]\nc = ['x', 'y']\n"))
            .unwrap()
            .into_iter()
            .map(|(_, picked)| picked.join(" "))
            .collect();
        assert_eq!(labels, ["1 x", "1 y", "2 x", "2 y"]);
        assert_eq!(expand(&table("a = []")).unwrap().len(), 0);
    }

    #[test]
    fn lists_that_multiply_beyond_reason_are_named() {
        let list = format!("[{}1]", "1, ".repeat(999));
        let text = format!("a = {list}\nn = [7]\n[b]\nc = {list}\nd = {list}\n");
        let problem = expand(&table(&text)).unwrap_err();
        assert_eq!(
            problem.message(),
            "`a` (1000) × `b.c` (1000) × `b.d` (1000) make 1000000000 settings: an experiment has at most 4096"
        );
        assert_eq!(problem.key, ["b", "d"]);
    }

    #[test]
    fn keys_are_set_by_path_and_arms_by_label() {
        let mut base = table("[g]\nn = 1\n[[arms]]\nlabel = 'slide'\n[arms.decode]\nbudget = 1\n");
        set(&mut base, "g.n", "7").unwrap();
        set(&mut base, "arms.slide.decode.budget", "[5, 6]").unwrap();
        assert_eq!(base["g"]["n"].as_integer(), Some(7));
        assert_eq!(base["arms"][0]["decode"]["budget"].as_array().map(Vec::len), Some(2));
        assert_eq!(set(&mut base, "nowhere.x", "1"), Err("nowhere".to_owned()));
    }
}
