//! Commands that list what there is.

use std::fmt::Write;

use anyhow::{Context as _, Result};
use serde::Serialize;
use serde::de::DeserializeOwned;
use toml::Table;
use zoo::{Context, Decode, Method, Parameter, Phase, Prefill};

use super::print;
use crate::fault::Fault;
use crate::hub::Hub;
use crate::models::{self, Choice};
use crate::registry::{Home, registry};

/// `bench methods [NAME]`
pub(crate) fn methods(name: Option<&str>) -> Result<()> {
    let shown: Vec<_> =
        Method::all().filter(|method| name.is_none_or(|name| method.name == name)).collect();
    let Some(name) = name else {
        let lines = shown.iter().map(|method| {
            format!("{:<8} {:<14} {}\n", phase(method.phase), method.name, method.summary())
        });
        return print(&lines.collect::<String>());
    };
    let Some(first) = shown.first() else {
        let known: Vec<&str> = Method::all().map(|method| method.name).collect();
        let near = known
            .iter()
            .max_by(|a, b| strsim::jaro_winkler(name, a).total_cmp(&strsim::jaro_winkler(name, b)));
        return Err(Fault::usage(format!("unknown method `{name}`"))
            .hint(format!("did you mean `{}`? `bench methods` lists all", near.unwrap_or(&"full")))
            .into());
    };
    let mut text = format!("# {name}\n\n{}\n", first.page());
    for method in &shown {
        let _ = write!(text, "\n## As a {} method\n\n{}", phase(method.phase), example(method)?);
    }
    print(&text)
}

fn phase(phase: Phase) -> &'static str {
    match phase {
        Phase::Prefill => "prefill",
        Phase::Decode => "decode",
    }
}

/// A method at the settings of SCOPE's 4K suite: as TOML, its parameters, its parts, and what the published code does in its place.
fn example(method: &Method) -> Result<String> {
    let context = Context { max_new_tokens: 4096 };
    match method.phase {
        Phase::Prefill => {
            let example = named(Prefill::examples(), method.name)?;
            let parts = example.policy()?.to_string();
            section(method, &example, &parts, "", example.published_parts())
        }
        Phase::Decode => {
            let example = named(Decode::examples(), method.name)?;
            let parts = example.policy(context)?.to_string();
            // The study paired unified methods with their own prefill, all others with H2O's.
            let behind = named(Prefill::examples(), method.name)
                .or_else(|_| named(Prefill::examples(), "h2o"))?;
            let place = format!(", behind prefill `{}`", behind.name());
            let published = example.published_parts(&behind, context);
            section(method, &example, &parts, &place, published)
        }
    }
}

fn section<T: Serialize + DeserializeOwned>(
    method: &Method,
    example: &T,
    parts: &str,
    place: &str,
    published: Result<String, zoo::Error>,
) -> Result<String> {
    let table = Table::try_from(example)?;
    let toml = table.to_string();
    let inline: Vec<&str> = toml.lines().collect();
    let mut text =
        format!("In TOML, at the settings of SCOPE's 4K suite: `{{ {} }}`\n", inline.join(", "));
    for (i, Parameter { key, about }) in method.parameters().into_iter().enumerate() {
        let above = if i == 0 { "\n" } else { "" };
        let _ = writeln!(text, "{above}- `{key}`{}: {about}", default::<T>(&table, key)?);
    }
    let published = match published {
        Ok(parts) => format!("{place}, per query head: {parts}"),
        Err(zoo::Error::Unpublished { .. }) => ": not in the study's code".to_owned(),
        Err(error) => return Err(error.into()),
    };
    let _ = write!(text, "\nParts: {parts}\n\nAs published (`mode = \"reference\"`){published}\n");
    Ok(text)
}

/// What a method takes where its key is left out.
fn default<T: Serialize + DeserializeOwned>(example: &Table, key: &str) -> Result<String> {
    let mut without = example.clone();
    without.remove(key);
    let Ok(method) = without.try_into::<T>() else { return Ok(", required".to_owned()) };
    Ok(match Table::try_from(&method)?.get(key) {
        Some(value) => format!(" = {value}"),
        None => ", optional".to_owned(),
    })
}

fn named<T: Serialize>(methods: Vec<T>, name: &str) -> Result<T> {
    let is_it = |method: &T| serde_json::to_value(method).is_ok_and(|value| value["name"] == name);
    methods.into_iter().find(is_it).with_context(|| format!("method `{name}` has no example"))
}

/// `bench models`
pub(crate) fn models() -> Result<()> {
    let hub = Hub::from_environment(false).without_asking(true);
    let lines = registry().into_iter().map(|known| {
        let choice = Choice::find(known.name, &hub);
        let here = match (choice.and_then(|choice| Ok(choice.path()?.to_owned())), known.home) {
            (Ok(path), _) => path.display().to_string(),
            (Err(error), Home::Embedded) => error.to_string(),
            (Err(_), Home::Script(_)) => {
                format!("not here; `scripts/fetch-model {}` brings it", known.name)
            }
            (Err(_), Home::Hub(id)) => format!("not here; the hub has it as `{id}`"),
        };
        format!("{:<26} {}\n{:<26} {here}\n", known.name, known.about, "")
    });
    print(&lines.collect::<String>())
}

/// What the environment can change; a token is never printed.
const VARIABLES: [&str; 13] = [
    "BENCH_DATA",
    "BENCH_CACHE",
    "BENCH_DATA_MIRROR",
    "RAYON_NUM_THREADS",
    "CANDLE_NUM_THREADS",
    "HF_HOME",
    "HF_HUB_CACHE",
    "HF_TOKEN_PATH",
    "HF_HUB_OFFLINE",
    "HF_ENDPOINT",
    "XDG_CACHE_HOME",
    "HOME",
    "NO_COLOR",
];

/// `bench doctor`
pub(crate) fn doctor() -> Result<()> {
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let variable = |name: &str| std::env::var(name).unwrap_or_else(|_| "not set".to_owned());
    let device = |name: &str| match runner::device(name) {
        Ok(_) => "available".to_owned(),
        Err(error) => error.to_string(),
    };
    let mut text = format!(
        "bench {}\ncores              {cores}\ncpu                {}\ncuda               {}\nmodel cache        {}\n",
        env!("CARGO_PKG_VERSION"),
        device("cpu"),
        device("cuda:0"),
        models::cache_folder().display(),
    );
    for name in VARIABLES {
        let _ = writeln!(text, "{name:<18} {}", variable(name));
    }
    let token = if std::env::var_os("HF_TOKEN").is_some_and(|token| !token.is_empty()) {
        "set, and not shown"
    } else {
        "not set"
    };
    let _ = writeln!(text, "{:<18} {token}", "HF_TOKEN");
    text += "\n";
    print(&text)?;
    models()
}
