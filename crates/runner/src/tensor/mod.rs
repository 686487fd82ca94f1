//! The back end of devices: a decoder, caches and attention made of candle's operations, which run on CUDA and, for tests, on the CPU.

mod attention;
mod decoder;
mod lanes;
mod linear;
mod reader;
mod rope;
mod store;

use candle_core::Tensor;

pub(crate) use decoder::Decoder;
pub(crate) use lanes::Lanes;
pub(crate) use reader::Reader;
pub(crate) use store::Store;

/// Where a layer's keys and values go, and what its queries see: the one seam in the decoder.
pub(crate) trait Attend {
    /// # Shapes
    /// - `q`: `(rows, query_heads, head_dim)`; `k`, `v`: `(rows, kv_heads, head_dim)`; q and k are rotated
    /// - returns `(rows, query_heads * head_dim)`
    fn attend(&mut self, layer: usize, q: &Tensor, k: &Tensor, v: &Tensor)
    -> crate::Result<Tensor>;
}
