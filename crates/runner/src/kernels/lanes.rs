//! Arithmetic on eight numbers side by side, in plain Rust: inside a loop for AVX2 it becomes AVX2, with the same bits. Loops are loops here: what an
//! iterator's or an array's methods are given is compiled for every machine.

/// Eight numbers.
pub(super) type Lanes = [f32; 8];

/// Their sum, always in the same order.
#[inline(always)]
pub(super) fn sum(x: Lanes) -> f32 {
    let four = [x[0] + x[4], x[1] + x[5], x[2] + x[6], x[3] + x[7]];
    (four[0] + four[2]) + (four[1] + four[3])
}

/// `ln 2` in two parts.
pub(super) const LN_2: [f32; 2] = [355.0 / 512.0, -2.121_944_4e-4];
/// Of `eʳ = 1 + r + r² · p(r)`, the highest power first.
pub(super) const POLYNOMIAL: [f32; 6] =
    [1.987_569_1e-4, 1.398_2e-3, 8.333_452e-3, 4.166_579_6e-2, 0.166_666_65, 0.5];
/// Added to a small number, it leaves a whole one in the last bits.
pub(super) const WHOLE: f32 = 1.5 * (1u32 << 23) as f32;
/// Between which numbers `eˣ` is computed.
pub(super) const EXPONENTS: [f32; 2] = [-87.0, 88.0];

/// `eˣ`, to about 1.2 units in the last place.
///
/// `x = n · ln 2 + r`: a polynomial for `eʳ` (Cephes' coefficients), and `2ⁿ` through the exponent. Below -87 the result is that of -87, above 88 that of 88.
#[inline(always)]
pub(super) fn exp(x: Lanes) -> Lanes {
    let mut result = [0.0; 8];
    for (result, x) in result.iter_mut().zip(x) {
        let x = x.clamp(EXPONENTS[0], EXPONENTS[1]);
        let shifted = x * std::f32::consts::LOG2_E + WHOLE;
        let n = shifted - WHOLE;
        let r = n.mul_add(-LN_2[1], n.mul_add(-LN_2[0], x));
        let mut p = 0.0f32;
        for c in POLYNOMIAL {
            p = p.mul_add(r, c);
        }
        let p = (r * r).mul_add(p, r) + 1.0;
        // -126 ≤ n ≤ 127, so the exponent is that of a normal number.
        *result = p * f32::from_bits((shifted.to_bits() << 23).wrapping_add(127 << 23));
    }
    result
}

/// Brings what some queries have of other entries to what they have of these: largest score, sum of weights, weighted values.
///
/// # Shapes
/// - `into`, `from`: `(2 + width,)`
#[inline(always)]
pub(super) fn merge(into: &mut [f32], from: &[f32]) {
    let largest = into[0].max(from[0]);
    let [of_into, of_from, ..] =
        exp([into[0] - largest, from[0] - largest, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0]);
    into[0] = largest;
    for (into, from) in into[1..].iter_mut().zip(&from[1..]) {
        *into = *into * of_into + *from * of_from;
    }
}

/// [`exp`] of one number.
pub(crate) fn exp_of(x: f32) -> f32 {
    exp([x; 8])[0]
}

/// Adds numbers times a factor.
#[inline(always)]
pub(super) fn add_scaled(into: &mut [f32], from: &[f32], factor: f32) {
    for (into, from) in into.iter_mut().zip(from) {
        *into += *from * factor;
    }
}

/// `x · weight / √(mean(x²) + epsilon)` (Zhang and Sennrich 2019)
#[inline(always)]
pub(super) fn normed(x: &[f32], weight: &[f32], epsilon: f32, out: &mut [f32]) {
    let (parts, rest) = x.as_chunks::<8>();
    let mut squares = [0.0; 8];
    for part in parts {
        for (square, x) in squares.iter_mut().zip(part) {
            *square += x * x;
        }
    }
    for (square, x) in squares.iter_mut().zip(rest) {
        *square += x * x;
    }
    let factor = 1.0 / (sum(squares) / x.len() as f32 + epsilon).sqrt();
    for ((out, x), weight) in out.iter_mut().zip(x).zip(weight) {
        *out = x * factor * weight;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exponentials_are_right_to_two_units_in_the_last_place() {
        for i in -8700..8800 {
            let x = i as f32 * 0.01;
            let (found, exact) = (f64::from(exp([x; 8])[0]), f64::from(x).exp());
            assert!(((found - exact) / exact).abs() < 2.4e-7, "{x}: {found} for {exact}");
        }
        assert_eq!(
            exp([f32::NEG_INFINITY; 8]).map(f32::to_bits),
            exp([-87.0; 8]).map(f32::to_bits)
        );
    }
}
