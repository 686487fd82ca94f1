use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use candle_core::quantized::{GgmlDType, QMatMul, QTensor};
use candle_core::{Device, Module, Tensor};
use candle_nn::ops::silu;
use serde::{Deserialize, Serialize};

use crate::kernels::{self, Activations, Isa, Packed, Stored, Team};
use crate::weights::Tensors;
use crate::{Config, Result};

/// How the weights of matrix products are held.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Weights {
    /// Dequantised: 4 bytes a weight, exact, and fast where many lanes share a step.
    #[default]
    F32,
    /// Requantised to 8 bits in blocks of 32: about 1.06 bytes a weight; activations are quantised too.
    Q8_0,
    /// As a GGUF file has them, if in blocks of 32 (`Q4_0`, `Q4_1`, `Q8_0`); what it has in other blocks is requantised to 8 bits. Activations are
    /// quantised too. Tensors that no file quantised stay in f32. On the host alone.
    Native,
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
            Self::Native => "native",
        })
    }
}

impl FromStr for Weights {
    type Err = String;

    fn from_str(name: &str) -> std::result::Result<Self, String> {
        match name {
            "f32" => Ok(Self::F32),
            "q8_0" => Ok(Self::Q8_0),
            "native" => Ok(Self::Native),
            other => Err(format!("`{other}` is none of `f32`, `q8_0` and `native`")),
        }
    }
}

/// Results up to which candle's host product takes a kernel of its own, if the weights are stored by output.
const SMALL_PRODUCT: usize = 256;
/// Rows, and columns, up to which candle's host product adds up in blocks of another length.
const SMALL_SIDE: usize = 64;

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
    /// Weights in tiles, on the host.
    Packed(Arc<Packed>, Arc<Team>),
    /// Weights as `(outputs, inputs)` in blocks, on a device.
    Quantised(QMatMul),
}

/// Makes matrix products from a file's tensors.
pub(crate) struct Linears<'a, 'b> {
    pub(crate) tensors: &'a mut Tensors<'b>,
    pub(crate) weights: Weights,
    pub(crate) device: &'a Device,
    pub(crate) team: Arc<Team>,
}

impl Linears<'_, '_> {
    /// The product with a tensor, `(outputs, inputs)`.
    ///
    /// Small matrices are stored transposed, which candle multiplies up to three times faster for a few rows.
    pub(crate) fn read(&mut self, name: &str) -> Result<Linear> {
        if let Some(linear) = self.stored(name)? {
            return Ok(linear);
        }
        let weight = self.tensors.read(name)?;
        if self.weights == Weights::Q8_0 {
            return self.in_8_bits(&weight);
        }
        Ok(Product::dense(&weight, self.device)?.into())
    }

    /// The vocabulary's product, from an embedding that already lies on the device: not stored a second time, if it is multiplied as it is.
    pub(crate) fn tied(&mut self, name: &str, embedding: &Tensor) -> Result<Linear> {
        if let Some(linear) = self.stored(name)? {
            return Ok(linear);
        }
        if self.weights == Weights::Q8_0 {
            return self.in_8_bits(&embedding.to_device(&Device::Cpu)?);
        }
        Ok(Linear::from(Product::Dense(embedding.t()?)))
    }

    /// A tensor on the device.
    pub(crate) fn vector(&mut self, name: &str) -> Result<Tensor> {
        Ok(self.tensors.read(name)?.to_device(self.device)?)
    }

    /// A tensor in the blocks that its file has it in, if they are to be kept and it has any.
    fn stored(&mut self, name: &str) -> Result<Option<Linear>> {
        if self.weights != Weights::Native || !self.device.is_cpu() {
            return Ok(None);
        }
        Ok(self.tensors.stored(name)?.map(|stored| Product::packed(&stored, &self.team).into()))
    }

    fn in_8_bits(&self, weight: &Tensor) -> Result<Linear> {
        if self.device.is_cpu() {
            return Ok(Product::packed(&Stored::in_8_bits(weight)?, &self.team).into());
        }
        let blocks = QTensor::quantize_onto(weight, GgmlDType::Q8_0, self.device)?;
        Ok(Product::Quantised(QMatMul::from_arc(Arc::new(blocks))?).into())
    }
}

impl Linear {
    /// The same product with a bias, `(outputs,)`, added.
    pub(crate) fn with_bias(self, bias: Tensor) -> Self {
        Self { bias: Some(bias), ..self }
    }

    /// # Shapes
    /// - `x`: `(rows, inputs)`
    /// - returns `(rows, outputs)`
    pub(crate) fn forward(&self, x: &Tensor) -> Result<Tensor> {
        self.biased(self.product.forward(x)?)
    }

    fn biased(&self, product: Tensor) -> Result<Tensor> {
        match &self.bias {
            Some(bias) => Ok(product.broadcast_add(bias)?),
            None => Ok(product),
        }
    }

    /// Products of the same activations with three matrices, gone through as one where they are in tiles.
    ///
    /// # Shapes
    /// - `x`: `(rows, inputs)`
    /// - returns `(rows, outputs)` of each
    pub(crate) fn forward_three([a, b, c]: [&Self; 3], x: &Tensor) -> Result<[Tensor; 3]> {
        let Some((matrices, team)) = Self::all_packed([a, b, c]) else {
            return Ok([a.forward(x)?, b.forward(x)?, c.forward(x)?]);
        };
        let products = packed(x, &matrices, team)?;
        let [first, second, third] = matrices.map(Packed::outputs);
        let part = |linear: &Self, start, outputs| {
            linear.biased(products.narrow(1, start, outputs)?.contiguous()?)
        };
        Ok([part(a, 0, first)?, part(b, first, second)?, part(c, first + second, third)?])
    }

    /// `silu(gate(x)) * up(x)`
    ///
    /// # Shapes
    /// - `x`: `(rows, inputs)`
    /// - returns `(rows, outputs)`
    pub(crate) fn forward_gated([gate, up]: [&Self; 2], x: &Tensor) -> Result<Tensor> {
        match Self::all_packed([gate, up]) {
            Some((matrices, team)) if gate.bias.is_none() && up.bias.is_none() => {
                let (rows, outputs) = (x.dim(0)?, matrices[0].outputs());
                let mut out = vec![0.0; rows * outputs];
                let isa = Isa::of_machine();
                kernels::gated((isa, team), matrices, &activations(x, isa)?, &mut out);
                Ok(Tensor::from_vec(out, (rows, outputs), &Device::Cpu)?)
            }
            _ => Ok((silu(&gate.forward(x)?)? * up.forward(x)?)?),
        }
    }

    /// The matrices of some products, if all of them are in tiles.
    fn all_packed<const N: usize>(all: [&Self; N]) -> Option<([&Packed; N], &Team)> {
        let packed = all.map(|linear| match &linear.product {
            Product::Packed(matrix, team) => Some((&**matrix, &**team)),
            _ => None,
        });
        let first = (*packed.first()?)?;
        packed
            .iter()
            .all(Option::is_some)
            .then(|| (packed.map(|it| it.unwrap_or(first).0), first.1))
    }
}

impl From<Product> for Linear {
    fn from(product: Product) -> Self {
        Self { product, bias: None }
    }
}

impl Product {
    /// # Shapes
    /// - `weight`: `(outputs, inputs)`
    fn dense(weight: &Tensor, device: &Device) -> Result<Self> {
        Ok(Self::Dense(weight.t()?.contiguous()?.to_device(device)?))
    }

    fn packed(stored: &Stored, team: &Arc<Team>) -> Self {
        Self::Packed(Arc::new(Packed::new(stored)), Arc::clone(team))
    }

    /// # Shapes
    /// - `x`: `(rows, inputs)`
    /// - returns `(rows, outputs)`
    ///
    /// A row's result does not depend on the other rows.
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        match self {
            Self::Dense(weight) => dense(x, weight),
            Self::Packed(weight, team) => packed(x, &[weight], team),
            Self::Quantised(product) => Ok(product.forward(x)?),
        }
    }
}

/// Candle's host product takes other kernels, whose sums differ in the last bits, for a single row, for few rows of few outputs, and for more
/// than 64 rows of fewer outputs. So one row is computed as two, few are repeated, and many are taken in parts.
fn dense(x: &Tensor, weight: &Tensor) -> Result<Tensor> {
    let (rows, outputs) = (x.dim(0)?, weight.dim(1)?);
    if outputs <= SMALL_SIDE && rows > SMALL_SIDE {
        let part =
            |start| dense(&x.narrow(0, start, SMALL_SIDE.min(rows - start))?.contiguous()?, weight);
        let parts: Vec<Tensor> = (0..rows).step_by(SMALL_SIDE).map(part).collect::<Result<_>>()?;
        return Ok(Tensor::cat(&parts, 0)?);
    }
    let least = (SMALL_PRODUCT / outputs + 1).max(2);
    if rows >= least {
        return Ok(x.matmul(weight)?);
    }
    let repeated = Tensor::cat(&vec![x; least.div_ceil(rows)], 0)?.narrow(0, 0, least)?;
    Ok(repeated.matmul(weight)?.narrow(0, 0, rows)?)
}

/// Several products of the same activations on the host's own kernels, side by side.
///
/// # Shapes
/// - `x`: `(rows, inputs)`
/// - returns `(rows, outputs of all)`
fn packed(x: &Tensor, matrices: &[&Packed], team: &Team) -> Result<Tensor> {
    let (rows, isa) = (x.dim(0)?, Isa::of_machine());
    let outputs: usize = matrices.iter().map(|matrix| matrix.outputs()).sum();
    let mut out = vec![0.0; rows * outputs];
    kernels::products((isa, team), matrices, &activations(x, isa)?, &mut out);
    Ok(Tensor::from_vec(out, (rows, outputs), &Device::Cpu)?)
}

fn activations(x: &Tensor, isa: Isa) -> Result<Activations> {
    let mut activations = Activations::default();
    activations.quantise(&x.flatten_all()?.to_vec1()?, x.dim(1)?, isa);
    Ok(activations)
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

    fn rounded(x: &Tensor) -> Tensor {
        QTensor::quantize(x, GgmlDType::Q8_0).unwrap().dequantize(&Device::Cpu).unwrap()
    }

    fn in_8_bits(weight: &Tensor) -> Linear {
        Product::packed(&Stored::in_8_bits(weight).unwrap(), &Arc::new(Team::new(2))).into()
    }

    fn relative_error(found: &Tensor, expected: &Tensor) -> f32 {
        let norm =
            |x: &Tensor| x.sqr().unwrap().sum_all().unwrap().to_scalar::<f32>().unwrap().sqrt();
        norm(&(found - expected).unwrap()) / norm(expected)
    }

    /// All that 8 bits cost is the rounding of both factors; an activation far larger than its neighbours takes their bits.
    #[test]
    fn eight_bit_products_are_products_of_rounded_factors() {
        let (weight, x) = (random(64, 256, 1), random(5, 256, 2));
        let mut rows = x.to_vec2::<f32>().unwrap();
        for row in &mut rows {
            row[40] = 300.0;
        }
        let x_with_outlier = Tensor::new(rows, &Device::Cpu).unwrap();
        let linear = in_8_bits(&weight);
        for x in [x, x_with_outlier] {
            let found = linear.forward(&x).unwrap();
            let rounded = rounded(&x).matmul(&rounded(&weight).t().unwrap()).unwrap();
            assert!(
                relative_error(&found, &rounded) < 5e-4,
                "{}",
                relative_error(&found, &rounded)
            );
        }
    }

    #[test]
    fn a_row_computes_the_same_bits_in_any_company() {
        for outputs in [5, 96, 700] {
            let weight = random(outputs, 1536, 3);
            let x = random(70, 1536, 4);
            for linear in [
                Linear::from(Product::dense(&weight, &Device::Cpu).unwrap()),
                Linear::from(Product::Dense(weight.t().unwrap())),
                in_8_bits(&weight),
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
                        "{outputs} outputs, {rows} rows"
                    );
                }
            }
        }
    }
}
