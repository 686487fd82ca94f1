//! Attention in candle's operations.

use candle_core::{Device, Tensor};
use candle_nn::ops::softmax_last_dim;

use crate::Result;
use crate::cache::Entries;

/// Keys and values of some entries.
#[derive(Debug)]
pub(super) struct Kv {
    pub(super) keys: Tensor,   // (kv_heads, head_dim, entries)
    pub(super) values: Tensor, // (kv_heads, entries, head_dim)
}

impl Kv {
    /// All entries of a layer; there must be no holes.
    pub(super) fn of(entries: &Entries) -> Result<Self> {
        let (store, slots) = (entries.store().in_tensors()?, entries.slots());
        Ok(Self { keys: store.keys(slots)?, values: store.values(slots)? })
    }
}

/// Queries as `(kv_heads, group * rows, head_dim)`, scaled by `1/√head_dim`. Row `g * rows + r` is query head `g` of the group at row `r`.
///
/// # Shapes
/// - `q`: `(rows, query_heads, head_dim)`
pub(super) fn grouped(q: &Tensor, kv_heads: usize) -> Result<Tensor> {
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
pub(super) fn ungrouped(out: &Tensor, rows: usize) -> Result<Tensor> {
    let (kv_heads, grouped_rows, head_dim) = out.dims3()?;
    let group = grouped_rows / rows;
    let out =
        out.reshape((kv_heads, group, rows, head_dim))?.permute((2, 0, 1, 3))?.contiguous()?;
    Ok(out.reshape((rows, kv_heads * group * head_dim))?)
}

/// What must be added to scores so that each row sees so many of the first keys alone: 0 or -∞.
///
/// # Shapes
/// - `seen`: `(rows,)`
/// - returns `(rows, keys)`
pub(super) fn mask(seen: &[usize], keys: usize, device: &Device) -> Result<Tensor> {
    let mask: Vec<f32> = seen
        .iter()
        .flat_map(|&seen| {
            (0..keys).map(move |key| if key < seen { 0.0 } else { f32::NEG_INFINITY })
        })
        .collect();
    Ok(Tensor::from_vec(mask, (seen.len(), keys), device)?)
}

/// What a block of rows attends to under a mask.
///
/// # Shapes
/// - `q`: `(kv_heads, group * rows, head_dim)`, from [`grouped`]
/// - `keys`: `(kv_heads, head_dim, entries)`
/// - `mask`: `(rows, entries)`
/// - returns `(kv_heads, group * rows, entries)`
pub(super) fn probabilities(q: &Tensor, keys: &Tensor, mask: &Tensor) -> Result<Tensor> {
    let scores = q.matmul(keys)?; // (kv_heads, group * rows, entries)
    let (rows, keys) = mask.dims2()?;
    let (kv_heads, grouped_rows, _) = scores.dims3()?;
    let scores =
        scores.reshape((kv_heads * grouped_rows / rows, rows, keys))?.broadcast_add(mask)?;
    Ok(softmax_last_dim(&scores.reshape((kv_heads, grouped_rows, keys))?)?)
}

/// One head per query head: each KV head's row, once for every query head of its group.
///
/// # Shapes
/// - `row`: `(1, kv_heads, head_dim)`
/// - returns `(1, heads, head_dim)`
pub(super) fn copied(row: &Tensor, heads: usize) -> Result<Tensor> {
    let (rows, kv_heads, head_dim) = row.dims3()?;
    if kv_heads == heads {
        return Ok(row.clone());
    }
    let copies = row.unsqueeze(2)?.broadcast_as((rows, kv_heads, heads / kv_heads, head_dim))?;
    Ok(copies.contiguous()?.reshape((rows, heads, head_dim))?)
}

/// Attention of one row per lane, over entries that all of these lanes share and over each lane's own. The shared entries are read once for all.
///
/// # Shapes
/// - `q`: one `(kv_heads, group, head_dim)` per lane, from [`grouped`]
/// - returns per lane the output `(kv_heads, group, head_dim)` and the probabilities `(kv_heads, group, shared + own)`
pub(super) fn step(q: &[Tensor], shared: Option<Kv>, own: &[Kv]) -> Result<Vec<(Tensor, Tensor)>> {
    let Some(shared) = shared else {
        return q.iter().zip(own).map(|(q, own)| alone(q, own)).collect();
    };
    let Some(first) = q.first() else { return Ok(Vec::new()) };
    let (group, entries) = (first.dim(1)?, shared.keys.dim(2)?);
    let shared_scores = Tensor::cat(q, 1)?.matmul(&shared.keys)?; // (kv_heads, lanes * group, shared)
    let probabilities = q.iter().zip(own).enumerate().map(|(lane, (q, own))| {
        let of_shared = shared_scores.narrow(1, lane * group, group)?.contiguous()?; // (kv_heads, group, shared)
        Ok(softmax_last_dim(&Tensor::cat(&[&of_shared, &q.matmul(&own.keys)?], 2)?)?)
    });
    let probabilities: Vec<Tensor> = probabilities.collect::<Result<_>>()?;
    let of_shared = probabilities.iter().map(|p| Ok(p.narrow(2, 0, entries)?.contiguous()?));
    let of_shared: Vec<Tensor> = of_shared.collect::<Result<_>>()?;
    let from_shared = Tensor::cat(&of_shared, 1)?.matmul(&shared.values)?; // (kv_heads, lanes * group, head_dim)
    let lanes = probabilities.into_iter().zip(own).enumerate();
    let results = lanes.map(|(lane, (probabilities, own))| {
        let of_own = probabilities.narrow(2, entries, own.keys.dim(2)?)?.contiguous()?;
        let from_own = of_own.matmul(&own.values)?;
        Ok(((from_shared.narrow(1, lane * group, group)? + from_own)?, probabilities))
    });
    results.collect()
}

/// Attention of one row over one lane's own entries.
fn alone(q: &Tensor, own: &Kv) -> Result<(Tensor, Tensor)> {
    let probabilities = softmax_last_dim(&q.matmul(&own.keys)?)?;
    Ok((probabilities.matmul(&own.values)?, probabilities))
}
