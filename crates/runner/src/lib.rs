//! Tokens in, text and measurements out.
//!
//! A [`Model`] reads a prompt once into a [`Prefilled`] cache. Each arm forks a lane from it; the [`Engine`] advances all lanes
//! by one token per step, reading the weights once for all of them. What lives in a lane's cache is decided by `zoo`; how many
//! bytes it takes and how long a step lasts is measured here and nowhere else.

mod bounded;
mod cache;
mod caught;
mod chat;
mod checkpoint;
mod config;
mod engine;
mod error;
mod folder;
mod gguf;
mod host;
mod json;
mod kernels;
mod lane;
mod likelihood;
mod llama;
mod metered;
mod model;
mod observe;
mod outcome;
mod prefill;
mod replay;
mod rider;
mod rope;
mod tensor;
#[cfg(feature = "testing")]
pub mod testing;
mod tokenizer;
mod weights;

pub use bounded::{read_text_up_to, read_up_to};
pub use cache::Entries;
pub use chat::{ChatTemplate, Message};
pub use checkpoint::Checkpoint;
pub use config::{Config, RopeScaling};
pub use engine::{Engine, Job};
pub use error::Error;
pub use kernels::Instructions;
pub use lane::Limits;
pub use metered::Metered;
pub use model::{Identity, Model, device};
pub use outcome::{Outcome, Stop, TRACE_STEPS};
pub use prefill::Prefilled;
pub use replay::{Recording, Replayed, ReplayedStep};
pub use tokenizer::Tokenizer;
pub use weights::Weights;

/// What this crate's functions return.
pub type Result<T, E = Error> = std::result::Result<T, E>;
