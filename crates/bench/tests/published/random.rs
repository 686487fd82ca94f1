//! Random cases near every boundary of the rules, and random numbers for them, from a seed.

use crate::case::{Case, Counters, Method, Pooling, Strategy};
use crate::head::Rows;

/// `SplitMix64` (Steele, Lea and Flood, 2014).
pub(crate) struct Random(pub(crate) u64);

impl Random {
    fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number of `first..=last`.
    fn within(&mut self, first: usize, last: usize) -> usize {
        first + (self.bits() % (last - first + 1) as u64) as usize
    }

    fn one_in(&mut self, chances: usize) -> bool {
        self.within(1, chances) == 1
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.within(0, from.len() - 1)]
    }

    /// Rows of numbers between -2 and 2.
    pub(crate) fn rows(&mut self, tokens: usize, width: usize) -> Rows {
        let mut number = || (self.bits() >> 40) as f32 / (1u64 << 22) as f32 - 2.0;
        (0..tokens).map(|_| (0..width).map(|_| number()).collect()).collect()
    }
}

pub(crate) fn case(
    name: String,
    method: Method,
    decode_strategy: Strategy,
    random: &mut Random,
) -> Case {
    let heads = random.within(1, 3);
    let num_layers = random.within(1, 4);
    let mut window_size = random.within(1, 8);
    let mut max_capacity_prompt = window_size + random.within(1, 24);
    if method == Method::StreamingLLM {
        window_size = random.within(2, 16);
        max_capacity_prompt = 2 * window_size;
    }
    let decoding_window_size = random.within(1, 24);
    let delta = random.pick(&[1, 2, 3, 4, 5, 7, 15, 30]);
    let round = delta * num_layers;
    let carried = Counters {
        current_decoding_step: random.within(0, 4 * round),
        jump_step: random.within(0, round),
        jump_layer: random.within(0, num_layers - 1),
    };
    Case {
        name,
        method,
        decode_strategy,
        num_layers,
        num_heads: heads * random.within(1, 3),
        num_key_value_heads: heads,
        head_dim: random.pick(&[2, 4, 8]),
        prompt_len: prompt_len(method, max_capacity_prompt, window_size, random),
        decode_steps: if random.one_in(30) { 0 } else { random.within(5, 70) },
        max_capacity_prompt,
        window_size,
        kernel_size: random.pick(&[1, 3, 5, 7]),
        pooling: random.pick(&[Pooling::Max, Pooling::Average]),
        beta: random.within(2, 20),
        decoding_window_size,
        decoding_recent_size: if random.one_in(6) {
            decoding_window_size
        } else {
            random.within(1, decoding_window_size)
        },
        delta,
        initial_counters: if random.one_in(2) { carried } else { Counters::default() },
    }
}

/// On, just below or just above a length at which some rule changes; well below; well above, where pyramids are steep.
fn prompt_len(method: Method, capacity: usize, window: usize, random: &mut Random) -> usize {
    let twice = 2 * (capacity - window);
    let pyramid = matches!(method, Method::PyramidKV | Method::PyramidInfer);
    let length = match random.within(0, if pyramid { 5 } else { 3 }) {
        0 => {
            let edges = [capacity, capacity + window / 2, capacity + window, twice, twice + window];
            random.pick(&edges) + random.within(0, 2)
        }
        1 => random.within(2, capacity + 1),
        2 => random.within(capacity, capacity.max(twice) + window) + 1,
        _ => capacity.max(twice) + random.within(0, 50),
    };
    length - 1
}
