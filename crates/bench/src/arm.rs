//! Arms as experiment files and the command line write them.

use std::fmt::Write;

use anyhow::Result;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use toml::{Table, Value};
use zoo::methods::{Full, Never};
use zoo::{Arm, Decode, Prefill};

use crate::fault::Fault;
use crate::problem::{Problem, typed};
use crate::sweep;

/// Budgets that the arms' methods share: each fills the parameter of that name where an arm leaves it out.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Budget {
    /// `budget` of prefill methods.
    prefill: Option<Value>,
    /// `budget` of decode methods.
    decode: Option<Value>,
    /// `recent` of decode methods.
    recent: Option<Value>,
}

/// An arm for every combination of its lists, labelled by what was picked.
pub(crate) fn expand_arm(arm: &Value, budget: &Budget) -> Result<Vec<Arm>, Problem> {
    let Value::Table(arm) = arm else {
        return Err(Problem::plain("each of `arms` must be a table"));
    };
    let mut arm = arm.clone();
    let (prefills, decodes) = (parameters(Prefill::examples()), parameters(Decode::examples()));
    for (phase, methods, key, value) in [
        ("prefill", &prefills, "budget", &budget.prefill),
        ("decode", &decodes, "budget", &budget.decode),
        ("decode", &decodes, "recent", &budget.recent),
    ] {
        if let (Some(value), Some(Value::Table(method))) = (value, arm.get_mut(phase)) {
            let takes = methods
                .iter()
                .any(|known| known.get("name") == method.get("name") && known.contains_key(key));
            if takes && !method.contains_key(key) && !method.contains_key("sinks") {
                method.insert(key.to_owned(), value.clone());
            }
        }
    }
    let name = format!("arm `{}`", arm.get("label").and_then(Value::as_str).unwrap_or_default());
    let combinations = sweep::expand(&arm).map_err(|problem| problem.about(&name))?;
    if combinations.is_empty() {
        return Err(Problem::plain("an empty list leaves nothing to run").about(&name));
    }
    let arms = combinations.into_iter().map(|(arm, picked)| {
        let mut arm: Arm = typed(Value::Table(arm))?;
        for value in picked {
            let _ = write!(arm.label, "-{value}");
        }
        Ok(arm)
    });
    arms.collect()
}

/// Methods as tables, which show the parameters that each takes.
fn parameters<T: Serialize>(methods: Vec<T>) -> Vec<Table> {
    methods.into_iter().filter_map(|method| Table::try_from(method).ok()).collect()
}

/// An arm from `prefill=NAME[:k=v,…] decode=NAME[:k=v,…] [mode=…] [granularity=…]`; what is left out keeps everything.
pub(crate) fn parse_arm(text: Option<&str>) -> Result<Arm> {
    let mut arm = Arm::new("", Prefill::Full(Full {}), Decode::None(Never {}));
    let mut seen = Vec::new();
    for part in text.unwrap_or_default().split_whitespace() {
        let (key, value) = part.split_once('=').unwrap_or((part, ""));
        if seen.contains(&key) {
            return Err(Fault::usage(format!("`--arm`: `{key}` is given twice")).into());
        }
        seen.push(key);
        match key {
            "prefill" => arm.prefill = parse_method(value)?,
            "decode" => arm.decode = parse_method(value)?,
            "mode" => arm.mode = parse_word(value)?,
            "granularity" => arm.granularity = Some(parse_word(value)?),
            _ => {
                let hint = "such as `prefill=h2o:budget=2048 decode=slide:budget=512,recent=256`";
                let message = format!("`--arm`: `{part}` is not a prefill or decode method");
                return Err(Fault::usage(message).hint(hint).into());
            }
        }
    }
    Ok(arm)
}

fn parse_word<T: DeserializeOwned>(word: &str) -> Result<T> {
    let value = Value::from(word).try_into();
    Ok(value
        .map_err(|error: toml::de::Error| Fault::usage(format!("`--arm`: {}", error.message())))?)
}

fn parse_method<T: DeserializeOwned>(text: &str) -> Result<T> {
    let (name, parameters) = text.split_once(':').unwrap_or((text, ""));
    let mut table = Table::new();
    table.insert("name".to_owned(), name.into());
    for parameter in parameters.split(',').filter(|parameter| !parameter.is_empty()) {
        let (key, value) = parameter.split_once('=').ok_or_else(|| {
            Fault::usage(format!("`--arm`: `{parameter}` of `{name}` is not `key=value`"))
        })?;
        let number =
            value.parse::<i64>().map_or_else(|_| toml::Value::from(value), toml::Value::from);
        table.insert(key.to_owned(), number);
    }
    let method = toml::Value::Table(table).try_into();
    Ok(method.map_err(|error: toml::de::Error| {
        Fault::usage(format!("`--arm`: `{text}`: {}", error.message()))
    })?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn halves_that_are_left_out_keep_everything() {
        let full = Arm::new("", Prefill::Full(Full {}), Decode::None(Never {}));
        assert_eq!(parse_arm(None).unwrap(), full);
        let arm = parse_arm(Some("decode=slide:budget=64,recent=32 mode=reference")).unwrap();
        assert_eq!((&arm.prefill, arm.mode), (&full.prefill, zoo::Mode::Reference));
        assert!(
            matches!(arm.decode, Decode::Slide(slide) if (slide.budget, slide.recent) == (64, 32))
        );
    }

    #[test]
    fn what_is_wrong_is_named() {
        let message = |text| parse_arm(Some(text)).unwrap_err().to_string();
        assert_eq!(message("slide"), "`--arm`: `slide` is not a prefill or decode method");
        assert!(message("mode=sond").contains("unknown variant `sond`"));
        assert_eq!(message("mode=sound mode=sound"), "`--arm`: `mode` is given twice");
        assert!(message("decode=slide:budget").contains("`budget` of `slide` is not `key=value`"));
        assert!(message("decode=slide:budget=4,recen=2").contains("unknown field `recen`"));
        assert!(message("decode=slid").contains("unknown variant `slid`"));
    }
}
