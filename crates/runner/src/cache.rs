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

/// Room for slots, layers side by side.
#[derive(Debug)]
pub(crate) struct Room {
    /// How many in each layer.
    pub(crate) slots: Vec<usize>,
    /// Whether they are expected to be filled: then the system may take all of the memory at once.
    pub(crate) filled: bool,
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

    /// Puts layers side by side in memory, unless they have as much room or more; one that comes to have more entries than that moves away.
    pub(crate) fn make_room(layers: &mut [Self], room: &Room) -> Result<()> {
        let has_room = |(layer, &slots): (&Self, &usize)| layer.store.room() >= slots;
        if layers.iter().zip(&room.slots).all(has_room) {
            return Ok(());
        }
        let stores = layers.iter_mut().zip(&room.slots).map(|(layer, &room)| {
            let (slots, room) = (layer.slots(), room.max(layer.store.room()));
            (&mut layer.store, slots, room)
        });
        Store::make_room(stores, room.filled)
    }

    /// Copies of some entries of each layer without their scores, in as many heads as are named: each head here gives rise to the same number of
    /// consecutive ones there.
    ///
    /// # Shapes
    /// - `kept`: `(layers, heads, entries)`; slots in the order that the copy will have
    pub(crate) fn copies(
        layers: &[Self],
        kept: &[Vec<Vec<usize>>],
        room: &Room,
    ) -> Result<Vec<Self>> {
        let empty = |(layer, kept): (&Self, &Vec<Vec<usize>>)| {
            Ok(Self::new(layer.store.empty_like(kept.len())?, kept.len()))
        };
        let mut copies: Vec<Self> = layers.iter().zip(kept).map(empty).collect::<Result<_>>()?;
        Self::make_room(&mut copies, room)?;
        for ((copy, layer), kept) in copies.iter_mut().zip(layers).zip(kept) {
            copy.reserve(kept[0].len())?;
            copy.store.copy_from(&layer.store, kept)?;
            let copied = kept.len() / layer.heads();
            copy.positions = gathered(kept, |head| &layer.positions[head / copied]);
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

    /// The slots in use, of each KV head.
    ///
    /// # Shapes
    /// - returns `(kv_heads, slots)`
    pub(crate) fn all_slots(&self) -> Vec<Vec<usize>> {
        vec![(0..self.slots()).collect(); self.heads()]
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

    /// Goes on with another's scores, whose slots are the same.
    pub(crate) fn track_as(&mut self, other: &Self) {
        self.scores.clone_from(&other.scores);
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

    /// Gives memory back, if no more than half of it is needed.
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
mod tests;
