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
fn memory_of_which_half_is_not_needed_is_given_back() {
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

/// Every slot of a copy must hold what its position and the head it came from say.
fn check_copy(cache: &Entries, copies: usize) {
    for head in 0..cache.heads() {
        for (slot, &position) in cache.positions(head).iter().enumerate() {
            let expected = [position as f32 * 10.0 + (head / copies) as f32; 4];
            let (key, value) = read(cache.store(), head, slot);
            assert_eq!(
                (&*key, &*value),
                (&expected[..], &expected[..]),
                "head {head}, slot {slot}"
            );
        }
    }
}

fn room(slots: [usize; 2], filled: bool) -> Room {
    Room { slots: slots.to_vec(), filled }
}

#[test]
fn copies_hold_what_is_named_in_its_order() {
    for store in stores() {
        let layers = [filled(store.empty_like(2).unwrap(), 80), filled(store, 3)];
        let first = vec![vec![79, 0, 40], vec![1, 2, 3], vec![5, 6, 7], vec![64, 63, 0]];
        let kept = [first, vec![Vec::new(); 4]];
        let copies = Entries::copies(&layers, &kept, &room([3, 200], true)).unwrap();
        assert_eq!(copies[0].positions(0), [79, 0, 40]);
        assert_eq!((copies[1].len(), copies[1].heads(), copies[1].bytes()), (0, 4, 0));
        for copy in &copies {
            check_copy(copy, 2);
        }

        // Neighbours in memory grow, one of them beyond its room.
        let kept = layers.each_ref().map(Entries::all_slots);
        let mut pair = Entries::copies(&layers, &kept, &room([80, 300], false)).unwrap();
        for position in 80..200 {
            for layer in &mut pair {
                push(layer, position);
            }
        }
        pair.iter().for_each(check);
    }
}

#[test]
fn entries_are_arranged_and_come_again_after_memory_was_given_back() {
    for store in stores() {
        let mut cache = filled(store, 100);
        // In whole tiles, and not.
        let shuffled = |i: usize| (i * 37) % 100;
        cache.arrange(&[(0..100).map(shuffled).collect(), (0..100).collect()]).unwrap();
        check(&cache);
        cache.arrange(&[(0..100).map(shuffled).collect(), (5..100).chain(0..5).collect()]).unwrap();
        check(&cache);
        let sorted = |head: usize| {
            let mut slots: Vec<usize> = (0..100).collect();
            slots.sort_by_key(|&slot| cache.positions(head)[slot]);
            slots
        };
        let sorted = [sorted(0), sorted(1)];
        cache.arrange(&sorted).unwrap();
        cache.arrange(&[vec![99, 3, 70], vec![0, 1, 2]]).unwrap();
        assert_eq!((cache.len(), cache.positions(0)), (3, &[99, 3, 70][..]));
        check(&cache);
        (100..200).for_each(|position| push(&mut cache, position));
        assert_eq!(cache.len(), 103);
        check(&cache);
    }
}
