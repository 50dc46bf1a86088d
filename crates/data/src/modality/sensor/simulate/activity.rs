//! The movements of every activity, as seen at the hip.

use super::mount::log_uniform;
use super::person::Person;
use super::{Motion, RATE_HZ};
use rand::{Rng, RngExt};
use rand_distr::StandardNormal;
use std::f64::consts::TAU;

/// Harmonics of a rhythm.
const HARMONICS: usize = 4;

/// What distinguishes an activity.
#[derive(Debug)]
pub(super) struct Activity {
    pub(super) name: &'static str,
    rhythm: Option<Rhythm>,
    /// Acceleration and rotation of slow sway (below 1 Hz).
    sway: [f64; 2],
    /// Acceleration and rotation of breathing.
    breathing: [f64; 2],
    /// Acceleration of tremor.
    tremor: f64,
    /// Short adjustments of posture per second.
    fidgets: f64,
    /// Broadband shaking, as of a road.
    shaking: f64,
}

/// Steps, or turns of a crank.
#[derive(Debug)]
struct Rhythm {
    /// Lowest and highest cadence in Hz.
    hz: [f64; 2],
    /// Extent of the first harmonic: forward, left, up, in g.
    acceleration: [f64; 3],
    /// Extent of the rotation about forward, left, up, in rad/s.
    rotation: [f64; 3],
    /// Each harmonic is this much weaker than the one before.
    decay: f64,
    /// Upward peak of every impact in g.
    impact: f64,
    /// Seconds in which an impact fades.
    fades_in: f64,
    /// Relative spread of the extent from step to step.
    irregularity: f64,
    /// Factor of the person's difference between left and right.
    limp: f64,
}

const STILL: Activity = Activity {
    name: "",
    rhythm: None,
    sway: [0.0; 2],
    breathing: [0.0; 2],
    tremor: 0.0,
    fidgets: 0.0,
    shaking: 0.0,
};

/// Every class of the embedded data.
pub(super) static ACTIVITIES: [Activity; 8] = [
    Activity {
        name: "lying",
        sway: [0.002, 0.004],
        breathing: [0.022, 0.045],
        ..STILL
    },
    Activity {
        name: "sitting",
        sway: [0.006, 0.015],
        breathing: [0.006, 0.012],
        tremor: 0.002,
        fidgets: 0.6,
        ..STILL
    },
    Activity {
        name: "standing",
        sway: [0.03, 0.12],
        breathing: [0.004, 0.01],
        tremor: 0.03,
        fidgets: 0.05,
        ..STILL
    },
    Activity {
        name: "walking",
        rhythm: Some(Rhythm {
            hz: [1.55, 2.05],
            acceleration: [0.14, 0.09, 0.25],
            rotation: [0.35, 0.4, 0.6],
            decay: 0.5,
            impact: 0.25,
            fades_in: 0.05,
            irregularity: 0.07,
            limp: 0.5,
        }),
        sway: [0.01, 0.03],
        ..STILL
    },
    Activity {
        name: "running",
        rhythm: Some(Rhythm {
            hz: [2.3, 3.0],
            acceleration: [0.3, 0.2, 0.75],
            rotation: [0.7, 0.9, 1.3],
            decay: 0.5,
            impact: 0.9,
            fades_in: 0.03,
            irregularity: 0.07,
            limp: 0.5,
        }),
        sway: [0.02, 0.05],
        ..STILL
    },
    Activity {
        name: "climbing stairs",
        rhythm: Some(Rhythm {
            hz: [1.25, 1.75],
            acceleration: [0.18, 0.14, 0.22],
            rotation: [0.5, 0.95, 0.4],
            decay: 0.3,
            impact: 0.05,
            fades_in: 0.07,
            irregularity: 0.15,
            limp: 1.5,
        }),
        sway: [0.03, 0.12],
        ..STILL
    },
    Activity {
        name: "descending stairs",
        rhythm: Some(Rhythm {
            hz: [1.6, 2.2],
            acceleration: [0.1, 0.12, 0.22],
            rotation: [0.45, 0.45, 0.4],
            decay: 0.6,
            impact: 0.6,
            fades_in: 0.028,
            irregularity: 0.25,
            limp: 1.5,
        }),
        sway: [0.03, 0.1],
        ..STILL
    },
    Activity {
        name: "cycling",
        rhythm: Some(Rhythm {
            hz: [1.0, 1.6],
            acceleration: [0.08, 0.05, 0.06],
            rotation: [0.12, 0.9, 0.1],
            decay: 0.15,
            impact: 0.0,
            fades_in: 0.05,
            irregularity: 0.03,
            limp: 0.3,
        }),
        sway: [0.015, 0.05],
        shaking: 0.03,
        ..STILL
    },
];

impl Activity {
    /// `steps` steps of a person doing this.
    pub(super) fn movement(
        &self,
        person: &Person,
        steps: usize,
        random: &mut impl Rng,
    ) -> Vec<Motion> {
        let upright = Motion {
            acceleration: [0.0, 0.0, 1.0],
            rotation: [0.0; 3],
        };
        let mut movement = vec![upright; steps];
        let extent = person.vigour * log_uniform(random, 0.7, 1.4);
        if let Some(rhythm) = &self.rhythm {
            rhythm.add(&mut movement, person, extent, random);
        }
        let breathing = [(person.breathing_hz, 1.0), (2.0 * person.breathing_hz, 0.3)];
        add_tones(&mut movement, &breathing, self.breathing, random);
        let slow = random.random_range(0.25..0.6);
        let sway = [(slow, 1.0), (1.7 * slow, 0.6), (0.45 * slow, 0.8)];
        add_tones(&mut movement, &sway, self.sway.map(|s| s * extent), random);
        let tremor = [(person.tremor_hz, 1.0), (1.13 * person.tremor_hz, 0.7)];
        add_tones(&mut movement, &tremor, [self.tremor * extent, 0.0], random);
        self.add_fidgets(&mut movement, extent, random);
        for motion in movement.iter_mut().filter(|_| self.shaking > 0.0) {
            for x in &mut motion.acceleration {
                *x += self.shaking * random.sample::<f64, _>(StandardNormal);
            }
        }
        movement
    }

    /// Smooth pushes of half a second, at random moments.
    fn add_fidgets(&self, movement: &mut [Motion], extent: f64, random: &mut impl Rng) {
        const HALF_WIDTH: f64 = 0.25;
        let expected = self.fidgets * movement.len() as f64 / RATE_HZ;
        let count = (expected * random.random_range(0.6..1.4)).round() as usize;
        for _ in 0..count {
            let at = random.random_range(0.0..movement.len() as f64 / RATE_HZ);
            let push: [f64; 3] = std::array::from_fn(|_| random.sample(StandardNormal));
            let turn: [f64; 3] = std::array::from_fn(|_| random.sample(StandardNormal));
            for (step, motion) in movement.iter_mut().enumerate() {
                let x = (step as f64 / RATE_HZ - at) / HALF_WIDTH;
                let bump = extent * x * (-x * x).exp();
                for axis in 0..3 {
                    motion.acceleration[axis] += 0.25 * bump * push[axis];
                    motion.rotation[axis] += 0.6 * bump * turn[axis];
                }
            }
        }
    }
}

/// Adds tones (frequency, relative strength) with random directions and phases; `extent` is that of
/// the acceleration and of the rotation.
fn add_tones(
    movement: &mut [Motion],
    tones: &[(f64, f64)],
    extent: [f64; 2],
    random: &mut impl Rng,
) {
    for &(hz, strength) in tones {
        let mut turned = || -> [f64; 3] { std::array::from_fn(|_| random.sample(StandardNormal)) };
        let (push, turn) = (turned(), turned());
        let phase = random.random_range(0.0..TAU);
        for (step, motion) in movement.iter_mut().enumerate() {
            let (sin, cos) = (TAU * hz * step as f64 / RATE_HZ + phase).sin_cos();
            for axis in 0..3 {
                motion.acceleration[axis] += extent[0] * strength * push[axis] * sin;
                motion.rotation[axis] += extent[1] * strength * turn[axis] * cos;
            }
        }
    }
}

impl Rhythm {
    fn add(&self, movement: &mut [Motion], person: &Person, extent: f64, random: &mut impl Rng) {
        let [low, high] = self.hz;
        let hz = random.random_range(low..high) * person.tempo;
        let mut phase = random.random_range(0.0..2.0);
        let mut jitter = 0.0;
        let mut strength = extent;
        let limp = person.limp * self.limp;
        for motion in movement {
            let before = phase;
            // The cadence wanders by some percent around its mean.
            jitter = 0.98 * jitter + 0.012 * random.sample::<f64, _>(StandardNormal);
            phase += hz * (1.0 + jitter) / RATE_HZ;
            if phase.floor() > before.floor() {
                let spread = self.irregularity * random.sample::<f64, _>(StandardNormal);
                strength = extent * (1.0 + spread).max(0.2);
            }
            // Two steps make a stride: odd steps are weaker.
            let side = if phase.floor() as i64 % 2 == 0 {
                1.0
            } else {
                1.0 - limp
            };
            self.add_step(motion, phase, strength * side, hz, &person.shape);
        }
    }

    /// The contribution at one phase, counted in steps.
    fn add_step(
        &self,
        motion: &mut Motion,
        phase: f64,
        strength: f64,
        hz: f64,
        shape: &[f64; HARMONICS],
    ) {
        let mut weight = strength;
        for (harmonic, offset) in (1..).zip(shape) {
            let angle = TAU * f64::from(harmonic) * phase + offset;
            let (sin, cos) = angle.sin_cos();
            motion.acceleration[0] += weight * self.acceleration[0] * sin;
            motion.acceleration[2] += weight * self.acceleration[2] * cos;
            motion.rotation[1] += weight * self.rotation[1] * (angle + 0.6).sin();
            // Sideways movement and the turning of the hip repeat every stride.
            let (sin, cos) = (0.5 * angle).sin_cos();
            motion.acceleration[1] += weight * self.acceleration[1] * sin;
            motion.rotation[0] += weight * self.rotation[0] * cos;
            motion.rotation[2] += weight * self.rotation[2] * sin;
            weight *= self.decay;
        }
        let since = phase.fract() / hz;
        let impact = strength * self.impact * (-since / self.fades_in).exp();
        motion.acceleration[2] += impact;
        motion.acceleration[0] -= 0.4 * impact;
    }
}
