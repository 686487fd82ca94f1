//! One arm's results as one flat row, and its timings as another.
//!
//! A [`Row`] holds nothing that a clock or the choice of lanes decides, so that a run that was killed and resumed gives
//! the same table, byte for byte, as one that was not. Clocks go to [`Timing`](crate::timing::Timing).

use evaluator::score::percent;
use evaluator::statistics::{Paired, SEED, Verdict, bootstrap_mean, mean};
use evaluator::{Audit, SystemText};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::experiment::StopRule;
use crate::journal::Record;
use crate::report::alarm::alarms;
use crate::report::study::{ArmSamples, Rule, Setting};

/// The results of one arm with one model on one data set: one line of `summary.csv`. Scores and differences are in
/// percent, intervals are 95 % over prompts, and an empty cell means "not measured".
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Row {
    pub(crate) experiment: String,
    pub(crate) model: String,
    pub(crate) weights: String,
    pub(crate) dataset: String,
    /// Whose prompts.
    pub(crate) source: String,
    /// `chat` for the model's own template, or `published` and which: only rows that say `published` here and under `source` may stand
    /// beside published scores.
    pub(crate) prompt: String,
    /// Which system text, where a data set has more than one.
    pub(crate) system: Option<SystemText>,
    /// Tokens above which a prompt loses its middle.
    pub(crate) max_prompt_tokens: Option<usize>,
    pub(crate) max_new_tokens: usize,
    pub(crate) stop_rule: StopRule,
    pub(crate) questions_per_prompt: usize,
    /// What was picked from lists, as `key=value`; empty without any.
    pub(crate) swept: String,
    pub(crate) arm: String,
    /// The method and its parameters, as in `h2o budget=2048 window=8`.
    pub(crate) prefill: String,
    pub(crate) decode: String,
    /// `sound`, or `reference` for the published code with all its quirks.
    pub(crate) mode: String,
    /// `kv-head`, or `query-head` where each query head has a cache of its own.
    pub(crate) granularity: String,
    pub(crate) n_prompts: usize,
    pub(crate) n_questions: usize,
    pub(crate) official: f64,
    pub(crate) official_ci_low: Option<f64>,
    pub(crate) official_ci_high: Option<f64>,
    /// Difference to the full-cache arm on the prompts that both have; empty for that arm itself.
    pub(crate) official_delta: Option<f64>,
    pub(crate) official_delta_ci_low: Option<f64>,
    pub(crate) official_delta_ci_high: Option<f64>,
    pub(crate) official_verdict: Option<String>,
    pub(crate) aligned: f64,
    pub(crate) aligned_ci_low: Option<f64>,
    pub(crate) aligned_ci_high: Option<f64>,
    pub(crate) aligned_delta: Option<f64>,
    pub(crate) aligned_delta_ci_low: Option<f64>,
    pub(crate) aligned_delta_ci_high: Option<f64>,
    pub(crate) aligned_verdict: Option<String>,
    pub(crate) answered: usize,
    pub(crate) missing: usize,
    pub(crate) repeated: usize,
    pub(crate) out_of_range: usize,
    pub(crate) unreadable: usize,
    pub(crate) looping_samples: usize,
    pub(crate) prompt_tokens_mean: f64,
    pub(crate) tokens_mean: f64,
    pub(crate) stop_eos: usize,
    pub(crate) stop_length: usize,
    pub(crate) stop_loop: usize,
    /// What was asked for: entries per KV head and layer.
    pub(crate) budget_prefill: Option<u64>,
    pub(crate) budget_decode: Option<u64>,
    /// What was kept: entries per KV head, mean over layers and prompts.
    pub(crate) kept_end_prefill_mean: f64,
    pub(crate) kept_end_decode_mean: f64,
    pub(crate) kept_mean_decode: f64,
    /// Prompts for which anything was dropped.
    pub(crate) binding_prompts: usize,
    pub(crate) binding_prefill_prompts: usize,
    pub(crate) binding_decode_prompts: usize,
    /// Entries dropped while decoding, over all layers, KV heads and prompts.
    pub(crate) evictions: u64,
    pub(crate) kv_bytes_peak_max: usize,
    pub(crate) kv_bytes_peak_mean: f64,
    /// Bytes that every entry of the same sequences would take.
    pub(crate) kv_bytes_full_mean: f64,
    /// Kept entries over all entries of the same sequence, mean over prompts.
    pub(crate) compression_ratio_end_prefill: f64,
    pub(crate) compression_ratio_end_decode: f64,
    pub(crate) compression_ratio_mean: f64,
    /// In plain words, joined by `; `; empty if there is none.
    pub(crate) alarms: String,
}

impl Row {
    /// What tells a row from the others of its run.
    pub(crate) fn name(&self) -> (&str, &str, &str, usize, &str, &str) {
        let Self { model, weights, dataset, questions_per_prompt, swept, arm, .. } = self;
        (model, weights, dataset, *questions_per_prompt, swept, arm)
    }

    /// Whether this is the full-cache arm that all others are compared with.
    pub(crate) fn is_reference(&self) -> bool {
        (self.prefill.as_str(), self.decode.as_str()) == ("full", "none")
    }
}

/// The rows of one setting, in arm order.
pub(crate) fn rows(experiment: &str, setting: &Setting) -> Vec<Row> {
    setting.arms.iter().map(|arm| row(experiment, setting, arm)).collect()
}

/// A method as compact text: `h2o budget=2048 window=8`.
pub(crate) fn method_text(method: &impl Serialize) -> String {
    let Ok(Value::Object(fields)) = serde_json::to_value(method) else { return String::new() };
    let word = |(key, value): (&String, &Value)| {
        let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        if key == "name" { value } else { format!("{key}={value}") }
    };
    fields.iter().filter(|(_, value)| !value.is_null()).map(word).collect::<Vec<_>>().join(" ")
}

/// The budget that a method asks for, if it has one.
pub(crate) fn budget(method: &impl Serialize) -> Option<u64> {
    serde_json::to_value(method).ok()?.get("budget")?.as_u64()
}

/// Entries of the whole sequence at the end: the last token was never fed.
fn entries_full(record: &Record) -> f64 {
    (record.prompt_tokens + record.tokens.len().saturating_sub(1)) as f64
}

/// Entries of the whole sequence, mean over decode steps.
fn entries_full_mean(record: &Record) -> f64 {
    let steps = record.tokens.len().saturating_sub(1);
    record.prompt_tokens as f64 + if steps == 0 { 0.0 } else { (steps + 1) as f64 / 2.0 }
}

fn row(experiment: &str, setting: &Setting, arm: &ArmSamples) -> Row {
    let (prefill, decode) = arm.methods();
    let first = arm.samples[0].record;
    let mut audit = Audit::default();
    arm.samples.iter().for_each(|sample| audit += sample.scores.audit);
    let [official, aligned] = Rule::ALL.map(|rule| score(setting, arm, rule));
    let mean = |number: fn(&Record) -> f64| round(arm.mean(number));
    let stops = |stop: &str| arm.count(|record| record.stop == stop);
    let records = || arm.samples.iter().map(|sample| sample.record);
    Row {
        experiment: experiment.to_owned(),
        model: setting.model.clone(),
        weights: setting.weights.clone(),
        dataset: setting.dataset.to_string(),
        source: first.source.to_string(),
        prompt: first.prompt.clone(),
        system: first.system,
        max_prompt_tokens: first.max_prompt_tokens,
        max_new_tokens: first.max_new_tokens,
        stop_rule: first.stop_rule,
        questions_per_prompt: setting.questions,
        swept: setting.swept.clone(),
        arm: arm.arm.clone(),
        prefill: method_text(prefill),
        decode: method_text(decode),
        mode: first.mode.to_string(),
        granularity: first.granularity.to_string(),
        n_prompts: arm.samples.len(),
        n_questions: records().map(|record| record.answers.len()).sum(),
        official: official.percent,
        official_ci_low: official.interval[0],
        official_ci_high: official.interval[1],
        official_delta: official.delta[0],
        official_delta_ci_low: official.delta[1],
        official_delta_ci_high: official.delta[2],
        official_verdict: official.verdict,
        aligned: aligned.percent,
        aligned_ci_low: aligned.interval[0],
        aligned_ci_high: aligned.interval[1],
        aligned_delta: aligned.delta[0],
        aligned_delta_ci_low: aligned.delta[1],
        aligned_delta_ci_high: aligned.delta[2],
        aligned_verdict: aligned.verdict,
        answered: audit.answered,
        missing: audit.missing,
        repeated: audit.repeated,
        out_of_range: audit.out_of_range,
        unreadable: audit.unreadable,
        looping_samples: audit.looping_samples,
        prompt_tokens_mean: mean(|record| record.prompt_tokens as f64),
        tokens_mean: mean(|record| record.tokens.len() as f64),
        stop_eos: stops("eos"),
        stop_length: stops("length"),
        stop_loop: stops("loop"),
        budget_prefill: budget(prefill),
        budget_decode: budget(decode),
        kept_end_prefill_mean: mean(|record| record.kept_end_prefill),
        kept_end_decode_mean: mean(|record| record.kept_end_decode),
        kept_mean_decode: mean(|record| record.kept_mean_decode),
        binding_prompts: arm.count(|record| record.binding),
        binding_prefill_prompts: arm.count(prefill_bound),
        binding_decode_prompts: arm.count(|record| record.evictions > 0),
        evictions: records().map(|record| record.evictions).sum(),
        kv_bytes_peak_max: records().map(|record| record.kv_bytes_peak).max().unwrap_or_default(),
        kv_bytes_peak_mean: mean(|record| record.kv_bytes_peak as f64),
        kv_bytes_full_mean: mean(|record| record.kv_bytes_full as f64),
        compression_ratio_end_prefill: mean(|record| {
            record.kept_end_prefill / record.prompt_tokens.max(1) as f64
        }),
        compression_ratio_end_decode: mean(|record| {
            record.kept_end_decode / entries_full(record).max(1.0)
        }),
        compression_ratio_mean: mean(|record| {
            record.kept_mean_decode / entries_full_mean(record).max(1.0)
        }),
        alarms: alarms(setting, arm).join("; "),
    }
}

/// Whether prefill dropped anything.
pub(crate) fn prefill_bound(record: &Record) -> bool {
    record.kept_end_prefill < record.prompt_tokens as f64
}

struct Score {
    percent: f64,
    interval: [Option<f64>; 2],
    /// Difference to the reference, and its interval.
    delta: [Option<f64>; 3],
    verdict: Option<String>,
}

fn score(setting: &Setting, arm: &ArmSamples, rule: Rule) -> Score {
    let accuracies = arm.accuracies(rule);
    let interval = bootstrap_mean(&accuracies, SEED);
    let reference = setting.reference().filter(|reference| reference.arm != arm.arm);
    let paired = reference.and_then(|reference| arm.against(reference, rule));
    let ends = paired.and_then(|paired| paired.interval);
    Score {
        percent: percent(mean(&accuracies).unwrap_or_default()),
        interval: [interval.map(|ends| percent(ends.low)), interval.map(|ends| percent(ends.high))],
        delta: [
            paired.map(|paired| percent(paired.difference)),
            ends.map(|ends| percent(ends.low)),
            ends.map(|ends| percent(ends.high)),
        ],
        verdict: paired.as_ref().map(verdict),
    }
}

/// What a comparison lets one say, in the words of the tables.
pub(crate) fn verdict(paired: &Paired) -> String {
    match paired.verdict {
        Verdict::Better => "better".to_owned(),
        Verdict::Worse => "worse".to_owned(),
        other => other.to_string(),
    }
}

/// Four decimals: more than any of these numbers means, and short in a table.
pub(crate) fn round(value: f64) -> f64 {
    (value * 1e4).round() / 1e4
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::study::settings;
    use crate::report::{synthetic, table};

    #[test]
    fn a_row_is_flat_and_empty_where_nothing_was_measured() {
        let records = synthetic::records();
        let settings = settings(&synthetic::header().arms, &records).unwrap();
        let text = String::from_utf8(table::csv(&rows("demo", &settings[0])).unwrap()).unwrap();
        let lines: Vec<&str> = text.lines().take(3).collect();
        insta::assert_snapshot!(lines.join("\n"), @"
        experiment,model,weights,dataset,source,prompt,system,max_prompt_tokens,max_new_tokens,stop_rule,questions_per_prompt,swept,arm,prefill,decode,mode,granularity,n_prompts,n_questions,official,official_ci_low,official_ci_high,official_delta,official_delta_ci_low,official_delta_ci_high,official_verdict,aligned,aligned_ci_low,aligned_ci_high,aligned_delta,aligned_delta_ci_low,aligned_delta_ci_high,aligned_verdict,answered,missing,repeated,out_of_range,unreadable,looping_samples,prompt_tokens_mean,tokens_mean,stop_eos,stop_length,stop_loop,budget_prefill,budget_decode,kept_end_prefill_mean,kept_end_decode_mean,kept_mean_decode,binding_prompts,binding_prefill_prompts,binding_decode_prompts,evictions,kv_bytes_peak_max,kv_bytes_peak_mean,kv_bytes_full_mean,compression_ratio_end_prefill,compression_ratio_end_decode,compression_ratio_mean,alarms
        demo,org/tiny,f32 safetensors,gsm8k,own demonstrations,chat,,,64,model,6,,full,full,none,sound,kv-head,4,24,75.0,66.6667,83.3333,,,,,75.0,66.6667,83.3333,,,,,24,0,0,0,0,0,100.0,42.5,4,0,0,,,100.0,141.5,121.25,0,0,0,0,146432,146432.0,144896.0,1.0,1.0,1.0,
        demo,org/tiny,f32 safetensors,gsm8k,own demonstrations,chat,,,64,model,6,,slide,h2o budget=64 window=8,slide budget=16 recent=8,sound,kv-head,4,24,50.0,50.0,50.0,-25.0,-33.3333,-16.6667,too few prompts to say,50.0,50.0,50.0,-25.0,-33.3333,-16.6667,too few prompts to say,24,0,0,0,0,0,100.0,42.5,4,0,0,64,16,64.0,80.0,78.0,4,4,4,384,81920,81920.0,144896.0,0.64,0.5654,0.6433,same texts as twin|slide on all 4 prompts
        ");
        let parsed: Vec<Row> =
            csv::Reader::from_reader(text.as_bytes()).deserialize().map(Result::unwrap).collect();
        assert_eq!(parsed, rows("demo", &settings[0]));
    }

    #[test]
    fn a_full_cache_keeps_all_of_it() {
        let records = synthetic::records();
        let settings = settings(&synthetic::header().arms, &records).unwrap();
        let rows = rows("demo", &settings[0]);
        let ratios = |row: &Row| {
            [
                row.compression_ratio_end_prefill,
                row.compression_ratio_end_decode,
                row.compression_ratio_mean,
            ]
        };
        assert!(ratios(&rows[0]).iter().all(|ratio| (ratio - 1.0).abs() < 1e-9));
        assert!(ratios(&rows[1]).iter().all(|ratio| *ratio < 0.7));
    }

    #[test]
    fn methods_read_as_they_are_written() {
        let (prefill, decode) = (zoo::Prefill::examples(), zoo::Decode::examples());
        let mut texts: Vec<String> = prefill.iter().map(method_text).collect();
        texts.extend(decode.iter().map(method_text));
        insta::assert_snapshot!(texts.join("\n"), @"
        full
        h2o budget=2048 window=8
        snapkv budget=2048 window=8 pool=7 pooling=max
        pyramidkv budget=2048 window=8 pool=7 pooling=max slope=20
        pyramidinfer budget=2048 window=8 slope=20
        streaming-llm budget=2048 recent=1024
        none
        slide budget=512 recent=256
        adaptive budget=512 recent=256
        discontinuous budget=512 recent=256
        h2o budget=512 recent=256
        h2o-cumulative budget=512 recent=256
        pyramidinfer budget=512 recent=256
        streaming-llm budget=512 recent=256
        random budget=512 recent=256
        recency budget=512
        ");
    }
}
