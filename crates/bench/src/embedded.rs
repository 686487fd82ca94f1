//! The model that is compiled in: a small Llama that does the synthetic task, in Hugging Face's layout.

use std::path::PathBuf;

use anyhow::{Context as _, Result};

use crate::fault::Fault;
use crate::models::cache_folder;
use crate::whole_file;

/// The name under which it is known.
pub(crate) const NAME: &str = "embedded";

/// Its files; none if the program was built without them.
#[cfg(feature = "embedded")]
const FILES: &[(&str, &[u8])] = &[
    ("config.json", include_bytes!("../embedded/config.json")),
    ("generation_config.json", include_bytes!("../embedded/generation_config.json")),
    ("tokenizer.json", include_bytes!("../embedded/tokenizer.json")),
    ("tokenizer_config.json", include_bytes!("../embedded/tokenizer_config.json")),
    ("model.safetensors", include_bytes!("../embedded/model.safetensors")),
];
#[cfg(not(feature = "embedded"))]
const FILES: &[(&str, &[u8])] = &[];

/// A folder of the cache that holds it, written if it is not there or not the same, so that it is loaded by the same code as any other.
///
/// # Errors
/// If it is not compiled in, or the folder cannot be written.
pub(crate) fn folder() -> Result<PathBuf> {
    let Some((_, weights)) = FILES.last() else {
        return Err(Fault::data(format!("model `{NAME}` is not compiled in"))
            .hint("build with the feature `embedded`, which is on by default")
            .into());
    };
    let folder = cache_folder()
        .join("models")
        .join(format!("{NAME}-{}", &evaluator::set::sha256(weights)[..12]));
    lay_out(&folder).map_err(|error| {
        Fault::data(format!("the model `{NAME}` cannot be laid out: {error:#}"))
            .hint("point `BENCH_CACHE` to a folder that can be written")
    })?;
    Ok(folder)
}

fn lay_out(folder: &std::path::Path) -> Result<()> {
    std::fs::create_dir_all(folder)
        .with_context(|| format!("cannot create `{}`", folder.display()))?;
    for (name, bytes) in FILES {
        let path = folder.join(name);
        if std::fs::read(&path).ok().as_deref() != Some(bytes) {
            whole_file::write(&path, bytes)?;
        }
    }
    Ok(())
}
