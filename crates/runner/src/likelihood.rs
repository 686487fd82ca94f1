//! What logits say of tokens.

/// The most likely token but for those that are `barred`, the lower id among equals; a logit that is not a number never wins.
///
/// # Shapes
/// - `logits`: `(vocabulary,)`
pub(crate) fn most_likely(logits: &[f32], barred: &[u32]) -> u32 {
    let mut best: Option<(u32, f32)> = None;
    for (token, &logit) in (0..).zip(logits) {
        let wins = best.is_none_or(|(_, most)| logit > most || most.is_nan());
        if wins && !barred.contains(&token) {
            best = Some((token, logit));
        }
    }
    best.map_or(0, |(token, _)| token)
}

/// Log-softmax at one token, summed in f64; -∞ for a token that the vocabulary lacks.
pub(crate) fn log_probability(logits: &[f32], token: u32) -> f32 {
    let most = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let sum: f64 = logits.iter().map(|&logit| f64::from(logit - most).exp()).sum();
    logits
        .get(token as usize)
        .map_or(f32::NEG_INFINITY, |logit| (f64::from(logit - most) - sum.ln()) as f32)
}

#[cfg(test)]
mod tests {
    use super::{log_probability, most_likely};

    #[test]
    fn the_lower_id_wins_among_equals_and_nan_never() {
        assert_eq!(most_likely(&[f32::NAN, 1.0, 3.0, 3.0], &[]), 2);
        assert_eq!(most_likely(&[f32::NAN, 1.0, 3.0, 3.0], &[2]), 3);
        assert_eq!(most_likely(&[f32::NAN, 1.0, 3.0, 3.0], &[2, 3]), 1);
    }

    #[test]
    fn log_probabilities_sum_to_one() {
        let logits = [1.0, -2.0, 0.5, 700.0];
        let total: f32 = (0..4).map(|token| log_probability(&logits, token).exp()).sum();
        assert!((total - 1.0).abs() < 1e-6);
    }
}
