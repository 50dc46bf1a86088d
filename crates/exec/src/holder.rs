//! Weights, gradients and memory of one tower, on the processor or on a device.
//!
//! On a device, parameters and gradients stay there from step to step; the host has a copy that is
//! refreshed when somebody asks for it. What fails there is remembered and makes results that are not
//! numbers, because the tape cannot return errors.

use crate::arena::Arena;
use crate::optim::Optimizer;
use crate::{DevicePass, DeviceWeights, Feed, Machine, Pass, Profiler, Wanted, Weights};
use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;
use viewmaker_device::{Buffer, DeviceError};
use viewmaker_net::{Keep, Net, Plan, Purpose, ValueId};
use viewmaker_ops::Mode;
use viewmaker_ops::device::Precision;

/// The first failure of a device, shared with the passes that are under way.
#[derive(Clone, Debug, Default)]
struct Failure(Rc<RefCell<Option<DeviceError>>>);

impl Failure {
    /// The value, or `None` with the error remembered.
    fn unless<T>(&self, result: Result<T, DeviceError>) -> Option<T> {
        result
            .map_err(|error| {
                self.0.borrow_mut().get_or_insert(error);
            })
            .ok()
    }
}

/// A pass of a tower.
#[derive(Debug)]
pub struct TowerPass {
    kind: Kind,
    net: Arc<Net>,
    batch: usize,
    failure: Failure,
    /// What is read after a failure.
    nothing: Vec<f32>,
}

#[derive(Debug)]
enum Kind {
    Host(Pass),
    Device(DevicePass),
    /// It could not begin or end.
    Failed,
}

impl TowerPass {
    /// The activation of `value`, NCHW; [`Pass::value`].
    pub fn value(&mut self, value: ValueId) -> &[f32] {
        let read = match &mut self.kind {
            Kind::Host(pass) => return pass.value(value),
            Kind::Device(pass) => self.failure.unless(pass.value(value)),
            Kind::Failed => None,
        };
        Self::or_nothing(
            read,
            &mut self.nothing,
            self.net.dims(value, self.batch).len(),
        )
    }

    /// The gradient with respect to `value`, NCHW; [`Pass::grad`].
    pub fn grad(&mut self, value: ValueId) -> &[f32] {
        let read = match &mut self.kind {
            Kind::Host(pass) => return pass.grad(value),
            Kind::Device(pass) => self.failure.unless(pass.grad(value)),
            Kind::Failed => None,
        };
        Self::or_nothing(
            read,
            &mut self.nothing,
            self.net.dims(value, self.batch).len(),
        )
    }

    fn or_nothing<'a>(read: Option<&'a [f32]>, nothing: &'a mut Vec<f32>, len: usize) -> &'a [f32] {
        read.unwrap_or_else(|| {
            nothing.clear();
            nothing.resize(len, f32::NAN);
            nothing
        })
    }
}

/// What a tower has on a device.
#[derive(Debug)]
struct Remote {
    weights: DeviceWeights,
    precision: Precision,
    idle: Vec<Buffer>,
}

/// The insides of a tower.
#[derive(Debug)]
pub(crate) struct Holder {
    net: Arc<Net>,
    weights: Weights,
    /// On a device, what [`Holder::refresh_grads`] last brought.
    grads: Vec<f32>,
    remote: Option<Remote>,
    plans: HashMap<(usize, Purpose), Arc<Plan>>,
    /// Memory of passes that have ended; the next ones take it over, whatever their batch size.
    idle: Vec<Arena>,
    failure: Failure,
    pub(crate) profiler: Profiler,
}

impl Holder {
    pub(crate) fn new(weights: Weights) -> Self {
        let net = Arc::clone(weights.net());
        Self {
            grads: vec![0.0; net.param_len()],
            net,
            weights,
            remote: None,
            plans: HashMap::new(),
            idle: Vec::new(),
            failure: Failure::default(),
            profiler: Profiler::default(),
        }
    }

    pub(crate) fn on(weights: Weights, machine: &Machine) -> Result<Self, DeviceError> {
        let mut holder = Self::new(weights);
        if let Machine::Device(device, precision) = machine {
            holder.remote = Some(Remote {
                weights: DeviceWeights::new(device, &holder.weights)?,
                precision: *precision,
                idle: Vec::new(),
            });
        }
        Ok(holder)
    }

    pub(crate) fn net(&self) -> &Arc<Net> {
        &self.net
    }

    pub(crate) fn machine(&self) -> Machine {
        match &self.remote {
            None => Machine::Cpu,
            Some(remote) => Machine::Device(remote.weights.device().clone(), remote.precision),
        }
    }

    pub(crate) fn check(&self) -> Result<(), DeviceError> {
        self.failure.0.borrow_mut().take().map_or(Ok(()), Err)
    }

    pub(crate) fn fail(&self, error: DeviceError) {
        self.failure.unless::<()>(Err(error));
    }

    /// The weights on the device, up to date.
    ///
    /// # Panics
    /// On the processor.
    pub(crate) fn device_weights(&mut self) -> Result<&mut DeviceWeights, DeviceError> {
        let Some(remote) = &mut self.remote else {
            unreachable!("called for towers on a device");
        };
        remote.weights.upload(&self.weights)?;
        Ok(&mut remote.weights)
    }

    /// A pass on the device, for callers that keep it.
    ///
    /// # Panics
    /// On the processor.
    pub(crate) fn kept_pass(
        &mut self,
        batch: usize,
        purpose: Purpose,
    ) -> Result<DevicePass, DeviceError> {
        let plan = self.plan(batch, purpose);
        self.device_pass(plan)
    }

    /// A pass on the device, in idle memory where there is enough.
    fn device_pass(&mut self, plan: Arc<Plan>) -> Result<DevicePass, DeviceError> {
        let Some(remote) = &mut self.remote else {
            unreachable!("called for towers on a device");
        };
        let words = DevicePass::words(&self.net, &plan);
        // A smaller one goes first, so that there are never both.
        let idle = best(&mut remote.idle, Buffer::len, words).filter(|arena| arena.len() >= words);
        let arena = match idle {
            Some(arena) => arena,
            None => remote.weights.device().alloc(words)?,
        };
        let pass = DevicePass::new(Arc::clone(&self.net), plan, remote.precision, arena);
        Ok(pass.with_profiler(self.profiler.clone()))
    }

    pub(crate) fn weights(&self) -> &Weights {
        &self.weights
    }

    pub(crate) fn weights_mut(&mut self) -> &mut Weights {
        self.refresh_host();
        if let Some(remote) = &mut self.remote {
            remote.weights.host_changed();
        }
        &mut self.weights
    }

    pub(crate) fn host_is_stale(&self) -> bool {
        let remote = self.remote.as_ref();
        remote.is_some_and(|remote| remote.weights.host_is_stale())
    }

    pub(crate) fn refresh_host(&mut self) {
        if let Some(remote) = &mut self.remote {
            let done = remote.weights.download(&mut self.weights);
            self.failure.unless(done);
        }
    }

    pub(crate) fn grads(&self) -> &[f32] {
        &self.grads
    }

    pub(crate) fn refresh_grads(&mut self) {
        if let Some(remote) = &self.remote {
            let weights = &remote.weights;
            let done = weights.device().download(&weights.grads(), &mut self.grads);
            self.failure.unless(done);
        }
    }

    pub(crate) fn optimize(&mut self, optimizer: &mut dyn Optimizer, lr: f32) {
        let Some(remote) = &mut self.remote else {
            optimizer.step(&mut self.weights.params, &self.grads, lr);
            return;
        };
        let own = &mut remote.weights;
        let done = own.upload(&self.weights).and_then(|()| {
            optimizer.device_step(&own.params(), &own.grads(), lr)?;
            own.device_changed();
            Ok(())
        });
        self.failure.unless(done);
    }

    pub(crate) fn follow(&mut self, other: &mut Self, momentum: f32) {
        let (Some(own), Some(target)) = (&mut self.remote, &mut other.remote) else {
            other.refresh_host();
            self.weights_mut().follow(&other.weights, momentum);
            return;
        };
        let (own, target) = (&mut own.weights, &mut target.weights);
        let done = own
            .upload(&self.weights)
            .and_then(|()| target.upload(&other.weights))
            .and_then(|()| own.follow(target, momentum));
        self.failure.unless(done);
    }

    pub(crate) fn scale_grads(&mut self, factor: f32) {
        match &self.remote {
            Some(remote) => {
                self.failure.unless(remote.weights.scale_grads(factor));
            }
            None => self.grads.iter_mut().for_each(|grad| *grad *= factor),
        }
    }

    pub(crate) fn zero_grads(&mut self) {
        match &self.remote {
            Some(remote) => {
                self.failure.unless(remote.weights.zero_grads());
            }
            None => self.grads.fill(0.0),
        }
    }

    /// A pass over `feeds`, in idle memory where there is some.
    pub(crate) fn forward(
        &mut self,
        (batch, purpose): (usize, Purpose),
        feeds: &[Feed<'_>],
        mode: Mode,
    ) -> TowerPass {
        let plan = self.plan(batch, purpose);
        let kind = match self.remote {
            None => Kind::Host(self.forward_here(plan, feeds, mode)),
            Some(_) => {
                let done = self.forward_there(plan, feeds, mode);
                self.failure.unless(done).map_or(Kind::Failed, Kind::Device)
            }
        };
        TowerPass {
            kind,
            net: Arc::clone(&self.net),
            batch,
            failure: self.failure.clone(),
            nothing: Vec::new(),
        }
    }

    fn forward_here(&mut self, plan: Arc<Plan>, feeds: &[Feed<'_>], mode: Mode) -> Pass {
        let arena = best(&mut self.idle, |arena| arena.len(), plan.len).unwrap_or_default();
        let pass = Pass::in_arena(Arc::clone(&self.net), plan, arena);
        let mut pass = pass.with_profiler(self.profiler.clone());
        pass.forward(&mut self.weights, feeds, mode);
        pass
    }

    fn forward_there(
        &mut self,
        plan: Arc<Plan>,
        feeds: &[Feed<'_>],
        mode: Mode,
    ) -> Result<DevicePass, DeviceError> {
        let mut pass = self.device_pass(plan)?;
        let Some(remote) = &mut self.remote else {
            unreachable!("there is a pass");
        };
        remote.weights.upload(&self.weights)?;
        if let Err(error) = pass.forward(&remote.weights, feeds, mode) {
            remote.idle.push(pass.into_arena());
            return Err(error);
        }
        if mode == Mode::Train {
            // The running statistics have moved.
            remote.weights.device_changed();
        }
        Ok(pass)
    }

    /// Differentiates `pass`; parameter gradients are added to those of the tower.
    pub(crate) fn backward(
        &mut self,
        pass: &mut TowerPass,
        at: ValueId,
        seed: &[f32],
        wanted: Wanted,
    ) {
        match (&mut pass.kind, &self.remote) {
            (Kind::Host(pass), _) => {
                pass.backward(&self.weights, at, seed, wanted, Some(&mut self.grads));
            }
            (Kind::Device(device_pass), Some(remote)) => {
                let done = device_pass.backward(&remote.weights, at, seed, wanted);
                if self.failure.unless(done).is_none() {
                    pass.kind = Kind::Failed;
                }
            }
            _ => pass.kind = Kind::Failed,
        }
    }

    /// Takes the memory of a pass back.
    pub(crate) fn give_back(&mut self, pass: TowerPass) {
        match (pass.kind, &mut self.remote) {
            (Kind::Host(pass), _) => self.idle.push(pass.into_arena()),
            (Kind::Device(pass), Some(remote)) => remote.idle.push(pass.into_arena()),
            _ => {}
        }
    }

    fn plan(&mut self, batch: usize, purpose: Purpose) -> Arc<Plan> {
        let (net, on_device) = (&self.net, self.remote.is_some());
        let make = || match on_device {
            true => Plan::on_device(net, batch, purpose, Keep::Outputs),
            false => {
                let threads = rayon::current_num_threads();
                Plan::new(net, batch, threads, purpose, Keep::Outputs)
            }
        };
        let plan = self.plans.entry((batch, purpose));
        Arc::clone(plan.or_insert_with(|| Arc::new(make())))
    }
}

/// Takes the smallest of `idle` that has at least `len`, else the largest one.
fn best<T>(idle: &mut Vec<T>, len_of: impl Fn(&T) -> usize, len: usize) -> Option<T> {
    let candidates = idle.iter().enumerate();
    let best = candidates.min_by_key(|(_, memory)| match len_of(memory).checked_sub(len) {
        Some(excess) => (false, excess),
        None => (true, len - len_of(memory)),
    });
    let index = best.map(|(index, _)| index)?;
    Some(idle.swap_remove(index))
}
