use std::path::Path;

use super::judge::{Comparison, Tolerance};
use crate::report::study::settings;
use crate::report::synthetic;
use crate::summary::{PerPrompt, Summary};

/// A run of two arms on so many prompts.
fn run(prompts: usize) -> Summary {
    let records = synthetic::records();
    let settings = settings(&synthetic::header().arms, &records).unwrap();
    let mut summary = Summary::new(&synthetic::header(), &settings, &[]);
    summary.rows.truncate(2);
    for row in &mut summary.rows {
        let prompt = |sample| PerPrompt {
            sample,
            key: format!("{sample:016x}"),
            tokens: 30,
            official: 0.9,
            aligned: 0.9,
            kept_end_prefill: 64.0,
            kept_mean_decode: 78.0,
            kv_bytes_peak: 81_920.0,
        };
        row.per_prompt = (0..prompts).map(prompt).collect();
    }
    summary
}

fn against(baseline: &Summary, candidate: &Summary) -> Comparison {
    Comparison::new(baseline, candidate, Tolerance::new(1.0, 2.0).unwrap()).unwrap()
}

/// The candidate with the aligned scores of its second arm changed, prompt by prompt.
fn scored(prompts: usize, change: impl Fn(usize) -> f64) -> Summary {
    let mut summary = run(prompts);
    for prompt in &mut summary.rows[1].per_prompt {
        prompt.aligned += change(prompt.sample);
    }
    summary
}

#[test]
fn a_run_does_not_differ_from_itself() {
    let comparison = against(&run(12), &run(12));
    assert_eq!((comparison.checks.len(), comparison.regressions().len()), (10, 0));
    let text = comparison.markdown(Path::new("old"), Path::new("new"));
    assert!(text.contains("No difference. Of 10 checks 10 are the same"), "{text}");
    assert!(!comparison.junit().unwrap().contains("<failure"));
}

#[test]
fn scores_that_fell_on_every_prompt_are_a_regression_that_names_the_arm() {
    let comparison = against(&run(12), &scored(12, |_| -0.3));
    let worse = comparison.regressions();
    assert_eq!(worse, ["`slide (org/tiny, gsm8k at 6 questions)`: aligned score, % 90.00 → 60.00"]);
    let text = comparison.markdown(Path::new("old"), Path::new("new"));
    assert!(text.contains("**1 regression.**") && text.contains("| **worse** |"), "{text}");
    let junit = comparison.junit().unwrap();
    assert!(junit.contains("<failure message=\"`slide (org/tiny"), "{junit}");
    // Risen scores are told, and fail nothing.
    assert!(against(&scored(12, |_| -0.3), &run(12)).regressions().is_empty());
}

#[test]
fn what_chance_may_do_is_let_pass() {
    let both_ways = |prompt| if prompt % 2 == 0 { -0.1 } else { 0.08 };
    let one_of_twelve = |prompt| if prompt == 3 { -0.5 } else { 0.0 };
    let everywhere_a_little = |_| -0.005;
    assert!(against(&run(12), &scored(12, both_ways)).regressions().is_empty());
    assert!(against(&run(12), &scored(12, one_of_twelve)).regressions().is_empty());
    assert!(against(&run(12), &scored(12, everywhere_a_little)).regressions().is_empty());
}

#[test]
fn too_few_prompts_are_said_to_guard_no_score() {
    let comparison = against(&run(6), &scored(6, |_| -0.9));
    assert!(comparison.regressions().is_empty());
    let text = comparison.markdown(Path::new("old"), Path::new("new"));
    // 1 / 2⁷ for each of four tests is below 5 %, 1 / 2⁶ is not.
    assert!(
        text.contains("6 prompts can show no lower score") && text.contains(": 7 are"),
        "{text}"
    );
    let comparison = against(&run(7), &scored(7, |_| -0.9));
    assert_eq!(comparison.regressions().len(), 1);
    let text = comparison.markdown(Path::new("old"), Path::new("new"));
    assert!(text.contains("if 7 prompts fell and none rose"), "{text}");
}

#[test]
fn a_fall_on_most_prompts_is_seen() {
    let most = |prompt| if prompt < 9 { -0.2 } else { 0.0 };
    assert_eq!(against(&run(12), &scored(12, most)).regressions().len(), 1);
    let against_a_rise = |prompt| if prompt == 0 { 0.02 } else { -0.2 };
    assert_eq!(against(&run(12), &scored(12, against_a_rise)).regressions().len(), 1);
}

#[test]
fn sizes_need_no_statistics() {
    let worse = |prefill: f64, bytes: f64| {
        let mut candidate = run(12);
        for prompt in &mut candidate.rows[1].per_prompt {
            prompt.kept_end_prefill *= prefill;
            prompt.kv_bytes_peak *= bytes;
        }
        against(&run(12), &candidate).regressions()
    };
    assert!(worse(1.01, 0.5).is_empty());
    assert_eq!(worse(1.03, 0.5).len(), 1);
    // An arm that keeps less is another arm.
    assert_eq!(worse(0.9, 1.0).len(), 1);
    let grown = worse(1.0, 1.5);
    assert!(grown.len() == 1 && grown[0].contains("bytes of cache"), "{grown:?}");
}

#[test]
fn another_text_of_another_length_is_no_larger_cache() {
    let longer = |texts: usize| {
        let mut candidate = run(12);
        for prompt in &mut candidate.rows[1].per_prompt[..texts] {
            (prompt.tokens, prompt.kept_mean_decode) = (900, 500.0);
        }
        against(&run(12), &candidate).regressions()
    };
    assert!(longer(6).is_empty());
    // Where hardly any text is as long as it was, it is no chance.
    assert_eq!(
        longer(7),
        ["`slide (org/tiny, gsm8k at 6 questions)`: entries while decoding 78.0 → 324.2"]
    );
}

#[test]
fn a_part_of_the_prompts_is_compared_with_that_part() {
    let mut baseline = scored(24, |prompt| if prompt < 12 { 0.0 } else { -0.9 });
    baseline.rows[1].per_prompt[12..].iter_mut().for_each(|it| it.kept_mean_decode = 1e3);
    let comparison = against(&baseline, &run(12));
    assert!(comparison.regressions().is_empty());
    let text = comparison.markdown(Path::new("old"), Path::new("new"));
    assert!(text.contains("No difference") && text.contains("12 of the baseline's 24"), "{text}");
}

#[test]
fn an_arm_that_is_gone_is_a_regression_and_a_new_one_is_none() {
    let mut less = run(12);
    less.rows.pop();
    let worse = against(&run(12), &less).regressions();
    assert_eq!(worse, ["`slide (org/tiny, gsm8k at 6 questions)` is missing"]);
    let more = against(&less, &run(12));
    assert!(more.regressions().is_empty());
    let text = more.markdown(Path::new("old"), Path::new("new"));
    assert!(text.contains("The baseline has no `slide (org/tiny"), "{text}");
}

#[test]
fn runs_of_different_things_are_not_compared() {
    let refused = |change: fn(&mut Summary)| {
        let mut candidate = run(12);
        change(&mut candidate);
        let tolerance = Tolerance::new(1.0, 2.0).unwrap();
        Comparison::new(&run(12), &candidate, tolerance).unwrap_err()
    };
    assert_eq!(
        refused(|it| it.rows[0].row.max_new_tokens = 9),
        "arm `full`: `max_new_tokens` is `64` there, `9` here"
    );
    assert!(refused(|it| it.experiment = "other".into()).starts_with("`experiment` is `demo`"));
    assert!(refused(|it| it.rows[1].row.mode = "reference".into()).contains("`mode`"));
    let moved = refused(|it| it.rows[1].per_prompt.iter_mut().for_each(|at| at.sample += 40));
    assert_eq!(moved, "arm `slide`: they share no prompt");
    let other = refused(|it| it.rows[1].per_prompt[3].key = "0".into());
    assert_eq!(other, "arm `slide`: prompt 3 asks for other answers");
    assert_eq!(refused(|it| it.conditions[0].seed = 9), "`seed` is `42` there, `9` here");
    let model = refused(|it| it.rows.iter_mut().for_each(|row| row.row.model = "x".into()));
    assert!(model.starts_with("model `org/tiny`"), "{model}");
}

#[test]
fn tolerances_are_shares_of_a_hundred() {
    for (score, size) in [(-1.0, 2.0), (1.0, 101.0), (f64::NAN, 2.0)] {
        assert!(Tolerance::new(score, size).is_err());
    }
}
