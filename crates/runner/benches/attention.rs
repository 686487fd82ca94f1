//! Attention of one row over a cache in halves, in entries per second: `cargo bench -p runner --profile dev --bench attention`.
//!
//! Heads are 64 wide, as SmolLM2-135M's are. One lane has three queries on each KV head; 24 are eight lanes that share a prompt, 48 are sixteen rows of a prompt.
//! 512 entries of one head stay in the nearest caches, 2048 of ninety heads do not.

use divan::Bencher;
use divan::counter::ItemsCount;
use runner::testing::HeadAttention;

const HEAD_DIM: usize = 64;
/// Queries, heads and entries.
const SIZES: [(usize, usize, usize); 6] =
    [(1, 1, 512), (3, 1, 512), (3, 90, 2048), (3, 360, 2048), (24, 90, 2048), (48, 90, 2048)];

fn main() {
    divan::main();
}

#[divan::bench(args = SIZES, sample_count = 20, sample_size = 1)]
#[allow(clippy::expect_used, reason = "a bench may end so")]
fn one_thread(bencher: Bencher, (queries, heads, entries): (usize, usize, usize)) {
    let attention = HeadAttention::new(HEAD_DIM, heads, entries, queries).expect("so much memory");
    bencher.counter(ItemsCount::new(heads * entries)).bench_local(|| attention.run());
}
