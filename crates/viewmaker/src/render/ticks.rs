//! Where an axis gets its marks.

/// A mark: its place along the axis (in cells from the first) and what it says.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Tick {
    pub(super) at: f32,
    pub(super) label: String,
}

/// The smallest of 1, 2, 5 × 10ⁿ that is not below `x`; `None` unless `x` is positive and finite.
fn nice_step(x: f64) -> Option<f64> {
    if !(x > 0.0 && x.is_finite()) {
        return None;
    }
    let power = 10f64.powf(x.log10().floor());
    let step = [1.0, 2.0, 5.0, 10.0]
        .into_iter()
        .find(|m| m * power >= x * (1.0 - 1e-9));
    Some(step.unwrap_or(10.0) * power)
}

/// Marks at round values from `low` to `high`, at most about `count`.
pub(super) fn round_values(low: f32, high: f32, count: usize) -> Vec<(f64, String)> {
    let (low, high) = (f64::from(low), f64::from(high));
    let Some(step) = nice_step((high - low) / count.max(1) as f64) else {
        return Vec::new();
    };
    let digits = (-step.log10().floor()).clamp(0.0, 6.0) as usize;
    let slack = step * 1e-6;
    let first = ((low - slack) / step).ceil() as i64;
    let last = ((high + slack) / step).floor() as i64;
    (first..=last)
        .map(|i| i as f64 * step)
        .map(|value| (value, label(value, digits)))
        .collect()
}

fn label(value: f64, digits: usize) -> String {
    let text = format!("{value:.digits$}");
    // "-0.0" is 0.
    match text
        .trim_start_matches('-')
        .chars()
        .all(|c| c == '0' || c == '.')
    {
        true => text.trim_start_matches('-').to_owned(),
        false => text,
    }
}

/// Marks in seconds along `columns` columns.
pub(super) fn time_ticks(columns: usize, seconds_per_column: f32, count: usize) -> Vec<Tick> {
    let last = columns.saturating_sub(1) as f32 * seconds_per_column;
    round_values(0.0, last, count)
        .into_iter()
        .map(|(seconds, label)| Tick {
            at: (seconds / f64::from(seconds_per_column)) as f32,
            label,
        })
        .collect()
}

/// Marks in Hz along rows of ascending frequency: at round distances where rows are equally far
/// apart, else (mel) at doublings.
pub(super) fn frequency_ticks(row_hz: &[f32], count: usize) -> Vec<Tick> {
    let (Some(&low), Some(&high)) = (row_hz.first(), row_hz.last()) else {
        return Vec::new();
    };
    let values: Vec<f32> = match is_linear(row_hz) {
        true => round_values(low, high, count)
            .iter()
            .map(|(hz, _)| *hz as f32)
            .collect(),
        false => doublings(low, high, count),
    };
    values
        .into_iter()
        .filter_map(|hz| {
            let at = place(row_hz, hz)?;
            Some(Tick {
                at,
                label: hertz(hz),
            })
        })
        .collect()
}

/// 125, 250, 500, … as many of the highest as `count` allows.
fn doublings(low: f32, high: f32, count: usize) -> Vec<f32> {
    let mut values: Vec<f32> = (0..20)
        .map(|i| 62.5 * 2f32.powi(i))
        .filter(|hz| (low..=high).contains(hz))
        .collect();
    let surplus = values.len().saturating_sub(count.max(1));
    values.drain(..surplus);
    values
}

fn is_linear(row_hz: &[f32]) -> bool {
    let (Some(first), Some(last)) = (row_hz.first(), row_hz.last()) else {
        return true;
    };
    let step = (last - first) / (row_hz.len().max(2) - 1) as f32;
    let off = |(i, hz): (usize, &f32)| (hz - (first + i as f32 * step)).abs() > 0.5 * step.abs();
    !row_hz.iter().enumerate().any(off)
}

/// The (fractional) row of a frequency.
fn place(row_hz: &[f32], hz: f32) -> Option<f32> {
    let next = row_hz.iter().position(|row| *row >= hz)?;
    if next == 0 {
        return Some(0.0);
    }
    let (below, above) = (row_hz[next - 1], row_hz[next]);
    Some((next - 1) as f32 + (hz - below) / (above - below))
}

/// `500`, `1k`, `2.5k`.
fn hertz(hz: f32) -> String {
    match hz {
        hz if hz >= 1000.0 => format!("{}k", (hz / 100.0).round() / 10.0),
        hz => format!("{}", (hz * 10.0).round() / 10.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(ticks: &[Tick]) -> Vec<&str> {
        ticks.iter().map(|tick| tick.label.as_str()).collect()
    }

    #[test]
    fn seconds_are_round() {
        let ticks = time_ticks(64, 0.1475, 5);
        assert_eq!(labels(&ticks), ["0", "2", "4", "6", "8"]);
        assert!((ticks[1].at - 2.0 / 0.1475).abs() < 1e-4);
        assert_eq!(
            labels(&time_ticks(32, 0.01, 4)),
            ["0.0", "0.1", "0.2", "0.3"]
        );
        assert!(time_ticks(1, 0.1, 4).is_empty());
    }

    #[test]
    fn values_may_be_negative() {
        let marks = round_values(-1.0, 1.0, 4);
        let labels: Vec<&str> = marks.iter().map(|(_, label)| label.as_str()).collect();
        assert_eq!(labels, ["-1.0", "-0.5", "0.0", "0.5", "1.0"]);
        assert!(round_values(1.0, 1.0, 4).is_empty());
        assert!(round_values(f32::NAN, 1.0, 4).is_empty());
    }

    #[test]
    fn linear_frequencies_get_round_distances() {
        let rows: Vec<f32> = (0..32).map(|i| i as f32 * 50.0 / 31.0).collect();
        let ticks = frequency_ticks(&rows, 5);
        assert_eq!(labels(&ticks), ["0", "10", "20", "30", "40", "50"]);
        assert!((ticks[1].at - 6.2).abs() < 1e-3);
    }

    #[test]
    fn mel_frequencies_get_doublings() {
        let rows: Vec<f32> = (0..64)
            .map(|i| 700.0 * (10f32.powf(i as f32 / 60.0) - 1.0))
            .collect();
        let ticks = frequency_ticks(&rows, 4);
        assert_eq!(labels(&ticks), ["500", "1k", "2k", "4k"]);
        assert!(ticks.windows(2).all(|pair| pair[1].at > pair[0].at));
    }
}
