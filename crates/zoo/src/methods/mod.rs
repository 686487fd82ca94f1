//! One method, one file: parameters, paper, differences, and how it expands into parts.

mod adaptive;
mod discontinuous;
mod full;
mod h2o;
mod h2o_cumulative;
mod pyramidinfer;
mod pyramidkv;
mod random;
mod recency;
mod slide;
mod snapkv;
mod streaming_llm;

pub use adaptive::Adaptive;
pub use discontinuous::Discontinuous;
pub use full::{Full, Never};
pub use h2o::{H2oDecode, H2oPrefill};
pub use h2o_cumulative::H2oCumulative;
pub use pyramidinfer::{PyramidInferDecode, PyramidInferPrefill};
pub use pyramidkv::PyramidKv;
pub use random::Random;
pub use recency::Recency;
pub use slide::Slide;
pub use snapkv::{Pooling, SnapKv};
pub use streaming_llm::{StreamingLlmDecode, StreamingLlmPrefill};
