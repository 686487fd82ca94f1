//! What prefill records for policies.

use candle_core::{DType, Tensor};
use zoo::{Mask, Observation};

use crate::Result;
use crate::attention::{corner_mask, probabilities};
use crate::cache::Entries;
use crate::prefill::CacheShape;

/// What prefill records, each observation once.
pub(crate) fn distinct(observations: &[Observation]) -> Vec<Observation> {
    let mut distinct = observations.to_vec();
    distinct.sort_unstable();
    distinct.dedup();
    distinct
}

/// Bytes that these observations of a prompt of `tokens` take at most: their sums, and the queries that wait.
pub(crate) fn recorded_bytes(
    shape: &CacheShape,
    tokens: usize,
    observations: &[Observation],
) -> usize {
    let per_head = |observation| match observation {
        Observation::AllQueries(Mask::Corner(_)) => 1 + shape.head_dim,
        Observation::AllQueries(Mask::Causal) | Observation::LastQueries(_) => 1,
    };
    let numbers: usize = distinct(observations).into_iter().map(per_head).sum();
    size_of::<f32>() * numbers * shape.query_heads * shape.layers * tokens
}

/// Attention that each prompt entry received, per layer and query head: column sums, accumulated block by block.
#[derive(Debug)]
pub(crate) struct Recorder {
    observation: Observation,
    tokens: usize,
    layers: Vec<Vec<f32>>, // (layers, query_heads * tokens)
    /// Queries that must wait for keys that come after them, per layer: blocks of `(kv_heads, group * rows, head_dim)`.
    waiting: Vec<Vec<Tensor>>,
}

impl Recorder {
    pub(crate) fn new(
        observation: Observation,
        layers: usize,
        query_heads: usize,
        tokens: usize,
    ) -> Self {
        Self {
            observation,
            tokens,
            layers: vec![vec![0.0; query_heads * tokens]; layers],
            waiting: vec![Vec::new(); layers],
        }
    }

    pub(crate) fn observation(&self) -> Observation {
        self.observation
    }

    /// Bytes that it holds.
    #[cfg(test)]
    pub(crate) fn bytes(&self) -> usize {
        let sums: usize = self.layers.iter().map(Vec::len).sum();
        let waiting: usize = self.waiting.iter().flatten().map(Tensor::elem_count).sum();
        size_of::<f32>() * (sums + waiting)
    }

    /// One row per query head, `(tokens,)` each.
    pub(crate) fn rows(&self, layer: usize) -> impl Iterator<Item = &[f32]> {
        self.layers[layer].chunks(self.tokens)
    }

    /// Takes in a block of rows, the first of which stands at `start`.
    ///
    /// # Shapes
    /// - `q`: `(kv_heads, group * rows, head_dim)`, scaled
    /// - `causal`: their probabilities under the causal mask, `(kv_heads, group * rows, start + rows)`
    pub(crate) fn add(
        &mut self,
        layer: usize,
        start: usize,
        rows: usize,
        q: &Tensor,
        causal: &Tensor,
    ) -> Result<()> {
        let first = match self.observation {
            Observation::AllQueries(Mask::Causal) => 0,
            Observation::AllQueries(Mask::Corner(_)) => {
                self.waiting[layer].push(q.clone());
                return Ok(());
            }
            Observation::LastQueries(queries) => {
                self.tokens.saturating_sub(queries).saturating_sub(start)
            }
        };
        if first < rows { self.sum(layer, rows, first, causal) } else { Ok(()) }
    }

    /// Serves the queries that had to wait, now that all keys of the prompt are there.
    pub(crate) fn finish(&mut self, layers: &[Entries]) -> Result<()> {
        let Observation::AllQueries(Mask::Corner(window)) = self.observation else { return Ok(()) };
        for (layer, entries) in layers.iter().enumerate() {
            let group = self.layers[layer].len() / self.tokens / entries.heads();
            let mut start = 0;
            for q in std::mem::take(&mut self.waiting[layer]) {
                let rows = q.dim(1)? / group;
                let mask = corner_mask(rows, start, self.tokens, window, q.device())?;
                self.sum(layer, rows, 0, &probabilities(&q, entries, &mask)?)?;
                start += rows;
            }
        }
        Ok(())
    }

    /// Adds up the columns of a block, from row `first` on.
    ///
    /// # Shapes
    /// - `probabilities`: `(kv_heads, group * rows, keys)`
    fn sum(
        &mut self,
        layer: usize,
        rows: usize,
        first: usize,
        probabilities: &Tensor,
    ) -> Result<()> {
        let (kv_heads, grouped_rows, keys) = probabilities.dims3()?;
        let query_heads = kv_heads * grouped_rows / rows;
        let voting =
            probabilities.reshape((query_heads, rows, keys))?.narrow(1, first, rows - first)?;
        let ones = Tensor::ones((query_heads, 1, rows - first), voting.dtype(), voting.device())?;
        let sums = ones.matmul(&voting.contiguous()?)?.squeeze(1)?; // (query_heads, keys)
        let sums = sums.to_dtype(DType::F32)?.to_vec2::<f32>()?;
        for (row, sums) in self.layers[layer].chunks_mut(self.tokens).zip(sums) {
            for (total, sum) in row.iter_mut().zip(sums) {
                *total += sum;
            }
        }
        Ok(())
    }
}
