//! What the numbers show and what they do not, in sentences.

use evaluator::statistics::{Paired, mean, smallest_detectable_difference};
use zoo::Decode;

use super::alarm::FEW_PROMPTS;
use super::study::{ArmSamples, Rule, Setting};
use super::table::{Table, difference, percent, with_interval};
use crate::row::{Row, budget, verdict};

/// Below this score, in percent, a model cannot do the task.
const HOPELESS: f64 = 5.0;

/// Sentences about one setting, most important first.
pub(crate) fn findings(setting: &Setting, rows: &[Row]) -> Vec<String> {
    let mut findings = Vec::new();
    if hopeless(rows) {
        findings.push(format!(
            "**Every score is below {HOPELESS} %: the model cannot do this task. The scores say nothing about compression here; only the memory and speed figures do.**"
        ));
    }
    findings.push(reference(rows));
    if !hopeless(rows) {
        findings.extend(Rule::ALL.into_iter().filter_map(|rule| against_reference(rows, rule)));
        findings.extend(null_baselines(setting));
        findings.extend(power(setting));
    }
    findings.push(memory(rows));
    findings
}

fn hopeless(rows: &[Row]) -> bool {
    rows.iter().all(|row| row.official < HOPELESS && row.aligned < HOPELESS)
}

fn reference(rows: &[Row]) -> String {
    let Some(row) = rows.iter().find(|row| row.is_reference()) else {
        return "No arm keeps the full cache, so no difference to it can be given.".to_owned();
    };
    format!(
        "The full cache (`{}`) scores {} % by the official rule and {} % by answer number, over {} prompts with {} questions.",
        row.arm,
        with_interval(row.official, row.official_ci_low, row.official_ci_high),
        with_interval(row.aligned, row.aligned_ci_low, row.aligned_ci_high),
        row.n_prompts,
        row.n_questions
    )
}

/// Which arms differ from the full cache; none without one. Arms are named in the order of the experiment, not ranked.
fn against_reference(rows: &[Row], rule: Rule) -> Option<String> {
    let verdict = |row: &Row| match rule {
        Rule::Official => row.official_verdict.clone(),
        Rule::Aligned => row.aligned_verdict.clone(),
    };
    let delta = |row: &Row| match rule {
        Rule::Official => {
            difference(row.official_delta, row.official_delta_ci_low, row.official_delta_ci_high)
        }
        Rule::Aligned => {
            difference(row.aligned_delta, row.aligned_delta_ci_low, row.aligned_delta_ci_high)
        }
    };
    let parts = [
        ("worse", "significantly worse"),
        ("better", "significantly better"),
        ("no significant difference", "no significant difference"),
        ("too few prompts to say", "too few prompts to say"),
    ];
    let parts = parts.into_iter().filter_map(|(word, words)| {
        let arms = rows.iter().filter(|row| verdict(row).as_deref() == Some(word));
        let arms: Vec<_> = arms.map(|row| format!("`{}` ({})", row.arm, delta(row))).collect();
        (!arms.is_empty()).then(|| format!("{words}: {}", arms.join(", ")))
    });
    let parts = parts.collect::<Vec<_>>().join("; ");
    (!parts.is_empty())
        .then(|| format!("Against the full cache, {} score in points: {parts}.", rule.name()))
}

/// Pairs of a SCOPE strategy and another decode method, or of two strategies, that continue the same prefill with the same decode
/// budget.
fn pairs<'s>(setting: &'s Setting<'s>) -> Vec<(&'s ArmSamples<'s>, &'s ArmSamples<'s>)> {
    let mut pairs = Vec::new();
    for (place, left) in setting.arms.iter().enumerate().filter(|(_, arm)| is_scope(arm)) {
        let others = setting.arms.iter().enumerate();
        let others = others.filter(|(other, right)| {
            let twice = is_scope(right) && *other <= place;
            let full = matches!(right.methods().1, Decode::None(_));
            let alike = right.methods().0 == left.methods().0
                && budget(right.methods().1) == budget(left.methods().1);
            !twice && !full && alike
        });
        pairs.extend(others.map(|(_, right)| (left, right)));
    }
    pairs
}

fn is_scope(arm: &ArmSamples) -> bool {
    matches!(arm.methods().1, Decode::Slide(_) | Decode::Adaptive(_) | Decode::Discontinuous(_))
}

fn is_null(arm: &ArmSamples) -> bool {
    matches!(arm.methods().1, Decode::Random(_) | Decode::Recency(_))
}

/// Paired comparisons of SCOPE's strategies with each other and with what else continues the same prefill.
pub(crate) fn comparisons(setting: &Setting) -> Option<Table> {
    let lines = pairs(setting).into_iter().filter_map(|(left, right)| {
        let cells = |rule| {
            let paired = left.against(right, rule)?;
            let ends = paired.interval.map(|ends| (100.0 * ends.low, 100.0 * ends.high));
            let delta = difference(
                Some(100.0 * paired.difference),
                ends.map(|ends| ends.0),
                ends.map(|ends| ends.1),
            );
            Some((delta, verdict(&paired)))
        };
        let (official, aligned) = (cells(Rule::Official)?, cells(Rule::Aligned)?);
        let (left, right) = (left.arm.clone(), right.arm.clone());
        Some([left, right, official.0, official.1, aligned.0, aligned.1])
    });
    let lines: Vec<_> = lines.collect();
    let head = ["arm", "against", "official, points", "verdict", "aligned, points", "verdict"];
    (!lines.is_empty()).then(|| Table::new(head, lines))
}

/// Pairs of a SCOPE strategy and a null baseline that continue the same prefill with the same decode budget.
pub(crate) fn null_pairs<'s>(
    setting: &'s Setting<'s>,
) -> Vec<(&'s ArmSamples<'s>, &'s ArmSamples<'s>)> {
    let mut pairs = pairs(setting);
    pairs.retain(|(left, right)| is_null(right) && left.shared(right).len() > 1);
    pairs
}

/// Whether choosing entries by attention beat choosing as many at random or by age.
fn null_baselines(setting: &Setting) -> Option<String> {
    let pairs = null_pairs(setting);
    let found: Vec<_> = pairs.iter().filter_map(|(left, right)| significant(left, right)).collect();
    let mut nulls: Vec<_> = pairs.iter().map(|(_, right)| format!("`{}`", right.arm)).collect();
    nulls.sort();
    nulls.dedup();
    let (nulls, of) = (nulls.join(" and "), pairs.len());
    match found.len() {
        0 if of == 0 => None,
        0 => Some(format!(
            "The null baselines could not be told apart from SCOPE's strategies: none of {of} pairs with {nulls} shows a significant difference by either rule. That is no proof that choosing decode entries by attention does not matter; it is no evidence that it does."
        )),
        some => {
            let worse = found.iter().filter(|it| it.contains(" worse by ")).count();
            let better = found.iter().filter(|it| it.contains(" better by ")).count();
            let (tied, found) = (of - some, found.join("; "));
            Some(format!(
                "SCOPE's strategies against the null baselines, which continue the same prefill with the same decode budget: of {of} pairs {better} are better by a rule, {worse} worse, {tied} cannot be told apart ({found})."
            ))
        }
    }
}

/// What differs between two arms, in words; none if nothing does.
fn significant(left: &ArmSamples, right: &ArmSamples) -> Option<String> {
    let words = Rule::ALL
        .map(|rule| left.against(right, rule).filter(Paired::significant).as_ref().map(verdict));
    let words = match words {
        [None, None] => return None,
        [Some(official), Some(aligned)] if official == aligned => {
            format!("{official} by both rules")
        }
        [official, aligned] => {
            let named = [(official, "official"), (aligned, "aligned")];
            let named = named
                .into_iter()
                .filter_map(|(word, rule)| Some(format!("{} by the {rule} rule", word?)));
            named.collect::<Vec<_>>().join(", ")
        }
    };
    Some(format!("`{}` {words} than `{}`", left.arm, right.arm))
}

/// What differences a run of this size could see.
fn power(setting: &Setting) -> Option<String> {
    let reference = setting.reference()?;
    let others = || setting.arms.iter().filter(|arm| arm.arm != reference.arm);
    let spreads: Vec<f64> = others()
        .filter_map(|arm| arm.against(reference, Rule::Official)?.standard_deviation)
        .collect();
    let prompts = setting.prompts();
    let visible = smallest_detectable_difference(mean(&spreads)?, prompts)?;
    let comparisons = Rule::ALL.len() * (others().count() + pairs(setting).len());
    Some(format!(
        "With {prompts} prompts, a true difference to the full cache must be about {:.0} points to be found four times out of five. {comparisons} comparisons are made at 95 %, so about {:.1} would look significant by chance alone.",
        100.0 * visible,
        comparisons as f64 / 20.0
    ))
}

fn memory(rows: &[Row]) -> String {
    let share = |row: &Row| {
        let share = row.kv_bytes_peak_mean / row.kv_bytes_full_mean.max(1.0);
        format!("`{}` {}", row.arm, percent(share))
    };
    let arms = rows.iter().filter(|row| !row.is_reference()).map(share).collect::<Vec<_>>();
    if arms.is_empty() {
        return "No arm compresses, so no memory was saved.".to_owned();
    }
    format!(
        "Peak bytes allocated for the cache, as a share of what every entry takes: {}.",
        arms.join(", ")
    )
}

/// What holds for the whole report.
pub(crate) fn notes(settings: &[Setting], arms: &[String]) -> Vec<String> {
    let mut notes = Vec::new();
    for setting in settings {
        let prompts = setting.prompts();
        if prompts < FEW_PROMPTS {
            notes.push(format!("intervals from {prompts} prompts are rough ({})", setting.title()));
        }
        let absent = arms.iter().filter(|arm| setting.arms.iter().all(|found| found.arm != **arm));
        let absent: Vec<_> = absent.map(|arm| format!("`{arm}`")).collect();
        if !absent.is_empty() {
            notes.push(format!(
                "no finished prompt yet: {} ({})",
                absent.join(", "),
                setting.title()
            ));
        }
    }
    notes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::Record;
    use crate::report::study::settings;
    use crate::report::synthetic;
    use crate::row;

    fn all(records: &[Record]) -> String {
        let settings = settings(&synthetic::header().arms, records).unwrap();
        findings(&settings[0], &row::rows("demo", &settings[0])).join("\n")
    }

    #[test]
    fn real_differences_and_ties_are_told_apart() {
        insta::assert_snapshot!(all(&synthetic::records()), @"
        The full cache (`full`) scores 75.0 [66.7, 83.3] % by the official rule and 75.0 [66.7, 83.3] % by answer number, over 4 prompts with 24 questions.
        Against the full cache, official score in points: too few prompts to say: `slide` (−25.0 [−33.3, −16.7]), `random` (−50.0 [−66.7, −33.3]), `roomy` (0.0 [0.0, 0.0]), `twin|slide` (−25.0 [−33.3, −16.7]).
        Against the full cache, aligned score in points: too few prompts to say: `slide` (−25.0 [−33.3, −16.7]), `random` (−50.0 [−66.7, −33.3]), `roomy` (0.0 [0.0, 0.0]), `twin|slide` (−25.0 [−33.3, −16.7]).
        The null baselines could not be told apart from SCOPE's strategies: none of 2 pairs with `random` shows a significant difference by either rule. That is no proof that choosing decode entries by attention does not matter; it is no evidence that it does.
        With 4 prompts, a true difference to the full cache must be about 13 points to be found four times out of five. 14 comparisons are made at 95 %, so about 0.7 would look significant by chance alone.
        Peak bytes allocated for the cache, as a share of what every entry takes: `slide` 57 %, `random` 57 %, `roomy` 101 %, `twin|slide` 57 %.
        ");
    }

    #[test]
    fn a_model_that_cannot_do_the_task_shows_nothing_about_accuracy() {
        let mut records = synthetic::records();
        for record in &mut records {
            record.text.clear();
        }
        insta::assert_snapshot!(all(&records), @"
        **Every score is below 5 %: the model cannot do this task. The scores say nothing about compression here; only the memory and speed figures do.**
        The full cache (`full`) scores 0.0 [0.0, 0.0] % by the official rule and 0.0 [0.0, 0.0] % by answer number, over 4 prompts with 24 questions.
        Peak bytes allocated for the cache, as a share of what every entry takes: `slide` 57 %, `random` 57 %, `roomy` 101 %, `twin|slide` 57 %.
        ");
    }

    #[test]
    fn a_tie_with_chance_is_said() {
        let mut records = synthetic::records();
        for record in records.iter_mut().filter(|record| record.arm == "random") {
            record.text = "Answer_9: The answer is 0.\nAnswer_10: The answer is 1.\nAnswer_11: The answer is 2.".to_owned();
        }
        let text = all(&records);
        assert!(
            text.contains(
                "The null baselines could not be told apart from SCOPE's strategies: none of 2 pairs with `random`"
            ),
            "{text}"
        );
    }

    #[test]
    fn what_is_missing_or_rough_is_noted() {
        let mut records = synthetic::records();
        records.retain(|record| record.arm != "roomy");
        let arms = synthetic::header().arms;
        insta::assert_snapshot!(notes(&settings(&arms, &records).unwrap(), &arms).join("\n"), @"
        intervals from 4 prompts are rough (org/tiny (f32 safetensors) on gsm8k, 6 questions per prompt)
        no finished prompt yet: `roomy` (org/tiny (f32 safetensors) on gsm8k, 6 questions per prompt)
        ");
    }
}
