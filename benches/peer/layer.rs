//! Our convolution layers, one pass at a time through the trait that networks use.

use super::fixtures::{Check, fill, fill_nhwc, probe, probe_nhwc};
use super::items::{LayerWork, Pass};
use super::worker::Task;
use viewmaker::error::{Error, Result};
use viewmaker_exec::Arena;
use viewmaker_ops::conv2d::Conv2d;
use viewmaker_ops::{Backward, Dims, Forward, Mode, Op};

/// One pass of one layer with everything it reads and writes.
pub struct LayerPass {
    op: Conv2d,
    pass: Pass,
    dims: Dims,
    output_dims: Dims,
    input: Arena,
    params: Vec<Vec<f32>>,
    output: Arena,
    output_grad: Arena,
    input_grad: Arena,
    param_grads: Vec<Vec<f32>>,
    saved: Vec<f32>,
    scratch: Arena,
}

/// Memory as networks have it: it begins with a cache line.
fn copied(from: &[f32]) -> Arena {
    let mut arena = Arena::new(from.len());
    arena.copy_from_slice(from);
    arena
}

impl LayerPass {
    /// The layer with known input, weights and output gradient.
    ///
    /// # Errors
    /// When the operation refuses the shape.
    pub fn new(work: &LayerWork) -> Result<Self> {
        let op = work.shape.op();
        let [c, h, w] = work.shape.input;
        let dims = Dims::new(work.batch, h, w, c);
        let output_dims = op
            .output(&[dims])
            .map_err(|error| Error::failure(error.to_string()))?;
        let specs = op.params(&[dims]);
        let params: Vec<Vec<f32>> = specs.iter().map(|p| fill(p.name, &p.shape)).collect();
        // Buffers of other passes stay empty, so that the peak is that of this pass.
        let backward = work.pass != Pass::Forward;
        let only = |wanted: bool, len: usize| if wanted { len } else { 0 };
        let mut layer = Self {
            input: copied(&fill_nhwc("x", dims)),
            output: Arena::new(output_dims.len()),
            output_grad: match backward {
                true => copied(&fill_nhwc("g", output_dims)),
                false => Arena::default(),
            },
            input_grad: Arena::new(only(work.pass == Pass::InputGradient, dims.len())),
            param_grads: params
                .iter()
                .map(|p| vec![0.0; only(work.pass == Pass::WeightGradient, p.len())])
                .collect(),
            saved: vec![0.0; op.saved_len(&[dims])],
            scratch: Arena::new(op.scratch_len(&[dims], rayon::current_num_threads())),
            pass: work.pass,
            op,
            dims,
            output_dims,
            params,
        };
        if backward {
            layer.forward();
        }
        Ok(layer)
    }

    fn forward(&mut self) {
        let params: Vec<&[f32]> = self.params.iter().map(Vec::as_slice).collect();
        self.op.forward(Forward {
            mode: Mode::Train,
            input_dims: &[self.dims],
            output_dims: self.output_dims,
            inputs: &[&self.input],
            params: &params,
            state: &mut [],
            output: &mut self.output,
            saved: &mut self.saved,
            scratch: &mut self.scratch,
        });
    }

    fn backward(&mut self) {
        let params: Vec<&[f32]> = self.params.iter().map(Vec::as_slice).collect();
        let mut param_grads: Vec<&mut [f32]> =
            self.param_grads.iter_mut().map(Vec::as_mut_slice).collect();
        let wanted = self.pass == Pass::InputGradient;
        self.op.backward(Backward {
            mode: Mode::Train,
            input_dims: &[self.dims],
            output_dims: self.output_dims,
            inputs: &[&self.input],
            params: &params,
            state: &[],
            output: &self.output,
            saved: &self.saved,
            output_grad: &self.output_grad,
            input_grads: &mut [wanted.then_some(&mut *self.input_grad)],
            param_grads: (!wanted).then_some(&mut param_grads),
            scratch: &mut self.scratch,
        });
    }
}

impl Task for LayerPass {
    fn check(&mut self) -> Result<Check> {
        self.run()?;
        let mut check = Check::new();
        match self.pass {
            Pass::Forward => {
                check.insert("output".into(), probe_nhwc(&self.output, self.output_dims));
            }
            Pass::InputGradient => {
                let values = probe_nhwc(&self.input_grad, self.dims);
                check.insert("input gradient".into(), values);
            }
            Pass::WeightGradient => {
                let names = ["weight gradient", "bias gradient"];
                for (name, grad) in names.into_iter().zip(&self.param_grads) {
                    check.insert(name.into(), probe(grad));
                }
            }
        }
        Ok(check)
    }

    fn run(&mut self) -> Result<()> {
        match self.pass {
            Pass::Forward => self.forward(),
            Pass::InputGradient | Pass::WeightGradient => self.backward(),
        }
        Ok(())
    }
}
