//! Chat templates: Jinja, as model files carry it.

use minijinja::{Environment, Value, context};
use serde::{Deserialize, Serialize};

use crate::{Error, Result};

/// One turn of a conversation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Message {
    /// `system`, `user` or `assistant`.
    pub role: String,
    /// What was said.
    pub content: String,
}

impl Message {
    /// A turn.
    pub fn new(role: &str, content: impl Into<String>) -> Self {
        Self { role: role.to_owned(), content: content.into() }
    }
}

/// A model's own way to write down a conversation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChatTemplate {
    source: String,
    bos: Option<String>,
    eos: Option<String>,
}

impl ChatTemplate {
    /// From the template's source and the texts of the special tokens that it may name.
    pub fn new(source: &str, bos: Option<&str>, eos: Option<&str>) -> Self {
        Self { source: source.to_owned(), bos: bos.map(str::to_owned), eos: eos.map(str::to_owned) }
    }

    /// The conversation as the model reads it, up to where the assistant begins.
    ///
    /// As `transformers` has it, `tools` and `documents` are none, and a special token that the model lacks is undefined. Unlike there,
    /// so is `strftime_now`: a prompt that names the day would differ from run to run, and templates that ask for it first have a date
    /// of their own.
    ///
    /// # Errors
    /// [`Error::Template`] if the template does not parse, or refuses these messages.
    pub fn render(&self, messages: &[Message]) -> Result<String> {
        let fault = |error: minijinja::Error| Error::Template(error.to_string());
        let mut environment = Environment::new();
        environment.set_trim_blocks(true);
        environment.set_lstrip_blocks(true);
        environment
            .set_unknown_method_callback(minijinja_contrib::pycompat::unknown_method_callback);
        environment.add_function(
            "raise_exception",
            |reason: String| -> std::result::Result<String, minijinja::Error> {
                Err(minijinja::Error::new(minijinja::ErrorKind::InvalidOperation, reason))
            },
        );
        environment.set_fuel(Some(1_000_000));
        let template = environment.template_from_str(&self.source).map_err(fault)?;
        let token = |text: &Option<String>| text.as_deref().map_or(Value::UNDEFINED, Value::from);
        template
            .render(context! {
                messages,
                add_generation_prompt => true,
                tools => (),
                documents => (),
                bos_token => token(&self.bos),
                eos_token => token(&self.eos),
            })
            .map_err(fault)
    }
}
