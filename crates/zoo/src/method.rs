//! The list of methods that TOML names.

use serde::{Deserialize, Serialize};

use crate::methods::{
    Adaptive, Discontinuous, Full, H2oDecode, H2oPrefill, Never, Pooling, Random, Recency, Slide,
    SnapKv, StreamingLlmDecode, StreamingLlmPrefill, source,
};
use crate::{DecodePolicy, Error, PrefillPolicy};

/// A prefill method with its parameters: what survives of the prompt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "name", rename_all = "kebab-case")]
pub enum Prefill {
    /// See [`Full`].
    Full(Full),
    /// See [`H2oPrefill`].
    H2o(H2oPrefill),
    /// See [`SnapKv`].
    Snapkv(SnapKv),
    /// See [`StreamingLlmPrefill`].
    StreamingLlm(StreamingLlmPrefill),
}

/// A decode method with its parameters: what goes while tokens are generated.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "name", rename_all = "kebab-case")]
pub enum Decode {
    /// See [`Never`].
    None(Never),
    /// See [`Slide`].
    Slide(Slide),
    /// See [`Adaptive`].
    Adaptive(Adaptive),
    /// See [`Discontinuous`].
    Discontinuous(Discontinuous),
    /// See [`H2oDecode`].
    H2o(H2oDecode),
    /// See [`StreamingLlmDecode`].
    StreamingLlm(StreamingLlmDecode),
    /// See [`Random`].
    Random(Random),
    /// See [`Recency`].
    Recency(Recency),
}

/// What a run fixes beside a method's own parameters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Context {
    /// Largest number of generated tokens (SCOPE: T).
    pub max_new_tokens: usize,
}

impl Prefill {
    /// Refuses parameters that cannot work.
    ///
    /// # Errors
    /// [`Error`], naming the method and the key.
    pub fn check(&self) -> Result<(), Error> {
        match self {
            Self::Full(_) => Ok(()),
            Self::H2o(method) => method.check(),
            Self::Snapkv(method) => method.check(),
            Self::StreamingLlm(method) => method.check(),
        }
    }

    /// The method as a composition of parts.
    ///
    /// # Errors
    /// As [`Prefill::check`].
    pub fn policy(&self) -> Result<PrefillPolicy, Error> {
        self.check()?;
        Ok(match self {
            Self::Full(_) => Full::policy(),
            Self::H2o(method) => method.policy(),
            Self::Snapkv(method) => method.policy(),
            Self::StreamingLlm(method) => method.policy(),
        })
    }

    /// Every prefill method at the settings of SCOPE's 4K suite.
    pub fn examples() -> Vec<Self> {
        let budget = 2048;
        vec![
            Self::Full(Full {}),
            Self::H2o(H2oPrefill { budget, window: 8 }),
            Self::Snapkv(SnapKv { budget, window: 8, pool: 7, pooling: Pooling::Max }),
            Self::StreamingLlm(StreamingLlmPrefill { budget, sinks: None, recent: Some(1024) }),
        ]
    }
}

impl Decode {
    /// Refuses parameters that cannot work.
    ///
    /// # Errors
    /// [`Error`], naming the method and the key.
    pub fn check(&self) -> Result<(), Error> {
        match self {
            Self::None(_) => Ok(()),
            Self::Slide(method) => method.check(),
            Self::Adaptive(method) => method.check(),
            Self::Discontinuous(method) => method.check(),
            Self::H2o(method) => method.check(),
            Self::StreamingLlm(method) => method.check(),
            Self::Random(method) => method.check(),
            Self::Recency(method) => method.check(),
        }
    }

    /// The method as a composition of parts.
    ///
    /// # Errors
    /// As [`Decode::check`].
    pub fn policy(&self, context: Context) -> Result<DecodePolicy, Error> {
        self.check()?;
        Ok(match self {
            Self::None(_) => Never::policy(),
            Self::Slide(method) => method.policy(),
            Self::Adaptive(method) => method.policy(context),
            Self::Discontinuous(method) => method.policy(context),
            Self::H2o(method) => method.policy(),
            Self::StreamingLlm(method) => method.policy(),
            Self::Random(method) => method.policy(),
            Self::Recency(method) => method.policy(),
        })
    }

    /// Every decode method at the settings of SCOPE's 4K suite.
    pub fn examples() -> Vec<Self> {
        let (budget, recent) = (512, 256);
        vec![
            Self::None(Never {}),
            Self::Slide(Slide { budget, recent }),
            Self::Adaptive(Adaptive { budget, recent }),
            Self::Discontinuous(Discontinuous { budget, recent }),
            Self::H2o(H2oDecode { budget, recent }),
            Self::StreamingLlm(StreamingLlmDecode { budget, sinks: None, recent: Some(recent) }),
            Self::Random(Random { budget, recent }),
            Self::Recency(Recency { budget }),
        ]
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
}

/// All methods, in the order in which they are shown.
pub const METHODS: &[Method] = &[
    Method { name: "full", phase: Phase::Prefill, source: source::FULL },
    Method { name: "h2o", phase: Phase::Prefill, source: source::H2O },
    Method { name: "snapkv", phase: Phase::Prefill, source: source::SNAPKV },
    Method { name: "streaming-llm", phase: Phase::Prefill, source: source::STREAMING_LLM },
    Method { name: "none", phase: Phase::Decode, source: source::FULL },
    Method { name: "slide", phase: Phase::Decode, source: source::SLIDE },
    Method { name: "adaptive", phase: Phase::Decode, source: source::ADAPTIVE },
    Method { name: "discontinuous", phase: Phase::Decode, source: source::DISCONTINUOUS },
    Method { name: "h2o", phase: Phase::Decode, source: source::H2O },
    Method { name: "streaming-llm", phase: Phase::Decode, source: source::STREAMING_LLM },
    Method { name: "random", phase: Phase::Decode, source: source::RANDOM },
    Method { name: "recency", phase: Phase::Decode, source: source::RECENCY },
];

impl Method {
    /// The method's page: the module comment of its file, as Markdown.
    pub fn page(&self) -> String {
        let line = |line: &str| {
            line.strip_prefix("//!").map(|text| text.strip_prefix(' ').unwrap_or(text).to_owned())
        };
        self.source.lines().map_while(line).collect::<Vec<_>>().join("\n")
    }

    /// The first sentence of its page.
    pub fn summary(&self) -> &'static str {
        self.source.lines().next().map_or("", |line| line.trim_start_matches("//!").trim())
    }
}
