//! A whole network in double precision by the operations' plainest code: the yardstick for the
//! fast passes, and for finite differences through a network. Slow, and not for training.

use crate::{Tensor, Wanted};
use std::collections::BTreeMap;
use viewmaker_net::{Net, Node, ValueId};
use viewmaker_ops::{Backward, Forward, Mode};

/// Values, gradients, parameters and state of one network in f64. Activations are NHWC.
#[derive(Clone, Debug)]
pub struct Reference<'a> {
    net: &'a Net,
    batch: usize,
    mode: Mode,
    /// Parameters, laid out as [`crate::Weights::params`].
    pub params: Vec<f64>,
    /// State, laid out as [`crate::Weights::state`].
    pub state: Vec<f64>,
    /// Parameter gradients of the last backward pass.
    pub param_grads: Vec<f64>,
    values: Vec<Vec<f64>>,
    grads: Vec<Vec<f64>>,
}

impl<'a> Reference<'a> {
    /// A reference for `net` on batches of `batch`, with the given tensors.
    ///
    /// # Errors
    /// The name of the first tensor that is missing or has the wrong size.
    pub fn new(
        net: &'a Net,
        batch: usize,
        tensors: &BTreeMap<String, Tensor>,
    ) -> Result<Self, String> {
        let find = |name: &str, len: usize| match tensors.get(name) {
            Some(t) if t.data.len() == len => Ok(t.data.iter().map(|&x| f64::from(x))),
            _ => Err(name.to_string()),
        };
        let (mut params, mut state) = (Vec::new(), Vec::new());
        for p in net.params() {
            params.extend(find(&p.name, p.len())?);
        }
        for s in net.state() {
            state.extend(find(&s.name, s.range().len())?);
        }
        Ok(Self {
            net,
            batch,
            mode: Mode::Eval,
            param_grads: vec![0.0; params.len()],
            params,
            state,
            values: vec![Vec::new(); net.values().len()],
            grads: vec![Vec::new(); net.values().len()],
        })
    }

    /// Runs the network on `feeds`, one NCHW slice per input in the order of [`Net::inputs`].
    ///
    /// # Panics
    /// When the feeds do not fit the network.
    pub fn forward(&mut self, feeds: &[Vec<f64>], mode: Mode) {
        assert_eq!(feeds.len(), self.net.inputs().len());
        self.mode = mode;
        for (&input, feed) in self.net.inputs().iter().zip(feeds) {
            self.values[input.index()] = self.permute(input, feed, true);
        }
        for node in self.net.nodes() {
            let dims = self.net.input_dims(node, self.batch);
            let output_dims = self.net.dims(node.output, self.batch);
            let mut output = vec![0.0; output_dims.len()];
            let inputs: Vec<&[f64]> = self.input_slices(node);
            let params = param_slices(self.net, node, &self.params);
            let range = state_range(self.net, node);
            let mut new_state = self.state[range.clone()].to_vec();
            let mut rest = new_state.as_mut_slice();
            let mut state: Vec<&mut [f64]> = Vec::new();
            for entry in &self.net.state()[node.state.clone()] {
                let (part, tail) = rest.split_at_mut(entry.range().len());
                state.push(part);
                rest = tail;
            }
            node.op.reference_forward(Forward {
                mode,
                input_dims: &dims,
                output_dims,
                inputs: &inputs,
                params: &params,
                state: &mut state,
                output: &mut output,
                saved: &mut [],
                scratch: &mut [],
            });
            self.state[range].copy_from_slice(&new_state);
            self.values[node.output.index()] = output;
        }
    }

    /// Takes from `like`, the same value (NCHW) computed less exactly, every element that lies on the
    /// other side of zero there; returns the largest of them in magnitude. Derivatives then take the
    /// branches of rectifiers that the less exact pass took.
    pub fn adopt_signs(&mut self, at: ValueId, like: &[f64]) -> Option<f64> {
        let like = self.permute(at, like, true);
        let mut largest = None;
        for (own, like) in self.values[at.index()].iter_mut().zip(like) {
            if (*own > 0.0) != (like > 0.0) {
                largest = Some(largest.unwrap_or(0.0f64).max(own.abs()).max(like.abs()));
                *own = like;
            }
        }
        largest
    }

    /// Takes `like`, the same value (NCHW) computed less exactly, in its place; returns how far they are apart at
    /// most. With every value adopted, derivatives take every branch that the less exact pass took: of
    /// rectifiers, maxima and limits.
    pub fn adopt(&mut self, at: ValueId, like: &[f64]) -> f64 {
        let like = self.permute(at, like, true);
        let own = &mut self.values[at.index()];
        let distances = own.iter().zip(&like).map(|(own, like)| (own - like).abs());
        // A distance that is not a number must not vanish in a maximum.
        let largest = distances.fold(0.0f64, |m, d| if d <= m { m } else { d });
        *own = like;
        largest
    }

    /// Differentiates the last forward pass from the gradient `seed` (NCHW) at the value `at`;
    /// gradients of all parameters and all values are computed.
    pub fn backward(&mut self, at: ValueId, seed: &[f64], wanted: Wanted) {
        self.param_grads.fill(0.0);
        for grad in &mut self.grads {
            grad.clear();
        }
        self.grads[at.index()] = self.permute(at, seed, true);
        for node in self.net.nodes().iter().rev() {
            if !self.grads[node.output.index()].is_empty() {
                self.backward_node(node, wanted);
            }
        }
    }

    fn backward_node(&mut self, node: &Node, wanted: Wanted) {
        let dims = self.net.input_dims(node, self.batch);
        let inputs = self.input_slices(node);
        let params = param_slices(self.net, node, &self.params);
        let entries = self.net.state()[node.state.clone()].iter();
        let state: Vec<&[f64]> = entries.map(|s| &self.state[s.range()]).collect();
        let mut input_grads: Vec<Vec<f64>> = dims.iter().map(|d| vec![0.0; d.len()]).collect();
        let mut param_grads: Vec<Vec<f64>> = params.iter().map(|p| vec![0.0; p.len()]).collect();
        let mut wanted_inputs: Vec<Option<&mut [f64]>> = input_grads
            .iter_mut()
            .map(|g| Some(g.as_mut_slice()))
            .collect();
        let mut wanted_params: Vec<&mut [f64]> =
            param_grads.iter_mut().map(Vec::as_mut_slice).collect();
        node.op.reference_backward(Backward {
            mode: self.mode,
            input_dims: &dims,
            output_dims: self.net.dims(node.output, self.batch),
            inputs: &inputs,
            params: &params,
            state: &state,
            output: &self.values[node.output.index()],
            saved: &[],
            output_grad: &self.grads[node.output.index()],
            input_grads: &mut wanted_inputs,
            param_grads: (wanted != Wanted::Inputs).then_some(wanted_params.as_mut_slice()),
            scratch: &mut [],
        });
        for (&value, grad) in node.inputs.iter().zip(input_grads) {
            add(&mut self.grads[value.index()], grad);
        }
        let specs = self.net.params()[node.params.clone()].iter();
        for (spec, grad) in specs.zip(param_grads) {
            for (total, g) in self.param_grads[spec.range()].iter_mut().zip(grad) {
                *total += g;
            }
        }
    }

    /// A value of the last forward pass, NCHW.
    pub fn value(&self, value: ValueId) -> Vec<f64> {
        self.permute(value, &self.values[value.index()], false)
    }

    /// The gradient at a value, NCHW; zeros where none arrived.
    pub fn grad(&self, value: ValueId) -> Vec<f64> {
        let grad = &self.grads[value.index()];
        match grad.is_empty() {
            true => vec![0.0; self.net.dims(value, self.batch).len()],
            false => self.permute(value, grad, false),
        }
    }

    fn input_slices(&self, node: &Node) -> Vec<&[f64]> {
        let inputs = node.inputs.iter();
        inputs.map(|v| self.values[v.index()].as_slice()).collect()
    }

    /// Between NCHW and NHWC.
    fn permute(&self, value: ValueId, from: &[f64], to_nhwc: bool) -> Vec<f64> {
        let dims = self.net.dims(value, self.batch);
        assert_eq!(
            from.len(),
            dims.len(),
            "{}",
            self.net.values()[value.index()].name
        );
        let (rows, columns) = match to_nhwc {
            true => (dims.c, dims.area()),
            false => (dims.area(), dims.c),
        };
        let mut to = vec![0.0; from.len()];
        let examples = from
            .chunks(dims.example())
            .zip(to.chunks_mut(dims.example()));
        for (x, y) in examples {
            for row in 0..rows {
                for column in 0..columns {
                    y[column * rows + row] = x[row * columns + column];
                }
            }
        }
        to
    }
}

fn add(total: &mut Vec<f64>, more: Vec<f64>) {
    if total.is_empty() {
        *total = more;
        return;
    }
    for (t, m) in total.iter_mut().zip(more) {
        *t += m;
    }
}

fn param_slices<'p>(net: &Net, node: &Node, params: &'p [f64]) -> Vec<&'p [f64]> {
    let specs = net.params()[node.params.clone()].iter();
    specs.map(|p| &params[p.range()]).collect()
}

fn state_range(net: &Net, node: &Node) -> std::ops::Range<usize> {
    let entries = &net.state()[node.state.clone()];
    match (entries.first(), entries.last()) {
        (Some(first), Some(last)) => first.range().start..last.range().end,
        _ => 0..0,
    }
}
