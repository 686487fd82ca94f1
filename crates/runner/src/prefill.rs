//! The prompt, read once.

use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

use candle_core::{DType, Device, Tensor};
use zoo::{Granularity, Layer, Observation, Policies, PrefillPolicy, View};

use crate::attention::{block, causal_mask, grouped, ungrouped};
use crate::cache::Entries;
use crate::llama::{Attend, Llama};
use crate::observe::{Recorder, distinct};
use crate::{Config, Error, Result};

/// Rows that prefill computes at a time: no scores are ever held for more.
pub(crate) const BLOCK: usize = 256;

/// A prompt's cache and what its reading showed; shared by all lanes that continue it, and never changed.
#[derive(Debug)]
pub struct Prefilled {
    tokens: Vec<u32>,
    pool: Arc<Pool>,
    group: usize, // query heads per KV head
    recorders: Vec<Recorder>,
    logits: Vec<f32>, // (vocabulary,), of the last token
    elapsed: Duration,
    pools: Mutex<Vec<(Kind, Weak<Pool>)>>,
}

/// All that decides what is left of a prompt.
#[derive(Debug, Clone, PartialEq)]
struct Kind {
    policy: PrefillPolicy,
    granularity: Granularity,
    seed: u64,
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
        let mut prefilled = reader.finish(tokens.to_vec(), logits)?;
        prefilled.elapsed = started.elapsed();
        Ok(prefilled)
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

    /// What an arm leaves of the prompt. Lanes that leave the same share it for as long as one of them lives; the seed matters only if the
    /// policy draws.
    pub(crate) fn pool(&self, policies: &Policies, seed: u64) -> Result<Arc<Pool>> {
        let Policies { prefill: policy, granularity, .. } = policies;
        policy.check(self.tokens.len())?;
        if policy.keeps_all(self.tokens.len()) && *granularity == Granularity::KvHead {
            return Ok(Arc::clone(&self.pool));
        }
        let seed = if policy.draws() { seed } else { 0 };
        let kind = Kind { policy: policy.clone(), granularity: *granularity, seed };
        let mut pools = self.pools.lock().unwrap_or_else(PoisonError::into_inner);
        pools.retain(|(_, pool)| pool.strong_count() > 0);
        let found = pools.iter().find(|(of, _)| *of == kind).and_then(|(_, pool)| pool.upgrade());
        if let Some(pool) = found {
            return Ok(pool);
        }
        let pool = Arc::new(self.compress(&kind, policies.copies(self.group))?);
        pools.push((kind, Arc::downgrade(&pool)));
        Ok(pool)
    }

    fn compress(&self, kind: &Kind, copies: usize) -> Result<Pool> {
        let recorder = kind.policy.observation().map(|wanted| self.recorder(wanted)).transpose()?;
        let layers = Layer::all(self.pool.layers.len()).map(|layer| {
            let entries = &self.pool.layers[layer.index];
            let rows: Vec<&[f32]> =
                recorder.map(|recorder| recorder.rows(layer.index).collect()).unwrap_or_default();
            let heads = entries.heads() * copies;
            let group = rows.len() / heads;
            let kept: Vec<Vec<usize>> = (0..heads)
                .map(|head| {
                    let view = View {
                        positions: entries.positions(head / copies),
                        attention: &rows[head * group..(head + 1) * group],
                        prompt_tokens: self.tokens.len(),
                        tokens: self.tokens.len(),
                        seed: zoo::stream(&[kind.seed, layer.index as u64, head as u64]),
                    };
                    kind.policy.keep(&view, layer)
                })
                .collect();
            entries.select(&kept)
        });
        Ok(Pool { layers: layers.collect::<Result<_>>()? })
    }

    /// Attention that some entries of a layer received from all prompt queries that see them, summed over each head's queries.
    ///
    /// # Shapes
    /// - returns `(heads, entries)`, like `entries`
    pub(crate) fn received(&self, layer: usize, entries: &Entries) -> Result<Vec<Vec<f32>>> {
        let recorder = self.recorder(Observation::AllQueries(zoo::Mask::Causal))?;
        let rows: Vec<&[f32]> = recorder.rows(layer).collect();
        let group = rows.len() / entries.heads();
        let sums = (0..entries.heads()).map(|head| {
            let rows = &rows[head * group..(head + 1) * group];
            let sum = |&position: &u32| rows.iter().map(|row| row[position as usize]).sum();
            entries.positions(head).iter().map(sum).collect()
        });
        Ok(sums.collect())
    }

    fn recorder(&self, wanted: Observation) -> Result<&Recorder> {
        let found = self.recorders.iter().find(|recorder| recorder.observation() == wanted);
        found.ok_or(Error::Unobserved(wanted))
    }
}

/// The shape of a cache.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct CacheShape {
    pub(crate) layers: usize,
    pub(crate) query_heads: usize,
    pub(crate) kv_heads: usize,
    pub(crate) head_dim: usize,
}

impl CacheShape {
    pub(crate) fn of(config: &Config) -> Self {
        let Config { layers, query_heads, kv_heads, head_dim, .. } = *config;
        Self { layers, query_heads, kv_heads, head_dim }
    }
}

/// Reads tokens in blocks with causal attention, filling a cache.
#[derive(Debug)]
pub(crate) struct Reader {
    layers: Vec<Entries>,
    group: usize, // query heads per KV head
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
        Self::with_shape(&CacheShape::of(config), tokens, observations, &model.device)
    }

    /// A reader for a cache of this shape, whoever provides the queries, keys and values.
    pub(crate) fn with_shape(
        shape: &CacheShape,
        tokens: usize,
        observations: &[Observation],
        device: &Device,
    ) -> Result<Self> {
        let CacheShape { layers, query_heads, kv_heads, head_dim } = *shape;
        Ok(Self {
            layers: (0..layers)
                .map(|_| Entries::new((kv_heads, head_dim), tokens, DType::F32, device))
                .collect::<Result<_>>()?,
            group: query_heads / kv_heads,
            recorders: distinct(observations)
                .into_iter()
                .map(|observation| Recorder::new(observation, layers, query_heads, tokens))
                .collect(),
            start: 0,
            mask: None,
        })
    }

    /// The prompt, once all of it has been read; the time is the caller's to know.
    pub(crate) fn finish(mut self, tokens: Vec<u32>, logits: Vec<f32>) -> Result<Prefilled> {
        for recorder in &mut self.recorders {
            recorder.finish(&self.layers)?;
        }
        Ok(Prefilled {
            tokens,
            pool: Arc::new(Pool { layers: self.layers }),
            group: self.group,
            recorders: self.recorders,
            logits,
            elapsed: Duration::ZERO,
            pools: Mutex::default(),
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
            each(&model.forward(block, &positions, self)?)?;
            self.advance(block.len());
        }
        Ok(())
    }

    /// Goes on to the next block.
    pub(crate) fn advance(&mut self, rows: usize) {
        self.start += rows;
        self.mask = None;
    }
}

impl Attend for Reader {
    fn attend(&mut self, layer: usize, q: &Tensor, k: &Tensor, v: &Tensor) -> Result<Tensor> {
        let (rows, kv_heads, _) = k.dims3()?;
        let entries = &mut self.layers[layer];
        entries.extend(k, v, self.start as u32..(self.start + rows) as u32)?;
        let mask = match self.mask.take() {
            Some(mask) => mask,
            None => causal_mask(rows, self.start, q.device())?,
        };
        let q = grouped(q, kv_heads)?;
        let (out, probabilities) = block(&q, entries, &mask)?;
        self.mask = Some(mask);
        for recorder in &mut self.recorders {
            recorder.add(layer, self.start, rows, &q, &probabilities)?;
        }
        ungrouped(&out, rows)
    }
}

#[cfg(test)]
mod tests {
    use zoo::{Allocate, DecodePolicy, Mask, Pin, Score, Selector};

    use super::*;
    use crate::observe::recorded_bytes;

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
            group: 3,
            recorders: Vec::new(),
            logits: Vec::new(),
            elapsed: Duration::ZERO,
            pools: Mutex::default(),
        }
    }

    fn arm(prefill: PrefillPolicy, granularity: Granularity) -> Policies {
        Policies { prefill, decode: DecodePolicy::never(), granularity }
    }

    fn all() -> Policies {
        arm(PrefillPolicy::All, Granularity::KvHead)
    }

    fn keep(budget: usize, score: Score) -> Policies {
        let selector = Selector::new([Pin::Recent(4)], score);
        let allocate = Allocate::Uniform(budget);
        arm(PrefillPolicy::Budget { allocate, selector }, Granularity::KvHead)
    }

    #[test]
    fn lanes_that_keep_the_same_share_its_pages() {
        let prefilled = prefilled(100);
        let pool = |arm: &Policies, seed| prefilled.pool(arm, seed).unwrap();
        assert!(Arc::ptr_eq(&pool(&all(), 1), &pool(&all(), 2)), "the whole prompt");
        let covers = keep(100, Score::Random);
        assert!(Arc::ptr_eq(&pool(&all(), 1), &pool(&covers, 2)), "a budget that covers it");
        let held = pool(&keep(20, Score::Newest), 1);
        assert!(Arc::ptr_eq(&held, &pool(&keep(20, Score::Newest), 2)), "the same part of it");
        assert!(!Arc::ptr_eq(&held, &pool(&keep(21, Score::Newest), 1)), "another budget");

        let drawn = pool(&keep(20, Score::Random), 1);
        assert!(Arc::ptr_eq(&drawn, &pool(&keep(20, Score::Random), 1)), "the same draw");
        assert!(!Arc::ptr_eq(&drawn, &pool(&keep(20, Score::Random), 2)), "another draw");
    }

    #[test]
    fn a_cache_per_query_head_copies_its_group() {
        let prefilled = prefilled(100);
        let copied = arm(PrefillPolicy::All, Granularity::QueryHead);
        let (whole, copied) = (prefilled.pool(&all(), 1), prefilled.pool(&copied, 1));
        let (whole, copied) = (whole.unwrap(), copied.unwrap());
        assert_eq!((whole.layers[0].heads(), copied.layers[0].heads()), (2, 6));
        assert_eq!(copied.bytes(), 3 * whole.bytes());
    }

    #[test]
    fn a_reader_holds_what_is_forecast_of_its_observations() {
        let shape = CacheShape { layers: 3, query_heads: 4, kv_heads: 2, head_dim: 8 };
        let (all, tokens) = (Observation::AllQueries, BLOCK + 10);
        let (causal, corner, last) =
            (all(Mask::Causal), all(Mask::Corner(8)), Observation::LastQueries(8));
        for observations in [&[][..], &[causal, last], &[corner], &[last, corner, causal, corner]] {
            let mut reader =
                Reader::with_shape(&shape, tokens, observations, &Device::Cpu).unwrap();
            for rows in [BLOCK, 10] {
                let of = |heads| Tensor::zeros((rows, heads, 8), DType::F32, &Device::Cpu).unwrap();
                for layer in 0..shape.layers {
                    reader.attend(layer, &of(4), &of(2), &of(2)).unwrap();
                }
                reader.advance(rows);
            }
            let held: usize = reader.recorders.iter().map(Recorder::bytes).sum();
            assert_eq!(held, recorded_bytes(&shape, tokens, observations), "{observations:?}");
        }
    }

    #[test]
    fn attention_that_was_not_recorded_is_no_attention() {
        let error = prefilled(100).pool(&keep(20, Score::LastQueries(4)), 1).unwrap_err();
        assert!(matches!(error, Error::Unobserved(Observation::LastQueries(4))), "{error}");
    }
}
