//! Statistics of the examples, for normalisation.

use crate::dataset::evenly_spaced;
use crate::{ChannelStats, DataError, Dataset, Draw};
use rayon::prelude::*;

/// Examples that [`channel_stats`] looks at by default: the error of a mean is then below one
/// hundredth of a standard deviation.
pub const DEFAULT_SAMPLE: usize = 10_000;

/// A channel that varies less than this counts as constant.
const CONSTANT: f64 = 1e-4;

/// Mean and standard deviation of every channel over at most `sample` examples, evenly spaced over
/// the data set and loaded at [`Draw::FIXED`], accumulated in double precision.
///
/// A constant channel gets the standard deviation 1: dividing by its round-off would turn any
/// perturbation of it into noise of arbitrary size. The result does not depend on the number of
/// threads.
///
/// # Errors
/// When an example cannot be loaded or holds a value that is not finite.
pub fn channel_stats(dataset: &dyn Dataset, sample: usize) -> Result<ChannelStats, DataError> {
    let [channels, height, width] = dataset.shape();
    let plane = height * width;
    let examples = evenly_spaced(dataset.len(), sample);
    let moments = examples
        .par_iter()
        .map_init(
            || vec![0.0; channels * plane],
            |x, &index| {
                dataset.load(index, Draw::FIXED, x)?;
                check_finite(dataset, index, x)?;
                Ok(x.chunks_exact(plane).map(moments_of).collect())
            },
        )
        .collect::<Result<Vec<Vec<Moments>>, DataError>>()?;
    let mut stats = ChannelStats {
        mean: Vec::with_capacity(channels),
        std: Vec::with_capacity(channels),
    };
    for channel in 0..channels {
        let total = moments
            .iter()
            .fold(Moments::default(), |total, one| total.merge(&one[channel]));
        let std = (total.squares / total.count.max(1.0)).sqrt();
        stats.mean.push(total.mean as f32);
        stats
            .std
            .push(if std < CONSTANT { 1.0 } else { std as f32 });
    }
    Ok(stats)
}

/// Reports the first value of example `index` that is not a finite number.
pub(crate) fn check_finite(
    dataset: &dyn Dataset,
    index: usize,
    x: &[f32],
) -> Result<(), DataError> {
    let Some(at) = x.iter().position(|v| !v.is_finite()) else {
        return Ok(());
    };
    let [_, height, width] = dataset.shape();
    let (channel, rest) = (at / (height * width), at % (height * width));
    let why = format!(
        "the value at channel {channel}, row {}, column {} is {}, expected a finite number",
        rest / width,
        rest % width,
        x[at]
    );
    Err(DataError::example(dataset.origin(index), why))
}

/// Count, mean and sum of squared deviations from the mean.
#[derive(Clone, Copy, Default)]
struct Moments {
    count: f64,
    mean: f64,
    squares: f64,
}

impl Moments {
    /// The moments of both samples together (Chan, Golub & LeVeque 1979): stable where the mean is
    /// large against the deviation.
    fn merge(self, other: &Self) -> Self {
        let count = self.count + other.count;
        if count == 0.0 {
            return self;
        }
        let difference = other.mean - self.mean;
        Self {
            count,
            mean: self.mean + difference * other.count / count,
            squares: self.squares
                + other.squares
                + difference * difference * self.count * other.count / count,
        }
    }
}

fn moments_of(values: &[f32]) -> Moments {
    let count = values.len() as f64;
    let mean = values.iter().map(|&v| f64::from(v)).sum::<f64>() / count.max(1.0);
    let squares = values.iter().map(|&v| (f64::from(v) - mean).powi(2)).sum();
    Moments {
        count,
        mean,
        squares,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Channel 0 counts up, channel 1 is constant.
    struct Ramp {
        examples: usize,
        bad: Option<usize>,
    }

    impl Dataset for Ramp {
        fn len(&self) -> usize {
            self.examples
        }
        fn shape(&self) -> [usize; 3] {
            [2, 1, 2]
        }
        fn label(&self, _: usize) -> Option<u32> {
            None
        }
        fn load(&self, index: usize, _: Draw, out: &mut [f32]) -> Result<(), DataError> {
            let first = 1e4 + 2.0 * index as f32;
            out.copy_from_slice(&[first, first + 1.0, 0.3, 0.3]);
            if self.bad == Some(index) {
                out[3] = f32::NAN;
            }
            Ok(())
        }
    }

    #[test]
    fn equals_the_closed_form() {
        let ramp = Ramp {
            examples: 500,
            bad: None,
        };
        let stats = channel_stats(&ramp, usize::MAX).unwrap();
        // The integers 0 … n-1 have the mean (n-1)/2 and the variance (n²-1)/12.
        let n = 1000.0f64;
        assert!((f64::from(stats.mean[0]) - 1e4 - (n - 1.0) / 2.0).abs() < 1e-3);
        assert!((f64::from(stats.std[0]) - ((n * n - 1.0) / 12.0).sqrt()).abs() < 1e-3);
        assert_eq!((stats.mean[1], stats.std[1]), (0.3, 1.0));
    }

    #[test]
    fn does_not_depend_on_threads_and_can_sample() {
        let ramp = Ramp {
            examples: 777,
            bad: None,
        };
        let on = |threads| {
            let pool = rayon::ThreadPoolBuilder::new()
                .num_threads(threads)
                .build()
                .unwrap();
            pool.install(|| channel_stats(&ramp, 100).unwrap())
        };
        assert_eq!(on(1), on(3));
        let all = channel_stats(&ramp, 777).unwrap();
        assert!((on(1).mean[0] - all.mean[0]).abs() < 10.0);
    }

    #[test]
    fn a_value_that_is_not_finite_is_named() {
        let ramp = Ramp {
            examples: 5,
            bad: Some(3),
        };
        let message = channel_stats(&ramp, 5).unwrap_err().to_string();
        assert_eq!(
            message,
            "example 3: the value at channel 1, row 0, column 1 is NaN, expected a finite number"
        );
    }
}
