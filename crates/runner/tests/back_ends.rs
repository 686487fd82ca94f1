//! The host's own kernels and candle's tensors are one model: the same tokens, the same entries kept, nearly the same numbers.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod support;

use runner::{Engine, Job, Model, Outcome, Weights};
use support::{Tiny, every_arm, job, logits, prefill, prompt, relative_error, together};

const OUTPUT: usize = 40;

/// A model on both back ends.
fn both(tiny: &Tiny, weights: Weights) -> [Model; 2] {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tiny.gguf");
    tiny.write(&path).unwrap();
    let device = runner::device("cpu").unwrap();
    [
        Model::load("tiny", &path, weights, &device).unwrap(),
        Model::load_on_tensors("tiny", &path, weights).unwrap(),
    ]
}

/// How far apart two lanes' log-probabilities are, having kept as much at the same times.
fn difference(one: &Outcome, two: &Outcome, what: &str) -> f32 {
    let kept = |outcome: &Outcome| {
        let Outcome { kept_end_prefill, kept_end_decode, entries_mean, evictions, .. } = outcome;
        (kept_end_prefill.to_bits(), kept_end_decode.to_bits(), entries_mean.to_bits(), *evictions)
    };
    assert_eq!(kept(one), kept(two), "{what}");
    assert_eq!(one.trace, two.trace, "{what}");
    assert_eq!(one.logprobs.len(), OUTPUT, "{what}");
    one.logprobs.iter().zip(&two.logprobs).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
}

#[test]
fn logits_are_the_same() {
    let shapes =
        [Tiny::new(1), Tiny::new(2), Tiny::new(4), Tiny::of_width(16, 2), Tiny::of_width(80, 2)];
    for (shape, tiny) in shapes.iter().enumerate() {
        let [host, tensors] = both(tiny, Weights::F32);
        let tokens = prompt(3, 300);
        let (host, tensors) = (logits(&host, &tokens), logits(&tensors, &tokens));
        let worst =
            host.iter().zip(&tensors).map(|(a, b)| relative_error(a, b)).fold(0.0, f32::max);
        assert!(worst < 2e-5, "shape {shape}: {worst}");
    }
}

/// Every pair of methods, lanes side by side, on a text that they are given: an entry that one of them kept and the other did not would show.
#[test]
fn every_arm_keeps_and_says_the_same() {
    let models = both(&Tiny::new(2), Weights::F32);
    let jobs: Vec<Job> = every_arm((96, 24), (16, 6))
        .iter()
        .zip(0..)
        .map(|(arm, seed)| Job { forced: Some(prompt(100 + seed, OUTPUT)), ..job(arm, OUTPUT) })
        .collect();
    let [host, tensors] = models.each_ref().map(|model| {
        let prefilled = prefill(model, &prompt(11, 200), &jobs);
        together(model, &prefilled, &jobs, 8)
    });
    for (place, (host, tensors)) in host.iter().zip(&tensors).enumerate() {
        let what = format!("{:?}", jobs[place].policies);
        let worst = difference(host, tensors, &what);
        println!("{worst} {what}");
        assert!(worst < 1e-4, "{what}: {worst}");
    }
}

#[test]
fn so_does_a_lane_alone_that_chooses_freely() {
    let models = both(&Tiny::of_width(64, 2), Weights::F32);
    let arms = every_arm((96, 24), (16, 6));
    for arm in arms.iter().step_by(7) {
        let job = job(arm, OUTPUT);
        let [host, tensors] = models.each_ref().map(|model| {
            let prefilled = prefill(model, &prompt(12, 150), std::slice::from_ref(&job));
            Engine::run(model, &prefilled, &job).unwrap().tokens
        });
        assert_eq!(host, tensors, "{:?}", job.policies);
    }
}
