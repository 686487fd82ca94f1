//! Keys and values on the host, in pages of one head each.

use half::f16;

use crate::cache::{PAGE, Slots};
use crate::kernels::{KEYS, LANES, Number};

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

/// Keys and values of one head.
#[derive(Debug)]
pub(crate) struct Head<T> {
    pages: Vec<Page<T>>,
    head_dim: usize,
}

/// Keys and values of [`PAGE`] slots. Queries run over keys side by side and over values one after the other, and each lies as it is read.
#[derive(Debug, Clone)]
pub(crate) struct Page<T> {
    keys: Box<[[T; KEYS]]>, // (PAGE / KEYS, head_dim)
    values: Box<[T]>,       // (PAGE, width)
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

    pub(crate) fn bytes(&self) -> usize {
        with_heads!(self, heads => heads.iter().map(Head::bytes).sum())
    }

    pub(crate) fn reserve(&mut self, slots: usize) {
        with_heads!(self, heads => heads.iter_mut().for_each(|head| head.reserve(slots)));
    }

    /// Writes one entry, of which `of_head` knows each head's key and value, `(head_dim,)` each.
    pub(crate) fn write<'a>(
        &mut self,
        slots: &Slots,
        of_head: impl Fn(usize) -> (&'a [f32], &'a [f32]),
    ) {
        with_heads!(self, heads => for (head, it) in heads.iter_mut().enumerate() {
            let slot = match slots {
                Slots::Behind(slot) => *slot,
                Slots::Over(slots) => slots[head],
            };
            it.write(slot, std::iter::once(of_head(head)));
        });
    }

    /// As [`crate::cache::Entries::select`].
    pub(crate) fn select(&self, kept: &[Vec<usize>]) -> Self {
        fn copies<T: Number>(heads: &[Head<T>], kept: &[Vec<usize>]) -> Vec<Head<T>> {
            let copies = kept.len() / heads.len();
            let copy = |(head, slots): (usize, &Vec<usize>)| heads[head / copies].select(slots);
            kept.iter().enumerate().map(copy).collect()
        }
        match self {
            Self::F32(heads) => Self::F32(copies(heads, kept)),
            Self::F16(heads) => Self::F16(copies(heads, kept)),
        }
    }

    /// Moves entries from slot to slot, after which only the first `kept` count.
    pub(crate) fn shift(&mut self, moves: &[Vec<(usize, usize)>], kept: usize) {
        with_heads!(self, heads => for (head, moves) in heads.iter_mut().zip(moves) {
            for &(from, to) in moves {
                head.shift(from, to);
            }
            head.pages.truncate(kept.div_ceil(PAGE));
        });
    }
}

impl<T: Number> Head<T> {
    fn new(head_dim: usize) -> Self {
        Self { pages: Vec::new(), head_dim }
    }

    pub(super) fn head_dim(&self) -> usize {
        self.head_dim
    }

    /// Pages, in slot order.
    pub(crate) fn pages(&self) -> &[Page<T>] {
        &self.pages
    }

    fn bytes(&self) -> usize {
        let page = PAGE * (self.head_dim + width(self.head_dim)) * size_of::<T>();
        self.pages.len() * page
    }

    fn reserve(&mut self, slots: usize) {
        let pages = slots.div_ceil(PAGE).max(self.pages.len());
        self.pages.resize_with(pages, || Page {
            keys: vec![[T::default(); KEYS]; PAGE / KEYS * self.head_dim].into(),
            values: vec![T::default(); PAGE * width(self.head_dim)].into(),
        });
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
            let page = &mut self.pages[slot / PAGE];
            let (tile, lane) = place(slot, self.head_dim);
            T::round(key, &mut rounded);
            for (keys, key) in page.keys[tile..].iter_mut().zip(&rounded) {
                keys[lane] = *key;
            }
            let start = slot % PAGE * width(self.head_dim);
            T::round(value, &mut page.values[start..start + self.head_dim]);
        }
    }

    fn shift(&mut self, from: usize, to: usize) {
        let mut key = vec![T::default(); self.head_dim];
        let mut value = vec![T::default(); width(self.head_dim)];
        self.copy_out(from, &mut key, &mut value);
        self.copy_in(to, &key, &value);
    }

    fn select(&self, slots: &[usize]) -> Self {
        let mut copy = Self::new(self.head_dim);
        copy.reserve(slots.len());
        let mut key = vec![T::default(); self.head_dim];
        let mut value = vec![T::default(); width(self.head_dim)];
        for (to, &from) in slots.iter().enumerate() {
            self.copy_out(from, &mut key, &mut value);
            copy.copy_in(to, &key, &value);
        }
        copy
    }

    fn copy_out(&self, slot: usize, key: &mut [T], value: &mut [T]) {
        let page = &self.pages[slot / PAGE];
        let (tile, lane) = place(slot, self.head_dim);
        for (key, keys) in key.iter_mut().zip(&page.keys[tile..]) {
            *key = keys[lane];
        }
        value.copy_from_slice(&page.values[slot % PAGE * value.len()..][..value.len()]);
    }

    fn copy_in(&mut self, slot: usize, key: &[T], value: &[T]) {
        let page = &mut self.pages[slot / PAGE];
        let (tile, lane) = place(slot, self.head_dim);
        for (keys, key) in page.keys[tile..].iter_mut().zip(key) {
            keys[lane] = *key;
        }
        page.values[slot % PAGE * value.len()..][..value.len()].copy_from_slice(value);
    }
}

/// Where a slot's tile begins in its page, and its place in the tile.
fn place(slot: usize, head_dim: usize) -> (usize, usize) {
    (slot % PAGE / KEYS * head_dim, slot % KEYS)
}

impl<T> Page<T> {
    /// Keys of `KEYS` slots, `(head_dim, KEYS)`.
    pub(super) fn tile(&self, tile: usize) -> &[[T; KEYS]] {
        let head_dim = self.keys.len() / (PAGE / KEYS);
        &self.keys[tile * head_dim..][..head_dim]
    }

    /// Values of all slots, `(PAGE, width)`.
    pub(super) fn values(&self) -> &[T] {
        &self.values
    }
}

#[cfg(test)]
impl Store {
    /// A key and a value as floats.
    pub(crate) fn read(&self, head: usize, slot: usize) -> (Vec<f32>, Vec<f32>) {
        fn floats<T: Number>(head: &Head<T>, slot: usize) -> (Vec<f32>, Vec<f32>) {
            let mut key = vec![T::default(); width(head.head_dim)];
            let mut value = vec![T::default(); width(head.head_dim)];
            head.copy_out(slot, &mut key[..head.head_dim], &mut value);
            let floats = |numbers: &[T]| -> Vec<f32> {
                let mut floats = vec![0.0; numbers.len()];
                crate::kernels::Isa::of_machine().widen(numbers, &mut floats);
                floats.truncate(head.head_dim);
                floats
            };
            (floats(&key), floats(&value))
        }
        with_heads!(self, heads => floats(&heads[head], slot))
    }
}
