use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use candle_core::quantized::{GgmlDType, QMatMul, QTensor};
use candle_core::{Device, Module, Tensor};
use serde::{Deserialize, Serialize};

use crate::Result;

/// How the weights of matrix products are held, whatever the file holds.
///
/// Candle's own product for `Q4_1` is scalar on x86, so such files are never multiplied as they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Weights {
    /// Dequantised: 4 bytes a weight, exact, and fast where many lanes share a step.
    #[default]
    F32,
    /// Requantised to 8 bits in blocks of 32: about 1.06 bytes a weight; activations are quantised too.
    Q8_0,
}

impl fmt::Display for Weights {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::F32 => "f32",
            Self::Q8_0 => "q8_0",
        })
    }
}

impl FromStr for Weights {
    type Err = String;

    fn from_str(name: &str) -> std::result::Result<Self, String> {
        match name {
            "f32" => Ok(Self::F32),
            "q8_0" => Ok(Self::Q8_0),
            other => Err(format!("`{other}` is neither `f32` nor `q8_0`")),
        }
    }
}

/// A matrix product without bias.
#[derive(Debug, Clone)]
pub(crate) enum Linear {
    /// Weights as `(inputs, outputs)`.
    Dense(Tensor),
    /// Weights as `(outputs, inputs)` in blocks.
    Quantised(QMatMul),
}

impl Linear {
    /// From `weight`, `(outputs, inputs)` in f32 on the host.
    ///
    /// Small matrices are stored transposed, which candle multiplies up to three times faster for a few rows; the
    /// vocabulary's is not, since a tied embedding shares it.
    pub(crate) fn new(weight: &Tensor, weights: Weights, device: &Device) -> Result<Self> {
        Ok(match weights {
            Weights::F32 => Self::Dense(weight.t()?.contiguous()?.to_device(device)?),
            Weights::Q8_0 => Self::q8_0(weight, device)?,
        })
    }

    /// The vocabulary's product, from an embedding that already lies on the device.
    pub(crate) fn tied(embedding: &Tensor, weights: Weights, device: &Device) -> Result<Self> {
        Ok(match weights {
            Weights::F32 => Self::Dense(embedding.t()?),
            Weights::Q8_0 => Self::q8_0(&embedding.to_device(&Device::Cpu)?, device)?,
        })
    }

    fn q8_0(weight: &Tensor, device: &Device) -> Result<Self> {
        let blocks = QTensor::quantize_onto(weight, GgmlDType::Q8_0, device)?;
        Ok(Self::Quantised(QMatMul::from_arc(Arc::new(blocks))?))
    }

    /// # Shapes
    /// - `x`: `(rows, inputs)`
    /// - returns `(rows, outputs)`
    ///
    /// A row's result does not depend on the other rows. A product with a single row would take another kernel, whose sums
    /// differ in the last bits, so one row is computed as two.
    pub(crate) fn forward(&self, x: &Tensor) -> Result<Tensor> {
        match self {
            Self::Quantised(product) => Ok(product.forward(x)?),
            Self::Dense(weight) if x.dim(0)? == 1 => Ok(Tensor::cat(&[x, x], 0)?.matmul(weight)?.narrow(0, 0, 1)?),
            Self::Dense(weight) => Ok(x.matmul(weight)?),
        }
    }
}
