use candle_core::{DType, Device, Tensor};
use candle_nn::rotary_emb::rope_thd;

use crate::{Config, Result};

/// Rotary position embedding (Su et al. 2021), half-rotation layout: channel `i` turns with channel `i + head_dim / 2`.
#[derive(Debug, Clone)]
pub(crate) struct Rope {
    frequencies: Tensor, // (1, head_dim / 2)
}

/// The angles of some positions.
#[derive(Debug)]
pub(crate) struct Rotation {
    cos: Tensor, // (rows, head_dim / 2)
    sin: Tensor, // (rows, head_dim / 2)
}

impl Rope {
    /// The frequency of every pair of channels. `divisors` stretches each frequency, as GGUF stores Llama 3's scaling.
    pub(crate) fn new(config: &Config, divisors: Option<&[f32]>, device: &Device) -> Result<Self> {
        let half = config.head_dim / 2;
        let frequencies: Vec<f32> = (0..half)
            .map(|i| {
                let frequency = config.rope_theta.powf(-(2.0 * i as f32) / config.head_dim as f32);
                let divisor = match (divisors, &config.rope_scaling) {
                    (Some(divisors), _) => divisors[i],
                    (None, Some(scaling)) => scaling.divisor(frequency),
                    (None, None) => 1.0,
                };
                frequency / divisor
            })
            .collect();
        Ok(Self { frequencies: Tensor::new(frequencies, device)?.reshape((1, half))? })
    }

    /// # Shapes
    /// - `positions`: `(rows,)`
    pub(crate) fn at(&self, positions: &Tensor) -> Result<Rotation> {
        let positions = positions.to_dtype(DType::F32)?.reshape(((), 1))?; // (rows, 1); exact below 2^24
        let angles = positions.broadcast_mul(&self.frequencies)?; // (rows, head_dim / 2)
        Ok(Rotation { cos: angles.cos()?, sin: angles.sin()? })
    }
}

impl Rotation {
    /// # Shapes
    /// - `x` and the result: `(rows, heads, head_dim)`
    pub(crate) fn apply(&self, x: &Tensor) -> Result<Tensor> {
        Ok(rope_thd(&x.unsqueeze(0)?, &self.cos, &self.sin)?.squeeze(0)?)
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
}
