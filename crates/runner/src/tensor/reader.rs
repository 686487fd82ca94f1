//! A prompt in tensors: blocks of rows under a mask.

use candle_core::{Device, Tensor};
use zoo::Observation;

use super::attention::{Kv, grouped, mask, probabilities, ungrouped};
use super::{Attend, Store};
use crate::Result;
use crate::cache::{self, Entries, Slots};
use crate::observe::Recorder;
use crate::prefill::{CacheShape, Read};

/// Reads tokens in blocks with causal attention, filling a cache.
#[derive(Debug)]
pub(crate) struct Reader {
    layers: Vec<Entries>,
    recorders: Vec<Recorder>,
    /// Queries that wait for keys that come after them, per layer: blocks of `(kv_heads, group * rows, head_dim)`; no layers if none do.
    waiting: Vec<Vec<Tensor>>,
    group: usize,
    start: usize,
    mask: Option<Tensor>, // (rows, start + rows), of the current block
}

impl Reader {
    /// A reader for a cache of this shape.
    pub(crate) fn new(
        shape: CacheShape,
        tokens: usize,
        observations: &[Observation],
        device: &Device,
    ) -> Result<Self> {
        let layer = |_| {
            let store = Store::new((shape.kv_heads, shape.head_dim), device)?;
            Ok(Entries::new(cache::Store::Tensor(store), shape.kv_heads))
        };
        let recorders = Recorder::all(observations, &shape, tokens);
        let wait = recorders.iter().any(Recorder::waits);
        Ok(Self {
            layers: (0..shape.layers).map(layer).collect::<Result<_>>()?,
            waiting: vec![Vec::new(); if wait { shape.layers } else { 0 }],
            recorders,
            group: shape.query_heads / shape.kv_heads,
            start: 0,
            mask: None,
        })
    }

    /// Goes on to the next block.
    pub(crate) fn advance(&mut self, rows: usize) {
        self.start += rows;
        self.mask = None;
    }

    /// What was read and seen, once all of the prompt has been read.
    pub(crate) fn finish(mut self) -> Result<Read> {
        for (layer, blocks) in self.waiting.iter().enumerate() {
            let Kv { keys, .. } = Kv::of(&self.layers[layer])?;
            for recorder in self.recorders.iter_mut().filter(|recorder| recorder.waits()) {
                let mut start = 0;
                for q in blocks {
                    let rows = q.dim(1)? / self.group;
                    let seen: Vec<usize> =
                        (start..start + rows).map(|row| recorder.seen(row)).collect();
                    let mask = mask(&seen, self.start, q.device())?;
                    recorder.add(layer, &columns(&probabilities(q, &keys, &mask)?, rows, 0)?);
                    start += rows;
                }
            }
        }
        Ok(Read { layers: self.layers, recorders: self.recorders })
    }
}

impl Attend for Reader {
    fn attend(&mut self, layer: usize, q: &Tensor, k: &Tensor, v: &Tensor) -> Result<Tensor> {
        let (rows, kv_heads, _) = k.dims3()?;
        let end = self.start + rows;
        let entries = &mut self.layers[layer];
        let (slot, store) = entries.extend(self.start as u32..end as u32)?;
        store.in_tensors_mut()?.write(&Slots::Behind(slot), k, v)?;
        let mask = match self.mask.take() {
            Some(mask) => mask,
            None => mask(&(self.start + 1..=end).collect::<Vec<_>>(), end, q.device())?,
        };
        let (q, Kv { keys, values }) = (grouped(q, kv_heads)?, Kv::of(entries)?);
        let probabilities = probabilities(&q, &keys, &mask)?;
        self.mask = Some(mask);
        for recorder in self.recorders.iter_mut().filter(|recorder| !recorder.waits()) {
            let first = recorder.first_vote().saturating_sub(self.start);
            if first < rows {
                recorder.add(layer, &columns(&probabilities, rows, first)?);
            }
        }
        let out = ungrouped(&probabilities.matmul(&values)?, rows)?;
        if let Some(waiting) = self.waiting.get_mut(layer) {
            waiting.push(q);
        }
        Ok(out)
    }
}

/// Sums of the columns of a block, from row `first` on, `(query_heads, keys)`.
///
/// # Shapes
/// - `probabilities`: `(kv_heads, group * rows, keys)`
fn columns(probabilities: &Tensor, rows: usize, first: usize) -> Result<Vec<f32>> {
    let (kv_heads, grouped_rows, keys) = probabilities.dims3()?;
    let query_heads = kv_heads * grouped_rows / rows;
    let voting =
        probabilities.reshape((query_heads, rows, keys))?.narrow(1, first, rows - first)?;
    let ones = Tensor::ones((query_heads, 1, rows - first), voting.dtype(), voting.device())?;
    Ok(ones.matmul(&voting.contiguous()?)?.flatten_all()?.to_vec1()?)
}
