use candle_core::quantized::{GgmlDType, QTensor};
use candle_core::{Device, Tensor};

use super::super::{Norm, Team};
use super::*;

const KINDS: [GgmlDType; 3] = [GgmlDType::Q4_0, GgmlDType::Q4_1, GgmlDType::Q8_0];

/// As for three threads.
fn shelves() -> [Shelf; 3] {
    std::array::from_fn(|_| Shelf::default())
}

fn random(count: usize, seed: u64) -> Vec<f32> {
    let number =
        |i: usize| (zoo::stream(&[seed, i as u64]) >> 40) as f32 / (1u64 << 23) as f32 - 1.0;
    (0..count).map(number).collect()
}

/// A matrix in blocks, and what it stands for.
fn stored(kind: GgmlDType, outputs: usize, inputs: usize) -> (Stored, Vec<f32>) {
    let shape = (outputs, inputs);
    let weight = Tensor::from_vec(random(outputs * inputs, 1), shape, &Device::Cpu).unwrap();
    let tensor = QTensor::quantize(&weight, kind).unwrap();
    let meant = tensor.dequantize(&Device::Cpu).unwrap().flatten_all().unwrap();
    (Stored::of(&tensor).unwrap(), meant.to_vec1().unwrap())
}

fn bits(x: &[f32]) -> Vec<u32> {
    x.iter().map(|x| x.to_bits()).collect()
}

/// All instructions that the machine has, with one thread and with three.
fn ways() -> Vec<Host> {
    let host = |isa| [1, 3].map(|threads| Host { isa, team: Team::new(threads) });
    Isa::all().into_iter().flat_map(host).collect()
}

/// Matrices of every kind of tiles, and what they stand for.
fn matrices(outputs: usize, inputs: usize) -> Vec<(String, Packed, Vec<f32>)> {
    let mut matrices: Vec<_> = KINDS
        .into_iter()
        .map(|kind| {
            let (stored, meant) = stored(kind, outputs, inputs);
            (format!("{kind:?}"), Packed::new(&stored, &mut shelves()).unwrap(), meant)
        })
        .collect();
    let weights = random(outputs * inputs, 1);
    let floats = Packed::floats(&weights, (outputs, inputs), &mut shelves()).unwrap();
    matrices.push(("F32".to_owned(), floats, weights));
    matrices
}

/// All rows as they are.
fn floats(x: &Activations) -> Vec<f32> {
    (0..x.rows()).flat_map(|row| x.floats::<1>(row)[0].to_vec()).collect()
}

/// What a row of activations stands for.
fn meant(x: &Activations, row: usize, matrix: &Packed) -> Vec<f32> {
    if !matrix.is_quantised() {
        return x.floats::<1>(row)[0].to_vec();
    }
    let number = |quant: i8, scale: f32| f32::from(quant) * scale;
    let [blocks] = x.blocks(row);
    blocks.iter().flat_map(|it| it.quants.map(|quant| number(quant, it.scale))).collect()
}

#[test]
fn products_are_those_of_the_weights_that_tiles_stand_for() {
    let (outputs, inputs, rows) = (45, 96, 7);
    let x = random(rows * inputs, 2);
    let host = Host::new(3);
    for (kind, packed, weight) in matrices(outputs, inputs) {
        let mut found = vec![1.0; rows * outputs];
        let activations = Activations::of(&host, &x, &packed);
        products(&host, &[&packed], &activations, (&mut found, Then::Replace));
        products(&host, &[&packed], &activations, (&mut found, Then::Add));
        for (row, found) in found.chunks(outputs).enumerate() {
            let meant = meant(&activations, row, &packed);
            for (output, found) in found.iter().enumerate() {
                let weights = &weight[output * inputs..(output + 1) * inputs];
                let exact: f64 =
                    weights.iter().zip(&meant).map(|(w, x)| f64::from(*w) * f64::from(*x)).sum();
                assert!(
                    (f64::from(*found) - 2.0 * exact).abs() < 4e-5,
                    "{kind}: {found} for {exact} twice"
                );
            }
        }
    }
}

#[test]
fn a_row_of_a_matrix_is_what_its_tiles_stand_for() {
    for (kind, packed, weight) in matrices(45, 96) {
        let mut row = vec![0.0; 96];
        for (output, weight) in weight.chunks(96).enumerate() {
            packed.row(output, &mut row);
            let worst = row.iter().zip(weight).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
            assert!(worst < 1e-7, "{kind}: {worst}");
        }
    }
}

#[test]
fn every_way_of_computing_gives_the_same_bits() {
    let (outputs, inputs) = (75, 160);
    let next = Packed::floats(&vec![0.0; outputs], (1, outputs), &mut shelves()).unwrap();
    for ((kind, one, _), (_, two, _)) in
        matrices(outputs, inputs).iter().zip(&matrices(outputs, inputs))
    {
        let x = random(71 * inputs, 3);
        let mut expected: Option<[Vec<u32>; 2]> = None;
        for host in &ways() {
            for rows in [71, 1, 2, 3, 6, 65] {
                let activations = Activations::of(host, &x[..rows * inputs], one);
                let mut sums = vec![0.0; rows * 2 * outputs];
                products(host, &[one, two], &activations, (&mut sums, Then::Replace));
                let gates = floats(&gated(host, [one, two], &activations, &next));
                let found = [bits(&sums), bits(&gates)];
                let expected = expected.get_or_insert_with(|| found.clone());
                for (found, expected) in found.iter().zip(expected) {
                    assert_eq!(found, &expected[..found.len()], "{kind}, {:?}, {rows}", host.isa);
                }
            }
        }
    }
}

#[test]
fn matrices_side_by_side_give_what_each_gives_alone() {
    let (inputs, rows) = (64, 9);
    let x = random(rows * inputs, 3);
    let matrix =
        |outputs| Packed::new(&stored(GgmlDType::Q4_1, outputs, inputs).0, &mut shelves()).unwrap();
    // More threads than some of them have groups, and groups that do not divide by threads.
    let [q, k, v] = [75, 20, 16].map(matrix);
    for host in &ways() {
        let activations = Activations::of(host, &x, &q);
        let product = |matrices: &[&Packed]| {
            let width: usize = matrices.iter().map(|matrix| matrix.outputs()).sum();
            let mut found = vec![0.0; rows * width];
            products(host, matrices, &activations, (&mut found, Then::Replace));
            found
        };
        let alone = [product(&[&q]), product(&[&k]), product(&[&v])];
        for (row, found) in product(&[&q, &k, &v]).chunks(75 + 20 + 16).enumerate() {
            let [of_q, of_k, of_v] = [(0, 75), (1, 20), (2, 16)]
                .map(|(matrix, width): (usize, usize)| &alone[matrix][row * width..][..width]);
            assert_eq!(bits(found), bits(&[of_q, of_k, of_v].concat()), "row {row}");
        }
    }
}

#[test]
fn what_passes_a_gate_is_quantised_as_any_row_is() {
    let mut shelf = shelves();
    let [gate, up] =
        [1, 2].map(|seed| Packed::floats(&random(96 * 40, seed), (96, 40), &mut shelf).unwrap());
    let plain = Packed::floats(&random(8 * 96, 3), (8, 96), &mut shelf).unwrap();
    let quantised = Packed::new(&stored(GgmlDType::Q8_0, 8, 96).0, &mut shelf).unwrap();
    for host in &ways() {
        for rows in [1, 70] {
            let x = Activations::of(host, &random(rows * 40, 4), &gate);
            let of = |next| gated(host, [&gate, &up], &x, next);
            let expected = Activations::of(host, &floats(&of(&plain)), &quantised);
            assert_eq!(of(&quantised), expected, "{:?}, {rows} rows", host.isa);
        }
    }
}

#[test]
fn activations_are_the_same_by_any_instructions() {
    let (x, weight) = (random(40 * 64, 4), random(64, 5));
    let matrix = Packed::new(&stored(GgmlDType::Q8_0, 8, 64).0, &mut shelves()).unwrap();
    let norm = Norm { weight, epsilon: 1e-5 };
    let ways = ways();
    let of = |host| {
        let normed = Activations::normed(host, &x, &norm, &[&matrix]);
        (Activations::of(host, &x, &matrix), normed)
    };
    assert!(ways.iter().all(|host| of(host) == of(&ways[0])));
    // For matrices of both kinds there are both forms, for those of one kind its own.
    let floats = Packed::floats(&random(8 * 64, 6), (8, 64), &mut shelves()).unwrap();
    let [quantised, plain, both] = [&[&matrix][..], &[&floats], &[&matrix, &floats]]
        .map(|matrices| Activations::normed(&ways[0], &x, &norm, matrices));
    for row in 0..40 {
        assert_eq!(both.blocks::<1>(row), quantised.blocks::<1>(row));
        assert_eq!(both.floats::<1>(row).map(bits), plain.floats::<1>(row).map(bits));
    }
    let numbers = [quantised, plain, both].map(|it| (it.rows(), it.row_bytes()));
    assert_eq!(numbers, [(40, 2 * 44), (40, 4 * 64), (40, 2 * 44)]);
}
