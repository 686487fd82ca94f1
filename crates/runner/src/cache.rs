//! Entries, slots, bytes. Knows no policy.

mod store;

pub(crate) use store::Store;

use crate::Result;

/// Memory is taken for this many slots at a time.
pub(crate) const PAGE: usize = 64;

/// One layer's entries: a key, a value and a position in each slot of each KV head.
///
/// Keys are rotated at their true position, so the order of slots is free: attention does not care. An evicted entry leaves a
/// hole, which the next entry fills, or else the last one; every KV head holds the same number of entries.
#[derive(Debug)]
pub struct Entries {
    store: Store,
    positions: Vec<Vec<u32>>,      // (kv_heads, slots in use)
    holes: Vec<Vec<usize>>,        // (kv_heads, holes), ascending
    scores: Option<Vec<Vec<f32>>>, // (kv_heads, slots in use): what a policy has summed up of each entry, if it does
    allocated: usize, // slots of each KV head that memory was taken for, in whole pages
}

/// Slots for new entries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Slots {
    /// Behind the last one, from this on.
    Behind(usize),
    /// One of each KV head, in place of what was evicted there.
    Over(Vec<usize>),
}

impl Entries {
    /// No entries, in an empty store of so many heads.
    pub(crate) fn new(store: Store, heads: usize) -> Self {
        Self {
            store,
            positions: vec![Vec::new(); heads],
            holes: vec![Vec::new(); heads],
            scores: None,
            allocated: 0,
        }
    }

    /// Puts layers side by side in memory, where they will find room for so many slots each; one that comes to have more moves away.
    ///
    /// # Shapes
    /// - `rooms`: `(layers,)`
    pub(crate) fn make_room(layers: &mut [Self], rooms: &[usize], filled: bool) -> Result<()> {
        let stores = layers.iter_mut().zip(rooms).map(|(layer, &room)| {
            let slots = layer.slots();
            (&mut layer.store, slots, room)
        });
        Store::make_room(stores, filled)
    }

    /// Copies of some entries of each layer, in as many heads as are named: each head here gives rise to the same number of consecutive ones there. They lie
    /// side by side, with room for so many slots each.
    ///
    /// # Shapes
    /// - `kept`: `(layers, heads, entries)`; slots in the order that the copy will have
    /// - `rooms`: `(layers,)`
    pub(crate) fn copies(
        layers: &[Self],
        kept: &[Vec<Vec<usize>>],
        rooms: &[usize],
    ) -> Result<Vec<Self>> {
        let empty = |(layer, kept): (&Self, &Vec<Vec<usize>>)| {
            Ok(Self::new(layer.store.empty_like(kept.len())?, kept.len()))
        };
        let mut copies: Vec<Self> = layers.iter().zip(kept).map(empty).collect::<Result<_>>()?;
        let filled = rooms.iter().zip(kept).all(|(room, kept)| kept[0].len() + PAGE >= *room);
        Self::make_room(&mut copies, rooms, filled)?;
        for ((copy, layer), kept) in copies.iter_mut().zip(layers).zip(kept) {
            copy.reserve(kept[0].len())?;
            copy.store.copy_from(&layer.store, kept)?;
            let copied = kept.len() / layer.heads();
            copy.positions = gathered(kept, |head| &layer.positions[head / copied]);
            copy.scores =
                layer.scores.as_ref().map(|scores| gathered(kept, |head| &scores[head / copied]));
        }
        Ok(copies)
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

    /// Slots in use, per KV head.
    pub(crate) fn slots(&self) -> usize {
        self.positions.first().map_or(0, Vec::len)
    }

    /// Keys and values. Where there are holes, what was evicted still lies in them.
    pub(crate) fn store(&self) -> &Store {
        &self.store
    }

    /// Bytes allocated for keys, values and summed-up scores, whether in use or not.
    pub fn bytes(&self) -> usize {
        let scores = self.scores.iter().flatten().map(|head| head.capacity() * size_of::<f32>());
        self.store.bytes_of(self.allocated) + scores.sum::<usize>()
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
    pub(crate) fn accumulate(&mut self, attention: &[f32]) {
        let (slots, heads) = (self.slots(), self.heads());
        let Some(scores) = &mut self.scores else { return };
        for (sums, group) in scores.iter_mut().zip(attention.chunks(attention.len() / heads)) {
            for row in group.chunks(slots) {
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

    /// Makes room for consecutive positions behind the last slot, and says where that is; their keys and values are the caller's to write.
    pub(crate) fn extend(
        &mut self,
        positions: std::ops::Range<u32>,
    ) -> Result<(usize, &mut Store)> {
        let slots = self.slots();
        self.reserve(slots + positions.len())?;
        for head in &mut self.positions {
            head.extend(positions.clone());
        }
        for head in self.scores.iter_mut().flatten() {
            head.resize(slots + positions.len(), 0.0);
        }
        Ok((slots, &mut self.store))
    }

    /// Makes room for one entry, over an evicted one if there is any, else behind the last slot; its key and value are the caller's to write.
    pub(crate) fn push(&mut self, position: u32) -> Result<(Slots, &mut Store)> {
        let freed: Option<Vec<usize>> = self.holes.iter_mut().map(Vec::pop).collect();
        let Some(slots) = freed else {
            let (slot, store) = self.extend(position..position + 1)?;
            return Ok((Slots::Behind(slot), store));
        };
        for (head, &slot) in self.positions.iter_mut().zip(&slots) {
            head[slot] = position;
        }
        for (head, &slot) in self.scores.iter_mut().flatten().zip(&slots) {
            head[slot] = 0.0;
        }
        Ok((Slots::Over(slots), &mut self.store))
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

    /// Closes the holes that no entry has filled, with the last entries.
    pub(crate) fn settle(&mut self) -> Result<()> {
        if self.holes.iter().all(Vec::is_empty) {
            return Ok(());
        }
        let kept = self.len();
        let moves: Vec<Vec<(usize, usize)>> = self
            .holes
            .iter()
            .map(|holes| {
                let live = |slot: &usize| holes.binary_search(slot).is_err();
                let empty = holes.iter().copied().filter(|slot| *slot < kept);
                (kept..self.slots()).filter(live).zip(empty).collect()
            })
            .collect();
        self.store.shift(&moves, kept)?;
        for (positions, moves) in self.positions.iter_mut().zip(&moves) {
            for &(from, to) in moves {
                positions[to] = positions[from];
            }
            positions.truncate(kept);
        }
        for (scores, moves) in self.scores.iter_mut().flatten().zip(&moves) {
            for &(from, to) in moves {
                scores[to] = scores[from];
            }
            scores.truncate(kept);
        }
        self.holes.iter_mut().for_each(Vec::clear);
        self.give_back()
    }

    /// Lays entries out anew; those that are not named go.
    ///
    /// # Shapes
    /// - `kept`: `(kv_heads, entries)`, slots in their new order
    pub(crate) fn arrange(&mut self, kept: &[Vec<usize>]) -> Result<()> {
        debug_assert!(self.holes.iter().all(Vec::is_empty), "settle comes first");
        self.store.arrange(kept)?;
        self.positions = gathered(kept, |head| &self.positions[head]);
        self.scores = self.scores.take().map(|scores| gathered(kept, |head| &scores[head]));
        self.give_back()
    }

    /// Takes memory for `slots` in all, in whole pages.
    fn reserve(&mut self, slots: usize) -> Result<()> {
        let pages = slots.next_multiple_of(PAGE);
        for head in self.scores.iter_mut().flatten() {
            head.reserve_exact(pages.saturating_sub(head.len()));
        }
        if pages > self.allocated {
            self.allocated = pages;
            if pages > self.store.room() {
                self.store.resize(self.slots(), pages)?;
            }
        }
        Ok(())
    }

    /// Gives memory back, if less than half of it is needed.
    fn give_back(&mut self) -> Result<()> {
        let pages = self.slots().next_multiple_of(PAGE);
        if 2 * pages <= self.allocated {
            self.allocated = pages;
            self.store.resize(self.slots(), pages)?;
        }
        Ok(())
    }
}

/// What each head's numbers are in some slots.
///
/// # Shapes
/// - `kept`: `(heads, slots)`
fn gathered<'a, T: Copy + 'a>(
    kept: &[Vec<usize>],
    of_head: impl Fn(usize) -> &'a Vec<T>,
) -> Vec<Vec<T>> {
    let of = |(head, slots): (usize, &Vec<usize>)| {
        let numbers = of_head(head);
        slots.iter().map(|&slot| numbers[slot]).collect()
    };
    kept.iter().enumerate().map(of).collect()
}

#[cfg(test)]
mod tests {
    use candle_core::{Device, Tensor};

    use super::*;
    use crate::host::{self, Numbers};
    use crate::tensor;

    /// A row whose numbers say which position and head it belongs to, `(2 heads, 4 channels)`.
    fn row(position: u32) -> Vec<f32> {
        (0..8).map(|i| position as f32 * 10.0 + (i / 4) as f32).collect()
    }

    fn push(cache: &mut Entries, position: u32) {
        let row = row(position);
        let (slots, store) = cache.push(position).unwrap();
        match store {
            Store::Host(store) => store.write(&slots, |head| {
                let row = &row[head * 4..][..4];
                (row, row)
            }),
            Store::Tensor(store) => {
                let row = Tensor::from_slice(&row, (1, 2, 4), &Device::Cpu).unwrap();
                store.write(&slots, &row, &row).unwrap();
            }
        }
    }

    fn read(store: &Store, head: usize, slot: usize) -> (Vec<f32>, Vec<f32>) {
        match store {
            Store::Host(store) => store.read(head, slot),
            Store::Tensor(store) => store.read(head, slot).unwrap(),
        }
    }

    /// Empty stores of every kind.
    fn stores() -> [Store; 3] {
        let shape = (2, 4);
        [
            Store::Host(host::Store::new(shape, Numbers::F32)),
            Store::Host(host::Store::new(shape, Numbers::F16)),
            Store::Tensor(tensor::Store::new(shape, &Device::Cpu).unwrap()),
        ]
    }

    fn filled(store: Store, entries: u32) -> Entries {
        let mut cache = Entries::new(store, 2);
        (0..entries).for_each(|position| push(&mut cache, position));
        cache
    }

    /// Every slot's key and value must say the position that the cache claims for it.
    fn check(cache: &Entries) {
        for head in 0..2 {
            for (slot, &position) in cache.positions(head).iter().enumerate() {
                let expected = [position as f32 * 10.0 + head as f32; 4];
                let (key, value) = read(cache.store(), head, slot);
                assert_eq!((&*key, &*value), (&expected[..], &expected[..]), "slot {slot}");
            }
        }
    }

    #[test]
    fn one_out_one_in_overwrites_the_slot() {
        for store in stores() {
            let mut cache = filled(store, 70);
            let bytes = cache.bytes();
            cache.evict(vec![vec![3], vec![69]]);
            assert_eq!(cache.len(), 69);
            push(&mut cache, 70);
            assert_eq!((cache.len(), cache.bytes()), (70, bytes));
            assert_eq!((cache.positions(0)[3], cache.positions(1)[69]), (70, 70));
            check(&cache);
        }
    }

    #[test]
    fn holes_that_stay_are_closed_by_the_last_entries() {
        for store in stores() {
            let mut cache = filled(store, 10);
            cache.evict(vec![vec![0, 4, 9], vec![1, 2, 3]]);
            push(&mut cache, 10);
            cache.settle().unwrap();
            assert_eq!(cache.len(), 8);
            assert_eq!(cache.positions(0), [8, 1, 2, 3, 10, 5, 6, 7]);
            check(&cache);
        }
    }

    #[test]
    fn memory_that_less_than_half_of_is_needed_is_given_back() {
        for store in stores() {
            let mut cache = filled(store, 67);
            let bytes = cache.bytes();
            cache.evict(vec![vec![0, 1, 2, 63, 66], vec![30, 31, 64, 65, 66]]);
            cache.settle().unwrap();
            assert_eq!((cache.len(), cache.bytes()), (62, bytes / 2));
            check(&cache);
            push(&mut cache, 67);
            assert_eq!(cache.positions(0)[62], 67);
            check(&cache);
        }
    }

    #[test]
    fn bytes_are_whole_pages_of_what_is_allocated() {
        let bytes = |numbers, entries| {
            let store = Store::Host(host::Store::new((2, 8), numbers));
            let mut cache = Entries::new(store, 2);
            cache.extend(0..entries).unwrap();
            cache.bytes()
        };
        let entry = 2 * 2 * 8; // key and value, 2 KV heads of 8
        assert_eq!(bytes(Numbers::F32, 1), 64 * entry * 4);
        assert_eq!(bytes(Numbers::F32, 65), 128 * entry * 4);
        assert_eq!(bytes(Numbers::F16, 65), 128 * entry * 2);
    }
}
