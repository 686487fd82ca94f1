//! Which cache entries live: KV-cache compression methods as pure values.
//!
//! A method of the literature is a composition of few parts, fired by a schedule:
//! `pin ∘ score ∘ reduce ∘ pool ∘ select`. A named method ([`Prefill`], [`Decode`]) is one file that says which
//! parts with which numbers; a policy ([`PrefillPolicy`], [`DecodePolicy`]) is the composition itself. Policies
//! hold no state and touch no tensor: they are shown a [`View`] of one KV head and answer with entries.
//!
//! The crate knows no tensor, file or clock, and so builds and tests in seconds.

mod arm;
mod class;
mod error;
mod method;
pub mod methods;
pub mod parts;
mod policy;
mod view;

pub use arm::{Arm, Granularity, Mode, Policies};
pub use error::Error;
pub use method::{Context, Decode, Method, Parameter, Phase, Prefill};
pub use parts::{
    Allocate, Counters, Layer, Mask, Observation, Pin, Pool, Published, Pyramid, Quota, Reduce,
    Schedule, Score, Size, Steps, stream,
};
pub use policy::{DecodePolicy, Order, PrefillPolicy, Selection, Selector};
pub use view::{Moment, View};
