use std::path::Path;

use super::judge::{Comparison, Tolerance};
use crate::report::study::settings;
use crate::report::synthetic;
use crate::summary::Summary;

/// A run of two arms on so many prompts.
fn run(prompts: usize) -> Summary {
    let records = synthetic::records();
    let settings = settings(&synthetic::header().arms, &records).unwrap();
    let mut summary = Summary::new("demo", &settings, &[]);
    summary.rows.truncate(2);
    for row in &mut summary.rows {
        row.per_prompt.samples = (0..prompts).collect();
        row.per_prompt.official = vec![0.9; prompts];
        row.per_prompt.aligned = vec![0.9; prompts];
        row.per_prompt.kept_end_prefill = vec![64.0; prompts];
        row.per_prompt.kept_mean_decode = vec![78.0; prompts];
        row.per_prompt.kv_bytes_peak = vec![81_920.0; prompts];
    }
    summary
}

fn against(baseline: &Summary, candidate: &Summary) -> Comparison {
    Comparison::new(baseline, candidate, Tolerance::new(1.0, 2.0).unwrap()).unwrap()
}

/// The candidate with the aligned scores of its second arm changed, prompt by prompt.
fn scored(prompts: usize, change: impl Fn(usize) -> f64) -> Summary {
    let mut summary = run(prompts);
    for (prompt, score) in summary.rows[1].per_prompt.aligned.iter_mut().enumerate() {
        *score += change(prompt);
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
    let comparison = against(&run(7), &scored(7, |_| -0.9));
    assert!(comparison.regressions().is_empty());
    let text = comparison.markdown(Path::new("old"), Path::new("new"));
    // 2 / 2⁸ for each of four tests is below 5 %, 2 / 2⁷ is not.
    assert!(
        text.contains("7 prompts can show no lower score") && text.contains(": 8 are"),
        "{text}"
    );
    assert_eq!(against(&run(8), &scored(8, |_| -0.9)).regressions().len(), 1);
}

#[test]
fn sizes_need_no_statistics() {
    let worse = |prefill: f64, bytes: f64| {
        let mut candidate = run(12);
        let sizes = &mut candidate.rows[1].per_prompt;
        sizes.kept_end_prefill.iter_mut().for_each(|it| *it *= prefill);
        sizes.kv_bytes_peak.iter_mut().for_each(|it| *it *= bytes);
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
fn a_part_of_the_prompts_is_compared_with_that_part() {
    let mut baseline = scored(24, |prompt| if prompt < 12 { 0.0 } else { -0.9 });
    baseline.rows[1].per_prompt.kept_mean_decode[12..].fill(1e3);
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
    let moved = refused(|it| it.rows[1].per_prompt.samples.iter_mut().for_each(|at| *at += 40));
    assert_eq!(moved, "arm `slide`: they share no prompt");
}

#[test]
fn tolerances_are_shares_of_a_hundred() {
    for (score, size) in [(-1.0, 2.0), (1.0, 101.0), (f64::NAN, 2.0)] {
        assert!(Tolerance::new(score, size).is_err());
    }
}
