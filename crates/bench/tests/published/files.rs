//! Recordings as the replay reads them, and what it and the published code kept.

use std::fs;
use std::path::Path;

use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};

use crate::case::Case;
use crate::head::{Kept, Rows};
use crate::schedule::Schedule;

/// Queries and keys of every layer and head, as read or drawn: `[layer][head]`.
pub(crate) struct Numbers {
    pub(crate) q: Vec<Vec<Rows>>,
    pub(crate) k: Vec<Vec<Rows>>,
}

impl Numbers {
    pub(crate) fn read(path: &Path, case: &Case) -> Self {
        let bytes = fs::read(path).unwrap();
        let tensors = SafeTensors::deserialize(&bytes).unwrap();
        let nested = |name, heads: usize| -> Vec<Vec<Rows>> {
            let data = tensors.tensor(name).unwrap();
            let numbers: Vec<f32> =
                data.data().as_chunks::<4>().0.iter().map(|b| f32::from_le_bytes(*b)).collect();
            let rows: Vec<Vec<f32>> = numbers.chunks(case.head_dim).map(<[f32]>::to_vec).collect();
            let of_heads: Vec<Rows> = rows.chunks(case.tokens()).map(<[_]>::to_vec).collect();
            of_heads.chunks(heads).map(<[_]>::to_vec).collect()
        };
        Self { q: nested("q", case.num_heads), k: nested("k", case.num_key_value_heads) }
    }

    /// No rule reads values: the keys stand for them.
    pub(crate) fn write(&self, path: &Path, case: &Case) {
        let flat = |numbers: &[Vec<Rows>]| -> Vec<u8> {
            let numbers = numbers.iter().flatten().flatten().flatten();
            numbers.flat_map(|number| number.to_le_bytes()).collect()
        };
        let (q, k) = (flat(&self.q), flat(&self.k));
        let view = |heads, data| {
            let shape = vec![case.num_layers, heads, case.tokens(), case.head_dim];
            TensorView::new(Dtype::F32, shape, data).unwrap()
        };
        let kv = || view(case.num_key_value_heads, &k);
        let views = [("q", view(case.num_heads, &q)), ("k", kv()), ("v", kv())];
        fs::write(path, safetensors::serialize(views, None).unwrap()).unwrap();
    }
}

/// One case's answer as a file of the recorded form.
pub(crate) struct Answer(Vec<u8>);

impl Answer {
    pub(crate) fn read(path: &Path) -> Option<Self> {
        fs::read(path).ok().map(Self)
    }

    /// One whole number each, whatever its type in the file; and the tensor's last dimension.
    fn numbers(&self, name: &str) -> (Vec<i32>, usize) {
        let tensors = SafeTensors::deserialize(&self.0).unwrap();
        let tensor = tensors.tensor(name).unwrap();
        let data = tensor.data();
        let numbers = match tensor.dtype() {
            Dtype::U8 => data.iter().map(|&byte| i32::from(byte)).collect(),
            Dtype::I16 => {
                let words = data.as_chunks::<2>().0.iter();
                words.map(|bytes| i32::from(i16::from_le_bytes(*bytes))).collect()
            }
            _ => data.as_chunks::<4>().0.iter().map(|bytes| i32::from_le_bytes(*bytes)).collect(),
        };
        (numbers, *tensor.shape().last().unwrap())
    }

    /// Panics at the first length, selection or counter that the model has otherwise.
    pub(crate) fn assert_schedule(&self, case: &Case, schedule: &Schedule) {
        let calls = || schedule.steps.iter().flatten();
        let counted = |step: &crate::case::Counters| {
            [step.current_decoding_step, step.jump_step, step.jump_layer]
        };
        let expected: [(&str, Vec<usize>); 5] = [
            ("len_prefill", schedule.lengths.clone()),
            ("len_before", calls().map(|call| call.before).collect()),
            ("len_after", calls().map(|call| call.after).collect()),
            ("evict_ran", calls().map(|call| usize::from(call.cut.ran())).collect()),
            ("counters", schedule.counters.iter().flat_map(counted).collect()),
        ];
        for (name, expected) in expected {
            let expected: Vec<i32> =
                expected.into_iter().map(|number| i32::try_from(number).unwrap()).collect();
            assert_eq!(self.numbers(name).0, expected, "{name} of {case:#?}");
        }
    }

    /// Every head's positions, `[moment][layer × head]`: after prefill, then after each step.
    pub(crate) fn sets(&self, case: &Case) -> Vec<Vec<Vec<usize>>> {
        let heads = case.num_layers * case.num_heads;
        let sets = |name| {
            let (positions, width) = self.numbers(name);
            let set = |head: &[i32]| sorted(head.iter().filter_map(|&p| usize::try_from(p).ok()));
            positions.chunks(width.max(1)).map(set).collect::<Vec<_>>()
        };
        let all = [sets("kept_prefill"), sets("kept_steps")].concat();
        all.chunks(heads).map(<[_]>::to_vec).collect()
    }
}

/// How many sets of one head were compared. Panics at the first that differs.
pub(crate) fn assert_kept(
    case: &Case,
    index: usize,
    model: &Kept,
    found: &[Vec<Vec<usize>>],
) -> usize {
    let certain = model.tied.unwrap_or(model.after.len());
    assert_eq!(found.len(), model.after.len(), "{case:#?}");
    for (moment, (kept, found)) in model.after.iter().zip(found).take(certain).enumerate() {
        let expected = sorted(kept.iter().copied());
        assert_eq!(found[index], expected, "set {moment} of layer × head {index} of {case:#?}");
    }
    certain
}

fn sorted(positions: impl Iterator<Item = usize>) -> Vec<usize> {
    let mut positions: Vec<usize> = positions.collect();
    positions.sort_unstable();
    positions
}
