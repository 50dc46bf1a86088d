//! Decibels with a bounded dynamic range.

/// Powers below this count as this much, so that silence has a finite level (−100 dB).
pub const POWER_FLOOR: f64 = 1e-10;

/// Levels are kept within this many dB of the loudest.
pub const DYNAMIC_RANGE_DB: f64 = 80.0;

/// Replaces every power `p` by `10·log10(max(p, 1e-10))`, then raises whatever lies more than
/// `range` dB below the loudest value to that level.
///
/// Silence everywhere gives the constant −100 dB.
pub fn power_to_db(power: &mut [f64], range: f64) {
    let mut loudest = f64::NEG_INFINITY;
    for p in power.iter_mut() {
        *p = 10.0 * p.max(POWER_FLOOR).log10();
        loudest = loudest.max(*p);
    }
    for p in power {
        *p = p.max(loudest - range);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
