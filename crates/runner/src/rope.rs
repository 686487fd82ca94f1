//! Rotary position embedding (Su et al. 2021), half-rotation layout: channel `i` turns with channel `i + head_dim / 2`.

use crate::Config;

/// How fast each pair of channels turns, `(head_dim / 2,)`. `divisors` stretches each frequency, as GGUF stores Llama 3's scaling.
pub(crate) fn frequencies(config: &Config, divisors: Option<&[f32]>) -> Vec<f32> {
    let frequency = |i: usize| {
        let frequency = config.rope_theta.powf(-(2.0 * i as f32) / config.head_dim as f32);
        let divisor = match (divisors, &config.rope_scaling) {
            (Some(divisors), _) => divisors[i],
            (None, Some(scaling)) => scaling.divisor(frequency),
            (None, None) => 1.0,
        };
        frequency / divisor
    };
    (0..config.head_dim / 2).map(frequency).collect()
}

/// The angles of some positions.
#[derive(Debug)]
pub(crate) struct Rotation {
    turns: Vec<[f32; 2]>, // (rows, head_dim / 2): cosine and sine
    half: usize,
}

impl Rotation {
    pub(crate) fn of(frequencies: &[f32], positions: &[u32]) -> Self {
        let turns = positions.iter().flat_map(|&position| {
            // Exact below 2^24.
            frequencies.iter().map(move |frequency| (position as f32 * frequency).sin_cos())
        });
        Self { turns: turns.map(|(sin, cos)| [cos, sin]).collect(), half: frequencies.len() }
    }

    /// Turns heads of one row.
    ///
    /// # Shapes
    /// - `heads`: `(heads, head_dim)`
    pub(crate) fn apply(&self, row: usize, heads: &mut [f32]) {
        let turns = &self.turns[row * self.half..][..self.half];
        for head in heads.chunks_mut(2 * self.half) {
            let (first, second) = head.split_at_mut(self.half);
            for ((a, b), [cos, sin]) in first.iter_mut().zip(second).zip(turns) {
                (*a, *b) = (*a * cos - *b * sin, *a * sin + *b * cos);
            }
        }
    }
}

impl crate::RopeScaling {
    /// What a frequency is divided by: 1 where it is fast, `factor` where it is slow, a blend between.
    fn divisor(&self, frequency: f32) -> f32 {
        let turns = self.original_context as f32 * frequency / (2.0 * std::f32::consts::PI);
        let smooth = (turns - self.low_frequency_factor)
            / (self.high_frequency_factor - self.low_frequency_factor);
        let smooth = smooth.clamp(0.0, 1.0);
        1.0 / (smooth + (1.0 - smooth) / self.factor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::RopeScaling;

    #[test]
    fn llama_3_stretches_slow_frequencies_only() {
        let scaling = RopeScaling {
            factor: 8.0,
            low_frequency_factor: 1.0,
            high_frequency_factor: 4.0,
            original_context: 8192,
        };
        assert_eq!(
            [1.0, 1e-5].map(|f| scaling.divisor(f).to_bits()),
            [1.0f32, 8.0].map(f32::to_bits)
        );
        let turns_two_and_a_half = 2.5 * 2.0 * std::f32::consts::PI / 8192.0;
        assert!((scaling.divisor(turns_two_and_a_half) - 1.0 / (0.5 + 0.5 / 8.0)).abs() < 1e-5);
    }

    #[test]
    fn a_quarter_turn_swaps_channels() {
        let rotation = Rotation::of(&[std::f32::consts::FRAC_PI_2, 0.0], &[0, 1]);
        let mut head = [1.0, 2.0, 3.0, 4.0];
        rotation.apply(0, &mut head);
        assert_eq!(head.map(f32::to_bits), [1.0f32, 2.0, 3.0, 4.0].map(f32::to_bits));
        rotation.apply(1, &mut head);
        let expected = [-3.0f32, 2.0, 1.0, 4.0];
        assert!(head.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-6), "{head:?}");
    }
}
