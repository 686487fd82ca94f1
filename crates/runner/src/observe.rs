//! What prefill records for policies.

use candle_core::Tensor;
use zoo::Observation;

use crate::Result;

/// Attention that each prompt entry received, per layer and query head: column sums, accumulated block by block.
#[derive(Debug)]
pub(crate) struct Recorder {
    observation: Observation,
    tokens: usize,
    layers: Vec<Vec<f32>>, // (layers, query_heads * tokens)
}

impl Recorder {
    pub(crate) fn new(
        observation: Observation,
        layers: usize,
        query_heads: usize,
        tokens: usize,
    ) -> Self {
        Self { observation, tokens, layers: vec![vec![0.0; query_heads * tokens]; layers] }
    }

    pub(crate) fn observation(&self) -> Observation {
        self.observation
    }

    /// One row per query head, `(tokens,)` each.
    pub(crate) fn rows(&self, layer: usize) -> impl Iterator<Item = &[f32]> {
        self.layers[layer].chunks(self.tokens)
    }

    /// Adds a block of rows, the first of which stands at `start`.
    ///
    /// # Shapes
    /// - `probabilities`: `(kv_heads, group * rows, start + rows)`
    pub(crate) fn add(
        &mut self,
        layer: usize,
        start: usize,
        rows: usize,
        probabilities: &Tensor,
    ) -> Result<()> {
        let first = match self.observation {
            Observation::AllQueries => 0,
            Observation::LastQueries(queries) => {
                self.tokens.saturating_sub(queries).saturating_sub(start)
            }
        };
        if first >= rows {
            return Ok(());
        }
        let (kv_heads, grouped_rows, keys) = probabilities.dims3()?;
        let query_heads = kv_heads * grouped_rows / rows;
        let voting =
            probabilities.reshape((query_heads, rows, keys))?.narrow(1, first, rows - first)?;
        let ones = Tensor::ones((query_heads, 1, rows - first), voting.dtype(), voting.device())?;
        let sums = ones.matmul(&voting.contiguous()?)?.squeeze(1)?; // (query_heads, keys)
        let sums = sums.to_dtype(candle_core::DType::F32)?.to_vec2::<f32>()?;
        for (row, sums) in self.layers[layer].chunks_mut(self.tokens).zip(sums) {
            for (total, sum) in row.iter_mut().zip(sums) {
                *total += sum;
            }
        }
        Ok(())
    }
}
