//! An arm at work on recorded queries, keys and values: the cache, the lanes and the policies of a run, without a model.

use zoo::{Counters, Policies};

use crate::host::{Attend, Lanes, Numbers, Reader, Rows};
use crate::kernels::{Activations, Host};
use crate::lane::Lane;
use crate::prefill::{BLOCK, CacheShape, Prefilled};
use crate::{Error, Job, Limits, Result};

/// What attention was given, layer by layer: a prompt, then one token per decode step. Queries and keys are ready to use.
#[derive(Debug)]
pub struct Recording {
    shape: CacheShape,
    prompt_tokens: usize,
    tokens: usize,
    layers: Vec<Vec<f32>>, // (layers, tokens * width): queries, keys and values side by side
    host: Host,
}

/// What an arm kept of a recording.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Replayed {
    /// Positions that prefill left, in cache order, `(layers, heads, entries)`.
    pub prefill: Vec<Vec<Vec<u32>>>,
    /// What each decode step did.
    pub steps: Vec<ReplayedStep>,
}

/// One decode step of a replay.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReplayedStep {
    /// Positions that the next step sees, in cache order, `(layers, heads, entries)`.
    pub kept: Vec<Vec<Vec<u32>>>,
    /// Entries per head that this step attended to, its own among them, `(layers,)`.
    pub before: Vec<usize>,
    /// Whether a selection ran, even one that dropped nothing, `(layers,)`.
    pub selected: Vec<bool>,
    /// The published counters after the last layer.
    pub counters: Counters,
}

impl Recording {
    /// A recording of `prompt_tokens` and as many steps as there are tokens beyond them.
    ///
    /// # Shapes
    /// - `q`: `(layers, query_heads, tokens, head_dim)`, in that order
    /// - `k`, `v`: `(layers, kv_heads, tokens, head_dim)`
    ///
    /// # Errors
    /// [`Error::Recording`] if the numbers do not fill these shapes.
    pub fn new(
        [layers, query_heads, tokens, head_dim]: [usize; 4],
        kv_heads: usize,
        prompt_tokens: usize,
        (q, k, v): (&[f32], &[f32], &[f32]),
    ) -> Result<Self> {
        let fits = |numbers: &[f32], heads: usize| {
            let shape = [layers, heads, tokens, head_dim];
            let wanted = shape.iter().try_fold(1usize, |all, &one| all.checked_mul(one));
            wanted == Some(numbers.len()) && !numbers.is_empty()
        };
        let grouped = kv_heads > 0 && query_heads.is_multiple_of(kv_heads);
        let prompt = (1..=tokens).contains(&prompt_tokens);
        if !(grouped && prompt && fits(q, query_heads) && fits(k, kv_heads) && fits(v, kv_heads)) {
            return Err(Error::Recording { layers, query_heads, kv_heads, tokens, prompt_tokens });
        }
        let side_by_side = |layer: usize| {
            let mut rows = Vec::new();
            for token in 0..tokens {
                for (numbers, heads) in [(q, query_heads), (k, kv_heads), (v, kv_heads)] {
                    for head in layer * heads..(layer + 1) * heads {
                        let start = (head * tokens + token) * head_dim;
                        rows.extend_from_slice(&numbers[start..start + head_dim]);
                    }
                }
            }
            rows
        };
        Ok(Self {
            shape: CacheShape { layers, query_heads, kv_heads, head_dim },
            prompt_tokens,
            tokens,
            layers: (0..layers).map(side_by_side).collect(),
            host: Host::new(1),
        })
    }

    /// Runs an arm over it, from these counters on.
    ///
    /// # Errors
    /// [`Error::Method`] if the published code fails on such a prompt, or a tensor operation that failed.
    pub fn replay(&self, policies: &Policies, counters: Counters) -> Result<Replayed> {
        let prefilled = self.prefill(policies)?;
        let steps = self.tokens - self.prompt_tokens;
        let job = Job {
            policies: policies.clone(),
            counters,
            limits: Limits::exactly(steps + 1),
            forced: None,
            seed: 0,
        };
        let mut lane = Lane::fork(0, &prefilled, &job)?;
        let kept = self.kept(&lane);
        let steps = (self.prompt_tokens..self.tokens).map(|token| {
            let before = (0..self.shape.layers).map(|layer| lane.entries(layer) + 1).collect();
            lane.look_ahead()?;
            self.feed(&mut Lanes::new(std::slice::from_mut(&mut lane)), token, 1)?;
            lane.choose(&[0.0]);
            Ok(ReplayedStep {
                kept: self.kept(&lane),
                before,
                selected: (0..self.shape.layers).map(|layer| lane.selects(layer)).collect(),
                counters: lane.counters(),
            })
        });
        Ok(Replayed { prefill: kept, steps: steps.collect::<Result<_>>()? })
    }

    fn prefill(&self, policies: &Policies) -> Result<Prefilled> {
        let observations: Vec<_> = policies.observations().collect();
        let mut reader = Reader::new(self.shape, Numbers::F32, self.prompt_tokens, &observations)?;
        for start in (0..self.prompt_tokens).step_by(BLOCK) {
            let rows = BLOCK.min(self.prompt_tokens - start);
            self.feed(&mut reader, start, rows)?;
            reader.advance(rows);
        }
        let group = self.shape.query_heads / self.shape.kv_heads;
        let read = reader.finish(&self.host)?;
        Ok(read.into_prompt(group, vec![0; self.prompt_tokens], vec![0.0]))
    }

    fn feed(&self, attend: &mut impl Attend, start: usize, rows: usize) -> Result<()> {
        let CacheShape { query_heads, kv_heads, head_dim, .. } = self.shape;
        let width = (query_heads + 2 * kv_heads) * head_dim;
        let mut out = Activations::blank(rows, query_heads * head_dim, &[]);
        for (layer, cells) in self.layers.iter().enumerate() {
            let mut cells = cells[start * width..][..rows * width].to_vec();
            let rows = Rows::new(&mut cells, (query_heads, kv_heads, head_dim), None);
            attend.attend(&self.host, layer, rows, &mut out)?;
        }
        Ok(())
    }

    fn kept(&self, lane: &Lane) -> Vec<Vec<Vec<u32>>> {
        let heads = |layer| (0..lane.own(layer).heads()).map(move |head| lane.kept(layer, head));
        (0..self.shape.layers).map(|layer| heads(layer).collect()).collect()
    }
}
