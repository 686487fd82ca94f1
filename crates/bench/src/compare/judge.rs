//! What became of each arm's scores, sizes and bytes.

use anyhow::Result;
use evaluator::score::percent;
use evaluator::statistics::{SEED, holm, mean, sign_flip};
use serde::Serialize;
use serde_json::Value;

use crate::fault::Fault;
use crate::report::Conditions;
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
        same_conditions(baseline, candidate)?;
        let mut comparison =
            Self { checks: Vec::new(), notes: Vec::new(), prompts: None, tolerance };
        for old in &baseline.rows {
            match candidate.rows.iter().find(|new| new.row.name() == old.row.name()) {
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
        let known = |row: &Row| baseline.rows.iter().any(|old| old.row.name() == row.name());
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
        let pairs = pairs(old, new)?;
        self.prompts = Some(self.prompts.map_or(pairs.len(), |fewest| fewest.min(pairs.len())));
        for rule in Rule::ALL {
            let score = |prompt: &PerPrompt| match rule {
                Rule::Official => prompt.official,
                Rule::Aligned => prompt.aligned,
            };
            let differences: Vec<f64> =
                pairs.iter().map(|(old, new)| score(new) - score(old)).collect();
            let [baseline, candidate] = means(&pairs, score).map(percent);
            self.checks.push(Check {
                arm: title(&old.row),
                measure: Measure::Score(rule),
                baseline,
                candidate,
                p: Some(sign_flip(&differences, SEED)),
                outcome: Outcome::Same,
            });
        }
        // Of a cache that grows with its text, another text of another length says nothing; unless hardly any text is as long as it was.
        let alike = |(old, new): &(&PerPrompt, &PerPrompt)| old.tokens == new.tokens;
        let as_long: Vec<_> = pairs.iter().copied().filter(alike).collect();
        let while_decoding = if 2 * as_long.len() < pairs.len() { &pairs } else { &as_long };
        for measure in [Measure::KeptPrefill, Measure::KeptDecode, Measure::Bytes] {
            let [baseline, candidate] = match measure {
                Measure::KeptPrefill => means(&pairs, |prompt| prompt.kept_end_prefill),
                Measure::KeptDecode => means(while_decoding, |prompt| prompt.kept_mean_decode),
                _ => means(while_decoding, |prompt| prompt.kv_bytes_peak),
            };
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
            check.outcome = match change {
                _ if change < -self.tolerance.score && p < LEVEL => Outcome::Regressed,
                _ if change > self.tolerance.score => Outcome::Better,
                0.0 => Outcome::Same,
                _ => Outcome::Within,
            };
        }
    }

    /// Says which prompts were compared, and whether they are enough: of few prompts even the worst difference could be chance.
    fn note_prompts(&mut self, baseline: &Summary) {
        let Some(prompts) = self.prompts else { return };
        let of = baseline.rows.iter().map(|row| row.per_prompt.len()).max();
        if let Some(of) = of.filter(|of| *of != prompts) {
            self.notes.push(format!("{prompts} of the baseline's {of} prompts are compared."));
        }
        let tests = self.checks.iter().filter(|check| check.p.is_some()).count();
        // Of all 2ⁿ choices of signs, one is as low as prompts that all fell.
        let needed = (tests.max(1) as f64 / LEVEL).log2().floor() + 1.0;
        self.notes.push(if (prompts as f64) < needed {
            format!(
                "{prompts} prompts can show no lower score to be real among {tests} tests: {needed} are needed. Sizes and bytes are compared all the same."
            )
        } else {
            format!(
                "Among {tests} tests, a lower score is told from chance if {needed} prompts fell and none rose, or more fell against some that rose."
            )
        });
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

/// The prompts that both rows have, the old one first.
fn pairs<'a>(
    old: &'a Detailed,
    new: &'a Detailed,
) -> Result<Vec<(&'a PerPrompt, &'a PerPrompt)>, String> {
    let arm = &old.row.arm;
    let partner = |prompt: &'a PerPrompt| {
        let same = new.per_prompt.iter().find(|other| other.sample == prompt.sample)?;
        Some((prompt, same))
    };
    let pairs: Vec<_> = old.per_prompt.iter().filter_map(partner).collect();
    match pairs.iter().find(|(old, new)| old.key != new.key) {
        Some((prompt, _)) => {
            Err(format!("arm `{arm}`: prompt {} asks for other answers", prompt.sample))
        }
        None if pairs.is_empty() => Err(format!("arm `{arm}`: they share no prompt")),
        None => Ok(pairs),
    }
}

/// Means of a number over the old and over the new prompts.
fn means(pairs: &[(&PerPrompt, &PerPrompt)], number: impl Fn(&PerPrompt) -> f64) -> [f64; 2] {
    let old: Vec<f64> = pairs.iter().map(|(old, _)| number(old)).collect();
    let new: Vec<f64> = pairs.iter().map(|(_, new)| number(new)).collect();
    [old, new].map(|numbers| mean(&numbers).unwrap_or_default())
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

/// Refuses runs of another model, or on other conditions: prompts, their number and form, the seed, what ends a text.
fn same_conditions(baseline: &Summary, candidate: &Summary) -> Result<(), String> {
    for old in &baseline.conditions {
        let name = |it: &Conditions| (it.dataset.clone(), it.questions, it.swept.clone());
        let Some(new) = candidate.conditions.iter().find(|new| name(new) == name(old)) else {
            let Conditions { dataset, questions, swept, .. } = old;
            return Err(format!("`{dataset}` at {questions} questions was not run: {swept}"));
        };
        let [old, new] = [old, new].map(|it| serde_json::to_value(it).unwrap_or_default());
        let mut values = old.as_object().into_iter().flatten();
        if let Some((key, value)) = values.find(|(key, value)| new[key.as_str()] != **value) {
            return Err(format!(
                "`{key}` is `{}` there, `{}` here",
                word(value),
                word(&new[key.as_str()])
            ));
        }
    }
    let ran = |row: &Row| -> (String, String) { (row.model.clone(), row.weights.clone()) };
    let models: Vec<_> = candidate.rows.iter().map(|new| ran(&new.row)).collect();
    match baseline.rows.iter().map(|old| ran(&old.row)).find(|model| !models.contains(model)) {
        Some((model, weights)) => {
            Err(format!("model `{model}` with weights `{weights}` was not run"))
        }
        None => Ok(()),
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
