//! Products with quantised matrices, in multiplications per second: `cargo bench -p runner --profile dev`.
//!
//! Shapes are SmolLM2-135M's: gate and up together, as many weights as stay in no cache between two steps. One row is a lane's step; 4 and 8 are lanes side by
//! side; 512 is a prompt's.
#![allow(clippy::unwrap_used, reason = "a benchmark")]

use candle_core::quantized::GgmlDType;
use divan::Bencher;
use divan::counter::ItemsCount;
use runner::testing::BlockProducts;

const ROWS: [usize; 5] = [1, 2, 4, 8, 512];
const SHAPE: (usize, usize) = (3072, 576);
/// Matrices that are gone through one after the other, as the layers of a model are.
const LAYERS: usize = 30;

fn main() {
    divan::main();
}

fn run(bencher: Bencher, kind: GgmlDType, rows: usize, threads: usize) {
    let mut products = BlockProducts::new(kind, SHAPE, LAYERS, rows, threads).unwrap();
    let count = ItemsCount::new(LAYERS * rows * SHAPE.0 * SHAPE.1);
    bencher.counter(count).bench_local(|| products.run());
}

#[divan::bench(args = ROWS, sample_count = 20, sample_size = 1)]
fn q4_1_two_threads(bencher: Bencher, rows: usize) {
    run(bencher, GgmlDType::Q4_1, rows, 2);
}

#[divan::bench(args = ROWS, sample_count = 20, sample_size = 1)]
fn q4_1_one_thread(bencher: Bencher, rows: usize) {
    run(bencher, GgmlDType::Q4_1, rows, 1);
}

#[divan::bench(args = ROWS, sample_count = 20, sample_size = 1)]
fn q8_0_two_threads(bencher: Bencher, rows: usize) {
    run(bencher, GgmlDType::Q8_0, rows, 2);
}
