use super::*;

const KINDS: [GgmlDType; 3] = [GgmlDType::Q4_0, GgmlDType::Q4_1, GgmlDType::Q8_0];

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

fn quantised(x: &[f32], inputs: usize, isa: Isa) -> Activations {
    let mut activations = Activations::default();
    activations.quantise(x, inputs, isa);
    activations
}

fn bits(x: &[f32]) -> Vec<u32> {
    x.iter().map(|x| x.to_bits()).collect()
}

/// With the threads and the instructions of the machine, or without.
fn ways() -> [(Isa, Team); 2] {
    [(Isa::Scalar, Team::new(1)), (Isa::of_machine(), Team::new(3))]
}

#[test]
fn products_are_those_of_the_weights_that_blocks_stand_for() {
    let (outputs, inputs, rows) = (45, 96, 7);
    let x = random(rows * inputs, 2);
    for kind in KINDS {
        let (stored, weight) = stored(kind, outputs, inputs);
        let packed = Packed::new(&stored);
        let (isa, team) = &ways()[1];
        let mut found = vec![0.0; rows * outputs];
        let activations = quantised(&x, inputs, *isa);
        products((*isa, team), &[&packed], &activations, &mut found);
        for (row, found) in found.chunks(outputs).enumerate() {
            let meant: Vec<f32> = activations
                .row(row)
                .iter()
                .flat_map(|block| block.quants.map(|quant| f32::from(quant) * block.scale))
                .collect();
            for (output, found) in found.iter().enumerate() {
                let weights = &weight[output * inputs..(output + 1) * inputs];
                let exact: f64 =
                    weights.iter().zip(&meant).map(|(w, x)| f64::from(*w) * f64::from(*x)).sum();
                assert!((f64::from(*found) - exact).abs() < 2e-5, "{kind:?}: {found} for {exact}");
            }
        }
    }
}

#[test]
fn every_way_of_computing_gives_the_same_bits() {
    let (outputs, inputs) = (75, 160);
    for kind in KINDS {
        let [one, two] =
            [outputs, outputs].map(|outputs| Packed::new(&stored(kind, outputs, inputs).0));
        let x = random(71 * inputs, 3);
        let mut expected: Option<[Vec<u32>; 2]> = None;
        for (isa, team) in &ways() {
            for rows in [71, 1, 2, 3, 6, 65] {
                let activations = quantised(&x[..rows * inputs], inputs, *isa);
                let mut sums = vec![0.0; rows * 2 * outputs];
                products((*isa, team), &[&one, &two], &activations, &mut sums);
                let mut gates = vec![0.0; rows * outputs];
                gated((*isa, team), [&one, &two], &activations, &mut gates);
                let found = [bits(&sums), bits(&gates)];
                let expected = expected.get_or_insert_with(|| found.clone());
                for (found, expected) in found.iter().zip(expected) {
                    assert_eq!(found, &expected[..found.len()], "{kind:?}, {isa:?}, {rows} rows");
                }
            }
        }
    }
}

#[test]
fn activations_are_the_same_by_any_instructions() {
    let x = random(40 * 64, 4);
    let [one, two] = [Isa::Scalar, Isa::of_machine()].map(|isa| quantised(&x, 64, isa));
    assert_eq!(one, two);
}
