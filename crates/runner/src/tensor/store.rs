//! Keys and values as tensors.

use candle_core::{DType, Device, Tensor};

use crate::Result;
use crate::cache::Slots;

/// Keys and values of all heads of a layer.
#[derive(Debug)]
pub(crate) struct Store {
    keys: Tensor, // (kv_heads, head_dim, capacity): positions side by side, the layout that q·kᵀ reads fastest
    values: Tensor, // (kv_heads, capacity, head_dim)
}

impl Store {
    /// Room for no slots, in heads of this number and width.
    pub(crate) fn new((heads, head_dim): (usize, usize), device: &Device) -> Result<Self> {
        Ok(Self {
            keys: Tensor::zeros((heads, head_dim, 0), DType::F32, device)?,
            values: Tensor::zeros((heads, 0, head_dim), DType::F32, device)?,
        })
    }

    /// No slots, in so many heads of this kind.
    pub(crate) fn empty_like(&self, heads: usize) -> Result<Self> {
        Self::new((heads, self.keys.dim(1)?), self.keys.device())
    }

    /// Slots that there is room for.
    pub(crate) fn room(&self) -> usize {
        self.keys.dims()[2]
    }

    /// Bytes of so many slots, of all heads.
    pub(crate) fn bytes_of(&self, slots: usize) -> usize {
        let numbers = 2 * slots * self.keys.dims()[..2].iter().product::<usize>();
        numbers * self.keys.dtype().size_in_bytes()
    }

    /// Keys of the first slots, `(kv_heads, head_dim, slots)`.
    pub(super) fn keys(&self, slots: usize) -> Result<Tensor> {
        let keys = self.keys.narrow(2, 0, slots)?;
        // CUDA's matrix product takes packed rows only; the CPU's reads through the gaps.
        Ok(if keys.device().is_cuda() { keys.contiguous()? } else { keys })
    }

    /// Values of the first slots, `(kv_heads, slots, head_dim)`.
    pub(super) fn values(&self, slots: usize) -> Result<Tensor> {
        Ok(self.values.narrow(1, 0, slots)?)
    }

    /// Writes rows into slots: consecutive ones, or one row over a slot of each head.
    ///
    /// # Shapes
    /// - `k`, `v`: `(rows, kv_heads, head_dim)`
    pub(crate) fn write(&mut self, slots: &Slots, k: &Tensor, v: &Tensor) -> Result<()> {
        match slots {
            Slots::Behind(slot) => {
                self.keys.slice_set(&k.permute((1, 2, 0))?.contiguous()?, 2, *slot)?;
                self.values.slice_set(&v.transpose(0, 1)?.contiguous()?, 1, *slot)?;
            }
            Slots::Over(slots) => {
                let (_, heads, head_dim) = k.dims3()?;
                let index =
                    slots.iter().flat_map(|&slot| std::iter::repeat_n(slot as u32, head_dim));
                let index = Tensor::from_vec(index.collect(), (heads, head_dim, 1), k.device())?;
                self.keys.scatter_set(&index, &k.reshape((heads, head_dim, 1))?, 2)?;
                let index = index.transpose(1, 2)?.contiguous()?;
                self.values.scatter_set(&index, &v.reshape((heads, 1, head_dim))?, 1)?;
            }
        }
        Ok(())
    }

    /// Changes the room for slots, of which some are in use.
    pub(crate) fn resize(&mut self, slots: usize, room: usize) -> Result<()> {
        let (heads, head_dim, _) = self.keys.dims3()?;
        let device = self.keys.device();
        let keys = Tensor::zeros((heads, head_dim, room), DType::F32, device)?;
        let values = Tensor::zeros((heads, room, head_dim), DType::F32, device)?;
        if slots > 0 {
            keys.slice_set(&self.keys.narrow(2, 0, slots)?.contiguous()?, 2, 0)?;
            values.slice_set(&self.values.narrow(1, 0, slots)?.contiguous()?, 1, 0)?;
        }
        (self.keys, self.values) = (keys, values);
        Ok(())
    }

    /// Takes in some slots of a store, as [`crate::cache::Entries::copies`].
    pub(crate) fn copy_from(&mut self, from: &Self, kept: &[Vec<usize>]) -> Result<()> {
        if kept.iter().all(Vec::is_empty) {
            return Ok(());
        }
        let copies = kept.len() / from.keys.dim(0)?;
        let (mut keys, mut values) = (Vec::new(), Vec::new());
        for (head, slots) in kept.iter().enumerate() {
            let index: Vec<u32> = slots.iter().map(|&slot| slot as u32).collect();
            let index = Tensor::new(index, from.keys.device())?;
            keys.push(from.keys.get(head / copies)?.index_select(&index, 1)?);
            values.push(from.values.get(head / copies)?.index_select(&index, 0)?);
        }
        self.keys.slice_set(&Tensor::stack(&keys, 0)?, 2, 0)?;
        self.values.slice_set(&Tensor::stack(&values, 0)?, 1, 0)?;
        Ok(())
    }

    /// As [`crate::cache::Entries::arrange`].
    pub(crate) fn arrange(&mut self, kept: &[Vec<usize>]) -> Result<()> {
        let old = Self { keys: self.keys.clone(), values: self.values.clone() };
        self.copy_from(&old, kept)
    }

    /// Moves entries from slot to slot, after which only the first `kept` count.
    pub(crate) fn shift(&mut self, moves: &[Vec<(usize, usize)>], kept: usize) -> Result<()> {
        let order = |moves: &Vec<(usize, usize)>| {
            let mut order: Vec<usize> = (0..kept).collect();
            for &(from, to) in moves {
                order[to] = from;
            }
            order
        };
        self.arrange(&moves.iter().map(order).collect::<Vec<_>>())
    }

    #[cfg(test)]
    pub(crate) fn read(&self, head: usize, slot: usize) -> Result<(Vec<f32>, Vec<f32>)> {
        let key = self.keys.get(head)?.narrow(1, slot, 1)?.flatten_all()?.to_vec1()?;
        Ok((key, self.values.get(head)?.get(slot)?.to_vec1()?))
    }
}
