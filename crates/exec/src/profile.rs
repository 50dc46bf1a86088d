//! Where the time of a training step goes: every layer forward and backward, and everything else a
//! step does, each moment counted once.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use viewmaker_net::{Net, Node};
use viewmaker_ops::Dims;

/// What a training step does beside computing layers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Part {
    /// Waiting for a batch.
    Data,
    /// Random numbers for the views.
    Noise,
    /// Between NCHW at the edge of a pass and NHWC inside.
    Layout,
    /// Adding the second and later contributions to a gradient.
    Accumulation,
    /// Copies between the tape and the passes, and the order of the layers.
    Tape,
    /// The loss and its gradient with respect to the embeddings.
    Objective,
    /// Updates of parameters, and setting gradients to zero.
    Optimizer,
    /// Measuring how far views are from their examples.
    Distortion,
    /// Metrics, progress and checkpoints.
    Records,
    /// What none of the above explains.
    Rest,
}

impl Part {
    /// The name used in tables.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Data => "waiting for data",
            Self::Noise => "noise",
            Self::Layout => "layout conversion",
            Self::Accumulation => "gradient accumulation",
            Self::Tape => "tape copies",
            Self::Objective => "objective",
            Self::Optimizer => "optimizer",
            Self::Distortion => "mean distortion",
            Self::Records => "metrics and checkpoints",
            Self::Rest => "unexplained",
        }
    }
}

/// Which way a layer is computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Direction {
    Forward,
    Backward,
}

/// Time spent in one layer, all views and passes of the measured steps together.
#[derive(Clone, Debug, PartialEq)]
pub struct LayerTime {
    /// Name of the network.
    pub net: String,
    /// Name of the layer.
    pub layer: String,
    /// Name of its operation.
    pub operation: &'static str,
    /// Shape of its output for one batch.
    pub output: Dims,
    /// Computing its output.
    pub forward: Duration,
    /// Computing its gradients.
    pub backward: Duration,
}

impl LayerTime {
    /// Both directions.
    pub fn total(&self) -> Duration {
        self.forward + self.backward
    }
}

/// What a [`Profiler`] has measured.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Profile {
    /// Steps measured.
    pub steps: u64,
    /// Every layer that was computed, the most expensive first.
    pub layers: Vec<LayerTime>,
    /// Everything else, the most expensive first.
    pub parts: Vec<(Part, Duration)>,
    /// All of it.
    pub total: Duration,
}

#[derive(Debug, Default)]
struct Times {
    steps: u64,
    /// Between the beginning and the end of a step.
    running: bool,
    /// The first step is over and forgotten.
    warm: bool,
    layers: HashMap<(String, String), LayerTime>,
    parts: HashMap<Part, Duration>,
    total: Duration,
}

/// Measures times when it is on and costs nothing when it is off. Clones share what they measure.
#[derive(Clone, Debug, Default)]
pub struct Profiler(Option<Arc<Mutex<Times>>>);

impl Profiler {
    /// A profiler that measures; the default one is off.
    pub fn on() -> Self {
        Self(Some(Arc::default()))
    }

    /// Whether it measures.
    pub fn is_on(&self) -> bool {
        self.0.is_some()
    }

    /// Runs `work` and counts its time as `part`, less what was measured inside it.
    pub fn time<R>(&self, part: Part, work: impl FnOnce() -> R) -> R {
        self.measure(work, |times, spent| {
            *times.parts.entry(part).or_default() += spent;
        })
    }

    /// Runs `work`, which computes `node` on a batch of `batch`.
    pub(crate) fn layer<R>(
        &self,
        net: &Net,
        node: &Node,
        batch: usize,
        direction: Direction,
        work: impl FnOnce() -> R,
    ) -> R {
        self.measure(work, |times, spent| {
            let key = (net.name().to_string(), node.name.clone());
            let layer = times.layers.entry(key).or_insert_with(|| LayerTime {
                net: net.name().to_string(),
                layer: node.name.clone(),
                operation: node.op.name(),
                output: net.dims(node.output, batch),
                forward: Duration::ZERO,
                backward: Duration::ZERO,
            });
            match direction {
                Direction::Forward => layer.forward += spent,
                Direction::Backward => layer.backward += spent,
            }
        })
    }

    fn measure<R>(&self, work: impl FnOnce() -> R, add: impl FnOnce(&mut Times, Duration)) -> R {
        let Some(times) = &self.0 else {
            return work();
        };
        let lock = || times.lock().unwrap_or_else(PoisonError::into_inner);
        let before = match &*lock() {
            Times { running: false, .. } => None,
            times => Some(times.total),
        };
        let Some(before) = before else {
            return work();
        };
        let start = Instant::now();
        let result = work();
        let elapsed = start.elapsed();
        let times = &mut *lock();
        let inside = times.total.saturating_sub(before);
        let spent = elapsed.saturating_sub(inside);
        times.total += spent;
        add(times, spent);
        result
    }

    /// Begins a step: nothing is measured outside of steps. The first step, which allocates all
    /// memory, is forgotten when the second one begins.
    pub fn begin_step(&self) {
        self.change(|times| {
            if times.steps == 1 && !times.warm {
                *times = Times {
                    warm: true,
                    ..Times::default()
                };
            }
            times.running = true;
        });
    }

    /// Ends a step.
    pub fn end_step(&self) {
        self.change(|times| {
            times.steps += 1;
            times.running = false;
        });
    }

    fn change(&self, change: impl FnOnce(&mut Times)) {
        if let Some(times) = &self.0 {
            change(&mut times.lock().unwrap_or_else(PoisonError::into_inner));
        }
    }

    /// What was measured so far; `None` when the profiler is off.
    pub fn profile(&self) -> Option<Profile> {
        let times = self.0.as_ref()?.lock();
        let times = times.unwrap_or_else(PoisonError::into_inner);
        let mut layers: Vec<LayerTime> = times.layers.values().cloned().collect();
        layers.sort_by(|a, b| {
            let names = |l: &LayerTime| (l.net.clone(), l.layer.clone());
            let by_time = b.total().cmp(&a.total());
            by_time.then_with(|| names(a).cmp(&names(b)))
        });
        let mut parts: Vec<(Part, Duration)> = times.parts.iter().map(|(&p, &t)| (p, t)).collect();
        parts.sort_by_key(|&(part, time)| (std::cmp::Reverse(time), part));
        Some(Profile {
            steps: times.steps,
            layers,
            parts,
            total: times.total,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::thread::sleep;

    const SHORT: Duration = Duration::from_millis(3);

    #[test]
    fn counts_every_moment_once() {
        let profiler = Profiler::on();
        profiler.begin_step();
        let start = Instant::now();
        profiler.time(Part::Rest, || {
            sleep(SHORT);
            profiler.time(Part::Objective, || {
                profiler.time(Part::Tape, || sleep(SHORT));
                profiler.time(Part::Tape, || sleep(SHORT));
            });
        });
        let wall = start.elapsed();
        profiler.end_step();
        let profile = profiler.profile().unwrap();
        let time = |part| profile.parts.iter().find(|(p, _)| *p == part).unwrap().1;
        assert!(time(Part::Tape) >= 2 * SHORT && time(Part::Rest) >= SHORT);
        assert!(time(Part::Objective) < SHORT);
        let sum: Duration = profile.parts.iter().map(|(_, t)| *t).sum();
        assert_eq!(sum, profile.total);
        assert!(profile.total <= wall);
        assert_eq!(profile.parts[0].0, Part::Tape, "sorted by time");
    }

    #[test]
    fn forgets_the_first_step_when_there_is_a_second() {
        let profiler = Profiler::on();
        let step = |part| {
            profiler.begin_step();
            profiler.time(part, || ());
            profiler.end_step();
        };
        step(Part::Noise);
        assert_eq!(profiler.profile().unwrap().parts[0].0, Part::Noise);
        step(Part::Data);
        profiler.time(Part::Objective, || ());
        step(Part::Data);
        let profile = profiler.profile().unwrap();
        assert_eq!((profile.steps, profile.parts.len()), (2, 1));
        assert_eq!(profile.parts[0].0, Part::Data);
    }

    #[test]
    fn measures_nothing_when_off() {
        let profiler = Profiler::default();
        assert_eq!(profiler.time(Part::Data, || 3), 3);
        assert_eq!(profiler.profile(), None);
    }
}
