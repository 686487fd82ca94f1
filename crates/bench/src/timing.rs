//! How fast each arm was: the only numbers of a run that depend on the clock.

use serde::{Deserialize, Serialize};

use crate::journal::Record;
use crate::report::study::{ArmSamples, Setting};
use crate::row::round;

/// How fast one arm was: one line of `timings.csv`. Lanes of all arms advance together, so a step's time is that of
/// all lanes in it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Timing {
    pub(crate) model: String,
    pub(crate) dataset: String,
    pub(crate) questions_per_prompt: usize,
    pub(crate) swept: String,
    pub(crate) arm: String,
    pub(crate) n_prompts: usize,
    /// Reading the prompt, which all arms of the prompt share.
    pub(crate) ttft_ms_median: Option<f64>,
    pub(crate) decode_ms_per_token_median: Option<f64>,
    pub(crate) decode_tok_s_median: Option<f64>,
    pub(crate) decode_tok_s_min: Option<f64>,
    pub(crate) decode_tok_s_max: Option<f64>,
    pub(crate) lanes_mean: f64,
    /// Share of the decode time that this arm's policy took.
    pub(crate) policy_share: Option<f64>,
}

/// The timings of one setting, in arm order.
pub(crate) fn timings(setting: &Setting) -> Vec<Timing> {
    setting.arms.iter().map(|arm| timing(setting, arm)).collect()
}

fn timing(setting: &Setting, arm: &ArmSamples) -> Timing {
    let records = || arm.samples.iter().map(|sample| sample.record);
    let per_token = |record: &Record| {
        let steps = record.tokens.len().checked_sub(1).filter(|&steps| steps > 0)?;
        Some(record.decode_ms / steps as f64).filter(|ms| *ms > 0.0)
    };
    let per_token = sorted(records().filter_map(per_token));
    let tok_s = |ms: f64| round(1000.0 / ms);
    let decode: f64 = records().map(|record| record.decode_ms).sum();
    let policy: f64 = records().map(|record| record.policy_ms).sum();
    Timing {
        model: setting.model.clone(),
        dataset: setting.dataset.to_string(),
        questions_per_prompt: setting.questions,
        swept: setting.swept.clone(),
        arm: arm.arm.clone(),
        n_prompts: arm.samples.len(),
        ttft_ms_median: median(&sorted(records().map(|record| record.ttft_ms))).map(round),
        decode_ms_per_token_median: median(&per_token).map(round),
        decode_tok_s_median: median(&per_token).map(tok_s),
        decode_tok_s_min: per_token.last().copied().map(tok_s),
        decode_tok_s_max: per_token.first().copied().map(tok_s),
        lanes_mean: round(arm.mean(|record| record.lanes)),
        policy_share: (decode > 0.0).then(|| round(policy / decode)),
    }
}

fn sorted(values: impl Iterator<Item = f64>) -> Vec<f64> {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values
}

/// The middle of a sorted list, or the mean of the two in the middle.
fn median(sorted: &[f64]) -> Option<f64> {
    let high = *sorted.get(sorted.len() / 2)?;
    let low = *sorted.get((sorted.len() - 1) / 2)?;
    Some(f64::midpoint(low, high))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::study::settings;
    use crate::report::{synthetic, table};

    #[test]
    fn timings_take_medians_over_prompts() {
        let records = synthetic::records();
        let settings = settings(&synthetic::header().arms, &records).unwrap();
        let text = String::from_utf8(table::csv(&timings(&settings[0])).unwrap()).unwrap();
        insta::assert_snapshot!(text.lines().take(2).collect::<Vec<_>>().join("\n"), @"
        model,dataset,questions_per_prompt,swept,arm,n_prompts,ttft_ms_median,decode_ms_per_token_median,decode_tok_s_median,decode_tok_s_min,decode_tok_s_max,lanes_mean,policy_share
        org/tiny,gsm8k,6,,full,4,51.5,9.64,103.7349,100.0,107.5,5.0,0.025
        ");
        assert_eq!(
            [median(&[]), median(&[1.0, 2.0]), median(&[1.0, 2.0, 9.0])],
            [None, Some(1.5), Some(2.0)]
        );
    }
}
