//! Keys and values on the host.

use half::f16;

use crate::cache::Slots;
use crate::kernels::{KEYS, LANES, Number, Region, Run, ask_to_write};
use crate::{Error, Result};

/// What a cache's numbers are held in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Numbers {
    F32,
    F16,
}

/// Keys and values of all heads of a layer.
#[derive(Debug)]
pub(crate) enum Store {
    F32(Vec<Head<f32>>),
    F16(Vec<Head<f16>>),
}

/// Keys and values of one head. Queries run over keys side by side and over values one after the other, and each lies as it is read.
#[derive(Debug)]
#[allow(clippy::struct_field_names, reason = "the field's standard name")]
pub(crate) struct Head<T> {
    keys: Run<T>,   // (room / KEYS, head_dim, KEYS)
    values: Run<T>, // (room, width)
    head_dim: usize,
}

/// Does the same to the heads of a store, whatever their numbers are held in.
macro_rules! with_heads {
    ($store:expr, $heads:ident => $what:expr) => {
        match $store {
            crate::host::Store::F32($heads) => $what,
            crate::host::Store::F16($heads) => $what,
        }
    };
}
pub(super) use with_heads;

impl Numbers {
    /// Bytes of one.
    pub(crate) fn bytes(self) -> usize {
        match self {
            Self::F32 => size_of::<f32>(),
            Self::F16 => size_of::<f16>(),
        }
    }
}

/// Numbers that a value takes: its channels, in whole registers.
pub(crate) fn width(head_dim: usize) -> usize {
    head_dim.next_multiple_of(LANES)
}

impl Store {
    /// No slots, in heads of this number and width.
    pub(crate) fn new((heads, head_dim): (usize, usize), numbers: Numbers) -> Self {
        match numbers {
            Numbers::F32 => Self::F32((0..heads).map(|_| Head::new(head_dim)).collect()),
            Numbers::F16 => Self::F16((0..heads).map(|_| Head::new(head_dim)).collect()),
        }
    }

    /// No slots, in so many heads of this kind.
    pub(crate) fn empty_like(&self, heads: usize) -> Self {
        let numbers = match self {
            Self::F32(_) => Numbers::F32,
            Self::F16(_) => Numbers::F16,
        };
        let head_dim = with_heads!(self, heads => heads.first().map_or(0, Head::head_dim));
        Self::new((heads, head_dim), numbers)
    }

    /// Slots that there is room for.
    pub(crate) fn room(&self) -> usize {
        with_heads!(self, heads => heads.first().map_or(0, Head::room))
    }

    /// Bytes of so many slots, of all heads.
    pub(crate) fn bytes_of(&self, slots: usize) -> usize {
        with_heads!(self, heads => heads.iter().map(|head| head.bytes_of(slots)).sum())
    }

    /// Moves so many slots to a region, to where there is room for more.
    pub(crate) fn move_to(&mut self, region: &mut Region, slots: usize, room: usize) {
        with_heads!(self, heads => heads.iter_mut().for_each(|head| head.move_to(region, slots, room)));
    }

    /// Writes one entry, of which `of_head` knows each head's key and value, `(head_dim,)` each.
    pub(crate) fn write<'a>(
        &mut self,
        slots: &Slots,
        of_head: impl Fn(usize) -> (&'a [f32], &'a [f32]),
    ) {
        let slot = |head: usize| match slots {
            Slots::Behind(slot) => *slot,
            Slots::Over(slots) => slots[head],
        };
        with_heads!(self, heads => {
            // One head ahead of the one that is written.
            if let Some(first) = heads.first() {
                first.ask_to_write(slot(0));
            }
            for head in 0..heads.len() {
                if let Some(next) = heads.get(head + 1) {
                    next.ask_to_write(slot(head + 1));
                }
                heads[head].write(slot(head), std::iter::once(of_head(head)));
            }
        });
    }

    /// Takes in some slots of a store of the same kind, of which each head gives rise to the same number of consecutive ones here, as
    /// [`crate::cache::Entries::copies`].
    pub(crate) fn copy_from(&mut self, from: &Self, kept: &[Vec<usize>]) -> Result<()> {
        fn copy<T: Number>(to: &mut [Head<T>], from: &[Head<T>], kept: &[Vec<usize>]) {
            let copies = kept.len() / from.len();
            for (head, (to, slots)) in to.iter_mut().zip(kept).enumerate() {
                let from = &from[head / copies];
                to.gather(from.keys(), from.values(), slots);
            }
        }
        match (self, from) {
            (Self::F32(to), Self::F32(from)) => copy(to, from, kept),
            (Self::F16(to), Self::F16(from)) => copy(to, from, kept),
            _ => return Err(Error::BackEnd),
        }
        Ok(())
    }

    /// As [`crate::cache::Entries::arrange`].
    pub(crate) fn arrange(&mut self, kept: &[Vec<usize>]) {
        with_heads!(self, heads => for (head, slots) in heads.iter_mut().zip(kept) {
            head.arrange(slots);
        });
    }

    /// Moves entries from slot to slot.
    pub(crate) fn shift(&mut self, moves: &[Vec<(usize, usize)>]) {
        with_heads!(self, heads => for (head, moves) in heads.iter_mut().zip(moves) {
            for &(from, to) in moves {
                head.shift(from, to);
            }
        });
    }
}

impl<T: Number> Head<T> {
    fn new(head_dim: usize) -> Self {
        Self { keys: Run::default(), values: Run::default(), head_dim }
    }

    pub(super) fn head_dim(&self) -> usize {
        self.head_dim
    }

    fn room(&self) -> usize {
        self.values.len() / width(self.head_dim).max(1)
    }

    fn bytes_of(&self, slots: usize) -> usize {
        Region::bytes_of::<T>(slots * self.head_dim)
            + Region::bytes_of::<T>(slots * width(self.head_dim))
    }

    fn move_to(&mut self, region: &mut Region, slots: usize, room: usize) {
        debug_assert!(room.is_multiple_of(KEYS), "room for whole tiles");
        let (in_tiles, width) = (slots.next_multiple_of(KEYS), width(self.head_dim));
        let mut keys = region.run(room * self.head_dim);
        let mut values = region.run(room * width);
        keys[..in_tiles * self.head_dim].copy_from_slice(&self.keys[..in_tiles * self.head_dim]);
        values[..slots * width].copy_from_slice(&self.values[..slots * width]);
        (self.keys, self.values) = (keys, values);
    }

    /// Keys of `KEYS` slots each, `(room / KEYS, head_dim, KEYS)`.
    pub(super) fn keys(&self) -> &[[T; KEYS]] {
        self.keys.as_chunks().0
    }

    /// Values of all slots, `(room, width)`.
    pub(super) fn values(&self) -> &[T] {
        &self.values
    }

    /// Asks for the lines that a slot's key and value are written to.
    fn ask_to_write(&self, slot: usize) {
        let (tile, lane) = (slot / KEYS * self.head_dim, slot % KEYS);
        for keys in &self.keys()[tile..tile + self.head_dim] {
            ask_to_write(&keys[lane..=lane]);
        }
        let width = width(self.head_dim);
        ask_to_write(&self.values[slot * width..(slot + 1) * width]);
    }

    /// Writes keys and values into consecutive slots.
    ///
    /// # Shapes
    /// - each key and value: `(head_dim,)`
    pub(crate) fn write<'a>(
        &mut self,
        slot: usize,
        rows: impl Iterator<Item = (&'a [f32], &'a [f32])>,
    ) {
        let mut rounded = vec![T::default(); self.head_dim];
        for (slot, (key, value)) in (slot..).zip(rows) {
            T::round(key, &mut rounded);
            self.write_key(slot, &rounded);
            let start = slot * width(self.head_dim);
            T::round(value, &mut self.values[start..start + self.head_dim]);
        }
    }

    fn shift(&mut self, from: usize, to: usize) {
        let width = width(self.head_dim);
        let mut key = vec![T::default(); self.head_dim];
        read_key(self.keys(), from, &mut key);
        self.write_key(to, &key);
        self.values.copy_within(from * width..(from + 1) * width, to * width);
    }

    fn arrange(&mut self, slots: &[usize]) {
        let all = slots.iter().max().map_or(0, |last| last + 1);
        let keys = self.keys()[..all.div_ceil(KEYS) * self.head_dim].to_vec();
        let values = self.values[..all * width(self.head_dim)].to_vec();
        self.gather(&keys, &values, slots);
    }

    /// Takes in some slots, in their order.
    fn gather(&mut self, keys: &[[T; KEYS]], values: &[T], slots: &[usize]) {
        assert!(slots.len() <= self.room(), "room for all of them");
        let (head_dim, width) = (self.head_dim, width(self.head_dim));
        let tiles: &mut [[T; KEYS]] = self.keys.as_chunks_mut().0;
        for (tile, slots) in tiles.chunks_mut(head_dim).zip(slots.chunks(KEYS)) {
            let first = slots[0];
            let in_a_row = slots.len() == KEYS && slots.iter().zip(first..).all(|(a, b)| *a == b);
            if in_a_row && first.is_multiple_of(KEYS) {
                tile.copy_from_slice(&keys[first / KEYS * head_dim..][..head_dim]);
                continue;
            }
            // Channel by channel: where slots keep their order, their tiles are few, and near.
            for (channel, row) in tile.iter_mut().enumerate() {
                for (number, slot) in row.iter_mut().zip(slots) {
                    *number = keys[slot / KEYS * head_dim + channel][slot % KEYS];
                }
            }
        }
        for (value, &slot) in self.values.chunks_mut(width).zip(slots) {
            value.copy_from_slice(&values[slot * width..][..width]);
        }
    }

    fn write_key(&mut self, slot: usize, key: &[T]) {
        let (tile, lane) = (slot / KEYS * self.head_dim, slot % KEYS);
        let tiles: &mut [[T; KEYS]] = self.keys.as_chunks_mut().0;
        for (keys, key) in tiles[tile..].iter_mut().zip(key) {
            keys[lane] = *key;
        }
    }
}

/// A slot's key, out of tiles of as many channels.
fn read_key<T: Number>(tiles: &[[T; KEYS]], slot: usize, key: &mut [T]) {
    let tile = &tiles[slot / KEYS * key.len()..];
    for (key, keys) in key.iter_mut().zip(tile) {
        *key = keys[slot % KEYS];
    }
}

#[cfg(test)]
impl Store {
    /// A key and a value as floats.
    pub(crate) fn read(&self, head: usize, slot: usize) -> (Vec<f32>, Vec<f32>) {
        fn floats<T: Number>(head: &Head<T>, slot: usize) -> (Vec<f32>, Vec<f32>) {
            let mut key = vec![T::default(); width(head.head_dim)];
            read_key(head.keys(), slot, &mut key[..head.head_dim]);
            let value = &head.values[slot * key.len()..][..key.len()];
            let floats = |numbers: &[T]| -> Vec<f32> {
                let mut floats = vec![0.0; numbers.len()];
                crate::kernels::Isa::of_machine().widen(numbers, &mut floats);
                floats.truncate(head.head_dim);
                floats
            };
            (floats(&key), floats(value))
        }
        with_heads!(self, heads => floats(&heads[head], slot))
    }
}
