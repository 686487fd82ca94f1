//! The percentile bootstrap of a mean.
//!
//! Efron and Tibshirani 1993, "An Introduction to the Bootstrap", chapter 13.

use serde::{Deserialize, Serialize};

use super::SplitMix64;

/// Samples drawn for one interval.
pub const RESAMPLES: usize = 10_000;
/// The seed to use where nothing else is asked for.
pub const SEED: u64 = 42;

/// A 95 % interval.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Interval {
    /// The 2.5 % point.
    pub low: f64,
    /// The 97.5 % point.
    pub high: f64,
}

impl Interval {
    /// Whether a value lies inside, ends included.
    pub fn contains(&self, value: f64) -> bool {
        self.low <= value && value <= self.high
    }
}

/// The mean; none of no values.
pub fn mean(values: &[f64]) -> Option<f64> {
    (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
}

/// The standard deviation of the sample, with n - 1; none of fewer than two values.
pub fn standard_deviation(values: &[f64]) -> Option<f64> {
    let centre = mean(values).filter(|_| values.len() > 1)?;
    let squares: f64 = values.iter().map(|value| (value - centre).powi(2)).sum();
    Some((squares / (values.len() - 1) as f64).sqrt())
}

/// The 95 % interval of a mean, from [`RESAMPLES`] samples of as many values drawn with replacement. Each value is one
/// prompt's accuracy, so the interval is clustered by prompt.
///
/// None of fewer than two values, which say nothing about their spread. Equal values give an interval of no width:
/// that is what the data say, not that the mean is known exactly.
pub fn bootstrap_mean(values: &[f64], seed: u64) -> Option<Interval> {
    bootstrap(values.len(), seed, |draws| {
        draws.iter().map(|&draw| values[draw]).sum::<f64>() / values.len() as f64
    })
}

/// The 95 % interval of whatever is computed from prompts: `statistic` is given the places of as many as there are, drawn with
/// replacement, [`RESAMPLES`] times. Of fewer than two prompts none.
pub fn bootstrap(
    prompts: usize,
    seed: u64,
    statistic: impl Fn(&[usize]) -> f64,
) -> Option<Interval> {
    if prompts < 2 {
        return None;
    }
    let mut random = SplitMix64::new(seed);
    let mut draws = vec![0; prompts];
    let mut found: Vec<f64> = (0..RESAMPLES)
        .map(|_| {
            draws.fill_with(|| random.below(prompts));
            statistic(&draws)
        })
        .collect();
    found.sort_by(f64::total_cmp);
    Some(Interval { low: quantile(&found, 25), high: quantile(&found, 975) })
}

/// The value at so many thousandths of a sorted, non-empty list, between neighbours on a straight line.
fn quantile(sorted: &[f64], thousandths: usize) -> f64 {
    let steps = (sorted.len() - 1) * thousandths;
    let (place, rest) = (steps / 1000, (steps % 1000) as f64 / 1000.0);
    let next = sorted[(place + 1).min(sorted.len() - 1)];
    sorted[place] + (next - sorted[place]) * rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_values_have_no_interval() {
        assert_eq!(bootstrap_mean(&[], SEED), None);
        assert_eq!(bootstrap_mean(&[0.5], SEED), None);
        assert_eq!(standard_deviation(&[0.5]), None);
        assert_eq!(mean(&[]), None);
        let equal = bootstrap_mean(&[0.5, 0.5], SEED).unwrap();
        assert_eq!((equal.low, equal.high), (0.5, 0.5));
    }

    #[test]
    fn the_interval_of_a_wide_sample_is_near_the_normal_one() {
        let values: Vec<f64> = (0..100).map(f64::from).collect();
        let Interval { low, high } = bootstrap_mean(&values, SEED).unwrap();
        let half = 1.96 * standard_deviation(&values).unwrap() / 10.0;
        assert!((low - (49.5 - half)).abs() < 0.5 && (high - (49.5 + half)).abs() < 0.5);
        assert_eq!(bootstrap_mean(&values, SEED), bootstrap_mean(&values, SEED));
    }

    #[test]
    fn quantiles_interpolate() {
        assert!((quantile(&[0.0, 10.0], 25) - 0.25).abs() < 1e-12);
        assert!((quantile(&[3.0], 975) - 3.0).abs() < 1e-12);
    }
}
