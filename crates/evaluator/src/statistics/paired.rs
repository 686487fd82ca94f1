//! Two runs over the same prompts.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{Interval, bootstrap_mean, mean, standard_deviation};
use crate::error::{Error, Result};

/// Below so many prompts no difference is called significant: all differences of n prompts have the same sign by chance in
/// 2 / 2ⁿ of cases, more than 5 % for fewer than 6, and then a percentile bootstrap excludes 0.
pub const LEAST_PROMPTS: usize = 6;

/// What a paired comparison lets one say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// The whole interval lies above 0.
    Better,
    /// The whole interval lies below 0.
    Worse,
    /// The interval contains 0.
    NoSignificantDifference,
    /// Fewer than [`LEAST_PROMPTS`]: nothing can be said.
    TooFewPrompts,
}

impl Verdict {
    /// What an interval of a difference over so many prompts lets one say.
    pub(super) fn of(interval: Option<Interval>, prompts: usize) -> Self {
        match interval {
            None => Self::TooFewPrompts,
            Some(_) if prompts < LEAST_PROMPTS => Self::TooFewPrompts,
            Some(Interval { low, .. }) if low > 0.0 => Self::Better,
            Some(Interval { high, .. }) if high < 0.0 => Self::Worse,
            Some(_) => Self::NoSignificantDifference,
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Better => "significantly better",
            Self::Worse => "significantly worse",
            Self::NoSignificantDifference => "no significant difference",
            Self::TooFewPrompts => "too few prompts to say",
        })
    }
}

/// The difference of two runs, prompt by prompt.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Paired {
    /// Mean of left minus right.
    pub difference: f64,
    /// Its 95 % interval over prompts; none of fewer than two.
    pub interval: Option<Interval>,
    /// Spread of the differences over prompts; none of fewer than two.
    pub standard_deviation: Option<f64>,
    /// Prompts compared.
    pub prompts: usize,
    /// What this lets one say of the left run.
    pub verdict: Verdict,
}

impl Paired {
    /// Whether the difference is more than noise at 95 %.
    pub const fn significant(&self) -> bool {
        matches!(self.verdict, Verdict::Better | Verdict::Worse)
    }
}

/// Compares per-prompt accuracies of a run (`left`) with those of a baseline (`right`) on the same prompts, in the
/// same order.
/// # Errors
/// [`Error::Unpaired`] if the lists differ in length or are empty.
pub fn paired(left: &[f64], right: &[f64], seed: u64) -> Result<Paired> {
    let differences: Vec<f64> = left.iter().zip(right).map(|(l, r)| l - r).collect();
    let unpaired = Error::Unpaired { left: left.len(), right: right.len() };
    let difference = mean(&differences).filter(|_| left.len() == right.len()).ok_or(unpaired)?;
    let interval = bootstrap_mean(&differences, seed);
    let verdict = Verdict::of(interval, differences.len());
    let standard_deviation = standard_deviation(&differences);
    Ok(Paired { difference, interval, standard_deviation, prompts: differences.len(), verdict })
}

/// The smallest true difference that a run over so many prompts would find significant four times out of five:
/// (1.96 + 0.84) · sd / √prompts, for a two-sided test at 5 % with 80 % power. `paired_sd` is the spread of the
/// per-prompt differences in an earlier run or a pilot. None without prompts.
pub fn smallest_detectable_difference(paired_sd: f64, prompts: usize) -> Option<f64> {
    (prompts > 0).then(|| (1.959_964 + 0.841_621) * paired_sd / (prompts as f64).sqrt())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::statistics::SEED;

    #[test]
    fn verdicts_follow_the_interval() {
        let base: Vec<f64> = (0..20).map(|n| f64::from(n) / 40.0).collect();
        let up: Vec<f64> = base.iter().map(|value| value + 0.1).collect();
        let better = paired(&up, &base, SEED).unwrap();
        assert_eq!((better.verdict, better.significant()), (Verdict::Better, true));
        assert!((better.difference - 0.1).abs() < 1e-12);
        assert_eq!(paired(&base, &up, SEED).unwrap().verdict, Verdict::Worse);
        let same = paired(&base, &base, SEED).unwrap();
        assert_eq!(same.verdict.to_string(), "no significant difference");
        assert_eq!(paired(&[0.1], &[0.9], SEED).unwrap().verdict, Verdict::TooFewPrompts);
        assert_eq!(paired(&[0.1; 5], &[0.9; 5], SEED).unwrap().verdict, Verdict::TooFewPrompts);
        assert_eq!(paired(&[0.1; 6], &[0.9; 6], SEED).unwrap().verdict, Verdict::Worse);
    }

    #[test]
    fn unequal_or_empty_lists_are_refused() {
        for (left, right) in [(vec![], vec![]), (vec![0.1], vec![]), (vec![0.1], vec![0.1, 0.2])] {
            assert!(matches!(paired(&left, &right, SEED), Err(Error::Unpaired { .. })));
        }
    }

    #[test]
    fn four_times_the_prompts_see_half_the_difference() {
        let see = |prompts| smallest_detectable_difference(0.2, prompts);
        assert!((see(43).unwrap() - 0.0854).abs() < 1e-4);
        assert!((see(40).unwrap() / see(10).unwrap() - 0.5).abs() < 1e-12);
        assert_eq!(see(0), None);
    }
}
