//! The same cases on every device that is there: the emulator on any machine, and the first card.
//!
//! Products in bfloat16 are compared on numbers that bfloat16 holds exactly, so that only their sums,
//! which are in single precision, can differ: the tolerance stays that of the case.

use super::run::{Gradients, Results, Wanted, reference, starts};
use super::{Case, Measure, Sample, cases, compare, same_bits};
use crate::device::{Again, Backward, Forward, Precision};
use viewmaker_device::{Device, DeviceError, Span};

/// Memory of `len` elements that are not numbers.
fn unwritten(device: &Device, len: usize) -> Result<Span, DeviceError> {
    filled(device, &vec![f32::NAN; len])
}

fn filled(device: &Device, values: &[f32]) -> Result<Span, DeviceError> {
    let span = device.alloc(values.len())?.all();
    device.upload(&span, values)?;
    Ok(span)
}

fn all_filled(device: &Device, tensors: &[Vec<f32>]) -> Result<Vec<Span>, DeviceError> {
    tensors.iter().map(|t| filled(device, t)).collect()
}

fn read(device: &Device, span: &Span) -> Result<Vec<f32>, DeviceError> {
    let mut values = vec![0.0; span.len()];
    device.download(span, &mut values)?;
    Ok(values)
}

/// Runs the kernels of a device as [`super::run_f32`] runs those of the processor.
fn run(
    case: &Case,
    sample: &Sample,
    starts: &[Vec<f32>],
    wanted: &Wanted,
    (device, precision): (&Device, Precision),
) -> Result<Results<f32>, DeviceError> {
    let op = case.op.as_ref();
    let mut inputs = all_filled(device, &sample.inputs)?;
    let params = all_filled(device, &sample.params)?;
    let state = all_filled(device, &sample.state)?;
    let output = unwritten(device, sample.output_dims.len())?;
    let saved = unwritten(device, op.saved_len(&case.inputs))?;
    let scratch = unwritten(device, op.device_scratch_len(&case.inputs))?;
    op.device_forward(&Forward {
        device,
        precision,
        mode: case.mode,
        input_dims: &case.inputs,
        output_dims: sample.output_dims,
        inputs: &inputs,
        params: &params,
        state: &state,
        output: &output,
        saved: &saved,
        scratch: &scratch,
    })?;
    let mut rebuilt = None;
    if let Some(rebuilder) = op.rebuilder() {
        let output = unwritten(device, sample.output_dims.len())?;
        rebuilder.device_rebuild(&Again {
            device,
            input_dims: &case.inputs,
            output_dims: sample.output_dims,
            inputs: &inputs,
            params: &params,
            saved: &saved,
            output: &output,
        })?;
        rebuilt = Some(read(device, &output)?);
    }
    let scratch = unwritten(device, scratch.len())?;
    // What the operation says it does not read any more is gone by now.
    let reads = op.backward_reads();
    for input in inputs.iter_mut().skip(reads.inputs) {
        *input = input.slice(0..0);
    }
    let seen = match reads.output {
        true => output.clone(),
        false => output.slice(0..0),
    };
    let asked = case.inputs.iter().zip(&wanted.inputs);
    let input_grads: Vec<Option<Span>> = asked
        .map(|(d, &asked)| asked.then(|| unwritten(device, d.len())).transpose())
        .collect::<Result<_, _>>()?;
    let param_grads = all_filled(device, starts)?;
    op.device_backward(&Backward {
        device,
        precision,
        mode: case.mode,
        input_dims: &case.inputs,
        output_dims: sample.output_dims,
        inputs: &inputs,
        params: &params,
        output: &seen,
        saved: &saved,
        output_grad: &filled(device, &sample.output_grad)?,
        input_grads: &input_grads,
        param_grads: wanted.params.then_some(&param_grads[..]),
        scratch: &scratch,
    })?;
    let optional = |span: &Option<Span>| span.as_ref().map(|s| read(device, s)).transpose();
    let of_params = param_grads
        .iter()
        .map(|g| wanted.params.then(|| read(device, g)).transpose());
    Ok(Results {
        output: read(device, &output)?,
        rebuilt,
        state: state
            .iter()
            .map(|s| read(device, s))
            .collect::<Result<_, _>>()?,
        gradients: Gradients {
            inputs: input_grads.iter().map(optional).collect::<Result<_, _>>()?,
            params: of_params.collect::<Result<_, _>>()?,
        },
    })
}

/// Rounds every number to bfloat16.
fn round(sample: &mut Sample) {
    let tensors = sample.inputs.iter_mut().chain(&mut sample.params);
    let numbers = tensors.flatten().chain(&mut sample.output_grad);
    for x in numbers {
        let bits = x.to_bits();
        let even = 0x7fff + ((bits >> 16) & 1);
        *x = f32::from_bits((bits + even) & 0xffff_0000);
    }
}

/// The comparison closest to its tolerance, or what is wrong.
fn check(case: &Case, device: &Device, precision: Precision) -> Result<String, String> {
    let mut sample = Sample::new(case)?;
    if precision == Precision::Bf16 {
        round(&mut sample);
    }
    let want = reference(case, &sample)?;
    let starts = starts(&want);
    let on = |wanted: &Wanted| {
        let results = run(case, &sample, &starts, wanted, (device, precision));
        results.map_err(|error| error.to_string())
    };
    let all = on(&Wanted::all(case))?;
    let measures = compare(case, &all, &want, &starts);
    if let Some(bad) = measures.iter().find(|m| !m.passed()) {
        return Err(bad.to_string());
    }
    let again = all.rebuilt.as_deref();
    if again.is_some_and(|again| !super::equal(again, &all.output)) {
        return Err("the output computed a second time has other bits".into());
    }
    // With everything asked for once more: the same bits in every run.
    let mut requests = Wanted::subsets(case);
    requests.push(Wanted::all(case));
    for wanted in requests {
        let part = on(&wanted)?;
        same_bits(&all, &part)
            .map_err(|what| format!("{what} differs when only {wanted} is asked for"))?;
    }
    let by_ratio = |a: &&Measure, b: &&Measure| a.ratio().total_cmp(&b.ratio());
    let worst = measures.iter().max_by(by_ratio).map(Measure::to_string);
    Ok(worst.unwrap_or_default())
}

fn conforms(precision: Precision, of: impl Fn(&Case) -> bool) {
    let mut failures = Vec::new();
    for device in Device::present() {
        if !precision.runs_on(&device) {
            println!("skipped {precision} on {device:?}: its card is too old");
            continue;
        }
        for case in cases().iter().filter(|case| of(case)) {
            let what = format!("{device:?} {precision} {}", case.name);
            match check(case, &device, precision) {
                Ok(worst) => println!("ok    {what}: {worst}"),
                Err(why) => {
                    println!("WRONG {what}: {why}");
                    failures.push(format!("{what}: {why}"));
                }
            }
        }
    }
    assert!(failures.is_empty(), "{failures:#?}");
}

#[test]
fn cuda_kernels_conform() {
    conforms(Precision::F32, |_| true);
}

#[test]
fn cuda_kernels_conform_in_bfloat16() {
    // Nothing else multiplies in another precision.
    conforms(Precision::Bf16, |case| {
        ["conv2d", "linear"].contains(&case.op.name())
    });
}
