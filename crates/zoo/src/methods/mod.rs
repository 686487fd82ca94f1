//! One method, one file: parameters, paper, differences, and how it expands into parts.

mod adaptive;
mod discontinuous;
mod full;
mod h2o;
mod random;
mod recency;
mod slide;
mod snapkv;
mod streaming_llm;

pub use adaptive::Adaptive;
pub use discontinuous::Discontinuous;
pub use full::{Full, Never};
pub use h2o::{H2oDecode, H2oPrefill};
pub use random::Random;
pub use recency::Recency;
pub use slide::Slide;
pub use snapkv::{Pooling, SnapKv};
pub use streaming_llm::{StreamingLlmDecode, StreamingLlmPrefill};

pub(crate) mod source {
    //! The files themselves: a method's module comment is its page.
    pub(crate) const ADAPTIVE: &str = include_str!("adaptive.rs");
    pub(crate) const DISCONTINUOUS: &str = include_str!("discontinuous.rs");
    pub(crate) const FULL: &str = include_str!("full.rs");
    pub(crate) const H2O: &str = include_str!("h2o.rs");
    pub(crate) const RANDOM: &str = include_str!("random.rs");
    pub(crate) const RECENCY: &str = include_str!("recency.rs");
    pub(crate) const SLIDE: &str = include_str!("slide.rs");
    pub(crate) const SNAPKV: &str = include_str!("snapkv.rs");
    pub(crate) const STREAMING_LLM: &str = include_str!("streaming_llm.rs");
}
