//! Attention over survivors is full attention with the others masked: every method against a decoder of another make, which keeps
//! all entries for ever, in f64, and masks those that the method's rule, written down here again, lets go.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]
#![allow(clippy::print_stdout, reason = "measured errors")]

mod support;

use std::fs::File;
use std::sync::OnceLock;

use candle_core::Device;
use candle_core::quantized::gguf_file::Content;
use runner::{Engine, Job, Model, Weights};
use support::{Tiny, job, load, prefill, prompt};
use zoo::methods::*;
use zoo::{Arm, Decode, Prefill};

const PROMPT: usize = 80;
const OUTPUT: usize = 60;
const KV_HEADS: usize = 2;
const GROUP: usize = 2;
const HEAD_DIM: usize = 8;
const WINDOW: usize = 8;

/// One token in one KV head, and the attention that its group gave it.
struct Entry {
    position: usize,
    key: Vec<f64>,
    value: Vec<f64>,
    masked: bool,
    from_this_query: f64,
    from_all_queries: f64,
    from_window: f64,
}

type Matrix = Vec<Vec<f64>>; // (outputs, inputs)

struct Layer {
    q: Matrix,
    k: Matrix,
    v: Matrix,
    output: Matrix,
    gate: Matrix,
    up: Matrix,
    down: Matrix,
}

/// A Llama of three layers whose norms have no weights, token by token.
struct Naive {
    embedding: Matrix,
    layers: Vec<Layer>,
    caches: Vec<[Vec<Entry>; KV_HEADS]>, // (layers, kv_heads)
    tokens: usize,
}

fn times(matrix: &Matrix, x: &[f64]) -> Vec<f64> {
    matrix.iter().map(|row| row.iter().zip(x).map(|(w, x)| w * x).sum()).collect()
}

fn normed(x: &[f64]) -> Vec<f64> {
    let mean = x.iter().map(|x| x * x).sum::<f64>() / x.len() as f64;
    x.iter().map(|x| x / (mean + 1e-5).sqrt()).collect()
}

fn plus(a: &[f64], b: &[f64]) -> Vec<f64> {
    a.iter().zip(b).map(|(a, b)| a + b).collect()
}

/// Turns neighbouring channels in pairs, as GGUF orders them.
fn rotated(head: &[f64], position: usize) -> Vec<f64> {
    let pairs = head.chunks(2).enumerate().flat_map(|(i, pair)| {
        let (sin, cos) =
            (position as f64 * 10_000f64.powf(-2.0 * i as f64 / HEAD_DIM as f64)).sin_cos();
        [pair[0] * cos - pair[1] * sin, pair[0] * sin + pair[1] * cos]
    });
    pairs.collect()
}

impl Naive {
    fn load(file: &Tiny) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tiny.gguf");
        file.write(&path).unwrap();
        let mut reader = File::open(&path).unwrap();
        let content = Content::read(&mut reader).unwrap();
        let mut matrix = |name: &str| -> Matrix {
            let tensor =
                content.tensor(&mut reader, &format!("{name}.weight"), &Device::Cpu).unwrap();
            let rows: Vec<Vec<f32>> = tensor.dequantize(&Device::Cpu).unwrap().to_vec2().unwrap();
            rows.into_iter().map(|row| row.into_iter().map(f64::from).collect()).collect()
        };
        let layers = (0..3).map(|layer| {
            let mut of = |name: &str| matrix(&format!("blk.{layer}.{name}"));
            let (q, k, v, output) = (of("attn_q"), of("attn_k"), of("attn_v"), of("attn_output"));
            Layer { q, k, v, output, gate: of("ffn_gate"), up: of("ffn_up"), down: of("ffn_down") }
        });
        let layers = layers.collect();
        Self {
            layers,
            embedding: matrix("token_embd"),
            caches: (0..3).map(|_| [vec![], vec![]]).collect(),
            tokens: 0,
        }
    }

    /// Logits after one more token.
    fn feed(&mut self, token: u32) -> Vec<f64> {
        let position = self.tokens;
        let mut x = self.embedding[token as usize].clone();
        for (layer, cache) in self.layers.iter().zip(&mut self.caches) {
            let input = normed(&x);
            let (q, k, v) =
                (times(&layer.q, &input), times(&layer.k, &input), times(&layer.v, &input));
            let mut attended = Vec::new();
            for (head, entries) in cache.iter_mut().enumerate() {
                let of_head = head * HEAD_DIM..(head + 1) * HEAD_DIM;
                let (key, value) = (rotated(&k[of_head.clone()], position), v[of_head].to_vec());
                let unseen = Entry {
                    position,
                    key,
                    value,
                    masked: false,
                    from_this_query: 0.0,
                    from_all_queries: 0.0,
                    from_window: 0.0,
                };
                entries.push(unseen);
                for entry in entries.iter_mut() {
                    entry.from_this_query = 0.0;
                }
                for query in
                    q[head * GROUP * HEAD_DIM..(head + 1) * GROUP * HEAD_DIM].chunks(HEAD_DIM)
                {
                    attended.extend(attend(&rotated(query, position), entries));
                }
                for entry in entries {
                    entry.from_all_queries += entry.from_this_query;
                    entry.from_window +=
                        if position + WINDOW >= PROMPT { entry.from_this_query } else { 0.0 };
                }
            }
            x = plus(&x, &times(&layer.output, &attended));
            let input = normed(&x);
            let silu = |gate: f64| gate / (1.0 + (-gate).exp());
            let gated: Vec<f64> = times(&layer.gate, &input)
                .into_iter()
                .zip(times(&layer.up, &input))
                .map(|(g, u)| silu(g) * u)
                .collect();
            x = plus(&x, &times(&layer.down, &gated));
        }
        self.tokens += 1;
        times(&self.embedding, &normed(&x))
    }

    /// Masks entries in every layer and KV head until `size` are left: the lowest `worth` first, among those that `may_go`.
    fn mask(
        &mut self,
        size: usize,
        may_go: impl Fn(usize, usize) -> bool,
        worth: impl Fn(&[&Entry], usize) -> f64,
    ) {
        self.mask_by_layer([size; 3], may_go, worth);
    }

    /// The same, to another size in each layer.
    fn mask_by_layer(
        &mut self,
        sizes: [usize; 3],
        may_go: impl Fn(usize, usize) -> bool,
        worth: impl Fn(&[&Entry], usize) -> f64,
    ) {
        let layers = self.caches.iter_mut().zip(sizes);
        for (entries, size) in
            layers.flat_map(|(cache, size)| cache.iter_mut().map(move |head| (head, size)))
        {
            let free: Vec<&Entry> = entries
                .iter()
                .filter(|entry| !entry.masked && may_go(entry.position, self.tokens))
                .collect();
            let mut ranked: Vec<(f64, usize)> =
                (0..free.len()).map(|i| (worth(&free, i), free[i].position)).collect();
            ranked.sort_by(|a, b| a.0.total_cmp(&b.0).then(b.1.cmp(&a.1)));
            let excess = entries.iter().filter(|entry| !entry.masked).count().saturating_sub(size);
            for (_, position) in ranked.into_iter().take(excess) {
                entries[position].masked = true;
            }
        }
    }
}

fn attend(query: &[f64], entries: &mut [Entry]) -> Vec<f64> {
    let score = |entry: &Entry| {
        entry.key.iter().zip(query).map(|(k, q)| k * q).sum::<f64>() / (HEAD_DIM as f64).sqrt()
    };
    let weights: Vec<f64> =
        entries.iter().map(|entry| if entry.masked { 0.0 } else { score(entry).exp() }).collect();
    let sum: f64 = weights.iter().sum();
    let mut out = vec![0.0; HEAD_DIM];
    for (entry, weight) in entries.iter_mut().zip(weights) {
        entry.from_this_query += weight / sum;
        out.iter_mut().zip(&entry.value).for_each(|(out, value)| *out += weight / sum * value);
    }
    out
}

fn log_probability(logits: &[f64], token: u32) -> f64 {
    let sum: f64 = logits.iter().map(|logit| logit.exp()).sum();
    logits[token as usize] - sum.ln()
}

/// A rule to mask by, given how many tokens were generated.
type Rule<'a> = &'a dyn Fn(&mut Naive, usize);

/// Largest difference in the log-probability of any generated token.
fn difference(
    model: &Model,
    file: &Tiny,
    arm: &Arm,
    at_the_end_of_the_prompt: Rule<'_>,
    after_a_step: Rule<'_>,
) -> f64 {
    let (tokens, output) = (prompt(31, PROMPT), prompt(32, OUTPUT));
    let job = Job { forced: Some(output.clone()), ..job(arm, OUTPUT) };
    let found =
        Engine::run(model, &prefill(model, &tokens, std::slice::from_ref(&job)), &job).unwrap();

    let mut naive = Naive::load(file);
    let mut logits = Vec::new();
    for &token in &tokens {
        logits = naive.feed(token);
    }
    at_the_end_of_the_prompt(&mut naive, 0);
    let mut worst = 0f64;
    for (generated, (&token, &logprob)) in output.iter().zip(&found.logprobs).enumerate() {
        worst = worst.max((log_probability(&logits, token) - f64::from(logprob)).abs());
        logits = naive.feed(token);
        after_a_step(&mut naive, generated + 1);
    }
    println!("{}: {worst:.1e}", arm.label);
    worst
}

/// Asserts that an arm does what its rules say.
fn check(prefill: Prefill, of_prompt: Rule<'_>, decode: Decode, of_output: Rule<'_>) {
    static MODEL: OnceLock<Model> = OnceLock::new();
    let file = Tiny::new(KV_HEADS);
    let model = MODEL.get_or_init(|| load(&file, Weights::F32));
    let arm = Arm::new(format!("{prefill:?} + {decode:?}"), prefill, decode);
    assert!(difference(model, &file, &arm, of_prompt, of_output) < 1e-4, "{}", arm.label);
}

#[test]
fn every_method_equals_its_rule_as_a_mask() {
    let (full, never) = (Prefill::Full(Full {}), Decode::None(Never {}));
    let nothing: Rule<'_> = &|_, _| ();
    check(full.clone(), nothing, never.clone(), nothing);

    let (budget, recent) = (16, 6);
    let output_but_recent = |position, tokens| position >= PROMPT && position + recent < tokens;
    let all_but_recent = |position, tokens| position + recent < tokens;
    let attention = |free: &[&Entry], i: usize| free[i].from_this_query;
    let age = |free: &[&Entry], i: usize| free[i].position as f64;
    let youth = |free: &[&Entry], i: usize| -(free[i].position as f64);
    let slide: Rule<'_> = &|naive, _| naive.mask(PROMPT + budget, output_but_recent, attention);
    check(full.clone(), nothing, Decode::Slide(Slide { budget, recent }), slide);
    check(full.clone(), nothing, Decode::H2o(H2oDecode { budget, recent }), &|naive, _| {
        naive.mask(PROMPT + budget, all_but_recent, attention);
    });
    let cumulative = Decode::H2oCumulative(H2oCumulative { budget, recent });
    check(full.clone(), nothing, cumulative.clone(), &|naive, _| {
        naive.mask(PROMPT + budget, all_but_recent, |free, i| free[i].from_all_queries);
    });
    // 10 entries beyond the recent ones on average: 15 in the first layer, 5 in the last.
    let falling = Decode::Pyramidinfer(PyramidInferDecode { budget, recent });
    check(full.clone(), nothing, falling, &|naive, _| {
        naive.mask_by_layer([21, 16, 11].map(|size| PROMPT + size), all_but_recent, attention);
    });
    check(full.clone(), nothing, Decode::Recency(Recency { budget }), &|naive, _| {
        naive.mask(PROMPT + budget, |p, _| p >= PROMPT, age);
    });
    let streaming =
        |sinks, recent| Decode::StreamingLlm(StreamingLlmDecode { budget, sinks, recent });
    check(full.clone(), nothing, streaming(Some(3), None), &|naive, _| {
        naive.mask(PROMPT + budget, |p, _| p >= 3, age);
    });
    check(full.clone(), nothing, streaming(None, Some(recent)), &|naive, _| {
        naive.mask(PROMPT + budget, all_but_recent, youth);
    });

    let size = |generated: usize| {
        recent
            + (generated.saturating_sub(recent) * (budget - recent) / (OUTPUT - recent))
                .min(budget - recent)
    };
    let adaptive: Rule<'_> =
        &|naive, generated| naive.mask(PROMPT + size(generated), output_but_recent, attention);
    check(
        full.clone(),
        nothing,
        Decode::Adaptive(Adaptive { budget, recent, interval: None }),
        adaptive,
    );
    let every = (OUTPUT - recent) / (budget - recent);
    let now_and_then: Rule<'_> = &|naive, generated| {
        if generated % every == 0 {
            adaptive(naive, generated);
        }
    };
    let discontinuous = Discontinuous { budget, recent, interval: None };
    check(full, nothing, Decode::Discontinuous(discontinuous), now_and_then);

    let kept = 40;
    let before_window = |position, _| position + WINDOW < PROMPT;
    let h2o: Rule<'_> =
        &|naive, _| naive.mask(kept, before_window, |free, i| free[i].from_all_queries);
    let near = |free: &[&Entry], i: usize| {
        free[i.saturating_sub(3)..(i + 4).min(free.len())]
            .iter()
            .map(|entry| entry.from_window)
            .fold(0.0, f64::max)
    };
    let snapkv: Rule<'_> = &|naive, _| naive.mask(kept, before_window, near);
    let ends: Rule<'_> = &|naive, _| naive.mask(kept, |position, _| position >= 4, age);
    let slide: Rule<'_> = &|naive, _| naive.mask(kept + budget, output_but_recent, attention);
    let unified: Rule<'_> = &|naive, _| naive.mask(kept + budget, all_but_recent, attention);
    for (decode, of_output) in [
        (never, nothing),
        (Decode::Slide(Slide { budget, recent }), slide),
        (Decode::H2o(H2oDecode { budget, recent }), unified),
    ] {
        check(
            Prefill::H2o(H2oPrefill { budget: kept, window: WINDOW }),
            h2o,
            decode.clone(),
            of_output,
        );
        let by_window = SnapKv { budget: kept, window: WINDOW, pool: 7, pooling: Pooling::Max };
        check(Prefill::Snapkv(by_window), snapkv, decode.clone(), of_output);
        let streaming = StreamingLlmPrefill { budget: kept, sinks: Some(4), recent: None };
        check(Prefill::StreamingLlm(streaming), ends, decode, of_output);
    }
}

#[test]
fn pyramids_keep_less_the_deeper_the_layer() {
    let nothing: Rule<'_> = &|_, _| ();
    let before_window = |position, _| position + WINDOW < PROMPT;
    let all_but_recent = |position, tokens| position + 6 < tokens;
    let near = |free: &[&Entry], i: usize| {
        free[i.saturating_sub(3)..(i + 4).min(free.len())]
            .iter()
            .map(|entry| entry.from_window)
            .fold(0.0, f64::max)
    };
    let cumulative = Decode::H2oCumulative(H2oCumulative { budget: 16, recent: 6 });
    // 32 entries beyond the window on average, from 48 to 16, and from 63 to 1.
    let (budget, window) = (40, WINDOW);
    let pyramid = PyramidKv { budget, window, pool: 7, pooling: Pooling::Max, slope: 2 };
    check(
        Prefill::Pyramidkv(pyramid),
        &|naive, _| naive.mask_by_layer([56, 40, 24], before_window, near),
        cumulative,
        &|naive, _| {
            let worth = |free: &[&Entry], i: usize| free[i].from_all_queries;
            naive.mask_by_layer([72, 56, 40], all_but_recent, worth);
        },
    );
    check(
        Prefill::Pyramidinfer(PyramidInferPrefill { budget, window, slope: 20 }),
        &|naive, _| {
            naive.mask_by_layer([71, 40, 9], before_window, |free, i| free[i].from_all_queries);
        },
        Decode::None(Never {}),
        nothing,
    );
}
