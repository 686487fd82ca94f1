//! Which differences are real: intervals, paired comparisons, and accuracy by place in the prompt.
//!
//! Questions in one prompt are not independent: a model that loses the thread loses all that follow. So the unit that
//! is resampled is the prompt, never the question. Everything is seeded and gives the same digits on every machine.

mod bootstrap;
mod groups;
mod paired;
mod pooled;
mod sign_flip;
mod split_mix;

pub use bootstrap::{
    Interval, RESAMPLES, SEED, bootstrap, bootstrap_mean, mean, standard_deviation,
};
pub use groups::{Group, by_position};
pub use paired::{LEAST_PROMPTS, Paired, Verdict, paired, smallest_detectable_difference};
pub use pooled::Pooled;
pub use sign_flip::{holm, sign_flip};
pub use split_mix::SplitMix64;
