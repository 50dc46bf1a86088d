//! A whole network as one operation on dfdx's tape.
//!
//! The objective is dfdx code, the networks are not: a [`Tower`] takes a dfdx tensor in, runs the
//! plan, and puts one backward operation on the tape. Parameter gradients stay in the tower's flat
//! buffer, where the optimiser finds them; only the gradient of the input travels on.

use crate::holder::Holder;
use crate::optim::Optimizer;
use crate::{Feed, Machine, Part, Profiler, Wanted, Weights};
use dfdx::prelude::{
    Cpu, Gradients, HasShape, PutTape, Shape, SplitTape, Tape, Tensor, TensorFromVec,
};
use std::cell::{Ref, RefCell, RefMut};
use std::rc::Rc;
use std::sync::Arc;
use viewmaker_device::DeviceError;
use viewmaker_net::{Net, Purpose, ValueId};
use viewmaker_ops::Mode;

pub use crate::holder::TowerPass;

/// Shape of a batch of examples on the tape: batch, channels, height, width.
pub type Maps = (usize, usize, usize, usize);

/// Shape of a batch of embeddings on the tape: batch, features.
pub type Vectors = (usize, usize);

/// How a tower is applied.
#[derive(Clone, Copy, Debug)]
pub struct Call<'a> {
    /// The value that becomes the resulting tensor.
    pub output: ValueId,
    /// Data of the inputs after the first (noise channels), NCHW, in the order of
    /// [`Net::inputs`].
    pub extra: &'a [Vec<f32>],
    /// Training or evaluation.
    pub mode: Mode,
    /// What the backward pass produces, if there is one.
    pub wanted: Wanted,
}

/// A network with its weights, gradients and memory, ready to be applied on a tape.
#[derive(Clone, Debug)]
pub struct Tower {
    net: Arc<Net>,
    /// Of the tape.
    device: Cpu,
    inner: Rc<RefCell<Holder>>,
}

impl Tower {
    /// Whether `other` is a handle to the same tower: the same parameters, not equal ones.
    pub fn is_same(&self, other: &Self) -> bool {
        Rc::ptr_eq(&self.inner, &other.inner)
    }

    /// A tower around `weights` on the processor.
    pub fn new(weights: Weights) -> Self {
        Self::around(Holder::new(weights))
    }

    /// A tower around `weights` on `machine`.
    ///
    /// # Errors
    /// When a device has too little memory.
    pub fn on(weights: Weights, machine: &Machine) -> Result<Self, DeviceError> {
        Holder::on(weights, machine).map(Self::around)
    }

    fn around(holder: Holder) -> Self {
        Self {
            net: Arc::clone(holder.net()),
            device: Cpu::default(),
            inner: Rc::new(RefCell::new(holder)),
        }
    }

    /// Its insides, for passes that do not go over the tape.
    pub(crate) fn holder(&self) -> RefMut<'_, Holder> {
        self.inner.borrow_mut()
    }

    /// Remembers what a device has failed to do for [`Tower::check`], unless it remembers an earlier
    /// failure.
    pub fn fail(&self, error: DeviceError) {
        self.inner.borrow().fail(error);
    }

    /// What executes this tower.
    pub fn machine(&self) -> Machine {
        self.inner.borrow().machine()
    }

    /// Why a device did not do what it was asked to; the results since are not numbers. Callers of
    /// what takes long ask now and then, because nothing on the tape can return an error.
    ///
    /// # Errors
    /// The first failure since the last call.
    pub fn check(&self) -> Result<(), DeviceError> {
        self.inner.borrow().check()
    }

    /// From now on `profiler` measures the passes of this tower.
    pub fn set_profiler(&self, profiler: Profiler) {
        self.inner.borrow_mut().profiler = profiler;
    }

    /// The profiler that measures this tower; off unless one was set.
    pub fn profiler(&self) -> Profiler {
        self.inner.borrow().profiler.clone()
    }

    /// The network.
    pub fn net(&self) -> &Arc<Net> {
        &self.net
    }

    /// The weights.
    pub fn weights(&self) -> Ref<'_, Weights> {
        if self.inner.borrow().host_is_stale() {
            self.inner.borrow_mut().refresh_host();
        }
        Ref::map(self.inner.borrow(), Holder::weights)
    }

    /// The weights, to be changed.
    pub fn weights_mut(&self) -> RefMut<'_, Weights> {
        RefMut::map(self.inner.borrow_mut(), Holder::weights_mut)
    }

    /// The parameter gradients added up since [`Tower::zero_grads`].
    pub fn grads(&self) -> Ref<'_, [f32]> {
        self.inner.borrow_mut().refresh_grads();
        Ref::map(self.inner.borrow(), Holder::grads)
    }

    /// Moves the parameters along their gradients.
    pub fn optimize(&self, optimizer: &mut dyn Optimizer, lr: f32) {
        self.inner.borrow_mut().optimize(optimizer, lr);
    }

    /// Moves every parameter towards the one of `other`; [`Weights::follow`].
    ///
    /// # Panics
    /// When `other` has another number of parameters, or is this tower.
    pub fn follow(&self, other: &Self, momentum: f32) {
        let (own, other) = (&mut self.inner.borrow_mut(), &mut other.inner.borrow_mut());
        own.follow(other, momentum);
    }

    /// Multiplies the parameter gradients by `factor`.
    pub fn scale_grads(&self, factor: f32) {
        self.inner.borrow_mut().scale_grads(factor);
    }

    /// Sets the parameter gradients to zero.
    pub fn zero_grads(&self) {
        self.inner.borrow_mut().zero_grads();
    }

    /// Applies the network to examples; the result is a batch of maps.
    ///
    /// # Panics
    /// When shapes or the number of extra inputs do not fit the network.
    pub fn maps<T: Tape<f32, Cpu>>(
        &self,
        x: Tensor<Maps, f32, Cpu, T>,
        call: Call<'_>,
    ) -> Tensor<Maps, f32, Cpu, T> {
        let dims = self.net.dims(call.output, x.shape().0);
        self.apply(x, call, (dims.n, dims.c, dims.h, dims.w))
    }

    /// Applies the network to examples; the result is a batch of vectors.
    ///
    /// # Panics
    /// When shapes or the number of extra inputs do not fit the network, or the output is no
    /// vector.
    pub fn vectors<T: Tape<f32, Cpu>>(
        &self,
        x: Tensor<Maps, f32, Cpu, T>,
        call: Call<'_>,
    ) -> Tensor<Vectors, f32, Cpu, T> {
        let dims = self.net.dims(call.output, x.shape().0);
        assert!(dims.is_vector(), "{}: {dims} is no vector", self.net.name());
        self.apply(x, call, (dims.n, dims.c))
    }

    fn apply<O: Shape, T: Tape<f32, Cpu>>(
        &self,
        x: Tensor<Maps, f32, Cpu, T>,
        call: Call<'_>,
        shape: O,
    ) -> Tensor<O, f32, Cpu, T> {
        let profiler = self.profiler();
        profiler.time(Part::Tape, || self.record(x, call, shape))
    }

    fn record<O: Shape, T: Tape<f32, Cpu>>(
        &self,
        x: Tensor<Maps, f32, Cpu, T>,
        call: Call<'_>,
        shape: O,
    ) -> Tensor<O, f32, Cpu, T> {
        let (x, mut tape) = x.split_tape();
        let purpose = match T::OWNS_TAPE {
            true => Purpose::Training,
            false => Purpose::Inference,
        };
        let mut pass = self.forward(&x.as_vec(), x.shape().0, purpose, call);
        let values = pass.value(call.output).to_vec();
        let y = self.device.tensor_from_vec(values, shape);
        if !T::OWNS_TAPE {
            self.inner.borrow_mut().give_back(pass);
            return y.put_tape(tape);
        }
        let (tower, output, wanted) = (self.clone(), call.output, call.wanted);
        let result = y.clone();
        tape.add_backward_op(move |gradients| {
            let profiler = tower.profiler();
            profiler.time(Part::Tape, || {
                tower.backward(pass, output, wanted, gradients, &x, &y)
            })
        });
        result.put_tape(tape)
    }

    /// Runs a forward pass on NCHW data and returns the pass, for callers that need no tape.
    ///
    /// # Panics
    /// When `x` or the extra inputs do not fit the network.
    pub fn forward(&self, x: &[f32], batch: usize, purpose: Purpose, call: Call<'_>) -> TowerPass {
        let data = std::iter::once(x).chain(call.extra.iter().map(Vec::as_slice));
        let inputs = self.net.inputs().iter();
        let feeds: Vec<Feed<'_>> = inputs
            .zip(data)
            .map(|(&value, nchw)| Feed { value, nchw })
            .collect();
        let mut inner = self.inner.borrow_mut();
        inner.forward((batch, purpose), &feeds, call.mode)
    }

    /// Returns the memory of a pass that is no longer needed.
    pub fn recycle(&self, pass: TowerPass) {
        self.inner.borrow_mut().give_back(pass);
    }

    fn backward<O: Shape>(
        &self,
        mut pass: TowerPass,
        output: ValueId,
        wanted: Wanted,
        gradients: &mut Gradients<f32, Cpu>,
        x: &Tensor<Maps, f32, Cpu>,
        y: &Tensor<O, f32, Cpu>,
    ) -> Result<(), <Cpu as dfdx::prelude::HasErr>::Err> {
        let inner = &mut *self.inner.borrow_mut();
        let seed = gradients.get_or_alloc_mut(y)?;
        inner.backward(&mut pass, output, seed, wanted);
        if wanted != Wanted::Params {
            let input = self.net.inputs()[0];
            let grad = gradients.get_or_alloc_mut(x)?;
            for (g, from) in grad.iter_mut().zip(pass.grad(input)) {
                *g += from;
            }
        }
        inner.give_back(pass);
        Ok(())
    }
}
