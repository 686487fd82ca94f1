//! An arm as the command line writes it.

use anyhow::Result;
use serde::de::DeserializeOwned;
use toml::Table;
use zoo::methods::{Full, Never};
use zoo::{Decode, Prefill};

use crate::fault::Fault;

/// An arm from `prefill=NAME[:k=v,…] decode=NAME[:k=v,…]`; what is left out keeps everything.
pub(crate) fn parse_arm(text: Option<&str>) -> Result<(Prefill, Decode)> {
    let (mut prefill, mut decode) = (None, None);
    for half in text.unwrap_or_default().split_whitespace() {
        let method = match half.split_once('=') {
            Some(("prefill", method)) if prefill.is_none() => {
                prefill = Some(parse_method(method)?);
                continue;
            }
            Some(("decode", method)) if decode.is_none() => method,
            _ => {
                let hint = "such as `prefill=h2o:budget=2048 decode=slide:budget=512,recent=256`";
                return Err(Fault::usage(format!(
                    "`--arm`: `{half}` is not a prefill or decode method"
                ))
                .hint(hint)
                .into());
            }
        };
        decode = Some(parse_method(method)?);
    }
    let whole = || Prefill::Full(Full {});
    Ok((prefill.unwrap_or_else(whole), decode.unwrap_or(Decode::None(Never {}))))
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
        assert_eq!(parse_arm(None).unwrap(), (Prefill::Full(Full {}), Decode::None(Never {})));
        let (prefill, decode) = parse_arm(Some("decode=slide:budget=64,recent=32")).unwrap();
        assert_eq!(prefill, Prefill::Full(Full {}));
        assert!(matches!(decode, Decode::Slide(slide) if (slide.budget, slide.recent) == (64, 32)));
    }

    #[test]
    fn what_is_wrong_is_named() {
        let message = |text| parse_arm(Some(text)).unwrap_err().to_string();
        assert_eq!(message("slide"), "`--arm`: `slide` is not a prefill or decode method");
        assert!(message("decode=slide:budget").contains("`budget` of `slide` is not `key=value`"));
        assert!(message("decode=slide:budget=4,recen=2").contains("unknown field `recen`"));
        assert!(message("decode=slid").contains("unknown variant `slid`"));
    }
}
