//! What prefill records for policies.

use zoo::{Mask, Observation};

use crate::prefill::CacheShape;

/// What prefill records, each observation once.
fn distinct(observations: &[Observation]) -> Vec<Observation> {
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
    let recorders = Recorder::all(observations, shape, 0);
    let waiting = if recorders.iter().any(Recorder::waits) { shape.head_dim } else { 0 };
    size_of::<f32>() * (recorders.len() + waiting) * shape.query_heads * shape.layers * tokens
}

/// Attention that each prompt entry received, per layer and query head: column sums, accumulated block by block.
#[derive(Debug)]
pub(crate) struct Recorder {
    observation: Observation,
    tokens: usize,
    layers: Vec<Vec<f32>>, // (layers, query_heads * tokens)
}

impl Recorder {
    /// Recorders of a prompt, one for each distinct observation.
    pub(crate) fn all(
        observations: &[Observation],
        shape: &CacheShape,
        tokens: usize,
    ) -> Vec<Self> {
        let recorder = |observation| Self {
            observation,
            tokens,
            layers: vec![vec![0.0; shape.query_heads * tokens]; shape.layers],
        };
        distinct(observations).into_iter().map(recorder).collect()
    }

    pub(crate) fn observation(&self) -> Observation {
        self.observation
    }

    /// Bytes that it holds.
    #[cfg(test)]
    pub(crate) fn bytes(&self) -> usize {
        self.layers.iter().map(|layer| size_of_val(&**layer)).sum()
    }

    /// Whether queries must wait until all keys of the prompt are there, since they see some that come after them.
    pub(crate) fn waits(&self) -> bool {
        matches!(self.observation, Observation::AllQueries(Mask::Corner(_)))
    }

    /// How many entries the query of a row sees, from the first on. Under the published mask rows see the future too, all but those of the last window.
    pub(crate) fn seen(&self, row: usize) -> usize {
        match self.observation {
            Observation::AllQueries(Mask::Corner(window))
                if row < self.tokens.saturating_sub(window) =>
            {
                self.tokens
            }
            _ => row + 1,
        }
    }

    /// The first row whose attention counts.
    pub(crate) fn first_vote(&self) -> usize {
        match self.observation {
            Observation::AllQueries(_) => 0,
            Observation::LastQueries(queries) => self.tokens.saturating_sub(queries),
        }
    }

    /// One row per query head, `(tokens,)` each.
    pub(crate) fn rows(&self, layer: usize) -> impl Iterator<Item = &[f32]> {
        self.layers[layer].chunks(self.tokens)
    }

    /// Adds what the first entries got from some queries, nothing if there is nothing.
    ///
    /// # Shapes
    /// - `columns`: `(query_heads, entries)`
    pub(crate) fn add(&mut self, layer: usize, columns: &[f32]) {
        let entries = columns.len() * self.tokens / self.layers[layer].len().max(1);
        if entries == 0 {
            return;
        }
        for (sums, columns) in
            self.layers[layer].chunks_mut(self.tokens).zip(columns.chunks(entries))
        {
            for (sum, more) in sums.iter_mut().zip(columns) {
                *sum += more;
            }
        }
    }
}
