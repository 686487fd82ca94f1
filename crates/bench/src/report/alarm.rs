//! What is suspicious about an arm, in plain words.
//!
//! Compression that silently did not happen is the most common bug in this field, and two names for one algorithm
//! come next. Both show in the records.

use zoo::{Decode, Prefill};

use super::study::{ArmSamples, Scored, Setting};
use crate::row::prefill_bound;

/// Below this many prompts the percentile bootstrap is rough.
pub(crate) const FEW_PROMPTS: usize = 10;

/// Alarms of one arm, most serious first.
pub(crate) fn alarms(setting: &Setting, arm: &ArmSamples) -> Vec<String> {
    let mut alarms = binding(arm);
    if !arm.is_reference() {
        alarms.extend(same_texts(setting, arm));
    }
    let (prompts, all) = (arm.samples.len(), setting.prompts());
    if prompts < all {
        alarms.push(format!("incomplete: {prompts} of {all} prompts"));
    }
    alarms
}

/// Whether each half of the arm that ought to drop entries did so.
fn binding(arm: &ArmSamples) -> Vec<String> {
    let (prefill, decode) = arm.methods();
    let (prefill, decode) =
        (!matches!(prefill, Prefill::Full(_)), !matches!(decode, Decode::None(_)));
    let prompts = arm.samples.len();
    let bound = arm.count(|record| record.binding);
    if (prefill || decode) && bound == 0 {
        return vec![format!(
            "never evicted: the budget did not bind for any of {prompts} prompts"
        )];
    }
    let halves = [
        (prefill, "prefill", arm.count(prefill_bound)),
        (decode, "decode", arm.count(|record| record.evictions > 0)),
    ];
    let alarm = |(acts, phase, bound): (bool, &str, usize)| match bound {
        0 if acts => Some(format!(
            "{phase} never evicted: its budget did not bind for any of {prompts} prompts"
        )),
        _ if acts && bound < prompts => {
            Some(format!("{phase} evicted for only {bound} of {prompts} prompts"))
        }
        _ => None,
    };
    halves.into_iter().filter_map(alarm).collect()
}

/// Arms that wrote the same texts. Where neither arm dropped anything, equal texts are as they should be, so a part of
/// the prompts counts only if entries were dropped there.
fn same_texts(setting: &Setting, arm: &ArmSamples) -> Vec<String> {
    let (mut alike, mut alarms, mut shared) = (Vec::new(), Vec::new(), arm.samples.len());
    for other in setting.arms.iter().filter(|other| other.arm != arm.arm) {
        let pairs = arm.shared(other);
        let same = |(left, right): &(&Scored, &Scored)| left.record.text == right.record.text;
        if !pairs.is_empty() && pairs.iter().all(same) {
            alike.push(other.arm.as_str());
            shared = shared.min(pairs.len());
            continue;
        }
        let bound =
            |(left, right): &&(&Scored, &Scored)| left.record.binding || right.record.binding;
        let dropped: Vec<_> = pairs.iter().filter(bound).collect();
        let equal = dropped.iter().filter(|pair| same(pair)).count();
        if 2 * equal > dropped.len() {
            let (name, of) = (&other.arm, dropped.len());
            alarms.push(format!(
                "same texts as {name} on {equal} of the {of} prompts where entries were dropped"
            ));
        }
    }
    if !alike.is_empty() {
        alarms.insert(0, format!("same texts as {} on all {shared} prompts", alike.join(", ")));
    }
    alarms
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::Record;
    use crate::report::study::settings;
    use crate::report::synthetic;

    fn all(records: &[Record]) -> String {
        let settings = settings(&synthetic::header().arms, records).unwrap();
        let line = |arm: &ArmSamples| {
            let alarms = alarms(&settings[0], arm);
            if alarms.is_empty() {
                String::new()
            } else {
                format!("{}: {}\n", arm.arm, alarms.join("; "))
            }
        };
        settings[0].arms.iter().map(line).collect()
    }

    #[test]
    fn no_ops_and_twins_are_named() {
        insta::assert_snapshot!(all(&synthetic::records()), @"
        slide: same texts as twin|slide on all 4 prompts
        roomy: never evicted: the budget did not bind for any of 4 prompts; same texts as full on all 4 prompts
        twin|slide: same texts as slide on all 4 prompts
        ");
    }

    #[test]
    fn halves_that_did_nothing_and_missing_prompts_are_named() {
        let mut records = synthetic::records();
        records.remove(18);
        for record in &mut records {
            if record.arm == "slide" {
                record.text.push(' ');
                record.evictions = 0;
            }
            if record.arm == "random" && record.sample == 0 {
                record.kept_end_prefill = 100.0;
            }
            if record.arm == "twin|slide" && record.sample > 0 {
                record.text.push(' ');
            }
        }
        insta::assert_snapshot!(all(&records), @"
        slide: decode never evicted: its budget did not bind for any of 4 prompts; same texts as twin|slide on 3 of the 4 prompts where entries were dropped
        random: prefill evicted for only 3 of 4 prompts
        roomy: never evicted: the budget did not bind for any of 3 prompts; same texts as full on all 3 prompts; incomplete: 3 of 4 prompts
        twin|slide: same texts as slide on 3 of the 4 prompts where entries were dropped
        ");
    }
}
