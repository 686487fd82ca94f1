//! The tensor back end of attention: candle operations that run on any device.

use candle_core::{DType, Device, Tensor};
use candle_nn::ops::softmax_last_dim;

use crate::Result;
use crate::cache::Entries;

/// Queries as `(kv_heads, group * rows, head_dim)`, scaled by 1/√head_dim. Row `g * rows + r` is query head `g` of the group at row `r`.
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
    let out = out.reshape((kv_heads, group, rows, head_dim))?.permute((2, 0, 1, 3))?.contiguous()?;
    Ok(out.reshape((rows, kv_heads * group * head_dim))?)
}

/// What must be added to the scores of a block so that no row sees a later one: 0 or -∞.
///
/// # Shapes
/// - returns `(rows, before + rows)`
pub(crate) fn causal_mask(rows: usize, before: usize, device: &Device) -> Result<Tensor> {
    let mask: Vec<f32> = (0..rows)
        .flat_map(|row| (0..before + rows).map(move |key| if key > before + row { f32::NEG_INFINITY } else { 0.0 }))
        .collect();
    Ok(Tensor::from_vec(mask, (rows, before + rows), device)?)
}

/// Attention of a block of rows over all entries, the block's own included, under a causal mask.
///
/// # Shapes
/// - `q`: `(kv_heads, group * rows, head_dim)`, from [`grouped`]
/// - `mask`: `(rows, entries)`
/// - returns the output `(kv_heads, group * rows, head_dim)` and the probabilities `(kv_heads, group * rows, entries)`
pub(crate) fn block(q: &Tensor, entries: &Entries, mask: &Tensor) -> Result<(Tensor, Tensor)> {
    let (rows, keys) = mask.dims2()?;
    let scores = q.matmul(&entries.keys()?)?; // (kv_heads, group * rows, entries)
    let (kv_heads, grouped_rows, _) = scores.dims3()?;
    let scores = scores.reshape((kv_heads * grouped_rows / rows, rows, keys))?.broadcast_add(mask)?;
    let probabilities = softmax(&scores.reshape((kv_heads, grouped_rows, keys))?)?;
    Ok((probabilities.matmul(&entries.values()?)?, probabilities))
}

/// Attention of one row per lane, over entries that all of these lanes share and over each lane's own.
///
/// The shared entries are read once for all lanes.
///
/// # Shapes
/// - `q`: one `(kv_heads, group, head_dim)` per lane, from [`grouped`]
/// - returns per lane the output `(kv_heads, group, head_dim)` and the probabilities `(kv_heads, group, shared + own)`
pub(crate) fn step(q: &[Tensor], shared: Option<&Entries>, own: &[&Entries]) -> Result<Vec<(Tensor, Tensor)>> {
    let Some(shared) = shared else { return q.iter().zip(own).map(|(q, own)| alone(q, own)).collect() };
    let group = q[0].dim(1)?;
    let shared_keys = shared.len();
    let shared_scores = Tensor::cat(q, 1)?.matmul(&shared.keys()?)?; // (kv_heads, lanes * group, shared)
    let mut probabilities = Vec::with_capacity(q.len());
    for (lane, (q, own)) in q.iter().zip(own).enumerate() {
        let of_shared = shared_scores.narrow(1, lane * group, group)?; // (kv_heads, group, shared)
        let of_own = q.matmul(&own.keys()?)?; // (kv_heads, group, own)
        probabilities.push(softmax(&Tensor::cat(&[&of_shared, &of_own], 2)?)?);
    }
    let of_shared: Vec<Tensor> =
        probabilities.iter().map(|p| p.narrow(2, 0, shared_keys)).collect::<candle_core::Result<_>>()?;
    let from_shared = Tensor::cat(&of_shared, 1)?.matmul(&shared.values()?)?; // (kv_heads, lanes * group, head_dim)
    let mut results = Vec::with_capacity(q.len());
    for (lane, (probabilities, own)) in probabilities.into_iter().zip(own).enumerate() {
        let of_own = probabilities.narrow(2, shared_keys, own.len())?.contiguous()?;
        let out = (from_shared.narrow(1, lane * group, group)? + of_own.matmul(&own.values()?)?)?;
        results.push((out, probabilities));
    }
    Ok(results)
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
