//! What a replay kept, in the form of the recorded cases.

use anyhow::Result;
use runner::{Replayed, ReplayedStep};
use safetensors::Dtype;
use safetensors::tensor::TensorView;
use zoo::Counters;

/// Entries per layer and head.
type Kept = Vec<Vec<Vec<u32>>>;

/// Positions kept in cache order, padded with -1, and all lengths, as safetensors.
///
/// # Errors
/// Never for what a replay returns: all tensors fill their shapes.
pub(super) fn serialise(replayed: &Replayed) -> Result<Vec<u8>> {
    let Replayed { prefill, steps } = replayed;
    let (layers, heads) = (prefill.len(), prefill[0].len());
    let after: Vec<&Kept> = steps.iter().map(|step| &step.kept).collect();
    let (most_prefill, most_after) = (longest(&[prefill]), longest(&after));
    let per_step = |of: fn(&ReplayedStep) -> Vec<usize>| words(steps.iter().flat_map(of));
    let ran: Vec<u8> =
        steps.iter().flat_map(|step| &step.selected).map(|&ran| u8::from(ran)).collect();
    let tensors = [
        (
            "kept_prefill",
            Dtype::I16,
            vec![layers, heads, most_prefill],
            padded(&[prefill], most_prefill),
        ),
        ("len_prefill", Dtype::I32, vec![layers], words(lengths(prefill))),
        (
            "kept_steps",
            Dtype::I16,
            vec![steps.len(), layers, heads, most_after],
            padded(&after, most_after),
        ),
        ("len_before", Dtype::I32, vec![steps.len(), layers], per_step(|step| step.before.clone())),
        ("len_after", Dtype::I32, vec![steps.len(), layers], per_step(|step| lengths(&step.kept))),
        ("evict_ran", Dtype::U8, vec![steps.len(), layers], ran),
        (
            "counters",
            Dtype::I32,
            vec![steps.len(), 3],
            per_step(|step| {
                let Counters { step, skip, layer } = step.counters;
                vec![step, skip, layer]
            }),
        ),
    ];
    let views = tensors
        .iter()
        .map(|(name, dtype, shape, bytes)| {
            Ok((*name, TensorView::new(*dtype, shape.clone(), bytes)?))
        })
        .collect::<Result<Vec<_>>>()?;
    Ok(safetensors::serialize(views, None)?)
}

/// Entries of each layer; all heads of a layer hold the same number.
fn lengths(kept: &Kept) -> Vec<usize> {
    kept.iter().map(|heads| heads[0].len()).collect()
}

fn longest(all: &[&Kept]) -> usize {
    all.iter().flat_map(|kept| lengths(kept)).max().unwrap_or(0)
}

/// Positions as little-endian `i16`, each head's padded to `width` with -1.
fn padded(all: &[&Kept], width: usize) -> Vec<u8> {
    let row = |head: &Vec<u32>| {
        let padding = std::iter::repeat_n(-1, width - head.len());
        head.iter().map(|&position| position as i16).chain(padding).collect::<Vec<i16>>()
    };
    all.iter()
        .flat_map(|kept| kept.iter().flatten())
        .flat_map(row)
        .flat_map(i16::to_le_bytes)
        .collect()
}

/// Counts as little-endian `i32`; one that does not fit is the largest that does.
fn words(counts: impl IntoIterator<Item = usize>) -> Vec<u8> {
    counts
        .into_iter()
        .flat_map(|count| i32::try_from(count).unwrap_or(i32::MAX).to_le_bytes())
        .collect()
}
