//! Chat templates: Jinja, as model files carry it.

use std::path::{Path, PathBuf};
use std::time::Duration;

use minijinja::{Environment, Value, context};
use serde::{Deserialize, Serialize};

use crate::metered::within;
use crate::{Error, Result};

/// The most that a rendering may hold at once, a thousand times what a template of the study takes, and for each byte of the messages.
const LIMIT_BYTES: usize = 32 << 20;
const LIMIT_PER_BYTE: usize = 16;
/// And how long it may take, where a thousandth does.
const LIMIT: Duration = Duration::from_secs(10);
/// And how many steps, a hundred times as many. Each may nest a value once more, and a nested value is printed and dropped by recursion.
const STEPS: u64 = 50_000;

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
    path: PathBuf,
    source: String,
    bos: Option<String>,
    eos: Option<String>,
}

impl ChatTemplate {
    /// From the file that holds the template, its source, and the texts of the special tokens that it may name.
    pub fn new(path: &Path, source: &str, bos: Option<&str>, eos: Option<&str>) -> Self {
        Self {
            path: path.to_owned(),
            source: source.to_owned(),
            bos: bos.map(str::to_owned),
            eos: eos.map(str::to_owned),
        }
    }

    /// The conversation as the model reads it, up to where the assistant begins.
    ///
    /// As `transformers` has it, `tools` and `documents` are none, and a special token that the model lacks is undefined. Unlike there,
    /// so is `strftime_now`: a prompt that names the day would differ from run to run, and templates that ask for it first have a date
    /// of their own.
    ///
    /// # Errors
    /// [`Error::Template`] if the template does not parse, refuses these messages, or takes more memory or time than a conversation can need.
    pub fn render(&self, messages: &[Message]) -> Result<String> {
        let fault = |reason: String| Error::Template { path: self.path.clone(), reason };
        // What its expressions make grow before anything is written, the template engine does not bound.
        let (template, messages) = (self.clone(), messages.to_vec());
        let said: usize = messages.iter().map(|message| message.content.len()).sum();
        let rendered = within(LIMIT_BYTES + LIMIT_PER_BYTE * said, LIMIT, move || {
            template.render_at_any_cost(&messages).map_err(|error| error.to_string())
        });
        rendered.map_err(|stopped| fault(stopped.to_string()))?.map_err(fault)
    }

    fn render_at_any_cost(
        &self,
        messages: &[Message],
    ) -> std::result::Result<String, minijinja::Error> {
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
        environment.set_fuel(Some(STEPS));
        let template = environment.template_from_str(&self.source)?;
        let token = |text: &Option<String>| text.as_deref().map_or(Value::UNDEFINED, Value::from);
        template.render(context! {
            messages,
            add_generation_prompt => true,
            tools => (),
            documents => (),
            bos_token => token(&self.bos),
            eos_token => token(&self.eos),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn render(source: &str) -> Result<String> {
        let template = ChatTemplate::new(Path::new("a/file"), source, None, None);
        template.render(&[Message::new("user", "one")])
    }

    #[test]
    fn a_template_of_a_few_lines_takes_little() {
        let source = "{% set ns = namespace(text='') %}{% for message in messages %}\
            {% set ns.text = ns.text ~ message['content'] + '!' %}{% endfor %}{{ ns.text }}";
        assert_eq!(render(source).unwrap(), "one!");
    }

    #[test]
    fn a_long_conversation_is_no_fault_of_the_template() {
        let template = "{% for message in messages %}{{ message['content'] | trim }}{% endfor %}";
        let template = ChatTemplate::new(Path::new("a/file"), template, None, None);
        let long = "word ".repeat(3 << 20);
        assert_eq!(template.render(&[Message::new("user", &*long)]).unwrap(), long.trim());
    }

    #[test]
    fn what_grows_without_end_is_refused_with_its_file() {
        let often = |body: &str| {
            let start = "{% set ns = namespace(x=['a'], s='aaaaaaaa') %}{% for i in range(60) %}";
            format!("{start}{body}{{% endfor %}}{{{{ ns.x }}}}")
        };
        for source in [
            often("{% set ns.s = ns.s ~ ns.s %}"),
            often("{% set ns.s = ns.s + ns.s %}"),
            often("{% set ns.s = ns.s.replace('a', ns.s) %}"),
            often("{% set ns.s = ns.s|replace('a', ns.s) %}"),
            often("{% set ns.s %}{{ ns.s }}{{ ns.s }}{% endset %}"),
            often("{% set ns.s = 'a' * 99000000 %}"),
            often("{% set ns.x = (ns.x + ns.x)|list %}"),
            often("{% set ns.x = [ns.x, ns.x] %}"),
            often("{% set ns.x = ns.x + ns.x %}"),
            often("{{ ns.s }}{% set ns.s = ns.s ~ ns.s %}"),
        ] {
            let error = render(&source).unwrap_err();
            assert!(error.is_data(), "{error}");
            let error = error.to_string();
            assert!(error.contains("`a/file`") && error.contains("32 MiB"), "{source}: {error}");
        }
        let deep = "{% set ns = namespace(x=1) %}{% for i in range(99999) %}{% set ns.x = [ns.x] %}\
            {% endfor %}{{ ns.x }}";
        assert!(render(deep).unwrap_err().to_string().contains("fuel"));
        assert!(render(&deep.replace("99999", "4000")).unwrap().len() > 8000);
        let endless =
            "{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}";
        assert!(render(endless).unwrap_err().to_string().contains("fuel"));
    }
}
