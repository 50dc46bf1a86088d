//! The sensor: how it is fastened, and what it adds to the movement.

use super::{Motion, RATE_HZ};
use rand::{Rng, RngExt};
use rand_distr::StandardNormal;
use std::f64::consts::TAU;

/// A sensor as it is worn in one session.
#[derive(Clone, Debug)]
pub(super) struct Mount {
    /// Rows: the sensor's axes in those of the body.
    axes: [[f64; 3]; 3],
    gain: [f64; 2],
    offset: [[f64; 3]; 2],
    noise: [f64; 2],
    hums: [Hum; 2],
    knocks: Vec<Knock>,
}

/// Vibration of the surroundings: a tone on all axes.
#[derive(Clone, Debug)]
struct Hum {
    hz: f64,
    amplitude: [[f64; 3]; 2],
    phase: f64,
}

/// Something touches the sensor: a short ring on all axes.
#[derive(Clone, Debug)]
struct Knock {
    at: f64,
    amplitude: [[f64; 3]; 2],
    hz: f64,
}

impl Mount {
    /// A sensor fastened anew.
    pub(super) fn random(random: &mut impl Rng) -> Self {
        let knocks = random.random_range(0..5);
        Self {
            axes: random_rotation(random),
            gain: [log_uniform(random, 0.2, 5.0), log_uniform(random, 0.2, 5.0)],
            offset: [normal(random, 0.03), normal(random, 0.06)],
            noise: [
                log_uniform(random, 0.002, 0.045),
                log_uniform(random, 0.003, 0.09),
            ],
            hums: std::array::from_fn(|_| Hum::random(random)),
            knocks: (0..knocks).map(|_| Knock::random(random)).collect(),
        }
    }

    /// What the sensor reports: six channels one after the other.
    pub(super) fn record(&self, movement: &[Motion], random: &mut impl Rng) -> Vec<f32> {
        let steps = movement.len();
        let mut samples = vec![0.0; 6 * steps];
        for (step, motion) in movement.iter().enumerate() {
            let time = step as f64 / RATE_HZ;
            for (sensor, body) in [motion.acceleration, motion.rotation]
                .into_iter()
                .enumerate()
            {
                for axis in 0..3 {
                    let seen: f64 = self.axes[axis].iter().zip(body).map(|(a, b)| a * b).sum();
                    let noise: f64 = random.sample(StandardNormal);
                    let value = self.gain[sensor] * (seen + self.disturbance(sensor, axis, time))
                        + self.offset[sensor][axis]
                        + self.noise[sensor] * noise;
                    samples[(3 * sensor + axis) * steps + step] = value as f32;
                }
            }
        }
        samples
    }

    fn disturbance(&self, sensor: usize, axis: usize, time: f64) -> f64 {
        let knocks = self.knocks.iter().map(|knock| knock.at(sensor, axis, time));
        let hums = self.hums.iter().map(|hum| hum.at(sensor, axis, time));
        knocks.chain(hums).sum()
    }
}

impl Hum {
    fn random(random: &mut impl Rng) -> Self {
        let loudness = log_uniform(random, 0.003, 0.2);
        Self {
            hz: random.random_range(3.0..24.0),
            amplitude: [normal(random, loudness), normal(random, 1.5 * loudness)],
            phase: random.random_range(0.0..TAU),
        }
    }

    fn at(&self, sensor: usize, axis: usize, time: f64) -> f64 {
        self.amplitude[sensor][axis] * (TAU * self.hz * time + self.phase).sin()
    }
}

impl Knock {
    fn random(random: &mut impl Rng) -> Self {
        let strength = log_uniform(random, 0.05, 1.0);
        Self {
            at: random.random_range(0.0..super::STEPS as f64 / RATE_HZ),
            amplitude: [normal(random, strength), normal(random, 2.0 * strength)],
            hz: random.random_range(6.0..20.0),
        }
    }

    fn at(&self, sensor: usize, axis: usize, time: f64) -> f64 {
        const FADES_IN: f64 = 0.06;
        let since = time - self.at;
        if !(0.0..10.0 * FADES_IN).contains(&since) {
            return 0.0;
        }
        let ring = (TAU * self.hz * since).cos() * (-since / FADES_IN).exp();
        self.amplitude[sensor][axis] * ring
    }
}

/// Three normal numbers with this standard deviation.
fn normal(random: &mut impl Rng, std: f64) -> [f64; 3] {
    std::array::from_fn(|_| std * random.sample::<f64, _>(StandardNormal))
}

/// A number between `low` and `high` whose logarithm is uniform.
pub(super) fn log_uniform(random: &mut impl Rng, low: f64, high: f64) -> f64 {
    low * (high / low).powf(random.random_range(0.0..1.0))
}

/// A rotation matrix, uniform over all rotations: that of a normal quaternion.
fn random_rotation(random: &mut impl Rng) -> [[f64; 3]; 3] {
    let q: [f64; 4] = std::array::from_fn(|_| random.sample(StandardNormal));
    let norm = q.iter().map(|x| x * x).sum::<f64>().sqrt().max(1e-9);
    let [w, x, y, z] = q.map(|part| part / norm);
    [
        [
            1.0 - 2.0 * (y * y + z * z),
            2.0 * (x * y - w * z),
            2.0 * (x * z + w * y),
        ],
        [
            2.0 * (x * y + w * z),
            1.0 - 2.0 * (x * x + z * z),
            2.0 * (y * z - w * x),
        ],
        [
            2.0 * (x * z - w * y),
            2.0 * (y * z + w * x),
            1.0 - 2.0 * (x * x + y * y),
        ],
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use viewmaker_ops::random::Philox;

    #[test]
    fn rotations_are_orthonormal_and_proper() {
        let mut random = Philox::new(1, 0, 0).sequence();
        for _ in 0..20 {
            let [a, b, c] = random_rotation(&mut random);
            let dot = |a: [f64; 3], b: [f64; 3]| a.iter().zip(b).map(|(x, y)| x * y).sum::<f64>();
            let cross = [
                a[1] * b[2] - a[2] * b[1],
                a[2] * b[0] - a[0] * b[2],
                a[0] * b[1] - a[1] * b[0],
            ];
            assert!((dot(a, a) - 1.0).abs() < 1e-12 && dot(a, b).abs() < 1e-12);
            assert!((dot(cross, c) - 1.0).abs() < 1e-12);
        }
    }
}
