//! Accuracy by kind of question, where the task tells kinds apart: which part of the cache a method has lost.

use evaluator::statistics::{Paired, Pooled, SEED, Verdict};
use evaluator::synthetic::Kind;
use serde::{Deserialize, Serialize};

use super::findings::null_pairs;
use super::study::{ArmSamples, Setting};
use super::table::{Table, difference, with_interval};
use crate::row::{round, verdict};

/// One arm's accuracy by answer number on one kind of question: a line of `kinds.csv`, in percent.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct KindRow {
    pub(crate) model: String,
    pub(crate) weights: String,
    pub(crate) dataset: String,
    pub(crate) questions_per_prompt: usize,
    pub(crate) swept: String,
    pub(crate) arm: String,
    pub(crate) kind: Kind,
    pub(crate) n_prompts: usize,
    pub(crate) n_questions: usize,
    pub(crate) aligned: f64,
    pub(crate) aligned_ci_low: Option<f64>,
    pub(crate) aligned_ci_high: Option<f64>,
    /// To the full cache, on the prompts that both have.
    pub(crate) aligned_delta: Option<f64>,
    pub(crate) aligned_delta_ci_low: Option<f64>,
    pub(crate) aligned_delta_ci_high: Option<f64>,
    pub(crate) aligned_verdict: Option<String>,
}

/// A row for each arm and kind; none where kinds are not told.
pub(crate) fn rows(setting: &Setting) -> Vec<KindRow> {
    let reference = setting.reference();
    let arms = setting.arms.iter().flat_map(|arm| Kind::ALL.map(|kind| (arm, kind)));
    let rows = arms.filter_map(|(arm, kind)| {
        let pooled = pooled(arm, kind);
        let share = pooled.share()?;
        let interval = pooled.interval(SEED);
        let paired = reference
            .filter(|reference| reference.arm != arm.arm)
            .and_then(|reference| against(arm, reference, kind));
        let ends = paired.and_then(|paired| paired.interval);
        Some(KindRow {
            model: setting.model.clone(),
            weights: setting.weights.clone(),
            dataset: setting.dataset.to_string(),
            questions_per_prompt: setting.questions,
            swept: setting.swept.clone(),
            arm: arm.arm.clone(),
            kind,
            n_prompts: arm.samples.len(),
            n_questions: pooled.asked(),
            aligned: percent(share),
            aligned_ci_low: interval.map(|ends| percent(ends.low)),
            aligned_ci_high: interval.map(|ends| percent(ends.high)),
            aligned_delta: paired.map(|paired| percent(paired.difference)),
            aligned_delta_ci_low: ends.map(|ends| percent(ends.low)),
            aligned_delta_ci_high: ends.map(|ends| percent(ends.high)),
            aligned_verdict: paired.as_ref().map(verdict),
        })
    });
    rows.collect()
}

fn percent(share: f64) -> f64 {
    round(100.0 * share)
}

/// Arms down, kinds across; none without rows.
pub(crate) fn table(rows: &[KindRow]) -> Option<Table> {
    let mut arms: Vec<&str> = rows.iter().map(|row| row.arm.as_str()).collect();
    arms.dedup();
    let cell = |arm: &str, kind| {
        let row = rows.iter().find(|row| row.arm == arm && row.kind == kind);
        row.map_or_else(
            || "–".to_owned(),
            |row| with_interval(row.aligned, row.aligned_ci_low, row.aligned_ci_high),
        )
    };
    let head: Vec<String> = Kind::ALL.iter().map(|kind| format!("{kind}, %")).collect();
    (!rows.is_empty()).then(|| Table {
        head: std::iter::once("arm".to_owned()).chain(head).collect(),
        rows: arms
            .into_iter()
            .map(|arm| {
                let cells = Kind::ALL.map(|kind| cell(arm, kind));
                std::iter::once(arm.to_owned()).chain(cells).collect()
            })
            .collect(),
    })
}

/// For each kind, which of SCOPE's strategies choosing at random or by age can be told apart from.
pub(crate) fn findings(setting: &Setting) -> Vec<String> {
    let pairs = null_pairs(setting);
    let told = Kind::ALL.into_iter().filter_map(|kind| {
        let compared = pairs.iter().filter_map(|(left, right)| {
            Some((left, right, against(left, right, kind)?))
        });
        let compared: Vec<_> = compared.collect();
        if compared.iter().any(|(.., paired)| paired.verdict == Verdict::TooFewPrompts) {
            return None;
        }
        let (apart, tied): (Vec<_>, Vec<_>) =
            compared.into_iter().partition(|(.., paired)| paired.significant());
        let apart: Vec<String> = apart
            .iter()
            .map(|(left, right, paired)| {
                let ends = paired.interval.map(|ends| (100.0 * ends.low, 100.0 * ends.high));
                let points = difference(
                    Some(100.0 * paired.difference),
                    ends.map(|ends| ends.0),
                    ends.map(|ends| ends.1),
                );
                format!("`{}` {} than `{}` ({points})", left.arm, verdict(paired), right.arm)
            })
            .collect();
        match (apart.len(), tied.len()) {
            (0, 0) => None,
            (0, n) if all_near_the_top(&pairs, kind) => Some(format!("**{kind}**: none of {n} pairs can be told apart, since all are right on {NEAR_THE_TOP} % or more: this kind leaves nothing to tell.")),
            (0, n) => Some(format!("**{kind}**: none of {n} pairs can be told apart: choosing entries by attention gains nothing that chance or age would not give.")),
            (_, 0) => Some(format!("**{kind}**: {}.", apart.join("; "))),
            (_, n) => Some(format!("**{kind}**: {}; {n} more pairs cannot be told apart.", apart.join("; "))),
        }
    });
    told.collect()
}

/// From so many percent on, methods have no room to differ in.
const NEAR_THE_TOP: f64 = 95.0;

fn all_near_the_top(pairs: &[(&ArmSamples, &ArmSamples)], kind: Kind) -> bool {
    let arms = pairs.iter().flat_map(|(left, right)| [left, right]);
    arms.filter_map(|arm| pooled(arm, kind).share()).all(|share| percent(share) >= NEAR_THE_TOP)
}

/// Right answers and questions of a kind, by prompt.
fn pooled(arm: &ArmSamples, kind: Kind) -> Pooled {
    pool(arm.samples.iter(), kind)
}

fn pool<'a>(samples: impl Iterator<Item = &'a super::study::Scored<'a>>, kind: Kind) -> Pooled {
    let prompts = samples.map(|sample| {
        let marks = sample.record.kinds.iter().zip(&sample.scores.aligned_marks);
        let of_kind = marks.filter(|(other, _)| **other == kind);
        of_kind.fold((0, 0), |(right, asked), (_, mark)| {
            (right + usize::from(*mark == Some(true)), asked + 1)
        })
    });
    Pooled { prompts: prompts.collect() }
}

/// Two arms on the prompts that both have.
fn against(left: &ArmSamples, right: &ArmSamples, kind: Kind) -> Option<Paired> {
    let (left, right): (Vec<_>, Vec<_>) = left.shared(right).into_iter().unzip();
    pool(left.into_iter(), kind).against(&pool(right.into_iter(), kind), SEED)
}
