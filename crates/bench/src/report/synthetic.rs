//! A small run for tests: five arms, four prompts of six questions.

use evaluator::Source;
use zoo::methods::{Full, H2oPrefill, Never, Random, Slide};
use zoo::{Decode, Prefill};

use super::{Conditions, Header};
use crate::experiment::StopRule;
use crate::journal::Record;

pub(crate) fn header() -> Header {
    Header {
        experiment: "demo".to_owned(),
        title: "A small run".to_owned(),
        model: "org/tiny".to_owned(),
        weights: "f32 safetensors".to_owned(),
        arms: ["full", "slide", "random", "roomy", "twin|slide"].map(str::to_owned).to_vec(),
        conditions: vec![Conditions {
            dataset: "gsm8k".to_owned(),
            questions: 6,
            source: Source::OwnDemonstrations,
            prompts: "chat".to_owned(),
            max_new_tokens: 64,
            stop: "any end token of the model".to_owned(),
            seed: 42,
            swept: String::new(),
        }],
        device: None,
        notes: Vec::new(),
    }
}

/// In the order in which arms run beside each other.
pub(crate) fn records() -> Vec<Record> {
    let arms = header().arms;
    (0..4).flat_map(|sample| arms.iter().map(move |arm| record(arm, sample))).collect()
}

fn record(arm: &str, sample: usize) -> Record {
    let (prefill, decode) = methods(arm);
    let compresses = !matches!(arm, "full" | "roomy");
    let evictions = if compresses { 96 } else { 0 };
    let kept_end_prefill = if compresses { 64.0 } else { 100.0 };
    let right = match arm {
        "full" | "roomy" => 5 - sample % 2,
        "random" => 1 + sample % 2,
        _ => 3,
    };
    let answer = |question| {
        let value = if question < right { question } else { 77 };
        format!("Answer_{}:\nThe answer is {value}.\n", 9 + question)
    };
    Record {
        cell: format!("{arm}-{sample}"),
        model: "org/tiny".to_owned(),
        weights: "f32 safetensors".to_owned(),
        dataset: "gsm8k".to_owned(),
        source: Source::OwnDemonstrations,
        prompt: "chat".to_owned(),
        system: None,
        max_prompt_tokens: None,
        swept: String::new(),
        sample,
        questions: 6,
        answers: (0..6).map(|question| format!("#### {question}")).collect(),
        kinds: Vec::new(),
        arm: arm.to_owned(),
        prefill,
        decode,
        mode: zoo::Mode::Sound,
        granularity: zoo::Granularity::KvHead,
        counters: None,
        max_new_tokens: 64,
        stop_rule: StopRule::Model,
        prompt_tokens: 100,
        tokens: vec![1; 41 + sample],
        text: (0..6).map(answer).collect(),
        stop: "eos".to_owned(),
        ttft_ms: 50.0 + sample as f64,
        decode_ms: 400.0,
        policy_ms: 10.0,
        lanes: 5.0,
        kv_bytes_peak: if compresses { 80 << 10 } else { 143 << 10 },
        kv_bytes_full: (140 + sample) << 10,
        kept_end_prefill,
        kept_end_decode: kept_end_prefill + if compresses { 16.0 } else { 40.0 + sample as f64 },
        kept_mean_decode: kept_end_prefill
            + if compresses { 14.0 } else { 20.5 + sample as f64 / 2.0 },
        evictions,
        binding: compresses,
        seed: 42,
        trace: if compresses { vec![65.0, 80.0, 80.0] } else { vec![101.0, 117.0, 133.0] },
        trace_steps: 16,
    }
}

fn methods(arm: &str) -> (Prefill, Decode) {
    let prefill = |budget| Prefill::H2o(H2oPrefill { budget, window: 8 });
    let slide = |budget| Decode::Slide(Slide { budget, recent: 8 });
    match arm {
        "full" => (Prefill::Full(Full {}), Decode::None(Never {})),
        "random" => (prefill(64), Decode::Random(Random { budget: 16, recent: 8 })),
        "roomy" => (prefill(4096), slide(4096)),
        _ => (prefill(64), slide(16)),
    }
}
