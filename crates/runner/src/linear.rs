use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use candle_core::quantized::{GgmlDType, QMatMul, QTensor};
use candle_core::{Device, Module, Tensor};
use serde::{Deserialize, Serialize};

use crate::{Config, Result};

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

impl Weights {
    /// Why a decoder's weights cannot be held so, if they cannot.
    pub(crate) fn fault(self, config: &Config) -> Option<String> {
        let block = GgmlDType::Q8_0.block_size();
        let inputs = [config.hidden, config.intermediate, config.query_heads * config.head_dim];
        let odd = inputs.into_iter().find(|width| !width.is_multiple_of(block))?;
        (self == Self::Q8_0).then(|| {
            format!("its rows of {odd} weights do not fill blocks of {block}, which `q8_0` is made of: hold them as `f32`")
        })
    }
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

/// Results up to which candle's host product takes a kernel of its own, if the weights are stored by output.
const SMALL_PRODUCT: usize = 256;
/// Outputs, and rows, up to which it splits long sums otherwise on AVX-512.
const NARROW: usize = 64;

/// A matrix product, with or without bias.
#[derive(Debug, Clone)]
pub(crate) struct Linear {
    product: Product,
    bias: Option<Tensor>, // (outputs,)
}

#[derive(Debug, Clone)]
enum Product {
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
        Ok(Self::from(match weights {
            Weights::F32 => Product::Dense(weight.t()?.contiguous()?.to_device(device)?),
            Weights::Q8_0 => Product::q8_0(weight, device)?,
        }))
    }

    /// The same product with a bias, `(outputs,)`, added.
    pub(crate) fn with_bias(self, bias: &Tensor, device: &Device) -> Result<Self> {
        Ok(Self { bias: Some(bias.to_device(device)?), ..self })
    }

    /// The vocabulary's product, from an embedding that already lies on the device.
    pub(crate) fn tied(embedding: &Tensor, weights: Weights, device: &Device) -> Result<Self> {
        Ok(Self::from(match weights {
            Weights::F32 => Product::Dense(embedding.t()?),
            Weights::Q8_0 => Product::q8_0(&embedding.to_device(&Device::Cpu)?, device)?,
        }))
    }

    /// # Shapes
    /// - `x`: `(rows, inputs)`
    /// - returns `(rows, outputs)`
    pub(crate) fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let product = self.product.forward(x)?;
        match &self.bias {
            Some(bias) => Ok(product.broadcast_add(bias)?),
            None => Ok(product),
        }
    }
}

impl From<Product> for Linear {
    fn from(product: Product) -> Self {
        Self { product, bias: None }
    }
}

impl Product {
    fn q8_0(weight: &Tensor, device: &Device) -> Result<Self> {
        let blocks = QTensor::quantize_onto(weight, GgmlDType::Q8_0, device)?;
        Ok(Self::Quantised(QMatMul::from_arc(Arc::new(blocks))?))
    }

    /// # Shapes
    /// - `x`: `(rows, inputs)`
    /// - returns `(rows, outputs)`
    ///
    /// A row's result does not depend on the other rows. A product with a single row, or with few rows of few outputs, would
    /// take another kernel, whose sums differ in the last bits, so such rows are repeated: one row is computed as two, and as more than
    /// 64 if there are no more outputs than that.
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        match self {
            Self::Quantised(product) => Ok(product.forward(x)?),
            Self::Dense(weight) => {
                let rows = x.dim(0)?;
                let outputs = weight.dim(1)?;
                let least = (SMALL_PRODUCT / outputs + 1).max(2);
                let least = if outputs > NARROW { least } else { least.max(NARROW + 1) };
                if rows >= least {
                    return Ok(x.matmul(weight)?);
                }
                Ok(Tensor::cat(&vec![x; least.div_ceil(rows)], 0)?
                    .matmul(weight)?
                    .narrow(0, 0, rows)?)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn random(rows: usize, columns: usize, seed: u64) -> Tensor {
        let number =
            |i: usize| (zoo::stream(&[seed, i as u64]) >> 40) as f32 / (1u64 << 23) as f32 - 1.0;
        Tensor::from_vec((0..rows * columns).map(number).collect(), (rows, columns), &Device::Cpu)
            .unwrap()
    }

    fn rounded(x: &Tensor, to: GgmlDType) -> Tensor {
        QTensor::quantize(x, to).unwrap().dequantize(&Device::Cpu).unwrap()
    }

    fn relative_error(found: &Tensor, expected: &Tensor) -> f32 {
        let norm =
            |x: &Tensor| x.sqr().unwrap().sum_all().unwrap().to_scalar::<f32>().unwrap().sqrt();
        norm(&(found - expected).unwrap()) / norm(expected)
    }

    /// All that 8 bits cost is the rounding of both factors; an activation far larger than its neighbours takes their bits. Neighbours are 32
    /// numbers, or 256 where the processor has AVX-512 VNNI and both are multiples of its tiles.
    #[test]
    fn eight_bit_products_are_products_of_rounded_factors() {
        let (weight, x) = (random(64, 256, 1), random(5, 256, 2));
        let mut rows = x.to_vec2::<f32>().unwrap();
        for row in &mut rows {
            row[40] = 300.0;
        }
        let x_with_outlier = Tensor::new(rows, &Device::Cpu).unwrap();
        let linear = Linear::new(&weight, Weights::Q8_0, &Device::Cpu).unwrap();
        for x in [x, x_with_outlier] {
            let found = linear.forward(&x).unwrap();
            let error = |neighbours: GgmlDType| {
                let weight = rounded(&weight, GgmlDType::Q8_0);
                let product = rounded(&x, neighbours).matmul(&weight.t().unwrap()).unwrap();
                relative_error(&found, &product)
            };
            let (by_32, by_256) = (error(GgmlDType::Q8_0), error(GgmlDType::Q8K));
            assert!(by_32.min(by_256) < 1e-4, "{by_32} in blocks of 32, {by_256} of 256");
        }
    }

    #[test]
    fn a_row_computes_the_same_bits_in_any_company() {
        for (outputs, weights) in [
            (5, Weights::F32),
            (64, Weights::F32),
            (96, Weights::F32),
            (700, Weights::F32),
            (96, Weights::Q8_0),
        ] {
            let weight = random(outputs, 1536, 3);
            let x = random(70, 1536, 4);
            for linear in [
                Linear::new(&weight, weights, &Device::Cpu).unwrap(),
                Linear::tied(&weight, weights, &Device::Cpu).unwrap(),
            ] {
                let bits = |x: Tensor| -> Vec<u32> {
                    let row = linear.forward(&x).unwrap().get(0).unwrap().to_vec1::<f32>().unwrap();
                    row.into_iter().map(f32::to_bits).collect()
                };
                let alone = bits(x.narrow(0, 0, 1).unwrap());
                for rows in [2, 3, 4, 7, 8, 16, 33, 64, 65, 70] {
                    assert_eq!(
                        bits(x.narrow(0, 0, rows).unwrap()),
                        alone,
                        "{outputs} outputs, {weights}, {rows} rows"
                    );
                }
            }
        }
    }
}
