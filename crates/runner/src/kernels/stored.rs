//! Matrices in the blocks that files store them in.

use candle_core::quantized::{GgmlDType, QTensor};
use candle_core::{Device, Tensor};
use half::f16;

use super::BLOCK;
use crate::Result;

/// Kinds of blocks, as GGUF files store them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Blocks {
    /// A scale `d` and 32 nibbles: `d · (nibble - 8)`.
    Q4_0,
    /// A scale `d`, a least value `m` and 32 nibbles: `d · nibble + m`.
    Q4_1,
    /// A scale `d` and 32 signed bytes: `d · byte`.
    Q8_0,
}

/// A matrix as a file stores it, `(outputs, inputs)`.
#[derive(Debug, Clone)]
pub(crate) struct Stored {
    pub(crate) blocks: Blocks,
    pub(crate) bytes: Vec<u8>,
    pub(crate) outputs: usize,
    pub(crate) inputs: usize,
}

impl Blocks {
    /// Bytes of a block.
    pub(crate) const fn bytes(self) -> usize {
        match self {
            Self::Q4_0 => 18,
            Self::Q4_1 => 20,
            Self::Q8_0 => 34,
        }
    }
}

impl Stored {
    /// A quantised tensor, `(outputs, inputs)`, as it is, if it is in blocks of 32; else in 8 bits.
    pub(crate) fn of(tensor: &QTensor) -> Result<Self> {
        let blocks = match tensor.dtype() {
            GgmlDType::Q4_0 => Blocks::Q4_0,
            GgmlDType::Q4_1 => Blocks::Q4_1,
            GgmlDType::Q8_0 => Blocks::Q8_0,
            _ => return Self::in_8_bits(&tensor.dequantize(&Device::Cpu)?),
        };
        let (outputs, inputs) = tensor.shape().dims2()?;
        Ok(Self { blocks, bytes: tensor.data()?.into_owned(), outputs, inputs })
    }

    /// A matrix in f32 on the host, `(outputs, inputs)`, requantised to 8 bits.
    pub(crate) fn in_8_bits(weight: &Tensor) -> Result<Self> {
        Self::of(&QTensor::quantize(weight, GgmlDType::Q8_0)?)
    }

    /// The same rows in another order.
    pub(crate) fn reordered(self, rows: impl Iterator<Item = usize>) -> Self {
        let row = self.inputs / BLOCK * self.blocks.bytes();
        let bytes = rows.flat_map(|from| &self.bytes[from * row..(from + 1) * row]).copied();
        Self { bytes: bytes.collect(), ..self }
    }

    /// Whether all that it stands for is finite.
    pub(crate) fn is_finite(&self) -> bool {
        let halves = if self.blocks == Blocks::Q4_1 { 2 } else { 1 };
        self.bytes.chunks(self.blocks.bytes()).all(|block| {
            let halves = block.as_chunks::<2>().0[..halves].iter();
            halves.copied().map(f16::from_le_bytes).all(|half| match self.blocks {
                Blocks::Q4_0 => least_of_q4_0(half).is_finite(),
                Blocks::Q4_1 | Blocks::Q8_0 => half.is_finite(),
            })
        })
    }

    pub(super) fn block(&self, row: usize, block: usize) -> &[u8] {
        let bytes = self.blocks.bytes();
        let start = (row * (self.inputs / BLOCK) + block) * bytes;
        &self.bytes[start..start + bytes]
    }
}

/// The least value of a block with this scale: exact, unless it is too large for a half.
pub(super) fn least_of_q4_0(scale: f16) -> f16 {
    f16::from_f32(-8.0 * scale.to_f32())
}
