//! What logits say of tokens.

use crate::kernels::Isa;

/// Logits that are looked at together, or summed up in f32 before they go into an f64.
const PART: usize = 256;

/// The most likely token but for those that are `barred`, the lower id among equals; a logit that is not a number never wins.
///
/// # Shapes
/// - `logits`: `(vocabulary,)`
pub(crate) fn most_likely(logits: &[f32], barred: &[u32]) -> u32 {
    let mut best: Option<(u32, f32)> = None;
    for (first, part) in (0..).step_by(PART).zip(logits.chunks(PART)) {
        // Few parts hold one that wins.
        if best.is_some_and(|(_, most)| largest(part) <= most) {
            continue;
        }
        for (token, &logit) in (first..).zip(part) {
            let wins = best.is_none_or(|(_, most)| logit > most || most.is_nan());
            if wins && !barred.contains(&token) {
                best = Some((token, logit));
            }
        }
    }
    best.map_or(0, |(token, _)| token)
}

/// The largest of some numbers, but for those that are not numbers.
fn largest(numbers: &[f32]) -> f32 {
    fn larger(most: f32, number: f32) -> f32 {
        if number > most { number } else { most }
    }
    let (rows, rest) = numbers.as_chunks::<16>();
    let mut most = [f32::NEG_INFINITY; 16];
    for row in rows {
        for (most, &number) in most.iter_mut().zip(row) {
            *most = larger(*most, number);
        }
    }
    most.iter().chain(rest).copied().fold(f32::NEG_INFINITY, larger)
}

/// Log-softmax at one token, summed in f64 over parts; -∞ for a token that the vocabulary lacks.
pub(crate) fn log_probability(logits: &[f32], token: u32) -> f32 {
    let isa = Isa::of_machine();
    let mut weights = [0.0; PART];
    let parts: Vec<[f32; 2]> = logits
        .chunks(PART)
        .map(|part| {
            weights[..part.len()].copy_from_slice(part);
            isa.soften(&mut weights, part.len())
        })
        .collect();
    let most = parts.iter().fold(f32::MIN, |most, part| most.max(part[0]));
    let whole = |[largest, sum]: &[f32; 2]| f64::from(*sum) * f64::from(largest - most).exp();
    let sum: f64 = parts.iter().map(whole).sum();
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
    fn wherever_it_stands_the_largest_is_found() {
        for place in [0, 1, 15, 16, 255, 256, 300, 511, 512, 560] {
            for fill in [f32::NAN, f32::NEG_INFINITY, -1.0] {
                let mut logits = vec![fill; 561];
                logits[place] = 2.0;
                logits[560] = 2.0;
                assert_eq!(most_likely(&logits, &[]), place as u32, "{place}, {fill}");
                let other = if place == 560 { 0 } else { 560 };
                let without = most_likely(&logits, &[place as u32]);
                // Of nothing but what are no numbers, the last.
                let other = if place == 560 && fill.is_nan() { 559 } else { other };
                assert_eq!(without, other, "{place}, {fill}");
            }
        }
    }

    #[test]
    fn parts_of_a_vocabulary_add_up() {
        let logits: Vec<f32> =
            (0..600).map(|i| ((i * 7919) % 997) as f32 / 100.0 - (i % 13) as f32).collect();
        let exact = logits.iter().map(|&logit| f64::from(logit).exp()).sum::<f64>().ln();
        for token in [0, 255, 256, 511, 599] {
            let found = f64::from(log_probability(&logits, token));
            let expected = f64::from(logits[token as usize]) - exact;
            assert!((found - expected).abs() < 2e-6, "{token}: {found} for {expected}");
        }
        assert_eq!(log_probability(&logits, 600).to_bits(), f32::NEG_INFINITY.to_bits());
    }

    #[test]
    fn log_probabilities_sum_to_one() {
        let logits = [1.0, -2.0, 0.5, 700.0];
        let total: f32 = (0..4).map(|token| log_probability(&logits, token).exp()).sum();
        assert!((total - 1.0).abs() < 1e-6);
    }
}
