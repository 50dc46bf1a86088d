//! Scaled dot-product attention of several heads among the positions of an example:
//! `o_i = Σ_j softmax_j(q_i·k_j / √d) v_j`.
//!
//! The first input has queries, keys and values of every position one after the other, 3·C channels;
//! each of `heads` heads has d = C / heads channels of each. The second input has one channel: only
//! positions where it is positive are attended to. An example without any gives zeros.
//!
//! Source: Vaswani et al., *Attention Is All You Need* (NIPS 2017), equation 1 and section 3.2.2,
//! without the projections, which are operations of their own.

mod cpu;
mod device;
mod reference;

use crate::conformance::{Case, InputKind};
use crate::{Backward, Dims, Forward, Op, Reads, ShapeError};

/// Attention among the positions of an example.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attention {
    /// Heads; they divide the channels of a value.
    pub heads: usize,
}

/// What the kernels have to know of the shapes.
#[derive(Clone, Copy, Debug)]
struct Geometry {
    heads: usize,
    /// Positions of an example.
    positions: usize,
    /// Channels of a head.
    width: usize,
}

impl Geometry {
    /// Channels of an output.
    const fn channels(&self) -> usize {
        self.heads * self.width
    }

    /// Attention weights of an example.
    const fn weights(&self) -> usize {
        self.heads * self.positions * self.positions
    }

    /// Working memory of an example.
    const fn lane(&self) -> usize {
        (2 * self.width + 1) * self.positions
    }
}

impl Attention {
    fn geometry(self, inputs: &[Dims]) -> Geometry {
        Geometry {
            heads: self.heads,
            positions: inputs[0].area(),
            width: inputs[0].c / 3 / self.heads,
        }
    }
}

impl Op for Attention {
    fn name(&self) -> &'static str {
        "attention"
    }

    fn attributes(&self) -> String {
        format!("{} heads", self.heads)
    }

    fn output(&self, inputs: &[Dims]) -> Result<Dims, ShapeError> {
        ShapeError::expect_inputs(self.name(), inputs, 2)?;
        let (qkv, present) = (inputs[0], inputs[1]);
        if self.heads == 0 || qkv.c == 0 || !qkv.c.is_multiple_of(3 * self.heads) {
            let why = format!("expected channels in multiples of 3 · {} heads", self.heads);
            return Err(ShapeError::new(self.name(), inputs, why));
        }
        if present != (Dims { c: 1, ..qkv }) {
            let why = "expected one channel at the same positions as the second input";
            return Err(ShapeError::new(self.name(), inputs, why));
        }
        Ok(Dims {
            c: qkv.c / 3,
            ..qkv
        })
    }

    fn flops(&self, inputs: &[Dims]) -> u64 {
        let g = self.geometry(inputs);
        // Two products and, for each weight, a scale, an exponential, a sum and a quotient.
        (inputs[0].n * g.weights() * (4 * g.width + 4)) as u64
    }

    fn saved_len(&self, inputs: &[Dims]) -> usize {
        inputs[0].n * self.geometry(inputs).weights()
    }

    fn scratch_len(&self, inputs: &[Dims], threads: usize) -> usize {
        threads.max(1) * self.geometry(inputs).lane()
    }

    fn backward_reads(&self) -> Reads {
        Reads {
            inputs: 1,
            output: false,
        }
    }

    fn forward(&self, cx: Forward<'_, f32>) {
        let geometry = self.geometry(cx.input_dims);
        cpu::forward(geometry, cx.inputs, cx.output, cx.saved, cx.scratch);
    }

    fn backward(&self, cx: Backward<'_, f32>) {
        if let Some(present) = cx.input_grads[1].as_deref_mut() {
            present.fill(0.0);
        }
        if let Some(grad) = cx.input_grads[0].as_deref_mut() {
            let geometry = self.geometry(cx.input_dims);
            cpu::backward(
                geometry,
                cx.inputs[0],
                cx.saved,
                cx.output_grad,
                grad,
                cx.scratch,
            );
        }
    }

    fn reference_forward(&self, cx: Forward<'_, f64>) {
        reference::forward(self.geometry(cx.input_dims), cx.inputs, cx.output);
    }

    fn reference_backward(&self, cx: Backward<'_, f64>) {
        if let Some(present) = cx.input_grads[1].as_deref_mut() {
            present.fill(0.0);
        }
        if let Some(grad) = cx.input_grads[0].as_deref_mut() {
            let geometry = self.geometry(cx.input_dims);
            reference::backward(geometry, cx.inputs, cx.output_grad, grad);
        }
    }
}

/// Cases of the conformance list.
pub fn cases() -> Vec<Case> {
    let case = |n, h, w, heads, width| {
        let qkv = Dims::new(n, h, w, 3 * heads * width);
        let name = format!("attention {heads} heads of {width}, {n} of {h}×{w}");
        let case = Case::new(name, Attention { heads }, &[qkv, Dims { c: 1, ..qkv }]);
        // Presence is a step at 0.
        case.input(InputKind::AwayFrom(vec![0.0]))
    };
    vec![
        case(1, 1, 1, 1, 1),
        case(2, 1, 7, 2, 3),
        case(3, 3, 4, 1, 8),
        case(2, 1, 33, 4, 5),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn absent_positions_are_not_attended_to() {
        let g = Geometry {
            heads: 1,
            positions: 3,
            width: 1,
        };
        // Queries and keys 0: the mean of the values of present positions.
        let qkv = [0.0, 0.0, 2.0, 0.0, 0.0, 4.0, 0.0, 0.0, 100.0];
        let of = |present: [f32; 3]| {
            let (mut y, mut saved, mut scratch) = ([f32::NAN; 3], [f32::NAN; 9], [0.0; 9]);
            cpu::forward(g, &[&qkv, &present], &mut y, &mut saved, &mut scratch);
            y
        };
        assert_eq!(of([1.0, 1.0, 0.0]), [3.0; 3]);
        assert_eq!(of([0.0, 1.0, -1.0]), [4.0; 3]);
        assert_eq!(of([0.0; 3]), [0.0; 3]);
    }

    #[test]
    fn large_scores_stay_finite() {
        let g = Geometry {
            heads: 1,
            positions: 2,
            width: 1,
        };
        let qkv = [1e15, 1e15, 1.0, -1e15, -1e15, 2.0];
        let (mut y, mut saved, mut scratch) = ([f32::NAN; 2], [f32::NAN; 4], [0.0; 6]);
        cpu::forward(g, &[&qkv, &[1.0; 2]], &mut y, &mut saved, &mut scratch);
        assert_eq!(y, [1.0, 2.0]);
    }

    #[test]
    fn refuses_other_shapes() {
        let dims = |c| Dims::new(2, 1, 5, c);
        let output = |heads, inputs: &[Dims]| Attention { heads }.output(inputs);
        assert_eq!(output(2, &[dims(12), dims(1)]).unwrap(), dims(4));
        for (heads, inputs) in [
            (2, vec![dims(12)]),
            (2, vec![dims(9), dims(1)]),
            (0, vec![dims(12), dims(1)]),
            (2, vec![dims(12), dims(2)]),
            (2, vec![dims(12), Dims::new(2, 1, 4, 1)]),
        ] {
            assert!(output(heads, &inputs).is_err(), "{heads} {inputs:?}");
        }
    }
}
