//! The prompt, read once.

use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

use candle_core::{DType, Tensor};
use zoo::{Observation, PrefillPolicy, View};

use crate::attention::{block, causal_mask, grouped, ungrouped};
use crate::cache::Entries;
use crate::llama::{Attend, Llama};
use crate::observe::Recorder;
use crate::{Error, Result};

/// Rows that prefill computes at a time: no scores are ever held for more.
const BLOCK: usize = 256;

/// A prompt's cache and what its reading showed; shared by all lanes that continue it, and never changed.
#[derive(Debug)]
pub struct Prefilled {
    tokens: Vec<u32>,
    pool: Arc<Pool>,
    recorders: Vec<Recorder>,
    logits: Vec<f32>, // (vocabulary,), of the last token
    elapsed: Duration,
    pools: Mutex<Vec<(PrefillPolicy, u64, Weak<Pool>)>>, // policy, seed, what it left
}

/// What one prefill policy left of a prompt, one [`Entries`] per layer.
#[derive(Debug)]
pub(crate) struct Pool {
    pub(crate) layers: Vec<Entries>,
}

impl Pool {
    pub(crate) fn bytes(&self) -> usize {
        self.layers.iter().map(Entries::bytes).sum()
    }
}

impl Prefilled {
    /// Reads a prompt, recording what the policies to come need.
    ///
    /// # Errors
    /// [`Error::EmptyPrompt`], [`Error::Context`] if the prompt alone is too long, or a tensor operation that failed.
    pub(crate) fn new(model: &Llama, tokens: &[u32], observations: &[Observation]) -> Result<Self> {
        let started = Instant::now();
        let mut hidden = None;
        let mut reader = Reader::new(model, tokens.len(), observations)?;
        reader.read(model, tokens, |block| {
            hidden = Some(block.narrow(0, block.dim(0)? - 1, 1)?);
            Ok(())
        })?;
        let hidden = hidden.ok_or(Error::EmptyPrompt)?;
        let logits = model.logits(&hidden)?.to_dtype(DType::F32)?.squeeze(0)?.to_vec1()?;
        Ok(Self {
            tokens: tokens.to_vec(),
            pool: Arc::new(Pool { layers: reader.layers }),
            recorders: reader.recorders,
            logits,
            elapsed: started.elapsed(),
            pools: Mutex::default(),
        })
    }

    /// Tokens of the prompt.
    pub fn tokens(&self) -> &[u32] {
        &self.tokens
    }

    /// Time that reading took.
    pub fn elapsed(&self) -> Duration {
        self.elapsed
    }

    /// Logits of the last token, `(vocabulary,)`.
    pub fn logits(&self) -> &[f32] {
        &self.logits
    }

    /// What `policy` leaves of the prompt. Lanes with the same policy share it for as long as one of them lives, and with the same
    /// seed if the policy draws.
    pub(crate) fn pool(&self, policy: &PrefillPolicy, seed: u64) -> Result<Arc<Pool>> {
        if policy.pool(self.tokens.len()) == self.tokens.len() {
            return Ok(Arc::clone(&self.pool));
        }
        let seed = if policy.draws() { seed } else { 0 };
        let mut pools = self.pools.lock().unwrap_or_else(PoisonError::into_inner);
        pools.retain(|(_, _, pool)| pool.strong_count() > 0);
        if let Some(pool) = pools
            .iter()
            .find(|(of, by, _)| (of, *by) == (policy, seed))
            .and_then(|(_, _, pool)| pool.upgrade())
        {
            return Ok(pool);
        }
        let pool = Arc::new(self.compress(policy, seed)?);
        pools.push((policy.clone(), seed, Arc::downgrade(&pool)));
        Ok(pool)
    }

    fn compress(&self, policy: &PrefillPolicy, seed: u64) -> Result<Pool> {
        let recorder = self
            .recorders
            .iter()
            .find(|recorder| Some(recorder.observation()) == policy.observation());
        let layers = self.pool.layers.iter().enumerate().map(|(layer, entries)| {
            let rows: Vec<&[f32]> =
                recorder.map(|recorder| recorder.rows(layer).collect()).unwrap_or_default();
            let kept: Vec<Vec<usize>> = (0..entries.heads())
                .map(|head| {
                    let group = rows.len() / entries.heads();
                    policy.keep(&View {
                        positions: entries.positions(head),
                        attention: &rows[head * group..(head + 1) * group],
                        prompt_tokens: self.tokens.len(),
                        tokens: self.tokens.len(),
                        seed: zoo::stream(&[seed, layer as u64, head as u64]),
                    })
                })
                .collect();
            entries.select(&kept)
        });
        Ok(Pool { layers: layers.collect::<Result<_>>()? })
    }
}

/// Reads tokens in blocks with causal attention, filling a cache.
#[derive(Debug)]
pub(crate) struct Reader {
    layers: Vec<Entries>,
    recorders: Vec<Recorder>,
    start: usize,
    mask: Option<Tensor>, // (rows, start + rows), of the current block
}

impl Reader {
    pub(crate) fn new(model: &Llama, tokens: usize, observations: &[Observation]) -> Result<Self> {
        let config = &model.config;
        if tokens > config.context {
            return Err(Error::Context { prompt: tokens, output: 0, context: config.context });
        }
        let heads = (config.kv_heads, config.head_dim);
        let mut distinct = observations.to_vec();
        distinct.sort_unstable();
        distinct.dedup();
        Ok(Self {
            layers: (0..config.layers)
                .map(|_| Entries::new(heads, tokens, DType::F32, &model.device))
                .collect::<Result<_>>()?,
            recorders: distinct
                .into_iter()
                .map(|observation| {
                    Recorder::new(observation, config.layers, config.query_heads, tokens)
                })
                .collect(),
            start: 0,
            mask: None,
        })
    }

    /// Hands the hidden states of each block, `(rows, hidden)`, to `each`.
    pub(crate) fn read(
        &mut self,
        model: &Llama,
        tokens: &[u32],
        mut each: impl FnMut(&Tensor) -> Result<()>,
    ) -> Result<()> {
        for block in tokens.chunks(BLOCK) {
            let positions: Vec<u32> =
                (self.start..self.start + block.len()).map(|position| position as u32).collect();
            self.mask = Some(causal_mask(block.len(), self.start, &model.device)?);
            let hidden = model.forward(block, &positions, self)?;
            each(&hidden)?;
            self.start += block.len();
        }
        Ok(())
    }
}

impl Attend for Reader {
    fn attend(&mut self, layer: usize, q: &Tensor, k: &Tensor, v: &Tensor) -> Result<Tensor> {
        let (rows, kv_heads, _) = k.dims3()?;
        let entries = &mut self.layers[layer];
        entries.extend(k, v, self.start as u32..(self.start + rows) as u32)?;
        let mask = match &self.mask {
            Some(mask) => mask.clone(),
            None => causal_mask(rows, self.start, q.device())?,
        };
        let (out, probabilities) = block(&grouped(q, kv_heads)?, entries, &mask)?;
        for recorder in &mut self.recorders {
            recorder.add(layer, self.start, rows, &probabilities)?;
        }
        ungrouped(&out, rows)
    }
}

#[cfg(test)]
mod tests {
    use candle_core::Device;
    use zoo::{Pin, Score, Selector};

    use super::*;

    fn prefilled(tokens: u32) -> Prefilled {
        let rows = Tensor::zeros((tokens as usize, 2, 4), DType::F32, &Device::Cpu).unwrap();
        let layer = |_| {
            let mut entries = Entries::new((2, 4), 1, DType::F32, &Device::Cpu).unwrap();
            entries.extend(&rows, &rows, 0..tokens).unwrap();
            entries
        };
        Prefilled {
            tokens: vec![0; tokens as usize],
            pool: Arc::new(Pool { layers: (0..2).map(layer).collect() }),
            recorders: Vec::new(),
            logits: Vec::new(),
            elapsed: Duration::ZERO,
            pools: Mutex::default(),
        }
    }

    fn keep(budget: usize, score: Score) -> PrefillPolicy {
        PrefillPolicy::Budget { budget, selector: Selector::new([Pin::Recent(4)], score) }
    }

    #[test]
    fn lanes_that_keep_the_same_share_its_pages() {
        let prefilled = prefilled(100);
        let share = |a: (&PrefillPolicy, u64), b: (&PrefillPolicy, u64)| {
            Arc::ptr_eq(&prefilled.pool(a.0, a.1).unwrap(), &prefilled.pool(b.0, b.1).unwrap())
        };
        let held = prefilled.pool(&keep(20, Score::Newest), 1).unwrap();
        assert!(share((&PrefillPolicy::All, 1), (&PrefillPolicy::All, 2)), "the whole prompt");
        assert!(
            share((&PrefillPolicy::All, 1), (&keep(100, Score::Random), 2)),
            "a budget that covers it"
        );
        assert!(
            Arc::ptr_eq(&held, &prefilled.pool(&keep(20, Score::Newest), 2).unwrap()),
            "the same part of it"
        );
        assert!(
            !share((&keep(20, Score::Newest), 1), (&keep(21, Score::Newest), 1)),
            "another budget"
        );

        let drawn = prefilled.pool(&keep(20, Score::Random), 1).unwrap();
        assert!(
            Arc::ptr_eq(&drawn, &prefilled.pool(&keep(20, Score::Random), 1).unwrap()),
            "the same draw"
        );
        assert!(
            !Arc::ptr_eq(&drawn, &prefilled.pool(&keep(20, Score::Random), 2).unwrap()),
            "another draw"
        );
    }
}
