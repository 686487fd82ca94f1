//! The parts that methods are composed of: each answers one question and knows nothing of the others.

mod allocate;
mod pin;
mod pool;
mod published;
mod reduce;
mod schedule;
mod score;
mod select;

pub use allocate::{Allocate, Layer, Pyramid, Steps};
pub(crate) use pin::Free;
pub use pin::Pin;
pub use pool::Pool;
pub use published::{Counters, Published, Quota};
pub use reduce::Reduce;
pub use schedule::{Schedule, Size};
pub use score::{Mask, Observation, Score, stream};
pub(crate) use select::lowest_one;
pub use select::{lowest, ranked};
