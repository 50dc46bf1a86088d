//! The exponential function on slices, in a form that compilers turn into vector code.

/// Adding and subtracting it rounds to the nearest integer, which is left in the low bits.
const ROUND: f32 = 12_582_912.0;
/// ln 2 in two parts: products of the first with small integers are exact.
const LN_2_HIGH: f32 = 0.693_359_4;
const LN_2_LOW: f32 = -2.121_944_4e-4;
/// Below it the result is 0 instead of a subnormal number.
const LOWEST: f32 = -87.0;

/// `e^x` for `x ≤ 0`; larger arguments count as 0, NaN stays NaN. Relative error below 2e-7.
#[inline(always)]
pub(super) fn exp(x: f32) -> f32 {
    let x = if x > 0.0 { 0.0 } else { x };
    let rounded = x * std::f32::consts::LOG2_E + ROUND;
    let n = rounded - ROUND;
    let r = (x - n * LN_2_HIGH) - n * LN_2_LOW;
    // Taylor's series: for |r| ≤ ln(2)/2 its first missing term is below 6e-9.
    let mut e = 1.0 / 5040.0;
    for factor in [
        1.0 / 720.0,
        1.0 / 120.0,
        1.0 / 24.0,
        1.0 / 6.0,
        0.5,
        1.0,
        1.0,
    ] {
        e = e * r + factor;
    }
    let exponent = rounded.to_bits().wrapping_sub(ROUND.to_bits());
    let power = f32::from_bits(exponent.wrapping_add(127) << 23);
    if x < LOWEST { 0.0 } else { e * power }
}

/// `Σ exp(x − shift)`, in an order that depends on the length only.
pub(super) fn sum_exp(x: &[f32], shift: f32) -> f32 {
    const LANES: usize = 16;
    let (chunks, rest) = x.as_chunks::<LANES>();
    let mut sums = [0.0_f32; LANES];
    for chunk in chunks {
        for (sum, x) in sums.iter_mut().zip(chunk) {
            *sum += exp(x - shift);
        }
    }
    let tail: f32 = rest.iter().map(|x| exp(x - shift)).sum();
    sums.iter().sum::<f32>() + tail
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agrees_with_the_standard_library() {
        for i in 0..200_000 {
            let x = -87.0 * i as f32 / 200_000.0;
            let want = f64::from(x).exp();
            let error = (f64::from(exp(x)) - want).abs() / want;
            assert!(error < 2e-7, "exp({x}): relative error {error:e}");
        }
    }

    #[test]
    fn edges() {
        assert_eq!(exp(0.0), 1.0);
        assert_eq!(exp(3.0), 1.0);
        assert_eq!(exp(-88.0), 0.0);
        assert_eq!(exp(-1e30), 0.0);
        assert_eq!(exp(f32::NEG_INFINITY), 0.0);
        assert!(exp(f32::NAN).is_nan());
    }

    #[test]
    fn sums_of_any_length() {
        for length in [1, 15, 16, 17, 130] {
            let x: Vec<f32> = (0..length).map(|i| -(i as f32) / 10.0).collect();
            let want: f64 = x.iter().map(|x| f64::from(x - 0.5).exp()).sum();
            assert!((f64::from(sum_exp(&x, 0.5)) - want).abs() < 1e-6 * want);
        }
    }
}
