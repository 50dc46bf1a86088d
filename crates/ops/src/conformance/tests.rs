//! Every operation conforms, and the harness notices every kind of defect.

use super::{Case, Measure, Tolerance, cases, check};
use crate::device::{self, OnDevice};
use crate::{Backward, Dims, Forward, Init, Op, ParamSpec, ShapeError};
use rayon::prelude::*;
use viewmaker_device::DeviceError;

/// What is wrong with the operation below.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Defect {
    None,
    OutputOff,
    OutputUnwritten,
    ScratchRead,
    InputGradAdded,
    ParamGradOverwritten,
    ParamGradSkippedWithoutInputGrad,
    DependsOnThreads,
    ReferenceGradientWrong,
}

/// `y = w · x` with one weight, correct up to one defect.
#[derive(Debug)]
struct Scale(Defect);

/// No test of a defect gets as far as a device.
impl OnDevice for Scale {
    fn device_forward(&self, _: &device::Forward<'_>) -> Result<(), DeviceError> {
        unreachable!("computed on the processor only")
    }

    fn device_backward(&self, _: &device::Backward<'_>) -> Result<(), DeviceError> {
        unreachable!("computed on the processor only")
    }
}

impl Op for Scale {
    fn name(&self) -> &'static str {
        "scale"
    }

    fn output(&self, inputs: &[Dims]) -> Result<Dims, ShapeError> {
        Ok(inputs[0])
    }

    fn params(&self, _: &[Dims]) -> Vec<ParamSpec> {
        vec![ParamSpec {
            name: "weight",
            shape: vec![1],
            init: Init::Constant(1.0),
        }]
    }

    fn flops(&self, inputs: &[Dims]) -> u64 {
        inputs[0].len() as u64
    }

    fn scratch_len(&self, _: &[Dims], _: usize) -> usize {
        1
    }

    fn forward(&self, cx: Forward<'_, f32>) {
        for (y, x) in cx.output.iter_mut().zip(cx.inputs[0]) {
            *y = cx.params[0][0] * x;
        }
        match self.0 {
            Defect::OutputOff => cx.output[7] *= 1.001,
            Defect::OutputUnwritten => cx.output[7] = f32::NAN,
            Defect::ScratchRead => cx.output[7] += cx.scratch[0],
            _ => {}
        }
    }

    fn backward(&self, cx: Backward<'_, f32>) {
        let wanted = cx.input_grads[0].is_some();
        if let Some(dx) = &mut cx.input_grads[0] {
            for (dx, dy) in dx.iter_mut().zip(cx.output_grad) {
                let old = if self.0 == Defect::InputGradAdded {
                    *dx
                } else {
                    0.0
                };
                *dx = old + cx.params[0][0] * dy;
            }
        }
        let Some([dw]) = cx.param_grads else {
            return;
        };
        if self.0 == Defect::ParamGradSkippedWithoutInputGrad && !wanted {
            return;
        }
        let pieces = match self.0 {
            Defect::DependsOnThreads => rayon::current_num_threads(),
            _ => 1,
        };
        let length = cx.output_grad.len().div_ceil(pieces);
        let pairs = cx.output_grad.par_chunks(length);
        let pairs = pairs.zip(cx.inputs[0].par_chunks(length));
        let sums: Vec<f32> = pairs
            .map(|(dy, x)| dy.iter().zip(x).map(|(dy, x)| dy * x).sum())
            .collect();
        let sum: f32 = sums.iter().sum();
        let old = match self.0 {
            Defect::ParamGradOverwritten => 0.0,
            _ => dw[0],
        };
        dw[0] = old + sum;
    }

    fn reference_forward(&self, cx: Forward<'_, f64>) {
        for (y, x) in cx.output.iter_mut().zip(cx.inputs[0]) {
            *y = cx.params[0][0] * x;
        }
    }

    fn reference_backward(&self, cx: Backward<'_, f64>) {
        let factor = match self.0 {
            Defect::ReferenceGradientWrong => 1.0001,
            _ => 1.0,
        };
        if let Some(dx) = &mut cx.input_grads[0] {
            for (dx, dy) in dx.iter_mut().zip(cx.output_grad) {
                *dx = factor * cx.params[0][0] * dy;
            }
        }
        if let Some([dw]) = cx.param_grads {
            let products = cx.output_grad.iter().zip(cx.inputs[0]);
            dw[0] += products.map(|(dy, x)| dy * x).sum::<f64>();
        }
    }
}

fn outcome(defect: Defect) -> Result<(), String> {
    let case = Case::new("scale", Scale(defect), &[Dims::new(5, 7, 9, 11)]);
    check(&case).map(|_| ())
}

#[test]
fn a_correct_operation_passes() {
    assert_eq!(outcome(Defect::None), Ok(()));
}

#[test]
fn every_defect_is_noticed() {
    for (defect, symptom) in [
        (Defect::OutputOff, "output: error"),
        (Defect::OutputUnwritten, "output: error inf"),
        (Defect::ScratchRead, "output: error inf"),
        (Defect::InputGradAdded, "gradient of input 0: error inf"),
        (Defect::ParamGradOverwritten, "gradient of parameter 0"),
        (
            Defect::ParamGradSkippedWithoutInputGrad,
            "gradient of parameter 0 differs when only parameters is asked for",
        ),
        (
            Defect::DependsOnThreads,
            "gradient of parameter 0 differs on",
        ),
        (
            Defect::ReferenceGradientWrong,
            "difference quotient of input 0",
        ),
    ] {
        let error = outcome(defect).expect_err(&format!("{defect:?} went unnoticed"));
        assert!(error.contains(symptom), "{defect:?}: {error}");
    }
}

#[test]
fn every_case_conforms() {
    let mut failures = Vec::new();
    for case in cases() {
        match check(&case) {
            Ok(report) => {
                let worst = report.worst().map(Measure::to_string);
                println!("ok    {}: {}", case.name, worst.unwrap_or_default());
            }
            Err(why) => {
                println!("WRONG {}: {why}", case.name);
                failures.push(format!("{}: {why}", case.name));
            }
        }
    }
    assert!(failures.is_empty(), "{failures:#?}");
}

#[test]
fn names_of_cases_are_unique() {
    let mut names: Vec<String> = cases().into_iter().map(|c| c.name).collect();
    let count = names.len();
    names.sort();
    names.dedup();
    assert_eq!(names.len(), count);
}

#[test]
fn unwritten_elements_are_noticed() {
    let tolerance = Tolerance::new(1.0, 1.0);
    assert!(tolerance.measure("x", &[1.0, 2.0], &[1.0, 2.0]).passed());
    assert!(
        !tolerance
            .measure("x", &[1.0, f32::NAN], &[1.0, 2.0])
            .passed()
    );
    assert!(
        !tolerance
            .measure("x", &[f32::NAN, 2.0], &[1.0, 2.0])
            .passed()
    );
    assert!(!tolerance.measure("x", &[1.0], &[1.0, 2.0]).passed());
}
