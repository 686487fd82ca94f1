//! Entries, slots, bytes. Knows no policy.

use candle_core::{DType, Device, Tensor};

use crate::Result;

/// Slots are allocated in pages of this many.
const PAGE: usize = 64;

/// One layer's entries: a key, a value and a position in each slot of each KV head.
///
/// Keys are rotated at their true position, so the order of slots is free: attention does not care. An evicted entry leaves a
/// hole, which the next entry fills; every KV head holds the same number of entries.
#[derive(Debug)]
pub struct Entries {
    keys: Tensor, // (kv_heads, head_dim, capacity): positions side by side, the layout that q·kᵀ reads fastest
    values: Tensor, // (kv_heads, capacity, head_dim)
    positions: Vec<Vec<u32>>, // (kv_heads, slots in use)
    holes: Vec<Vec<usize>>, // (kv_heads, holes), ascending
    scores: Option<Vec<Vec<f32>>>, // (kv_heads, slots in use): what a policy has summed up of each entry, if it does
}

impl Entries {
    /// No entries, of the same shape, and room for `capacity`.
    pub(crate) fn empty_like(&self, capacity: usize) -> Result<Self> {
        let (kv_heads, head_dim, _) = self.keys.dims3()?;
        Self::new((kv_heads, head_dim), capacity, self.keys.dtype(), self.keys.device())
    }

    /// No entries, and room for `capacity`, in heads of this number and width.
    pub(crate) fn new(
        (kv_heads, head_dim): (usize, usize),
        capacity: usize,
        dtype: DType,
        device: &Device,
    ) -> Result<Self> {
        let capacity = capacity.next_multiple_of(PAGE);
        Ok(Self {
            keys: Tensor::zeros((kv_heads, head_dim, capacity), dtype, device)?,
            values: Tensor::zeros((kv_heads, capacity, head_dim), dtype, device)?,
            positions: vec![Vec::new(); kv_heads],
            holes: vec![Vec::new(); kv_heads],
            scores: None,
        })
    }

    /// KV heads.
    pub fn heads(&self) -> usize {
        self.positions.len()
    }

    /// Entries per KV head.
    pub fn len(&self) -> usize {
        self.slots() - self.holes.first().map_or(0, Vec::len)
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn slots(&self) -> usize {
        self.positions.first().map_or(0, Vec::len)
    }

    /// Bytes allocated for keys, values and summed-up scores, whether in use or not.
    pub fn bytes(&self) -> usize {
        let scores = self.scores.iter().flatten().map(|head| head.capacity() * size_of::<f32>());
        (self.keys.elem_count() + self.values.elem_count()) * self.keys.dtype().size_in_bytes()
            + scores.sum::<usize>()
    }

    /// Positions of one KV head's entries that were not evicted, in slot order.
    pub fn kept(&self, head: usize) -> impl Iterator<Item = u32> {
        let holes = &self.holes[head];
        let live = move |slot: &usize| holes.binary_search(slot).is_err();
        (0..self.slots()).filter(live).map(move |slot| self.positions[head][slot])
    }

    /// Starts to sum up scores, from these on.
    ///
    /// # Shapes
    /// - `scores`: `(kv_heads, slots)`
    pub(crate) fn track(&mut self, scores: Vec<Vec<f32>>) {
        self.scores = Some(scores);
    }

    /// Adds to the scores, where they are summed up.
    ///
    /// # Shapes
    /// - `attention`: `(kv_heads, group, slots)`
    pub(crate) fn accumulate(&mut self, attention: &[Vec<Vec<f32>>]) {
        for (sums, group) in self.scores.iter_mut().flatten().zip(attention) {
            for row in group {
                for (sum, more) in sums.iter_mut().zip(row) {
                    *sum += more;
                }
            }
        }
    }

    /// One KV head's scores in slot order, where they are summed up.
    pub(crate) fn scores(&self, head: usize) -> Option<&[f32]> {
        self.scores.as_ref().map(|scores| scores[head].as_slice())
    }

    /// Positions of one KV head's entries, in slot order.
    pub fn positions(&self, head: usize) -> &[u32] {
        &self.positions[head]
    }

    /// Keys in slot order, `(kv_heads, head_dim, entries)`. There must be no holes.
    pub(crate) fn keys(&self) -> Result<Tensor> {
        packed(self.keys.narrow(2, 0, self.slots())?)
    }

    /// Values in slot order, `(kv_heads, entries, head_dim)`. There must be no holes.
    pub(crate) fn values(&self) -> Result<Tensor> {
        Ok(self.values.narrow(1, 0, self.slots())?)
    }

    /// Adds consecutive positions behind the last slot.
    ///
    /// # Shapes
    /// - `k`, `v`: `(rows, kv_heads, head_dim)`
    pub(crate) fn extend(
        &mut self,
        k: &Tensor,
        v: &Tensor,
        positions: std::ops::Range<u32>,
    ) -> Result<()> {
        let slots = self.slots();
        self.reserve(slots + positions.len())?;
        self.keys.slice_set(&k.permute((1, 2, 0))?.contiguous()?, 2, slots)?;
        self.values.slice_set(&v.transpose(0, 1)?.contiguous()?, 1, slots)?;
        for head in &mut self.positions {
            head.extend(positions.clone());
        }
        for head in self.scores.iter_mut().flatten() {
            head.resize(slots + positions.len(), 0.0);
        }
        Ok(())
    }

    /// Adds one entry: over an evicted one if there is any, else behind the last slot.
    ///
    /// # Shapes
    /// - `k`, `v`: `(1, kv_heads, head_dim)`
    pub(crate) fn push(&mut self, k: &Tensor, v: &Tensor, position: u32) -> Result<()> {
        let freed: Option<Vec<usize>> = self.holes.iter_mut().map(Vec::pop).collect();
        let Some(slots) = freed else { return self.extend(k, v, position..position + 1) };
        let (_, kv_heads, head_dim) = k.dims3()?;
        let index: Vec<u32> =
            slots.iter().flat_map(|&slot| std::iter::repeat_n(slot as u32, head_dim)).collect();
        let index = Tensor::from_vec(index, (kv_heads, head_dim, 1), k.device())?;
        self.keys.scatter_set(&index, &k.reshape((kv_heads, head_dim, 1))?, 2)?;
        self.values.scatter_set(
            &index.transpose(1, 2)?.contiguous()?,
            &v.reshape((kv_heads, 1, head_dim))?,
            1,
        )?;
        for (head, &slot) in self.positions.iter_mut().zip(&slots) {
            head[slot] = position;
        }
        for (head, &slot) in self.scores.iter_mut().flatten().zip(&slots) {
            head[slot] = 0.0;
        }
        Ok(())
    }

    /// Evicts entries, as many from each KV head.
    ///
    /// # Shapes
    /// - `evicted`: `(kv_heads, entries)`, ascending slots
    pub(crate) fn evict(&mut self, evicted: Vec<Vec<usize>>) {
        debug_assert!(self.holes.iter().all(Vec::is_empty), "settle comes between two evictions");
        debug_assert!(
            evicted.iter().all(|slots| slots.len() == evicted[0].len()),
            "equal counts per head"
        );
        self.holes = evicted;
    }

    /// Closes the holes that no entry has filled.
    pub(crate) fn settle(&mut self) -> Result<()> {
        if self.holes.iter().all(Vec::is_empty) {
            return Ok(());
        }
        let kept: Vec<Vec<usize>> = self
            .holes
            .iter()
            .map(|holes| {
                (0..self.slots()).filter(|slot| holes.binary_search(slot).is_err()).collect()
            })
            .collect();
        *self = self.select(&kept)?;
        Ok(())
    }

    /// Lays entries out anew; those that are not named go.
    ///
    /// # Shapes
    /// - `kept`: `(kv_heads, entries)`, slots in their new order
    pub(crate) fn arrange(&mut self, kept: &[Vec<usize>]) -> Result<()> {
        debug_assert!(self.holes.iter().all(Vec::is_empty), "settle comes first");
        *self = self.select(kept)?;
        Ok(())
    }

    /// A copy of all entries, with room for one more.
    pub(crate) fn copy(&self) -> Result<Self> {
        let everything: Vec<usize> = (0..self.slots()).collect();
        let mut copy = self.select(&vec![everything; self.heads()])?;
        copy.reserve(copy.slots() + 1)?;
        Ok(copy)
    }

    /// A copy of some entries, in as many heads as are named: each head here gives rise to the same number of consecutive ones there.
    ///
    /// # Shapes
    /// - `kept`: `(heads, entries)`, at least one entry; slots in the order that the copy will have
    pub(crate) fn select(&self, kept: &[Vec<usize>]) -> Result<Self> {
        let copies = kept.len() / self.heads();
        let mut keys = Vec::with_capacity(kept.len());
        let mut values = Vec::with_capacity(kept.len());
        let mut positions = Vec::with_capacity(kept.len());
        let gather = |scores: &Vec<Vec<f32>>| {
            let of = |(head, slots): (usize, &Vec<usize>)| {
                slots.iter().map(|&slot| scores[head / copies][slot]).collect()
            };
            kept.iter().enumerate().map(of).collect()
        };
        for (head, slots) in kept.iter().enumerate() {
            let head = head / copies;
            let index: Vec<u32> = slots.iter().map(|&slot| slot as u32).collect();
            let index = Tensor::new(index, self.keys.device())?;
            keys.push(self.keys.get(head)?.index_select(&index, 1)?);
            values.push(self.values.get(head)?.index_select(&index, 0)?);
            positions.push(slots.iter().map(|&slot| self.positions[head][slot]).collect());
        }
        let mut copy = Self {
            keys: Tensor::stack(&keys, 0)?,
            values: Tensor::stack(&values, 0)?,
            holes: vec![Vec::new(); kept.len()],
            scores: self.scores.as_ref().map(gather),
            positions,
        };
        copy.reserve(copy.slots())?;
        Ok(copy)
    }

    /// Makes room for `slots` in all, in whole pages.
    fn reserve(&mut self, slots: usize) -> Result<()> {
        let (kv_heads, head_dim, capacity) = self.keys.dims3()?;
        let needed = slots.next_multiple_of(PAGE);
        for head in self.scores.iter_mut().flatten() {
            head.reserve_exact(needed.saturating_sub(head.len()));
        }
        if needed > capacity {
            let (dtype, device) = (self.keys.dtype(), self.keys.device().clone());
            let more = needed - capacity;
            self.keys = Tensor::cat(
                &[&self.keys, &Tensor::zeros((kv_heads, head_dim, more), dtype, &device)?],
                2,
            )?;
            self.values = Tensor::cat(
                &[&self.values, &Tensor::zeros((kv_heads, more, head_dim), dtype, &device)?],
                1,
            )?;
        }
        Ok(())
    }
}

/// CUDA's matrix product takes packed rows only; the CPU's reads through the gaps.
fn packed(tensor: Tensor) -> Result<Tensor> {
    Ok(if tensor.device().is_cuda() { tensor.contiguous()? } else { tensor })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A row whose numbers say which position and head it belongs to.
    fn row(position: u32) -> Tensor {
        let numbers: Vec<f32> = (0..8).map(|i| position as f32 * 10.0 + (i / 4) as f32).collect();
        Tensor::from_vec(numbers, (1, 2, 4), &Device::Cpu).unwrap()
    }

    fn filled(entries: u32) -> Entries {
        let mut cache = Entries::new((2, 4), 1, DType::F32, &Device::Cpu).unwrap();
        for position in 0..entries {
            cache.push(&row(position), &row(position), position).unwrap();
        }
        cache
    }

    /// Every slot's key and value must say the position that the cache claims for it.
    fn check(cache: &Entries) {
        let keys = cache.keys().unwrap().to_vec3::<f32>().unwrap();
        let values = cache.values().unwrap().to_vec3::<f32>().unwrap();
        for head in 0..2 {
            for (slot, &position) in cache.positions(head).iter().enumerate() {
                let expected = position as f32 * 10.0 + head as f32;
                assert_eq!(keys[head][0][slot].to_bits(), expected.to_bits());
                assert_eq!(values[head][slot], [expected; 4]);
            }
        }
    }

    #[test]
    fn one_out_one_in_overwrites_the_slot() {
        let mut cache = filled(70);
        let bytes = cache.bytes();
        cache.evict(vec![vec![3], vec![69]]);
        assert_eq!(cache.len(), 69);
        cache.push(&row(70), &row(70), 70).unwrap();
        assert_eq!((cache.len(), cache.bytes()), (70, bytes));
        assert_eq!((cache.positions(0)[3], cache.positions(1)[69]), (70, 70));
        check(&cache);
    }

    #[test]
    fn holes_that_stay_are_closed_in_order() {
        let mut cache = filled(10);
        cache.evict(vec![vec![0, 4, 9], vec![1, 2, 3]]);
        cache.push(&row(10), &row(10), 10).unwrap();
        cache.settle().unwrap();
        assert_eq!(cache.len(), 8);
        assert_eq!(cache.positions(0), [1, 2, 3, 5, 6, 7, 8, 10]);
        check(&cache);
    }

    #[test]
    fn bytes_are_whole_pages_of_what_is_allocated() {
        let entry = 2 * 2 * 4 * 4; // key and value, 2 KV heads of 4 f32
        assert_eq!(filled(1).bytes(), 64 * entry);
        assert_eq!(filled(65).bytes(), 128 * entry);
    }
}
