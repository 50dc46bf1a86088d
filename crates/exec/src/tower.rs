//! A whole network as one operation on dfdx's tape.
//!
//! The objective is dfdx code, the networks are not: a [`Tower`] takes a dfdx tensor in, runs the
//! plan, and puts one backward operation on the tape. Parameter gradients stay in the tower's flat
//! buffer, where the optimiser finds them; only the gradient of the input travels on.

use crate::arena::Arena;
use crate::{Feed, Part, Pass, Profiler, Wanted, Weights};
use dfdx::prelude::{
    Cpu, Gradients, HasShape, PutTape, Shape, SplitTape, Tape, Tensor, TensorFromVec,
};
use std::cell::{Ref, RefCell, RefMut};
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;
use viewmaker_net::{Keep, Net, Plan, Purpose, ValueId};
use viewmaker_ops::Mode;

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
    device: Cpu,
    inner: Rc<RefCell<Inner>>,
}

#[derive(Debug)]
struct Inner {
    weights: Weights,
    grads: Vec<f32>,
    plans: HashMap<(usize, Purpose), Arc<Plan>>,
    /// Memory of passes that have ended; the next ones take it over, whatever their batch size.
    idle: Vec<Arena>,
    profiler: Profiler,
}

impl Inner {
    /// A pass for this batch size, in idle memory where there is some.
    fn pass(&mut self, net: &Arc<Net>, batch: usize, purpose: Purpose) -> Pass {
        let threads = rayon::current_num_threads();
        let make = || Arc::new(Plan::new(net, batch, threads, purpose, Keep::Outputs));
        let plan = self.plans.entry((batch, purpose)).or_insert_with(make);
        let plan = Arc::clone(plan);
        let arena = self.idle_arena(plan.len);
        Pass::in_arena(Arc::clone(net), plan, arena).with_profiler(self.profiler.clone())
    }

    /// The smallest idle arena that is large enough, else the largest one.
    fn idle_arena(&mut self, len: usize) -> Arena {
        let candidates = self.idle.iter().enumerate();
        let best = candidates.min_by_key(|(_, arena)| match arena.len().checked_sub(len) {
            Some(excess) => (false, excess),
            None => (true, len - arena.len()),
        });
        match best.map(|(index, _)| index) {
            Some(index) => self.idle.swap_remove(index),
            None => Arena::default(),
        }
    }

    fn give_back(&mut self, pass: Pass) {
        self.idle.push(pass.into_arena());
    }
}

impl Tower {
    /// A tower around `weights`.
    pub fn new(weights: Weights) -> Self {
        let net = Arc::clone(weights.net());
        let grads = vec![0.0; net.param_len()];
        Self {
            net,
            device: Cpu::default(),
            inner: Rc::new(RefCell::new(Inner {
                weights,
                grads,
                plans: HashMap::new(),
                idle: Vec::new(),
                profiler: Profiler::default(),
            })),
        }
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
        Ref::map(self.inner.borrow(), |inner| &inner.weights)
    }

    /// The weights, to be changed.
    pub fn weights_mut(&self) -> RefMut<'_, Weights> {
        RefMut::map(self.inner.borrow_mut(), |inner| &mut inner.weights)
    }

    /// The parameter gradients added up since [`Tower::zero_grads`].
    pub fn grads(&self) -> Ref<'_, [f32]> {
        Ref::map(self.inner.borrow(), |inner| inner.grads.as_slice())
    }

    /// Parameters and their gradients, for an optimiser step.
    pub fn update(&self, step: impl FnOnce(&mut [f32], &[f32])) {
        let inner = &mut *self.inner.borrow_mut();
        step(&mut inner.weights.params, &inner.grads);
    }

    /// Multiplies the parameter gradients by `factor`.
    pub fn scale_grads(&self, factor: f32) {
        for grad in &mut self.inner.borrow_mut().grads {
            *grad *= factor;
        }
    }

    /// Sets the parameter gradients to zero.
    pub fn zero_grads(&self) {
        self.inner.borrow_mut().grads.fill(0.0);
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
    pub fn forward(&self, x: &[f32], batch: usize, purpose: Purpose, call: Call<'_>) -> Pass {
        let inner = &mut *self.inner.borrow_mut();
        let mut pass = inner.pass(&self.net, batch, purpose);
        let data = std::iter::once(x).chain(call.extra.iter().map(Vec::as_slice));
        let inputs = self.net.inputs().iter();
        let feeds: Vec<Feed<'_>> = inputs
            .zip(data)
            .map(|(&value, nchw)| Feed { value, nchw })
            .collect();
        pass.forward(&mut inner.weights, &feeds, call.mode);
        pass
    }

    /// Returns the memory of a pass that is no longer needed.
    pub fn recycle(&self, pass: Pass) {
        self.inner.borrow_mut().give_back(pass);
    }

    fn backward<O: Shape>(
        &self,
        mut pass: Pass,
        output: ValueId,
        wanted: Wanted,
        gradients: &mut Gradients<f32, Cpu>,
        x: &Tensor<Maps, f32, Cpu>,
        y: &Tensor<O, f32, Cpu>,
    ) -> Result<(), <Cpu as dfdx::prelude::HasErr>::Err> {
        let inner = &mut *self.inner.borrow_mut();
        let seed = gradients.get_or_alloc_mut(y)?;
        pass.backward(&inner.weights, output, seed, wanted, Some(&mut inner.grads));
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
