//! Decibels with a bounded dynamic range.

use std::ops::Sub;

/// Powers below this count as this much, so that silence has a finite level (−100 dB).
pub const POWER_FLOOR: f64 = 1e-10;

/// Levels are kept within this many dB of the loudest.
pub const DYNAMIC_RANGE_DB: f64 = 80.0;

/// [`POWER_FLOOR`] in dB.
pub const SILENCE_DB: f32 = -100.0;

/// Replaces every power `p` by `10·log10(max(p, 1e-10))`, then raises whatever lies more than
/// `range` dB below the loudest value to that level.
///
/// Silence everywhere gives the constant −100 dB.
pub fn power_to_db(power: &mut [f64], range: f64) {
    power_to_level(power);
    limit_range(power, range);
}

/// Replaces every power `p` by `10·log10(max(p, 1e-10))`.
pub fn power_to_level(power: &mut [f64]) {
    for p in power {
        *p = 10.0 * p.max(POWER_FLOOR).log10();
    }
}

/// Raises whatever lies more than `range` below the largest value to that level.
pub fn limit_range<T: Copy + PartialOrd + Sub<Output = T>>(levels: &mut [T], range: T) {
    let larger = |a: T, b: T| if b > a { b } else { a };
    if let Some(loudest) = levels.iter().copied().reduce(larger) {
        for x in levels {
            *x = larger(loudest - range, *x);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_floor_in_decibels_is_the_floor_of_power() {
        assert_eq!(f64::from(SILENCE_DB), 10.0 * POWER_FLOOR.log10());
        limit_range::<f32>(&mut [], 80.0);
        let mut x = [-3.0f32, 5.0, f32::NAN];
        limit_range(&mut x, 4.0);
        assert_eq!(x[..2], [1.0, 5.0]);
    }

    #[test]
    fn floor_and_range_hold() {
        let mut x = [1.0, 0.1, 1e-9, 0.0];
        power_to_db(&mut x, DYNAMIC_RANGE_DB);
        for (got, want) in x.iter().zip([0.0, -10.0, -80.0, -80.0]) {
            assert!((got - want).abs() < 1e-12, "{got} against {want}");
        }
        let mut silence = [0.0; 4];
        power_to_db(&mut silence, DYNAMIC_RANGE_DB);
        assert_eq!(silence, [-100.0; 4]);
    }
}
