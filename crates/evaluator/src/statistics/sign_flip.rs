//! How likely a difference is that chance alone makes.

use super::SplitMix64;

/// Differences of which every way to choose their signs is looked at; of more, [`DRAWS`] ways are drawn.
const EXACT: usize = 16;
/// Ways drawn.
const DRAWS: usize = 100_000;

/// The one-sided p of a fall, by flipping the signs of paired differences: if two runs are alike, either could have had each prompt's
/// better score, so every choice of signs was as likely as the one observed (Fisher 1935, "The Design of Experiments", § 21). How many
/// of them have a sum as low? No shape of distribution is assumed. 1 without a difference.
pub fn sign_flip(differences: &[f64], seed: u64) -> f64 {
    let differing: Vec<f64> = differences.iter().copied().filter(|it| *it != 0.0).collect();
    let total = |positive: &dyn Fn(usize) -> bool| -> f64 {
        let signed =
            |(place, it): (usize, &f64)| if positive(place) { it.abs() } else { -it.abs() };
        differing.iter().enumerate().map(signed).sum()
    };
    let observed: f64 = differing.iter().sum();
    // Sums in another order differ in their last digits.
    let size: f64 = differing.iter().map(|it| it.abs()).sum();
    let as_low = |sum: f64| sum <= observed + 1e-12 * size;
    if differing.len() <= EXACT {
        let ways = 1_usize << differing.len();
        let low = (0..ways).filter(|way| as_low(total(&|place| way >> place & 1 == 1))).count();
        return low as f64 / ways as f64;
    }
    let mut random = SplitMix64::new(seed);
    let drawn = (0..DRAWS).filter(|_| {
        let mut bits = 0;
        let signs: Vec<bool> = (0..differing.len())
            .map(|place| {
                if place % 64 == 0 {
                    bits = random.next_bits();
                }
                bits >> (place % 64) & 1 == 1
            })
            .collect();
        as_low(total(&|place| signs[place]))
    });
    (drawn.count() + 1) as f64 / (DRAWS + 1) as f64
}

/// Each p made larger for being one of so many (Holm 1979): what is then below 5 % is wrong in 5 % of whole families of tests, not in
/// 5 % of tests.
pub fn holm(p: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..p.len()).collect();
    order.sort_by(|&a, &b| p[a].total_cmp(&p[b]));
    let mut adjusted = vec![1.0; p.len()];
    let mut least = 0.0_f64;
    for (rank, &place) in order.iter().enumerate() {
        least = least.max((p.len() - rank) as f64 * p[place]).min(1.0);
        adjusted[place] = least;
    }
    adjusted
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::statistics::SEED;

    fn near(differences: &[f64], p: f64) {
        assert!((sign_flip(differences, SEED) - p).abs() < 1e-12, "{differences:?}");
    }

    #[test]
    fn few_differences_are_counted_out() {
        near(&[], 1.0);
        near(&[0.0, 0.0], 1.0);
        // All six fell: one of 64 ways is as low.
        near(&[-0.1; 6], 1.0 / 64.0);
        near(&[0.1; 6], 1.0);
        // The sums are +0.2, 0, 0, -0.2: three are as low as 0.
        near(&[0.1, -0.1, 0.0], 0.75);
        // +4, +2, -2, -4
        near(&[-3.0, 1.0], 0.5);
        near(&[-3.0, -1.0], 0.25);
    }

    #[test]
    fn many_are_drawn_and_say_the_same() {
        let noise: Vec<f64> = (0..40).map(|n| if n % 2 == 0 { 0.1 } else { -0.1 }).collect();
        assert!((sign_flip(&noise, SEED) - 0.5).abs() < 0.1);
        assert!(sign_flip(&[-0.1; 40], SEED) < 1e-4 && sign_flip(&[0.1; 40], SEED) > 0.999);
        // The normal approximation: a mean 1.64 standard errors below 0 has p = 0.05.
        let shift = -1.645 / 100.0_f64.sqrt();
        let shifted: Vec<f64> =
            (0..100).map(|n| shift + if n % 2 == 0 { 1.0 } else { -1.0 }).collect();
        assert!((sign_flip(&shifted, SEED) - 0.05).abs() < 0.01);
    }

    #[test]
    fn holm_multiplies_by_what_is_left_and_never_turns_back() {
        let adjusted = holm(&[0.01, 0.04, 0.03]);
        for (adjusted, expected) in adjusted.iter().zip([0.03, 0.06, 0.06]) {
            assert!((adjusted - expected).abs() < 1e-12);
        }
        assert_eq!(holm(&[0.9, 0.8]), [1.0, 1.0]);
        assert!(holm(&[]).is_empty());
    }
}
