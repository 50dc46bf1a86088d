//! Fixed normalisation per channel: `(x − mean[c]) / std[c]` with constants of the data set.

mod cpu;
mod device;
mod reference;

use crate::conformance::Case;
use crate::{Backward, Dims, Forward, Op, Reads, ShapeError};

/// `(x − mean) / std` per channel.
#[derive(Clone, Debug, PartialEq)]
pub struct Normalize {
    /// Mean of each channel, finite.
    pub mean: Vec<f32>,
    /// Standard deviation of each channel, finite and positive.
    pub std: Vec<f32>,
}

impl Op for Normalize {
    fn name(&self) -> &'static str {
        "normalize"
    }

    fn attributes(&self) -> String {
        match (self.mean.as_slice(), self.std.as_slice()) {
            ([mean], [std]) => format!("mean {mean}, std {std}"),
            (mean, _) => format!("{} channels", mean.len()),
        }
    }

    fn output(&self, inputs: &[Dims]) -> Result<Dims, ShapeError> {
        ShapeError::expect_inputs(self.name(), inputs, 1)?;
        let Self { mean, std } = self;
        let c = inputs[0].c;
        let why = if mean.len() != c || std.len() != c {
            let (m, s) = (mean.len(), std.len());
            format!("{m} means and {s} standard deviations for {c} channel(s)")
        } else if let Some(bad) = mean.iter().find(|m| !m.is_finite()) {
            format!("means must be finite, found {bad}")
        } else if let Some(bad) = std.iter().find(|s| !(s.is_finite() && **s > 0.0)) {
            format!("standard deviations must be finite and positive, found {bad}")
        } else {
            return Ok(inputs[0]);
        };
        Err(ShapeError::new(self.name(), inputs, why))
    }

    fn flops(&self, inputs: &[Dims]) -> u64 {
        2 * inputs[0].len() as u64
    }

    fn backward_reads(&self) -> Reads {
        Reads::NOTHING
    }

    fn forward(&self, cx: Forward<'_, f32>) {
        cpu::forward(&self.mean, &self.std, cx.inputs[0], cx.output);
    }

    fn backward(&self, cx: Backward<'_, f32>) {
        if let Some(grad) = cx.input_grads[0].as_deref_mut() {
            cpu::backward(&self.std, cx.output_grad, grad);
        }
    }

    fn reference_forward(&self, cx: Forward<'_, f64>) {
        reference::forward(&self.mean, &self.std, cx.inputs[0], cx.output);
    }

    fn reference_backward(&self, cx: Backward<'_, f64>) {
        if let Some(grad) = cx.input_grads[0].as_deref_mut() {
            reference::backward(&self.std, cx.output_grad, grad);
        }
    }
}

/// Cases of the conformance list.
pub fn cases() -> Vec<Case> {
    let images = Normalize {
        mean: vec![0.491, 0.482, 0.446],
        std: vec![0.247, 0.243, 0.261],
    };
    let speech = Normalize {
        mean: vec![-22.924],
        std: vec![12.587],
    };
    vec![
        Case::new("normalize 3×33×31", images, &[Dims::new(2, 33, 31, 3)]),
        Case::new("normalize 1×5×7", speech, &[Dims::new(1, 5, 7, 1)]),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refuses_wrong_statistics() {
        let op = |mean: &[f32], std: &[f32]| Normalize {
            mean: mean.to_vec(),
            std: std.to_vec(),
        };
        let inputs = [Dims::new(1, 2, 2, 2)];
        assert!(op(&[0.0, 0.0], &[1.0, 1.0]).output(&inputs).is_ok());
        for bad in [
            op(&[0.0], &[1.0]),
            op(&[0.0, 0.0], &[1.0]),
            op(&[0.0, 0.0], &[1.0, 0.0]),
            op(&[0.0, 0.0], &[1.0, f32::NAN]),
            op(&[0.0, f32::INFINITY], &[1.0, 1.0]),
        ] {
            assert!(bad.output(&inputs).is_err(), "{bad:?}");
        }
    }
}
