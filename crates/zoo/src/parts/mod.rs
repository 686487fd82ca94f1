//! The parts that methods are composed of: each answers one question and knows nothing of the others.

mod pin;
mod pool;
mod reduce;
mod schedule;
mod score;
mod select;

pub use pin::Pin;
pub use pool::Pool;
pub use reduce::Reduce;
pub use schedule::{Schedule, Size};
pub use score::{Observation, Score, stream};
pub use select::lowest;
