use std::sync::Arc;

use candle_core::quantized::{GgmlDType, QMatMul, QTensor};
use candle_core::{Device, Module, Tensor};

use crate::weights::Tensors;
use crate::{Result, Weights};

/// A matrix product, with or without bias.
#[derive(Debug, Clone)]
pub(super) struct Linear {
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

/// Makes matrix products from a file's tensors.
pub(super) struct Linears<'a, 'b> {
    pub(super) tensors: &'a mut Tensors<'b>,
    pub(super) weights: Weights,
    pub(super) device: &'a Device,
}

impl Linears<'_, '_> {
    /// The product with a tensor, `(outputs, inputs)`. A device has no products with a file's own blocks: they are f32 here.
    pub(super) fn read(&mut self, name: &str) -> Result<Linear> {
        let weight = self.tensors.read(name)?;
        if self.weights == Weights::Q8_0 {
            return self.in_8_bits(&weight);
        }
        Ok(Product::Dense(weight.t()?.contiguous()?.to_device(self.device)?).into())
    }

    /// The vocabulary's product, from an embedding that already lies on the device: not stored a second time, if it is multiplied as it is.
    pub(super) fn tied(&self, embedding: &Tensor) -> Result<Linear> {
        if self.weights == Weights::Q8_0 {
            return self.in_8_bits(&embedding.to_device(&Device::Cpu)?);
        }
        Ok(Product::Dense(embedding.t()?).into())
    }

    /// A tensor on the device.
    pub(super) fn vector(&mut self, name: &str) -> Result<Tensor> {
        Ok(self.tensors.read(name)?.to_device(self.device)?)
    }

    fn in_8_bits(&self, weight: &Tensor) -> Result<Linear> {
        let blocks = QTensor::quantize_onto(weight, GgmlDType::Q8_0, self.device)?;
        Ok(Product::Quantised(QMatMul::from_arc(Arc::new(blocks))?).into())
    }
}

impl Linear {
    /// The same product with a bias, `(outputs,)`, added.
    pub(super) fn with_bias(self, bias: Tensor) -> Self {
        Self { bias: Some(bias), ..self }
    }

    /// # Shapes
    /// - `x`: `(rows, inputs)`
    /// - returns `(rows, outputs)`
    pub(super) fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let product = match &self.product {
            Product::Dense(weight) => x.matmul(weight)?,
            Product::Quantised(product) => product.forward(x)?,
        };
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
