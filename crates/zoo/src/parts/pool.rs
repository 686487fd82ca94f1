use std::fmt;

use serde::{Deserialize, Serialize};

/// Smoothing of scores over neighbouring positions, so that what stands beside a heavy hitter survives with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Pool {
    /// No smoothing.
    #[default]
    None,
    /// Largest score within an odd width. What lies outside the candidates never wins.
    Max(usize),
    /// Mean score over an odd width. What lies outside the candidates counts as zero, and in the denominator.
    Avg(usize),
}

impl Pool {
    /// Smooths `scores`, whose neighbours are neighbours in the text.
    pub fn apply(self, scores: Vec<f32>) -> Vec<f32> {
        let (Self::Max(width) | Self::Avg(width)) = self else { return scores };
        let reach = width / 2;
        (0..scores.len())
            .map(|entry| {
                let near = &scores[entry.saturating_sub(reach)
                    ..entry.saturating_add(reach + 1).min(scores.len())];
                match self {
                    Self::Avg(_) => near.iter().sum::<f32>() / width as f32,
                    _ => near.iter().copied().fold(f32::NEG_INFINITY, f32::max),
                }
            })
            .collect()
    }
}

impl fmt::Display for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => write!(f, "no pooling"),
            Self::Max(width) => write!(f, "max over {width}"),
            Self::Avg(width) => write!(f, "mean over {width}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Pool;

    #[test]
    fn a_spike_lifts_its_neighbours() {
        let spike = vec![0.0, 0.0, 0.0, 6.0, 0.0, 0.0, 0.0];
        assert_eq!(Pool::Max(5).apply(spike.clone()), [0.0, 6.0, 6.0, 6.0, 6.0, 6.0, 0.0]);
        assert_eq!(Pool::Avg(3).apply(spike), [0.0, 0.0, 2.0, 2.0, 2.0, 0.0, 0.0]);
    }

    #[test]
    fn the_mean_counts_what_lies_outside() {
        assert_eq!(Pool::Avg(3).apply(vec![3.0, 3.0, 3.0]), [2.0, 3.0, 2.0]);
    }
}
