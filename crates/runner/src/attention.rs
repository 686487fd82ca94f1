//! The tensor back end of attention: candle operations that run on any device.

use candle_core::{DType, Device, Tensor};
use candle_nn::ops::softmax_last_dim;
use rayon::prelude::*;

use crate::Result;
use crate::cache::Entries;

/// Queries as `(kv_heads, group * rows, head_dim)`, scaled by `1/√head_dim`. Row `g * rows + r` is query head `g` of the group at row `r`.
///
/// # Shapes
/// - `q`: `(rows, query_heads, head_dim)`
pub(crate) fn grouped(q: &Tensor, kv_heads: usize) -> Result<Tensor> {
    let (rows, query_heads, head_dim) = q.dims3()?;
    let group = query_heads / kv_heads;
    let q = (q * (1.0 / (head_dim as f64).sqrt()))?;
    let q = q.reshape((rows, kv_heads, group, head_dim))?.permute((1, 2, 0, 3))?.contiguous()?;
    Ok(q.reshape((kv_heads, group * rows, head_dim))?)
}

/// The inverse of [`grouped`]'s order.
///
/// # Shapes
/// - `out`: `(kv_heads, group * rows, head_dim)`
/// - returns `(rows, query_heads * head_dim)`
pub(crate) fn ungrouped(out: &Tensor, rows: usize) -> Result<Tensor> {
    let (kv_heads, grouped_rows, head_dim) = out.dims3()?;
    let group = grouped_rows / rows;
    let out =
        out.reshape((kv_heads, group, rows, head_dim))?.permute((2, 0, 1, 3))?.contiguous()?;
    Ok(out.reshape((rows, kv_heads * group * head_dim))?)
}

/// What must be added to the scores of a block so that no row sees a later one: 0 or -∞.
///
/// # Shapes
/// - returns `(rows, before + rows)`
pub(crate) fn causal_mask(rows: usize, before: usize, device: &Device) -> Result<Tensor> {
    let mask: Vec<f32> = (0..rows)
        .flat_map(|row| {
            (0..before + rows)
                .map(move |key| if key > before + row { f32::NEG_INFINITY } else { 0.0 })
        })
        .collect();
    Ok(Tensor::from_vec(mask, (rows, before + rows), device)?)
}

/// The published code's mask over a whole prompt: causal among the last `window` tokens, and nowhere else.
///
/// # Shapes
/// - returns `(rows, tokens)`, for the rows from `start` on
pub(crate) fn corner_mask(
    rows: usize,
    start: usize,
    tokens: usize,
    window: usize,
    device: &Device,
) -> Result<Tensor> {
    let corner = tokens.saturating_sub(window);
    let hidden = |row: usize, key: usize| row >= corner && key >= corner && key > row;
    let mask: Vec<f32> = (start..start + rows)
        .flat_map(|row| {
            (0..tokens).map(move |key| if hidden(row, key) { f32::NEG_INFINITY } else { 0.0 })
        })
        .collect();
    Ok(Tensor::from_vec(mask, (rows, tokens), device)?)
}

/// Attention of a block of rows over all entries, the block's own included, under a causal mask.
///
/// # Shapes
/// - `q`: `(kv_heads, group * rows, head_dim)`, from [`grouped`]
/// - `mask`: `(rows, entries)`
/// - returns the output `(kv_heads, group * rows, head_dim)` and the probabilities `(kv_heads, group * rows, entries)`
pub(crate) fn block(q: &Tensor, entries: &Entries, mask: &Tensor) -> Result<(Tensor, Tensor)> {
    let probabilities = probabilities(q, entries, mask)?;
    Ok((probabilities.matmul(&entries.values()?)?, probabilities))
}

/// What a block of rows attends to under a mask.
///
/// # Shapes
/// - `q`: `(kv_heads, group * rows, head_dim)`, from [`grouped`]
/// - `mask`: `(rows, entries)`
/// - returns `(kv_heads, group * rows, entries)`
pub(crate) fn probabilities(q: &Tensor, entries: &Entries, mask: &Tensor) -> Result<Tensor> {
    let (rows, keys) = mask.dims2()?;
    let scores = q.matmul(&entries.keys()?)?; // (kv_heads, group * rows, entries)
    let (kv_heads, grouped_rows, _) = scores.dims3()?;
    let scores =
        scores.reshape((kv_heads * grouped_rows / rows, rows, keys))?.broadcast_add(mask)?;
    softmax(&scores.reshape((kv_heads, grouped_rows, keys))?)
}

/// One head per query head: each KV head's row, once for every query head of its group.
///
/// # Shapes
/// - `row`: `(1, kv_heads, head_dim)`
/// - returns `(1, heads, head_dim)`
pub(crate) fn copied(row: &Tensor, heads: usize) -> Result<Tensor> {
    let (rows, kv_heads, head_dim) = row.dims3()?;
    if kv_heads == heads {
        return Ok(row.clone());
    }
    let copies = row.unsqueeze(2)?.broadcast_as((rows, kv_heads, heads / kv_heads, head_dim))?;
    Ok(copies.contiguous()?.reshape((rows, heads, head_dim))?)
}

/// Rows that one product over shared entries takes: beyond, candle's would add up in other blocks, and so round otherwise.
const PRODUCT_ROWS: usize = 64;

/// Attention of one row per lane, over entries that all of these lanes share and over each lane's own.
///
/// The shared entries are read once for as many lanes as one product takes. A lane's result does not depend on the other lanes.
///
/// # Shapes
/// - `q`: one `(kv_heads, group, head_dim)` per lane, from [`grouped`]
/// - returns per lane the output `(kv_heads, group, head_dim)` and the probabilities `(kv_heads, group, shared + own)`
pub(crate) fn step(
    q: &[Tensor],
    shared: Option<&Entries>,
    own: &[&Entries],
) -> Result<Vec<(Tensor, Tensor)>> {
    let Some(shared) = shared else {
        return each(q, |lane, q| alone(q, own[lane]));
    };
    let Some(first) = q.first() else { return Ok(Vec::new()) };
    let lanes = (PRODUCT_ROWS / first.dim(1)?).max(1);
    let mut results = Vec::with_capacity(q.len());
    for (q, own) in q.chunks(lanes).zip(own.chunks(lanes)) {
        results.extend(side_by_side(q, shared, own)?);
    }
    Ok(results)
}

/// [`step`] for as many lanes as one product takes.
fn side_by_side(q: &[Tensor], shared: &Entries, own: &[&Entries]) -> Result<Vec<(Tensor, Tensor)>> {
    let group = q[0].dim(1)?;
    let shared_scores = product(&Tensor::cat(q, 1)?, &shared.keys()?)?; // (kv_heads, lanes * group, shared)
    let probabilities = each(q, |lane, q| {
        let of_shared = shared_scores.narrow(1, lane * group, group)?.contiguous()?; // (kv_heads, group, shared)
        let of_own = q.matmul(&own[lane].keys()?)?; // (kv_heads, group, own)
        softmax(&Tensor::cat(&[&of_shared, &of_own], 2)?)
    })?;
    let of_shared = each(&probabilities, |_, p| Ok(p.narrow(2, 0, shared.len())?.contiguous()?))?;
    let from_shared = product(&Tensor::cat(&of_shared, 1)?, &shared.values()?)?; // (kv_heads, lanes * group, head_dim)
    each(&probabilities, |lane, p| {
        let of_own = p.narrow(2, shared.len(), own[lane].len())?.contiguous()?;
        let from_own = of_own.matmul(&own[lane].values()?)?;
        Ok(((from_shared.narrow(1, lane * group, group)? + from_own)?, p.clone()))
    })
}

/// The same for each lane: side by side on the host, whose small products leave cores idle; in turn on a device, which has one queue.
fn each<T: Send>(
    lanes: &[Tensor],
    of: impl Fn(usize, &Tensor) -> Result<T> + Sync,
) -> Result<Vec<T>> {
    if lanes.first().is_some_and(|lane| lane.device().is_cpu()) {
        return lanes.par_iter().enumerate().map(|(lane, tensor)| of(lane, tensor)).collect();
    }
    lanes.iter().enumerate().map(|(lane, tensor)| of(lane, tensor)).collect()
}

/// A product in which a row's result does not depend on how many rows there are: candle gives a single row to another kernel, whose
/// sums differ in the last bits, so one is computed as two.
///
/// # Shapes
/// - `rows`: `(kv_heads, rows, inputs)`; `by`: `(kv_heads, inputs, outputs)`
fn product(rows: &Tensor, by: &Tensor) -> Result<Tensor> {
    Ok(match rows.dim(1)? {
        1 => Tensor::cat(&[rows, rows], 1)?.matmul(by)?.narrow(1, 0, 1)?,
        _ => rows.matmul(by)?,
    })
}

/// Attention of one row over one lane's own entries.
fn alone(q: &Tensor, own: &Entries) -> Result<(Tensor, Tensor)> {
    let probabilities = softmax(&q.matmul(&own.keys()?)?)?;
    Ok((probabilities.matmul(&own.values()?)?, probabilities))
}

/// Softmax in f32 over the last dimension, whatever type the scores have.
fn softmax(scores: &Tensor) -> Result<Tensor> {
    let dtype = scores.dtype();
    if dtype == DType::F32 {
        return Ok(softmax_last_dim(scores)?);
    }
    Ok(softmax_last_dim(&scores.to_dtype(DType::F32)?)?.to_dtype(dtype)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    const KV_HEADS: usize = 2;
    const GROUP: usize = 3;
    const HEAD_DIM: usize = 8;

    /// Rows of numbers in [-2, 2) that depend on `of` alone, `(1, heads, head_dim)`.
    fn row(of: u64, heads: usize) -> Tensor {
        let number =
            |i: usize| (zoo::stream(&[of, i as u64]) >> 40) as f32 / (1u64 << 22) as f32 - 2.0;
        Tensor::from_vec(
            (0..heads * HEAD_DIM).map(number).collect(),
            (1, heads, HEAD_DIM),
            &Device::Cpu,
        )
        .unwrap()
    }

    type Heads = Vec<Vec<f32>>; // (kv_heads, head_dim)

    /// Every entry ever pushed, evicted ones masked: what eviction must be equal to.
    #[derive(Clone)]
    struct Masked {
        entries: Vec<(u32, Heads, Heads)>, // position, keys, values
        masked: Vec<Vec<u32>>,             // (kv_heads, masked positions)
    }

    impl Masked {
        fn none() -> Self {
            Self { entries: Vec::new(), masked: vec![Vec::new(); KV_HEADS] }
        }

        fn push(&mut self, cache: &mut Entries, position: u32, seed: u64) {
            let (k, v) = (
                row(zoo::stream(&[seed, u64::from(position)]), KV_HEADS),
                row(zoo::stream(&[seed, 1, u64::from(position)]), KV_HEADS),
            );
            cache.push(&k, &v, position).unwrap();
            cache.settle().unwrap();
            self.entries.push((
                position,
                k.squeeze(0).unwrap().to_vec2().unwrap(),
                v.squeeze(0).unwrap().to_vec2().unwrap(),
            ));
        }

        fn evict(&mut self, cache: &mut Entries, slots: &[Vec<usize>]) {
            for (head, slots) in slots.iter().enumerate() {
                self.masked[head].extend(slots.iter().map(|&slot| cache.positions(head)[slot]));
            }
            cache.evict(slots.to_vec());
        }

        /// Attention of one query head over all entries that are not masked, in f64.
        fn attend(&self, query: &[f32], head: usize) -> Vec<f64> {
            let dot = |key: &[f32]| {
                key.iter().zip(query).map(|(k, q)| f64::from(*k) * f64::from(*q)).sum::<f64>()
                    / (HEAD_DIM as f64).sqrt()
            };
            let weight = |(position, keys, _): &(u32, Heads, Heads)| {
                if self.masked[head].contains(position) { 0.0 } else { dot(&keys[head]).exp() }
            };
            let weights: Vec<f64> = self.entries.iter().map(weight).collect();
            let sum: f64 = weights.iter().sum();
            let value = |channel: usize| {
                weights
                    .iter()
                    .zip(&self.entries)
                    .map(|(w, (_, _, v))| w / sum * f64::from(v[head][channel]))
                    .sum()
            };
            (0..HEAD_DIM).map(value).collect()
        }
    }

    /// A lane's own entries after a life of pushing and evicting: one out one in, many out, many in.
    fn lived(mut reference: Masked, seed: u64, start: u32) -> (Entries, Masked) {
        let mut own = Entries::new((KV_HEADS, HEAD_DIM), 1, DType::F32, &Device::Cpu).unwrap();
        for step in 0..90u32 {
            reference.push(&mut own, start + step, seed);
            let evicted = match step {
                20..50 => 1,
                50 => 7,
                60..80 if step % 4 == 0 => 3,
                _ => continue,
            };
            let slots = |head: usize| {
                let mut slots: Vec<usize> = (0..own.len()).collect();
                slots.sort_by_key(|&slot| {
                    zoo::stream(&[seed, u64::from(step), head as u64, slot as u64])
                });
                slots.truncate(evicted);
                slots.sort_unstable();
                slots
            };
            let slots: Vec<Vec<usize>> = (0..KV_HEADS).map(slots).collect();
            reference.evict(&mut own, &slots);
        }
        own.settle().unwrap();
        (own, reference)
    }

    fn check(shared: Option<&Entries>, lanes: &[(Entries, Masked)]) {
        let queries: Vec<Tensor> =
            (0..lanes.len() as u64).map(|lane| row(1000 + lane, KV_HEADS * GROUP)).collect();
        let q: Vec<Tensor> = queries.iter().map(|q| grouped(q, KV_HEADS).unwrap()).collect();
        let own: Vec<&Entries> = lanes.iter().map(|(own, _)| own).collect();
        for (lane, (out, probabilities)) in step(&q, shared, &own).unwrap().into_iter().enumerate()
        {
            let out: Vec<Vec<f32>> = ungrouped(&out, 1)
                .unwrap()
                .reshape((KV_HEADS * GROUP, HEAD_DIM))
                .unwrap()
                .to_vec2()
                .unwrap();
            let query: Vec<Vec<f32>> = queries[lane].squeeze(0).unwrap().to_vec2().unwrap();
            for head in 0..KV_HEADS * GROUP {
                let expected = lanes[lane].1.attend(&query[head], head / GROUP);
                let worst = out[head]
                    .iter()
                    .zip(&expected)
                    .map(|(a, b)| (f64::from(*a) - b).abs())
                    .fold(0.0, f64::max);
                assert!(worst < 1e-5, "lane {lane}, head {head}: {worst}");
            }
            let entries = shared.map_or(0, Entries::len) + own[lane].len();
            assert_eq!(probabilities.dims(), [KV_HEADS, GROUP, entries]);
        }
    }

    #[test]
    fn attention_over_survivors_is_full_attention_with_the_others_masked() {
        let lanes: Vec<_> = [1, 2, 3].map(|seed| lived(Masked::none(), seed, 0)).into();
        assert!(lanes.iter().all(|(own, _)| own.len() < 60), "nothing was evicted");
        check(None, &lanes);
        check(None, &lanes[..1]);
    }

    #[test]
    fn so_it_is_beside_shared_entries() {
        let mut shared = Entries::new((KV_HEADS, HEAD_DIM), 70, DType::F32, &Device::Cpu).unwrap();
        let mut prompt = Masked::none();
        (0..70).for_each(|position| prompt.push(&mut shared, position, 9));
        let lanes: Vec<_> = [1, 2, 3].map(|seed| lived(prompt.clone(), seed, 70)).into();
        check(Some(&shared), &lanes);
        check(Some(&shared), &lanes[..1]);
    }
}
