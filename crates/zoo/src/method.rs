//! The list of methods that TOML names.

use serde::{Deserialize, Serialize};

use crate::class::Class;
use crate::methods::{
    Adaptive, Discontinuous, Full, H2oCumulative, H2oDecode, H2oPrefill, Never, PyramidInferDecode,
    PyramidInferPrefill, PyramidKv, Random, Recency, Slide, SnapKv, StreamingLlmDecode,
    StreamingLlmPrefill,
};
use crate::{DecodePolicy, Error, PrefillPolicy};

/// What a run fixes beside a method's own parameters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Context {
    /// Largest number of generated tokens (SCOPE: T).
    pub max_new_tokens: usize,
}

/// What a prefill method's file provides.
pub(crate) trait PrefillMethod {
    /// The method at the settings of SCOPE's 4K suite.
    fn example() -> Self
    where
        Self: Sized;

    /// Refuses parameters that cannot work.
    fn check(&self) -> Result<(), Error> {
        Ok(())
    }

    /// The method as a composition of parts; its parameters have been checked.
    fn policy(&self) -> PrefillPolicy;

    /// What SCOPE's published code does in its place, if the study ran it.
    fn published(&self) -> Option<Class> {
        None
    }
}

/// What a decode method's file provides.
pub(crate) trait DecodeMethod {
    /// The method at the settings of SCOPE's 4K suite.
    fn example() -> Self
    where
        Self: Sized;

    /// Refuses parameters that cannot work.
    fn check(&self) -> Result<(), Error> {
        Ok(())
    }

    /// Refuses parameters that have a meaning in reference mode only.
    fn check_sound(&self) -> Result<(), Error> {
        Ok(())
    }

    /// The method as a composition of parts; its parameters have been checked.
    fn policy(&self, context: Context) -> DecodePolicy;

    /// What SCOPE's published code does in its place behind such a prefill class, if the study ran it.
    fn published(&self, class: &Class, context: Context) -> Option<DecodePolicy> {
        let _ = (class, context);
        None
    }
}

/// The half of a run that a method acts in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Once, when the prompt has been read.
    Prefill,
    /// While tokens are generated.
    Decode,
}

/// A method's entry in the list.
#[derive(Debug)]
pub struct Method {
    /// Name in TOML.
    pub name: &'static str,
    /// Where it may stand.
    pub phase: Phase,
    source: &'static str,
    /// How its parameters' declaration begins in `source`.
    declaration: &'static str,
}

/// What a method lets a user choose.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parameter {
    /// Key in TOML.
    pub key: &'static str,
    /// What it means.
    pub about: String,
}

/// Declares one phase's methods: name in TOML, variant, parameters, file.
macro_rules! methods {
    (
        $(#[$doc:meta])*
        $phase:ident as $list:ident: $method:ident;
        $($name:literal $variant:ident($parameters:ident) $file:literal)*
    ) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
        #[serde(tag = "name")]
        pub enum $phase {
            $(
                #[doc = concat!("See [`", stringify!($parameters), "`].")]
                #[serde(rename = $name)]
                $variant($parameters),
            )*
        }

        impl $phase {
            /// Every method of the phase at the settings of SCOPE's 4K suite.
            pub fn examples() -> Vec<Self> {
                vec![$(Self::$variant($parameters::example())),*]
            }

            /// Its name in TOML.
            pub fn name(&self) -> &'static str {
                match self {
                    $(Self::$variant(_) => $name,)*
                }
            }

            fn method(&self) -> &dyn $method {
                match self {
                    $(Self::$variant(method) => method,)*
                }
            }
        }

        const $list: &[Method] = &[$(Method {
            name: $name,
            phase: Phase::$phase,
            source: include_str!(concat!("methods/", $file)),
            declaration: concat!("pub struct ", stringify!($parameters), " {"),
        }),*];
    };
}

methods! {
    /// A prefill method with its parameters: what survives of the prompt.
    Prefill as PREFILL: PrefillMethod;
    "full" Full(Full) "full.rs"
    "h2o" H2o(H2oPrefill) "h2o.rs"
    "snapkv" Snapkv(SnapKv) "snapkv.rs"
    "pyramidkv" Pyramidkv(PyramidKv) "pyramidkv.rs"
    "pyramidinfer" Pyramidinfer(PyramidInferPrefill) "pyramidinfer.rs"
    "streaming-llm" StreamingLlm(StreamingLlmPrefill) "streaming_llm.rs"
}

methods! {
    /// A decode method with its parameters: what goes while tokens are generated.
    Decode as DECODE: DecodeMethod;
    "none" None(Never) "full.rs"
    "slide" Slide(Slide) "slide.rs"
    "adaptive" Adaptive(Adaptive) "adaptive.rs"
    "discontinuous" Discontinuous(Discontinuous) "discontinuous.rs"
    "h2o" H2o(H2oDecode) "h2o.rs"
    "h2o-cumulative" H2oCumulative(H2oCumulative) "h2o_cumulative.rs"
    "pyramidinfer" Pyramidinfer(PyramidInferDecode) "pyramidinfer.rs"
    "streaming-llm" StreamingLlm(StreamingLlmDecode) "streaming_llm.rs"
    "random" Random(Random) "random.rs"
    "recency" Recency(Recency) "recency.rs"
}

impl Prefill {
    /// Refuses parameters that cannot work.
    ///
    /// # Errors
    /// [`Error`], naming the method and the key.
    pub fn check(&self) -> Result<(), Error> {
        self.method().check()
    }

    /// The method as a composition of parts.
    ///
    /// # Errors
    /// As [`Prefill::check`].
    pub fn policy(&self) -> Result<PrefillPolicy, Error> {
        self.check()?;
        Ok(self.method().policy())
    }

    /// What SCOPE's published code does in its place.
    pub(crate) fn published(&self) -> Result<Class, Error> {
        self.check()?;
        self.method().published().ok_or(Error::Unpublished { method: self.name() })
    }

    /// The parts of what SCOPE's published code does in its place, in words.
    ///
    /// # Errors
    /// As [`Prefill::check`], and [`Error::Unpublished`].
    pub fn published_parts(&self) -> Result<String, Error> {
        Ok(format!("{:#}", self.published()?))
    }
}

impl Decode {
    /// Refuses parameters that cannot work.
    ///
    /// # Errors
    /// [`Error`], naming the method and the key.
    pub fn check(&self) -> Result<(), Error> {
        self.method().check()
    }

    /// The method as a composition of parts.
    ///
    /// # Errors
    /// As [`Decode::check`].
    pub fn policy(&self, context: Context) -> Result<DecodePolicy, Error> {
        self.check()?;
        self.method().check_sound()?;
        Ok(self.method().policy(context))
    }

    /// What SCOPE's published code does in its place behind a prefill class.
    pub(crate) fn published(&self, class: &Class, context: Context) -> Result<DecodePolicy, Error> {
        self.check()?;
        let published = self.method().published(class, context);
        published.ok_or(Error::Unpublished { method: self.name() })
    }

    /// The parts of what SCOPE's published code does in its place behind a prefill method, in words.
    ///
    /// # Errors
    /// As [`Decode::check`], and [`Error::Unpublished`] for either.
    pub fn published_parts(&self, behind: &Prefill, context: Context) -> Result<String, Error> {
        Ok(format!("{:#}", self.published(&behind.published()?, context)?))
    }
}

impl Method {
    /// All methods, in the order in which they are shown.
    pub fn all() -> impl Iterator<Item = &'static Self> {
        PREFILL.iter().chain(DECODE)
    }

    /// The method's page: the module comment of its file, as Markdown.
    pub fn page(&self) -> String {
        let line = |line: &str| {
            line.strip_prefix("//!").map(|text| text.strip_prefix(' ').unwrap_or(text).to_owned())
        };
        self.source.lines().map_while(line).collect::<Vec<_>>().join("\n")
    }

    /// Its parameters in the order of its file, with the words that document them there.
    pub fn parameters(&self) -> Vec<Parameter> {
        let fields = self.source.split_once(self.declaration).map_or("", |(_, fields)| fields);
        let (mut parameters, mut about) = (vec![], vec![]);
        for line in fields.lines().take_while(|line| !line.starts_with('}')).map(str::trim) {
            if let Some(words) = line.strip_prefix("///") {
                about.push(words.trim());
            } else if let Some((key, _)) =
                line.strip_prefix("pub ").and_then(|line| line.split_once(':'))
            {
                parameters.push(Parameter { key, about: about.join(" ") });
                about.clear();
            }
        }
        parameters
    }

    /// The first sentence of its page.
    pub fn summary(&self) -> &'static str {
        self.source.lines().next().map_or("", |line| line.trim_start_matches("//!").trim())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_knows_the_parameters_that_toml_takes() {
        for method in Method::all() {
            let written = format!("name = {:?}\nunknown = 1", method.name);
            let complaint = match method.phase {
                Phase::Prefill => toml::from_str::<Prefill>(&written).unwrap_err().to_string(),
                Phase::Decode => toml::from_str::<Decode>(&written).unwrap_err().to_string(),
            };
            let (_, expected) = complaint.split_once("unknown field `unknown`").unwrap();
            let expected: Vec<&str> = expected.split('`').skip(1).step_by(2).collect();
            let parameters = method.parameters();
            let keys: Vec<&str> = parameters.iter().map(|parameter| parameter.key).collect();
            assert_eq!(keys, expected, "{method:?}: {complaint}");
            assert!(parameters.iter().all(|parameter| parameter.about.ends_with('.')), "{keys:?}");
        }
    }
}
