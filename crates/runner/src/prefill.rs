//! The prompt, read once.

use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

use zoo::{Granularity, Layer, Observation, Policies, PrefillPolicy, View};

use crate::cache::{Entries, Room};
use crate::llama::{Llama, Wanted};
use crate::observe::Recorder;
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

/// Which prompt, read when, and what is left of it.
#[derive(Debug)]
pub(crate) struct Origin {
    prompt: Weak<Pool>,
    kept: Option<Kind>, // none: all of it
}

impl PartialEq for Origin {
    fn eq(&self, other: &Self) -> bool {
        self.prompt.ptr_eq(&other.prompt) && self.kept == other.kept
    }
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
        let mut last = Vec::new();
        let read = model.read(tokens, observations, Wanted::Last, |logits| {
            last = logits.to_vec();
            Ok(())
        })?;
        let group = model.config.query_heads / model.config.kv_heads;
        Ok(Self { elapsed: started.elapsed(), ..read.into_prompt(group, tokens.to_vec(), last) })
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

    /// What an arm's lane comes from; lanes that come from the same have the same left. The seed matters only if the policy draws.
    ///
    /// # Errors
    /// [`Error::Method`] if the published code fails on such a prompt.
    pub(crate) fn origin(&self, policies: &Policies, seed: u64) -> Result<Origin> {
        let Policies { prefill: policy, granularity, .. } = policies;
        policy.check(self.tokens.len())?;
        let whole = policy.keeps_all(self.tokens.len()) && *granularity == Granularity::KvHead;
        let seed = if policy.draws() { seed } else { 0 };
        let kind = || Kind { policy: policy.clone(), granularity: *granularity, seed };
        Ok(Origin { prompt: Arc::downgrade(&self.pool), kept: (!whole).then(kind) })
    }

    /// What an arm leaves of the prompt. Lanes that leave the same share it for as long as one of them lives.
    pub(crate) fn pool(&self, policies: &Policies, seed: u64) -> Result<Arc<Pool>> {
        let Some(kind) = self.origin(policies, seed)?.kept else {
            return Ok(Arc::clone(&self.pool));
        };
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
        let kept = Layer::all(self.pool.layers.len()).map(|layer| {
            let entries = &self.pool.layers[layer.index];
            let rows: Vec<&[f32]> =
                recorder.map(|recorder| recorder.rows(layer.index).collect()).unwrap_or_default();
            let heads = entries.heads() * copies;
            let group = rows.len() / heads;
            (0..heads)
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
                .collect()
        });
        let kept: Vec<Vec<Vec<usize>>> = kept.collect();
        let room = Room { slots: kept.iter().map(|heads| heads[0].len()).collect(), filled: true };
        Ok(Pool { layers: Entries::copies(&self.pool.layers, &kept, &room)? })
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

/// What reading a prompt left.
#[derive(Debug)]
pub(crate) struct Read {
    pub(crate) layers: Vec<Entries>,
    pub(crate) recorders: Vec<Recorder>,
}

impl Read {
    /// The prompt, for lanes to continue; the time is the caller's to know.
    pub(crate) fn into_prompt(self, group: usize, tokens: Vec<u32>, logits: Vec<f32>) -> Prefilled {
        Prefilled {
            tokens,
            pool: Arc::new(Pool { layers: self.layers }),
            group,
            recorders: self.recorders,
            logits,
            elapsed: Duration::ZERO,
            pools: Mutex::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use zoo::{Allocate, DecodePolicy, Mask, Pin, Score, Selector};

    use super::*;
    use crate::cache::Store;
    use crate::host::{self, Attend, Numbers};
    use crate::kernels::{Activations, Host};
    use crate::observe::recorded_bytes;

    fn prefilled(tokens: u32) -> Prefilled {
        let layer = |_| {
            let store = Store::Host(host::Store::new((2, 4), Numbers::F32));
            let mut entries = Entries::new(store, 2);
            entries.extend(0..tokens).unwrap();
            entries
        };
        let read = Read { layers: (0..2).map(layer).collect(), recorders: Vec::new() };
        read.into_prompt(3, vec![0; tokens as usize], Vec::new())
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
    fn lanes_that_keep_the_same_share_it() {
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
        let machine = Host::new(1);
        let (causal, corner, last) =
            (all(Mask::Causal), all(Mask::Corner(8)), Observation::LastQueries(8));
        for observations in [&[][..], &[causal, last], &[corner], &[last, corner, causal, corner]] {
            let mut reader = host::Reader::new(shape, Numbers::F32, tokens, observations).unwrap();
            for rows in [BLOCK, 10] {
                let mut cells = vec![0.0; rows * 8 * 8];
                let mut out = Activations::blank(rows, 4 * 8, &[]);
                for layer in 0..shape.layers {
                    let rows = host::Rows::new(&mut cells, (4, 2, 8), None);
                    reader.attend(&machine, layer, rows, &mut out).unwrap();
                }
                reader.advance(rows);
            }
            let held = reader.recorded_bytes();
            assert_eq!(held, recorded_bytes(&shape, tokens, observations), "{observations:?}");
        }
    }

    #[test]
    fn attention_that_was_not_recorded_is_no_attention() {
        let error = prefilled(100).pool(&keep(20, Score::LastQueries(4)), 1).unwrap_err();
        assert!(matches!(error, Error::Unobserved(Observation::LastQueries(4))), "{error}");
    }
}
