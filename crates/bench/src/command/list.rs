//! Commands that list what there is.

use std::fmt::Write;

use anyhow::{Context as _, Result};
use zoo::{Context, Decode, Method, Phase, Prefill};

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
        let _ = write!(
            text,
            "\n## As a {} method\n\n{}",
            phase(method.phase),
            example(method.name, method.phase)?
        );
    }
    print(&text)
}

fn phase(phase: Phase) -> &'static str {
    match phase {
        Phase::Prefill => "prefill",
        Phase::Decode => "decode",
    }
}

/// A method at the settings of SCOPE's 4K suite: as TOML, and as parts.
fn example(name: &str, phase: Phase) -> Result<String> {
    let context = Context { max_new_tokens: 4096 };
    let (toml, parts) = match phase {
        Phase::Prefill => {
            let method = named(Prefill::examples(), name)?;
            (toml::to_string(&method)?, method.policy()?.to_string())
        }
        Phase::Decode => {
            let method = named(Decode::examples(), name)?;
            (toml::to_string(&method)?, method.policy(context)?.to_string())
        }
    };
    let inline: Vec<&str> = toml.lines().collect();
    Ok(format!(
        "In TOML, at the settings of SCOPE's 4K suite: `{{ {} }}`\n\nParts: {parts}\n",
        inline.join(", ")
    ))
}

fn named<T: serde::Serialize>(methods: Vec<T>, name: &str) -> Result<T> {
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
