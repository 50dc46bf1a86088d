//! Running a network on the tensors of a case, in single and in double precision.

use std::collections::BTreeMap;
use std::sync::Arc;
use viewmaker_exec::reference::Reference;
use viewmaker_exec::{Feed, Pass, Tensor, Wanted, Weights};
use viewmaker_golden::fill;
use viewmaker_net::{Keep, Net, Plan, Purpose};
use viewmaker_ops::Mode;

/// Everything a case can ask about one forward and backward pass, NCHW, by value name.
pub(crate) struct Run {
    pub(crate) net: Arc<Net>,
    pub(crate) values: BTreeMap<String, Vec<f64>>,
    pub(crate) grads: BTreeMap<String, Vec<f64>>,
    pub(crate) param_grads: BTreeMap<String, Vec<f64>>,
    pub(crate) state: BTreeMap<String, Vec<f64>>,
}

/// What goes into a pass.
pub(crate) struct Setup {
    pub(crate) net: Arc<Net>,
    pub(crate) batch: usize,
    pub(crate) mode: Mode,
    /// One NCHW slice per input.
    pub(crate) feeds: Vec<Vec<f32>>,
    pub(crate) tensors: BTreeMap<String, Tensor>,
    /// Gradient of the loss with respect to the principal output.
    pub(crate) seed: Vec<f32>,
}

/// The tensors of `net`: those that `stored` gives, the others by the fill rule.
pub(crate) fn tensors(
    net: &Net,
    salt: u64,
    stored: impl Fn(&str) -> Option<Vec<f32>>,
) -> BTreeMap<String, Tensor> {
    let params = net.params().iter().map(|p| (&p.name, &p.shape));
    let state = net.state().iter().map(|s| (&s.name, &s.shape));
    params
        .chain(state)
        .map(|(name, shape)| {
            let data = stored(name).unwrap_or_else(|| fill(name, shape, salt));
            let shape = shape.clone();
            (name.clone(), Tensor { shape, data })
        })
        .collect()
}

pub(crate) fn wide(x: &[f32]) -> Vec<f64> {
    x.iter().map(|&x| f64::from(x)).collect()
}

impl Setup {
    /// By the kernels.
    pub(crate) fn run(&self) -> Run {
        let net = &self.net;
        let threads = rayon::current_num_threads();
        let plan = Plan::new(
            net,
            self.batch,
            threads,
            Purpose::Training,
            Keep::Everything,
        );
        let mut pass = Pass::new(Arc::clone(net), Arc::new(plan));
        let mut weights = Weights::init(Arc::clone(net), 0, 0);
        weights.load(&self.tensors).unwrap();
        let inputs = net.inputs().iter().zip(&self.feeds);
        let feeds: Vec<Feed<'_>> = inputs.map(|(&value, nchw)| Feed { value, nchw }).collect();
        pass.forward(&mut weights, &feeds, self.mode);
        let mut grads = vec![0.0; net.param_len()];
        let output = net.output();
        pass.backward(&weights, output, &self.seed, Wanted::Both, Some(&mut grads));
        let names = || net.values().iter().map(|v| v.name.clone());
        let value = |name: String| (net.value(&name).unwrap(), name);
        let read: Vec<_> = names().map(value).collect();
        Run {
            values: read
                .iter()
                .map(|(v, name)| (name.clone(), wide(pass.value(*v))))
                .collect(),
            grads: read
                .iter()
                .map(|(v, name)| (name.clone(), wide(pass.grad(*v))))
                .collect(),
            param_grads: by_param(net, &wide(&grads)),
            state: by_state(net, &wide(&weights.state)),
            net: Arc::clone(net),
        }
    }

    /// By the references.
    pub(crate) fn run_reference(&self) -> Run {
        self.read(&self.forward_and_backward())
    }

    /// By the references: the pass itself, and the gradients along the branches of rectifiers that
    /// `single` took, which may differ where an activation is as good as zero.
    pub(crate) fn run_references(&self, single: &Run) -> (Run, Run) {
        let mut reference = self.forward_and_backward();
        let exact = self.read(&reference);
        let mut largest = None;
        for node in self.net.nodes().iter().filter(|n| n.op.name() == "relu") {
            let at = node.inputs[0];
            let like = &single.values[&self.net.values()[at.index()].name];
            largest = largest.max(reference.adopt_signs(at, like).map(ordered));
        }
        let Some(largest) = largest else {
            let same = self.read(&reference);
            return (exact, same);
        };
        let largest = f64::from_bits(largest);
        assert!(largest < ROUND_OFF, "{largest} is not as good as zero");
        reference.backward(self.net.output(), &wide(&self.seed), Wanted::Both);
        (exact, self.read(&reference))
    }

    fn forward_and_backward(&self) -> Reference<'_> {
        let mut reference = Reference::new(&self.net, self.batch, &self.tensors).unwrap();
        let feeds: Vec<Vec<f64>> = self.feeds.iter().map(|f| wide(f)).collect();
        reference.forward(&feeds, self.mode);
        reference.backward(self.net.output(), &wide(&self.seed), Wanted::Both);
        reference
    }

    fn read(&self, reference: &Reference<'_>) -> Run {
        let net = &self.net;
        let names = net.values().iter().map(|v| &v.name);
        let read: Vec<_> = names.map(|n| (net.value(n).unwrap(), n)).collect();
        let values = read
            .iter()
            .map(|(v, n)| ((*n).clone(), reference.value(*v)));
        let grads = read.iter().map(|(v, n)| ((*n).clone(), reference.grad(*v)));
        Run {
            values: values.collect(),
            grads: grads.collect(),
            param_grads: by_param(net, &reference.param_grads),
            state: by_state(net, &reference.state),
            net: Arc::clone(net),
        }
    }
}

/// Bits of a number that is not negative; they have its order.
fn ordered(x: f64) -> u64 {
    x.to_bits()
}

/// What a single-precision activation of size 1 may be away from the exact one.
const ROUND_OFF: f64 = 1e-4;

pub(crate) fn by_param(net: &Net, flat: &[f64]) -> BTreeMap<String, Vec<f64>> {
    let params = net.params().iter();
    params
        .map(|p| (p.name.clone(), flat[p.range()].to_vec()))
        .collect()
}

pub(crate) fn by_state(net: &Net, flat: &[f64]) -> BTreeMap<String, Vec<f64>> {
    let state = net.state().iter();
    state
        .map(|s| (s.name.clone(), flat[s.range()].to_vec()))
        .collect()
}

/// A single-precision gradient less what other branches of rectifiers changed in it. Among a million
/// activations some lie within round-off of zero and take the other branch, which shifts a whole
/// channel: `like` is the exact gradient along the branches that were taken, `double` along those
/// of the exact pass.
pub(crate) fn without_branches(single: &[f64], like: &[f64], double: &[f64]) -> Vec<f64> {
    let shifts = like.iter().zip(double).map(|(like, double)| like - double);
    single
        .iter()
        .zip(shifts)
        .map(|(x, shift)| x - shift)
        .collect()
}

/// Name of a tensor without the part that says how it was reduced.
pub(crate) fn base(name: &str) -> &str {
    let suffixes = [".sample", ".norm", ".sum"];
    let stripped = suffixes.iter().find_map(|s| name.strip_suffix(s));
    stripped.unwrap_or(name)
}
