//! What is drawn, in whole numbers alone, so that every machine draws the same.

use crate::statistics::SplitMix64;

/// A stream of random choices.
#[derive(Debug, Clone)]
pub(super) struct Draw(SplitMix64);

impl Draw {
    /// The stream of a list of numbers: where one number differs, the streams have nothing in common.
    pub(super) fn new(of: &[u64]) -> Self {
        let mix = |state: u64, number: &u64| {
            SplitMix64::new(state ^ number.wrapping_mul(0x9e37_79b9_7f4a_7c15)).next_bits()
        };
        Self(SplitMix64::new(of.iter().fold(0x5eed, mix)))
    }

    /// A number from `least` to `most`, both included.
    pub(super) fn between(&mut self, least: usize, most: usize) -> usize {
        least + self.0.below(most.saturating_sub(least) + 1)
    }

    /// The same for a quantity.
    pub(super) fn number(&mut self, least: u8, most: u8) -> u8 {
        u8::try_from(self.between(least.into(), most.into())).unwrap_or(most)
    }

    /// Whether something of so many thousandths happens.
    pub(super) fn chance(&mut self, thousandths: usize) -> bool {
        self.0.below(1000) < thousandths
    }

    /// One of a list that is not empty.
    pub(super) fn pick<T: Copy>(&mut self, list: &[T]) -> T {
        list[self.0.below(list.len())]
    }

    /// The place of one of some weights.
    pub(super) fn weighted(&mut self, weights: &[usize]) -> usize {
        let mut rest = self.0.below(weights.iter().sum());
        for (place, weight) in weights.iter().enumerate() {
            if rest < *weight {
                return place;
            }
            rest -= weight;
        }
        0
    }

    /// Puts a list in random order.
    pub(super) fn shuffle<T>(&mut self, list: &mut [T]) {
        for place in (1..list.len()).rev() {
            list.swap(place, self.0.below(place + 1));
        }
    }
}
