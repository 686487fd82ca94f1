//! Loops over a cache: those for each kind of instructions against plain Rust's, bit by bit.

use half::f16;

use super::{CHUNK, Isa, KEYS, Number};

fn random(count: usize, seed: u64) -> Vec<f32> {
    let number =
        |i: usize| (zoo::stream(&[seed, i as u64]) >> 40) as f32 / (1u64 << 22) as f32 - 2.0;
    (0..count).map(number).collect()
}

fn rounded<T: Number>(x: &[f32]) -> Vec<T> {
    let mut rounded = vec![T::default(); x.len()];
    T::round(x, &mut rounded);
    rounded
}

fn bits(x: &[f32]) -> Vec<u32> {
    x.iter().map(|x| x.to_bits()).collect()
}

/// Scores of a tile's keys, which stand at `FIRST` in a chunk.
fn scores<T: Number, const N: usize>(
    isa: Isa,
    tile: &[[T; KEYS]],
    queries: [&[f32]; N],
) -> [[f32; CHUNK]; N] {
    let mut chunk = [[7.0; CHUNK]; N];
    isa.scores(tile, queries, (FIRST, &mut chunk), &[]);
    let mut asking = [[7.0; CHUNK]; N];
    isa.scores(tile, queries, (FIRST, &mut asking), tile.as_flattened());
    assert_eq!(chunk.map(|row| bits(&row)), asking.map(|row| bits(&row)), "asking ahead");
    for row in &chunk {
        let others = row[..FIRST].iter().chain(&row[FIRST + KEYS..]);
        assert!(others.map(|other| other.to_bits()).all(|other| other == 7.0f32.to_bits()));
    }
    chunk
}

const FIRST: usize = 64;

/// What each loop gives for numbers of one kind.
fn loops<T: Number>(isa: Isa, head_dim: usize) -> Vec<Vec<u32>> {
    let width = head_dim.next_multiple_of(8);
    let keys: Vec<T> = rounded(&random(head_dim * KEYS, 1));
    let queries: Vec<Vec<f32>> = (0..3).map(|query| random(head_dim, 2 + query)).collect();
    let tile = keys.as_chunks().0;
    let three = scores(isa, tile, [0, 1, 2].map(|query| &*queries[query]));
    let one = scores(isa, tile, [&*queries[1]]);
    let six_scores = scores(isa, tile, [0, 0, 2, 2, 1, 1].map(|query| &*queries[query]));
    assert_eq!(bits(&three[1]), bits(&one[0]), "a query in company");
    assert_eq!(bits(&three[1]), bits(&six_scores[4]), "a query in more company");

    let values: Vec<T> = rounded(&random(40 * width, 7));
    let weights: [[f32; CHUNK]; 3] = [8, 9, 10].map(|seed| random(CHUNK, seed).try_into().unwrap());
    let entries = FIRST..FIRST + 37;
    let mut out = random(3 * (width + 2), 11);
    let mut alone = out.clone();
    let all = (&weights, entries.clone());
    isa.weigh(&values, width, all, (&mut out, width + 2), &[]);
    let of_one = (&[weights[1]], entries.clone());
    isa.weigh(&values, width, of_one, (&mut alone[width + 2..], width + 2), &values);
    let mut six = random(6 * (width + 2), 11);
    let of_six = ([0, 1, 2, 0, 1, 2].map(|row| weights[row]), entries.clone());
    isa.weigh(&values, width, (&of_six.0, of_six.1), (&mut six, width + 2), &[]);
    assert_eq!(bits(&six[..3 * (width + 2)]), bits(&out), "queries in more company");
    let mut two = random(2 * (width + 2), 11);
    let of_two = (&[weights[0], weights[1]], entries);
    isa.weigh(&values, width, of_two, (&mut two, width + 2), &values);
    assert_eq!(bits(&two), bits(&out[..2 * (width + 2)]), "queries in less company");
    let second = width + 2..2 * width + 2;
    assert_eq!(bits(&out[second.clone()]), bits(&alone[second]), "a query in company");

    let mut widened = vec![0.0; values.len()];
    isa.widen(&values, &mut widened);
    let mut weights = random(96, 12);
    let largest_and_sum = isa.soften(&mut weights, 75);
    let (mut merged, mut added) = (random(width + 2, 13), random(width + 2, 14));
    isa.merge(&mut merged, &random(width + 2, 15));
    isa.add_scaled(&mut added, &random(width + 2, 16), 0.7);

    let mut found: Vec<Vec<u32>> = three.iter().map(|scores| bits(scores)).collect();
    found.extend(six_scores.map(|scores| bits(&scores)));
    found.extend([&six, &widened, &weights, &merged, &added].map(|numbers| bits(numbers)));
    found.push(bits(&largest_and_sum));
    found
}

#[test]
fn loops_over_a_cache_give_the_same_bits_by_any_instructions() {
    for head_dim in [4, 8, 24, 64, 72, 128] {
        for of in [loops::<f32>, loops::<f16>] {
            for isa in Isa::all() {
                assert_eq!(of(isa, head_dim), of(Isa::Scalar, head_dim), "{isa:?}, {head_dim}");
            }
        }
    }
}

#[test]
fn weights_are_a_softmax_before_its_division() {
    for isa in Isa::all() {
        for seen in [1, 5, 8, 30, 32] {
            let scores = random(32, 3);
            let mut weights = scores.clone();
            let [largest, sum] = isa.soften(&mut weights, seen);
            let most = scores[..seen].iter().copied().fold(f32::MIN, f32::max);
            assert_eq!(largest.to_bits(), most.to_bits());
            let exact: Vec<f64> =
                scores[..seen].iter().map(|score| f64::from(score - most).exp()).collect();
            let total: f64 = exact.iter().sum();
            assert!((f64::from(sum) - total).abs() < 1e-5 * total);
            assert!(
                weights
                    .iter()
                    .zip(&exact)
                    .all(|(found, exact)| { (f64::from(*found) - exact).abs() < 1e-6 })
            );
            assert!(weights[seen..].iter().all(|weight| *weight == 0.0));
        }
        for (length, seen) in [(16, 1), (16, 16), (48, 9), (48, 17), (256, 240)] {
            let alone = random(length, 5);
            let mut expected = alone.clone();
            let of_alone = isa.soften(&mut expected, seen);
            for beyond in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, f32::MAX] {
                let mut weights = alone.clone();
                weights[seen..].fill(beyond);
                assert_eq!(bits(&isa.soften(&mut weights, seen)), bits(&of_alone), "{beyond}");
                assert_eq!(bits(&weights), bits(&expected), "{beyond}");
            }
        }
        let mut one = vec![-3.7; 16];
        assert_eq!(bits(&isa.soften(&mut one, 1)), bits(&[-3.7, 1.0]), "alone, it weighs one");
        assert_eq!(one[0].to_bits(), 1.0f32.to_bits());
        let mut nothing = random(32, 3);
        assert_eq!(
            isa.soften(&mut nothing, 0).map(f32::to_bits),
            [f32::MIN, 0.0].map(f32::to_bits)
        );
        assert!(nothing.iter().all(|weight| *weight == 0.0));
    }
}

#[test]
fn parts_merge_to_the_whole() {
    for isa in Isa::all() {
        let (scores, values) = (random(64, 4), random(64, 5));
        let part = |range: std::ops::Range<usize>| {
            let mut weights = scores[range.clone()].to_vec();
            let count = weights.len();
            let [largest, sum] = isa.soften(&mut weights, count);
            let value: f32 = weights.iter().zip(&values[range]).map(|(w, v)| w * v).sum();
            vec![largest, sum, value]
        };
        let (mut merged, whole) = (part(0..48), part(0..64));
        isa.merge(&mut merged, &part(48..64));
        assert!(merged.iter().zip(&whole).all(|(a, b)| (a - b).abs() < 1e-4), "{merged:?}");
    }
}
