//! What became of each arm's scores, sizes and bytes.

use anyhow::Result;
use evaluator::score::percent;
use evaluator::statistics::{SEED, holm, mean, sign_flip};
use serde::Serialize;
use serde_json::Value;

use crate::fault::Fault;
use crate::report::study::Rule;
use crate::row::Row;
use crate::summary::{Detailed, PerPrompt, Summary};

/// A difference is real if chance makes one as large less often than this, among all tests of a comparison.
pub(super) const LEVEL: f64 = 0.05;

/// What is let pass.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Tolerance {
    /// Percentage points by which a score may fall.
    pub(super) score: f64,
    /// Share by which kept entries may change and bytes may grow.
    pub(super) size: f64,
}

impl Tolerance {
    /// From percentage points of a score, and from percent of a size.
    pub(super) fn new(score: f64, size: f64) -> Result<Self> {
        for (flag, value) in [("--tolerance", score), ("--size-tolerance", size)] {
            if !(0.0..=100.0).contains(&value) {
                let message = format!("`{flag}` {value}: give a number from 0 to 100");
                return Err(Fault::usage(message).into());
            }
        }
        Ok(Self { score, size: size / 100.0 })
    }
}

/// What is compared of an arm.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Measure {
    Score(Rule),
    /// Entries that prefill left, mean over layers and prompts.
    KeptPrefill,
    /// Entries while decoding, mean over steps too.
    KeptDecode,
    /// Bytes at their peak, mean over prompts.
    Bytes,
    /// Whether the arm was run at all.
    Presence,
}

/// What became of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    Same,
    /// Another number, and no more than is let pass.
    Within,
    Better,
    Regressed,
}

/// One comparison of one number.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Check {
    /// The arm, with its setting where there are several.
    pub(super) arm: String,
    pub(super) measure: Measure,
    pub(super) baseline: f64,
    pub(super) candidate: f64,
    /// Of a score's difference, made larger for the number of tests.
    pub(super) p: Option<f64>,
    pub(super) outcome: Outcome,
}

/// Two runs side by side.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Comparison {
    pub(crate) checks: Vec<Check>,
    pub(super) notes: Vec<String>,
    /// Fewest prompts that an arm has in both runs.
    prompts: Option<usize>,
    pub(super) tolerance: Tolerance,
}

impl Comparison {
    /// Compares every arm of the baseline with the same arm of the candidate.
    ///
    /// # Errors
    /// The first setting in which the runs differ.
    pub(crate) fn new(
        baseline: &Summary,
        candidate: &Summary,
        tolerance: Tolerance,
    ) -> Result<Self, String> {
        if baseline.experiment != candidate.experiment {
            let (old, new) = (&baseline.experiment, &candidate.experiment);
            return Err(format!("`experiment` is `{old}` there, `{new}` here"));
        }
        let mut comparison =
            Self { checks: Vec::new(), notes: Vec::new(), prompts: None, tolerance };
        for old in &baseline.rows {
            match candidate.rows.iter().find(|new| name(&new.row) == name(&old.row)) {
                Some(new) => {
                    same_settings(old, new)?;
                    comparison.compare(old, new)?;
                }
                None => comparison.checks.push(Check {
                    arm: title(&old.row),
                    measure: Measure::Presence,
                    baseline: 1.0,
                    candidate: 0.0,
                    p: None,
                    outcome: Outcome::Regressed,
                }),
            }
        }
        let known = |row: &Row| baseline.rows.iter().any(|old| name(&old.row) == name(row));
        let added = candidate.rows.iter().filter(|new| !known(&new.row));
        let added: Vec<String> = added.map(|new| format!("`{}`", title(&new.row))).collect();
        if !added.is_empty() {
            comparison.notes.push(format!("The baseline has no {}.", added.join(", ")));
        }
        comparison.weigh();
        comparison.note_prompts(baseline);
        Ok(comparison)
    }

    /// What got worse, in words.
    pub(crate) fn regressions(&self) -> Vec<String> {
        let worse = self.checks.iter().filter(|check| check.outcome == Outcome::Regressed);
        worse.map(Check::describe).collect()
    }

    /// Compares two rows on the prompts that both have.
    fn compare(&mut self, old: &Detailed, new: &Detailed) -> Result<(), String> {
        let both = [
            old.per_prompt.among(&new.per_prompt.samples),
            new.per_prompt.among(&old.per_prompt.samples),
        ];
        let prompts = both[0].samples.len();
        if prompts == 0 {
            return Err(format!("arm `{}`: they share no prompt", old.row.arm));
        }
        self.prompts = Some(self.prompts.map_or(prompts, |fewest| fewest.min(prompts)));
        for rule in Rule::ALL {
            let scores = both.each_ref().map(|it| match rule {
                Rule::Official => &it.official,
                Rule::Aligned => &it.aligned,
            });
            let differences: Vec<f64> =
                scores[1].iter().zip(scores[0]).map(|(new, old)| new - old).collect();
            let [baseline, candidate] =
                scores.map(|scores| percent(mean(scores).unwrap_or_default()));
            self.checks.push(Check {
                arm: title(&old.row),
                measure: Measure::Score(rule),
                baseline,
                candidate,
                p: Some(sign_flip(&differences, SEED)),
                outcome: Outcome::Same,
            });
        }
        let sizes = |it: &PerPrompt| {
            [
                (Measure::KeptPrefill, mean(&it.kept_end_prefill).unwrap_or_default()),
                (Measure::KeptDecode, mean(&it.kept_mean_decode).unwrap_or_default()),
                (Measure::Bytes, mean(&it.kv_bytes_peak).unwrap_or_default()),
            ]
        };
        for ((measure, baseline), (_, candidate)) in
            sizes(&both[0]).into_iter().zip(sizes(&both[1]))
        {
            self.checks.push(Check {
                arm: title(&old.row),
                measure,
                baseline,
                candidate,
                p: None,
                outcome: size_outcome(measure, baseline, candidate, self.tolerance.size),
            });
        }
        Ok(())
    }

    /// Makes each p larger for the number of tests, and says of each score what became of it.
    fn weigh(&mut self) {
        let p: Vec<f64> = self.checks.iter().filter_map(|check| check.p).collect();
        let tested = self.checks.iter_mut().filter(|check| check.p.is_some());
        for (check, p) in tested.zip(holm(&p)) {
            check.p = Some(p);
            let change = check.candidate - check.baseline;
            check.outcome = match p < LEVEL {
                true if change < -self.tolerance.score => Outcome::Regressed,
                true if change > self.tolerance.score => Outcome::Better,
                _ if change == 0.0 => Outcome::Same,
                _ => Outcome::Within,
            };
        }
    }

    /// Says which prompts were compared, and whether they are enough: of few prompts even the worst difference could be chance.
    fn note_prompts(&mut self, baseline: &Summary) {
        let Some(prompts) = self.prompts else { return };
        let of = baseline.rows.iter().map(|row| row.per_prompt.samples.len()).max();
        if let Some(of) = of.filter(|of| *of != prompts) {
            self.notes.push(format!("{prompts} of the baseline's {of} prompts are compared."));
        }
        let tests = self.checks.iter().filter(|check| check.p.is_some()).count();
        // Of all 2ⁿ choices of signs, two are as far from 0 as prompts that all fell alike.
        let needed = (2.0 * tests.max(1) as f64 / LEVEL).log2().floor() + 1.0;
        if (prompts as f64) < needed {
            self.notes.push(format!(
                "{prompts} prompts can show no lower score to be real among {tests} tests: {needed} are needed. Sizes and bytes are compared all the same."
            ));
        }
    }
}

impl Check {
    /// In words: `slide: aligned score 99.10 → 40.00`.
    pub(super) fn describe(&self) -> String {
        let Self { arm, measure, baseline, candidate, .. } = self;
        match measure {
            Measure::Presence => format!("`{arm}` is missing"),
            Measure::Score(_) => {
                format!("`{arm}`: {} {baseline:.2} → {candidate:.2}", measure.name())
            }
            _ => format!("`{arm}`: {} {baseline:.1} → {candidate:.1}", measure.name()),
        }
    }
}

impl Measure {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Score(Rule::Official) => "official score, %",
            Self::Score(Rule::Aligned) => "aligned score, %",
            Self::KeptPrefill => "entries after prefill",
            Self::KeptDecode => "entries while decoding",
            Self::Bytes => "bytes of cache",
            Self::Presence => "arm",
        }
    }
}

/// Entries must stay what they are, since an arm that keeps more or less is another arm; fewer bytes for the same entries are welcome.
fn size_outcome(measure: Measure, baseline: f64, candidate: f64, tolerance: f64) -> Outcome {
    let change = (candidate - baseline) / baseline.max(1.0);
    match measure {
        _ if change == 0.0 => Outcome::Same,
        _ if change.abs() <= tolerance => Outcome::Within,
        Measure::Bytes if change < 0.0 => Outcome::Better,
        _ => Outcome::Regressed,
    }
}

/// What tells a row from the others of its run.
fn name(row: &Row) -> (&str, &str, &str, usize, &str, &str) {
    let Row { model, weights, dataset, questions_per_prompt, swept, arm, .. } = row;
    (model, weights, dataset, *questions_per_prompt, swept, arm)
}

fn title(row: &Row) -> String {
    let Row { model, dataset, questions_per_prompt, swept, arm, .. } = row;
    let swept = if swept.is_empty() { String::new() } else { format!(", {swept}") };
    format!("{arm} ({model}, {dataset} at {questions_per_prompt} questions{swept})")
}

/// A setting as files spell it; `none` where there is none.
fn word(value: &impl Serialize) -> String {
    match serde_json::to_value(value) {
        Ok(Value::String(word)) => word,
        Ok(Value::Null) | Err(_) => "none".to_owned(),
        Ok(other) => other.to_string(),
    }
}

/// Refuses rows whose scores may differ because something else was asked for.
fn same_settings(old: &Detailed, new: &Detailed) -> Result<(), String> {
    let settings = |it: &Detailed| -> Vec<(&'static str, String)> {
        let row = &it.row;
        vec![
            ("prefill", row.prefill.clone()),
            ("decode", row.decode.clone()),
            ("mode", row.mode.clone()),
            ("granularity", row.granularity.clone()),
            ("source", row.source.clone()),
            ("prompt", row.prompt.clone()),
            ("system", word(&row.system)),
            ("max_prompt_tokens", word(&row.max_prompt_tokens)),
            ("max_new_tokens", row.max_new_tokens.to_string()),
            ("stop_rule", word(&row.stop_rule)),
        ]
    };
    let differs = settings(old).into_iter().zip(settings(new)).find(|(old, new)| old != new);
    differs.map_or(Ok(()), |((key, old_value), (_, new_value))| {
        let arm = &old.row.arm;
        Err(format!("arm `{arm}`: `{key}` is `{old_value}` there, `{new_value}` here"))
    })
}
