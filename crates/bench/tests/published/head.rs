//! Which entries one query head keeps, by plain loops in `f64` over its own copy of the cache.

use crate::case::{Case, Method, Pooling};
use crate::schedule::{Cut, Schedule};

/// Two scores closer than this, as a share of the better one, may rank either way in `f32`.
const TIE: f64 = 1e-5;

/// Rows of one head's queries or keys: `(tokens, head_dim)`.
pub(crate) type Rows = Vec<Vec<f32>>;

/// Positions kept after prefill, then after each step.
#[derive(Debug)]
pub(crate) struct Kept {
    pub(crate) after: Vec<Vec<usize>>,
    /// From which of `after` on a tie decides; those are left out.
    pub(crate) tied: Option<usize>,
}

/// An entry of the cache. Entries of the same `rank` stand in no order that a score decides.
#[derive(Clone, Copy)]
struct Entry {
    position: usize,
    rank: usize,
}

#[derive(Default)]
struct Cache {
    entries: Vec<Entry>,
    ranks: usize,
    tied: bool,
}

pub(crate) fn keep(case: &Case, schedule: &Schedule, layer: usize, q: &Rows, k: &Rows) -> Kept {
    let mut cache = Cache::default();
    let mut kept = Kept { after: vec![], tied: None };
    for position in 0..case.prompt_len {
        cache.append(position);
    }
    cache.cut(schedule.prefill[layer], || prefill_scores(case, q, k));
    kept.note(&cache);
    for (step, calls) in schedule.steps.iter().enumerate() {
        let position = case.prompt_len + step;
        cache.append(position);
        let cached: Vec<&[f32]> =
            cache.entries.iter().map(|entry| k[entry.position].as_slice()).collect();
        cache.cut(calls[layer].cut, || attention(&q[position], &cached, |_| true));
        kept.note(&cache);
    }
    kept
}

impl Kept {
    fn note(&mut self, cache: &Cache) {
        if cache.tied && self.tied.is_none() {
            self.tied = Some(self.after.len());
        }
        self.after.push(cache.entries.iter().map(|entry| entry.position).collect());
    }
}

impl Cache {
    fn append(&mut self, position: usize) {
        self.entries.push(Entry { position, rank: self.ranks });
        self.ranks += 1;
    }

    fn cut(&mut self, cut: Cut, scores: impl FnOnce() -> Vec<f64>) {
        match cut {
            Cut::Nothing => {}
            Cut::Ends { first, recent } => {
                let newest = self.entries.len() - recent;
                self.slice_at(first);
                self.slice_at(newest);
                self.entries.drain(first..newest);
            }
            Cut::Ranked { protected, taken, recent } => {
                let newest = self.entries.len() - recent;
                self.slice_at(protected);
                self.slice_at(newest);
                let best = self.best(&scores()[protected..newest], protected, taken);
                self.entries.splice(protected..newest, best);
            }
        }
    }

    /// The `taken` entries of most score from `first` on, in descending order.
    fn best(&mut self, scores: &[f64], first: usize, taken: usize) -> Vec<Entry> {
        let mut order: Vec<usize> = (0..scores.len()).collect();
        order.sort_by(|&a, &b| scores[b].total_cmp(&scores[a]));
        let tie = |a: usize, b: usize| scores[a] - scores[b] <= TIE * scores[a].abs();
        if 0 < taken && taken < order.len() {
            self.tied |= tie(order[taken - 1], order[taken]);
        }
        let mut best = vec![];
        for (i, &index) in order[..taken].iter().enumerate() {
            self.ranks += usize::from(i == 0 || !tie(order[i - 1], index));
            let position = self.entries[first + index].position;
            best.push(Entry { position, rank: self.ranks });
        }
        self.ranks += 1;
        best
    }

    /// The published code slices here, by cache order.
    fn slice_at(&mut self, at: usize) {
        if 0 < at && at < self.entries.len() {
            self.tied |= self.entries[at - 1].rank == self.entries[at].rank;
        }
    }
}

/// Softmax of one query over those keys that it sees.
fn attention(q: &[f32], keys: &[&[f32]], sees: impl Fn(usize) -> bool) -> Vec<f64> {
    let scale = (q.len() as f64).sqrt();
    let logit = |(j, key): (usize, &&[f32])| {
        let product: f64 = q.iter().zip(*key).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum();
        if sees(j) { product / scale } else { f64::NEG_INFINITY }
    };
    let logits: Vec<f64> = keys.iter().enumerate().map(logit).collect();
    let most = logits.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let weights: Vec<f64> = logits.iter().map(|logit| (logit - most).exp()).collect();
    let total: f64 = weights.iter().sum();
    weights.iter().map(|weight| weight / total).collect()
}

/// What the prompt's rows give each column; only the last window's corner hides what comes later.
fn prefill_scores(case: &Case, q: &Rows, k: &Rows) -> Vec<f64> {
    let (prompt, corner) = (case.prompt_len, case.prompt_len - case.window_size);
    let windowed = matches!(case.method, Method::SnapKV | Method::PyramidKV);
    let keys: Vec<&[f32]> = k[..prompt].iter().map(Vec::as_slice).collect();
    let mut sums = vec![0.0; prompt];
    let voting = if windowed { corner } else { 0 };
    for (row, q) in q[..prompt].iter().enumerate().skip(voting) {
        let sees = |column: usize| row < corner || column < corner || column <= row;
        for (sum, weight) in sums.iter_mut().zip(attention(q, &keys, sees)) {
            *sum += weight;
        }
    }
    if windowed {
        let pooled = pool(&sums[..corner], case.pooling, case.kernel_size);
        sums[..corner].copy_from_slice(&pooled);
    }
    sums
}

/// Over `width` neighbours; beyond the ends an average counts zeros, a maximum nothing.
fn pool(scores: &[f64], pooling: Pooling, width: usize) -> Vec<f64> {
    let reach = width / 2;
    let around = |i: usize| &scores[i.saturating_sub(reach)..(i + reach + 1).min(scores.len())];
    let pooled = |i: usize| match pooling {
        Pooling::Max => around(i).iter().copied().fold(f64::NEG_INFINITY, f64::max),
        Pooling::Average => around(i).iter().sum::<f64>() / width as f64,
    };
    (0..scores.len()).map(pooled).collect()
}
