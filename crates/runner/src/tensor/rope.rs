use candle_core::{DType, Device, Tensor};
use candle_nn::rotary_emb::rope_thd;

use crate::Result;

/// As [`crate::rope`], in tensors.
#[derive(Debug, Clone)]
pub(super) struct Rope {
    frequencies: Tensor, // (1, head_dim / 2)
}

/// The angles of some positions.
#[derive(Debug)]
pub(super) struct Rotation {
    cos: Tensor, // (rows, head_dim / 2)
    sin: Tensor, // (rows, head_dim / 2)
}

impl Rope {
    pub(super) fn new(frequencies: Vec<f32>, device: &Device) -> Result<Self> {
        let pairs = frequencies.len();
        Ok(Self { frequencies: Tensor::from_vec(frequencies, (1, pairs), device)? })
    }

    /// # Shapes
    /// - `positions`: `(rows,)`
    pub(super) fn at(&self, positions: &Tensor) -> Result<Rotation> {
        let positions = positions.to_dtype(DType::F32)?.reshape(((), 1))?; // (rows, 1); exact below 2^24
        let angles = positions.broadcast_mul(&self.frequencies)?; // (rows, head_dim / 2)
        Ok(Rotation { cos: angles.cos()?, sin: angles.sin()? })
    }
}

impl Rotation {
    /// # Shapes
    /// - `x` and the result: `(rows, heads, head_dim)`
    pub(super) fn apply(&self, x: &Tensor) -> Result<Tensor> {
        Ok(rope_thd(&x.unsqueeze(0)?, &self.cos, &self.sin)?.squeeze(0)?)
    }
}
