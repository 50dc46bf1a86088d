//! Runs an operation, or its reference, on a sample.

use super::{Case, Sample};
use crate::random::Philox;
use crate::{Again, Backward, Forward, Op};
use std::fmt;

/// Which gradients are asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// For each input, whether its gradient is wanted.
    pub inputs: Vec<bool>,
    /// Whether the gradients of the parameters are wanted.
    pub params: bool,
}

impl Wanted {
    /// Every gradient of the case.
    pub fn all(case: &Case) -> Self {
        Self {
            inputs: vec![true; case.inputs.len()],
            params: true,
        }
    }

    /// Each gradient alone: one input at a time, then the parameters.
    pub fn subsets(case: &Case) -> Vec<Self> {
        let count = case.inputs.len();
        let alone = |i: usize| Self {
            inputs: (0..count).map(|j| i == j).collect(),
            params: i == count,
        };
        (0..=count).map(alone).collect()
    }
}

impl fmt::Display for Wanted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let inputs = self.inputs.iter().enumerate().filter(|(_, w)| **w);
        let mut names: Vec<String> = inputs.map(|(i, _)| format!("input {i}")).collect();
        if self.params {
            names.push("parameters".into());
        }
        f.write_str(&names.join(" + "))
    }
}

/// Gradients with respect to inputs and parameters.
#[derive(Clone, Debug)]
pub struct Gradients<T> {
    /// One per input; `None` where it was not asked for.
    pub inputs: Vec<Option<Vec<T>>>,
    /// One per parameter; `None` where it was not asked for.
    pub params: Vec<Option<Vec<T>>>,
}

impl<T> Gradients<T> {
    /// All gradients with their names, inputs first.
    pub fn named(&self) -> impl Iterator<Item = (String, Option<&[T]>)> {
        let inputs = self.inputs.iter().enumerate();
        let params = self.params.iter().enumerate();
        let inputs = inputs.map(|(i, g)| (format!("gradient of input {i}"), g.as_deref()));
        inputs.chain(params.map(|(i, g)| (format!("gradient of parameter {i}"), g.as_deref())))
    }
}

/// Everything one forward and backward pass produces.
#[derive(Clone, Debug)]
pub struct Results<T> {
    /// The output.
    pub output: Vec<T>,
    /// The output computed a second time, by kernels that can.
    pub rebuilt: Option<Vec<T>>,
    /// The state after the forward pass.
    pub state: Vec<Vec<T>>,
    /// The gradients.
    pub gradients: Gradients<T>,
}

/// The output and the state after it by the `f64` reference, for these inputs and parameters.
pub(super) fn reference_forward(
    case: &Case,
    sample: &Sample,
    inputs: &[Vec<f64>],
    params: &[Vec<f64>],
) -> (Vec<f64>, Vec<Vec<f64>>) {
    let mut output = vec![f64::NAN; sample.output_dims.len()];
    let mut state = widen(&sample.state);
    case.op.reference_forward(Forward {
        mode: case.mode,
        input_dims: &case.inputs,
        output_dims: sample.output_dims,
        inputs: &slices(inputs),
        params: &slices(params),
        state: &mut slices_mut(&mut state),
        output: &mut output,
        saved: &mut [],
        scratch: &mut [],
    });
    (output, state)
}

/// Runs the `f64` reference; its parameter gradients start from zero.
pub fn reference(case: &Case, sample: &Sample) -> Result<Results<f64>, String> {
    let (inputs, params) = (widen(&sample.inputs), widen(&sample.params));
    let (output, state) = reference_forward(case, sample, &inputs, &params);
    let lengths = case.inputs.iter().map(|d| d.len());
    let mut input_grads: Vec<Vec<f64>> = lengths.map(|n| vec![f64::NAN; n]).collect();
    let mut param_grads: Vec<Vec<f64>> = params.iter().map(|p| vec![0.0; p.len()]).collect();
    case.op.reference_backward(Backward {
        mode: case.mode,
        input_dims: &case.inputs,
        output_dims: sample.output_dims,
        inputs: &slices(&inputs),
        params: &slices(&params),
        state: &slices(&state),
        output: &output,
        saved: &[],
        output_grad: &widen_one(&sample.output_grad),
        input_grads: &mut slices_mut(&mut input_grads)
            .into_iter()
            .map(Some)
            .collect::<Vec<_>>(),
        param_grads: Some(&mut slices_mut(&mut param_grads)),
        scratch: &mut [],
    });
    let results = Results {
        output,
        rebuilt: None,
        state,
        gradients: Gradients {
            inputs: input_grads.into_iter().map(Some).collect(),
            params: param_grads.into_iter().map(Some).collect(),
        },
    };
    let finite = results.output.iter().all(|x| x.is_finite());
    let gradients = results.gradients.named();
    let mut gradients = gradients.flat_map(|(_, g)| g.unwrap_or_default());
    if finite && gradients.all(|x| x.is_finite()) {
        drop(gradients);
        return Ok(results);
    }
    Err("the reference leaves elements unwritten or not finite".into())
}

/// Runs the `f32` kernels in the current rayon pool, which has `threads` threads. Buffers that the
/// kernels own are filled with NaN before each pass; the gradients of the parameters are added to
/// `starts`.
pub fn run_f32(
    case: &Case,
    sample: &Sample,
    starts: &[Vec<f32>],
    wanted: &Wanted,
    threads: usize,
) -> Results<f32> {
    let op: &dyn Op = case.op.as_ref();
    let (inputs, params) = (slices(&sample.inputs), slices(&sample.params));
    let mut state = sample.state.clone();
    let mut output = vec![f32::NAN; sample.output_dims.len()];
    let mut saved = vec![f32::NAN; op.saved_len(&case.inputs)];
    let mut scratch = vec![f32::NAN; op.scratch_len(&case.inputs, threads)];
    op.forward(Forward {
        mode: case.mode,
        input_dims: &case.inputs,
        output_dims: sample.output_dims,
        inputs: &inputs,
        params: &params,
        state: &mut slices_mut(&mut state),
        output: &mut output,
        saved: &mut saved,
        scratch: &mut scratch,
    });

    let rebuilt = op.rebuilder().map(|rebuilder| {
        let mut output = vec![f32::NAN; output.len()];
        rebuilder.rebuild(Again {
            input_dims: &case.inputs,
            output_dims: sample.output_dims,
            inputs: &inputs,
            params: &params,
            saved: &saved,
            output: &mut output,
        });
        output
    });
    scratch.fill(f32::NAN);
    // What the operation says it does not read any more is gone by now.
    let reads = op.backward_reads();
    let mut inputs = inputs;
    for input in inputs.iter_mut().skip(reads.inputs) {
        *input = &[];
    }
    let output_seen: &[f32] = if reads.output { &output } else { &[] };
    let asked = case.inputs.iter().zip(&wanted.inputs);
    let mut input_grads: Vec<Option<Vec<f32>>> = asked
        .map(|(d, &asked)| asked.then(|| vec![f32::NAN; d.len()]))
        .collect();
    let mut param_grads = starts.to_vec();
    op.backward(Backward {
        mode: case.mode,
        input_dims: &case.inputs,
        output_dims: sample.output_dims,
        inputs: &inputs,
        params: &params,
        state: &slices(&state),
        output: output_seen,
        saved: &saved,
        output_grad: &sample.output_grad,
        input_grads: &mut input_grads
            .iter_mut()
            .map(Option::as_deref_mut)
            .collect::<Vec<_>>(),
        param_grads: wanted
            .params
            .then_some(&mut slices_mut(&mut param_grads)[..]),
        scratch: &mut scratch,
    });
    let params = param_grads.into_iter().map(|g| wanted.params.then_some(g));
    Results {
        output,
        rebuilt,
        state,
        gradients: Gradients {
            inputs: input_grads,
            params: params.collect(),
        },
    }
}

/// What the parameter gradients hold before the backward pass adds to them: random numbers about as
/// large as the gradients `want`, so that an operation that overwrites them is caught.
pub fn starts(want: &Results<f64>) -> Vec<Vec<f32>> {
    let random = Philox::new(0xADD, 0, 0);
    let one = |grad: &Option<Vec<f64>>| {
        let grad = grad.as_deref().unwrap_or_default();
        let largest = grad.iter().fold(1e-3f64, |m, g| m.max(g.abs())) as f32;
        let signed = |i| 2.0 * random.uniform(i) - 1.0;
        (0..grad.len() as u64)
            .map(|i| 0.25 * largest * signed(i))
            .collect()
    };
    want.gradients.params.iter().map(one).collect()
}

pub(super) fn widen(tensors: &[Vec<f32>]) -> Vec<Vec<f64>> {
    tensors.iter().map(|t| widen_one(t)).collect()
}

pub(super) fn widen_one(tensor: &[f32]) -> Vec<f64> {
    tensor.iter().copied().map(f64::from).collect()
}

fn slices<T>(tensors: &[Vec<T>]) -> Vec<&[T]> {
    tensors.iter().map(Vec::as_slice).collect()
}

fn slices_mut<T>(tensors: &mut [Vec<T>]) -> Vec<&mut [T]> {
    tensors.iter_mut().map(Vec::as_mut_slice).collect()
}
