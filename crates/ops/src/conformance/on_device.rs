//! The same cases on every device that is there: the emulator on any machine, and the first card.
//!
//! Products in bfloat16 and TF32 are compared on numbers that these hold exactly, so that only their sums,
//! which are in single precision, can differ: with the emulator the tolerance stays that of the case.

use super::run::{Gradients, Results, Wanted, reference, run_f32, starts};
use super::{Case, Measure, Sample, cases, compare, same_bits};
use crate::conv2d::Version;
use crate::device::{Again, Backward, Forward, Precision};
use viewmaker_device::{Device, DeviceError, Span};

/// Which kernels of a device, and where they find their numbers.
#[derive(Clone, Copy)]
struct Kernels<'a> {
    device: &'a Device,
    precision: Precision,
    convolution: Option<Version>,
    /// Words in front of every span: with one, none is aligned to more than a word.
    before: usize,
}

impl Kernels<'_> {
    /// Memory of `len` elements that are not numbers.
    fn unwritten(&self, len: usize) -> Result<Span, DeviceError> {
        self.filled(&vec![f32::NAN; len])
    }

    fn filled(&self, values: &[f32]) -> Result<Span, DeviceError> {
        let words = self.before + values.len();
        let span = self.device.alloc(words)?.span(self.before..words);
        self.device.upload(&span, values)?;
        Ok(span)
    }

    fn all_filled(&self, tensors: &[Vec<f32>]) -> Result<Vec<Span>, DeviceError> {
        tensors.iter().map(|t| self.filled(t)).collect()
    }
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
    kernels: Kernels<'_>,
) -> Result<Results<f32>, DeviceError> {
    let Kernels {
        device,
        precision,
        convolution,
        ..
    } = kernels;
    let op = case.op.as_ref();
    let mut inputs = kernels.all_filled(&sample.inputs)?;
    let params = kernels.all_filled(&sample.params)?;
    let state = kernels.all_filled(&sample.state)?;
    let output = kernels.unwritten(sample.output_dims.len())?;
    let saved = kernels.unwritten(op.saved_len(&case.inputs))?;
    let scratch = kernels.unwritten(op.device_scratch_len(&case.inputs))?;
    op.device_forward(&Forward {
        device,
        precision,
        convolution,
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
        let output = kernels.unwritten(sample.output_dims.len())?;
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
    let scratch = kernels.unwritten(scratch.len())?;
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
        .map(|(d, &asked)| asked.then(|| kernels.unwritten(d.len())).transpose())
        .collect::<Result<_, _>>()?;
    let param_grads = kernels.all_filled(starts)?;
    op.device_backward(&Backward {
        device,
        precision,
        convolution,
        mode: case.mode,
        input_dims: &case.inputs,
        output_dims: sample.output_dims,
        inputs: &inputs,
        params: &params,
        output: &seen,
        saved: &saved,
        output_grad: &kernels.filled(&sample.output_grad)?,
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

/// Rounds every number so that its last `bits` bits are 0, ties to even.
fn round(sample: &mut Sample, bits: u32) {
    let tensors = sample.inputs.iter_mut().chain(&mut sample.params);
    let numbers = tensors.flatten().chain(&mut sample.output_grad);
    for x in numbers {
        let number = x.to_bits();
        let even = (1 << (bits - 1)) - 1 + ((number >> bits) & 1);
        *x = f32::from_bits((number + even) >> bits << bits);
    }
}

/// How much further from the reference than the tolerance of a case. Tensor cores of a card cut what they add
/// to a sum, where the emulator rounds it: one side's errors of up to 2⁻²³ of the sum for each of its steps, of which
/// the longest products here have 335.
fn slack(kernels: Kernels<'_>) -> f64 {
    let cuts = kernels.precision != Precision::F32 && kernels.device.capability().is_some();
    if cuts { 4.0 } else { 1.0 }
}

/// The comparison closest to its tolerance, or what is wrong.
fn check(case: &Case, kernels: Kernels<'_>) -> Result<String, String> {
    let mut sample = Sample::new(case)?;
    match kernels.precision {
        Precision::F32 => {}
        Precision::Tf32 => round(&mut sample, 13),
        Precision::Bf16 => round(&mut sample, 16),
    }
    let want = reference(case, &sample)?;
    let starts = starts(&want);
    let on = |wanted: &Wanted| {
        let results = run(case, &sample, &starts, wanted, kernels);
        results.map_err(|error| error.to_string())
    };
    let all = on(&Wanted::all(case))?;
    let mut measures = compare(case, &all, &want, &starts);
    measures
        .iter_mut()
        .for_each(|m| m.allowed *= slack(kernels));
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

/// Nothing else multiplies in another precision, or has several versions of its products.
fn multiplies(case: &Case) -> bool {
    ["conv2d", "linear"].contains(&case.op.name())
}

fn conforms(
    (precision, convolution, before): (Precision, Option<Version>, usize),
    of: impl Fn(&Case) -> bool,
    check: impl Fn(&Case, Kernels<'_>) -> Result<String, String>,
) {
    let mut failures = Vec::new();
    for device in Device::present() {
        if !precision.runs_on(&device) {
            println!("skipped {precision} on {device:?}: its card is too old");
            continue;
        }
        let kernels = Kernels {
            device: &device,
            precision,
            convolution,
            before,
        };
        for case in cases().iter().filter(|case| of(case)) {
            let version = convolution.map_or("", Version::name);
            let what = format!("{device:?} {precision} {version} {}", case.name);
            match check(case, kernels) {
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
    conforms((Precision::F32, None, 0), |_| true, check);
}

#[test]
fn cuda_kernels_conform_in_bfloat16() {
    conforms((Precision::Bf16, None, 0), multiplies, check);
}

#[test]
fn cuda_kernels_conform_in_tf32() {
    conforms((Precision::Tf32, None, 0), multiplies, check);
}

#[test]
fn cuda_convolutions_v2_conform() {
    let version = Version::V2;
    conforms((version.precision(), Some(version), 0), multiplies, check);
}

#[test]
fn cuda_convolutions_v3_conform_with_narrow_tiles() {
    let version = Version::V3Narrow;
    conforms((version.precision(), Some(version), 0), multiplies, check);
}

#[test]
fn cuda_convolutions_v3_conform_with_wide_tiles() {
    let version = Version::V3Wide;
    conforms((version.precision(), Some(version), 0), multiplies, check);
}

/// Every kernel of every case once, with every access to memory looked at. Products on tensor cores take the
/// emulator long, and only the small ones are executed.
fn is_free_of_races(
    (precision, convolution, before): (Precision, Option<Version>, usize),
    of: impl Fn(&Case) -> bool,
) {
    let device = match Device::checked() {
        Ok(device) => device,
        Err(reason) => return println!("skipped: {reason}"),
    };
    let kernels = Kernels {
        device: &device,
        precision,
        convolution,
        before,
    };
    let outcome = |case: &Case| {
        let sample = Sample::new(case)?;
        let starts = starts(&reference(case, &sample)?);
        let results = run(case, &sample, &starts, &Wanted::all(case), kernels);
        results.map(drop).map_err(|error| error.to_string())
    };
    let cases = cases();
    let cases = cases.iter().filter(|case| of(case));
    let failures: Vec<String> = cases
        .filter_map(|case| {
            outcome(case)
                .err()
                .map(|why| format!("{}: {why}", case.name))
        })
        .collect();
    assert!(failures.is_empty(), "{failures:#?}");
}

#[test]
fn kernels_are_free_of_races() {
    is_free_of_races((Precision::F32, None, 0), |_| true);
}

#[test]
fn products_on_tensor_cores_are_free_of_races() {
    const MOST: u64 = 400_000;
    let small = |case: &Case| multiplies(case) && case.op.flops(&case.inputs) <= MOST;
    assert!(cases().iter().filter(|case| small(case)).count() > 5);
    for version in Version::ALL.into_iter().skip(1) {
        is_free_of_races((version.precision(), Some(version), 0), small);
    }
}

/// Numbers that must be rounded on the way to the products: what the cases above, whose numbers are
/// bfloat16 already, cannot show.
fn same_as_v2(case: &Case, kernels: Kernels<'_>) -> Result<String, String> {
    let sample = Sample::new(case)?;
    let want = reference(case, &sample)?;
    let starts = starts(&want);
    let on = |version| {
        let kernels = Kernels {
            convolution: Some(version),
            ..kernels
        };
        run(case, &sample, &starts, &Wanted::all(case), kernels).map_err(|e| e.to_string())
    };
    let (v2, narrow, mut wide) = (
        on(Version::V2)?,
        on(Version::V3Narrow)?,
        on(Version::V3Wide)?,
    );
    same_bits(&v2, &narrow).map_err(|what| format!("{what} has other bits in narrow tiles"))?;
    // Sums of weight gradients are cut in other places, as many blocks as fill a card.
    wide.gradients.params.iter_mut().for_each(|g| *g = None);
    same_bits(&v2, &wide).map_err(|what| format!("{what} has other bits in wide tiles"))?;
    Ok("the same bits".into())
}

#[test]
fn cuda_convolutions_v3_have_the_bits_of_v2() {
    conforms((Precision::Bf16, None, 0), multiplies, same_as_v2);
}

/// Parameters of a network begin where those before them end: kernels that read four numbers at once must not
/// be the only ones.
#[test]
fn cuda_normalisations_conform_wherever_their_numbers_begin() {
    let normalises = |case: &Case| {
        let name = case.op.name();
        name.starts_with("batch_norm") || name.starts_with("instance_norm")
    };
    let in_fours = |case: &&Case| normalises(case) && case.inputs[0].c.is_multiple_of(4);
    assert!(cases().iter().filter(in_fours).count() > 3);
    conforms((Precision::F32, None, 1), normalises, check);
    is_free_of_races((Precision::F32, None, 1), normalises);
}

/// An input that is NaN is a network that has diverged: whatever is NaN on the processor must be on a device.
#[test]
fn cuda_rows_do_not_hide_nan() {
    for device in Device::present() {
        for op in ["l2_normalize", "attention"] {
            let all = cases();
            let of_op = all.iter().filter(|case| case.op.name() == op);
            let seen: usize = of_op.map(|case| nan_of(case, &device)).sum();
            assert!(seen > 0, "{op}: nothing on the processor is NaN");
        }
    }
}

/// How much of output and gradient of a case is NaN when the first element or all of its input is.
fn nan_of(case: &Case, device: &Device) -> usize {
    let kernels = Kernels {
        device,
        precision: Precision::F32,
        convolution: None,
        before: 0,
    };
    let mut seen = 0;
    for count in [1, usize::MAX] {
        let mut sample = Sample::new(case).expect("a sample");
        let input = sample.inputs[0].iter_mut();
        input.take(count).for_each(|x| *x = f32::NAN);
        let wanted = Wanted::all(case);
        let want = run_f32(case, &sample, &[], &wanted, 1);
        let got = run(case, &sample, &[], &wanted, kernels).expect("results");
        let numbers = |results: &Results<f32>| {
            let gradient = results.gradients.inputs[0].as_deref();
            [&results.output, gradient.unwrap_or_default()].concat()
        };
        for (i, (want, got)) in numbers(&want).iter().zip(numbers(&got)).enumerate() {
            let hidden = want.is_nan() && !got.is_nan();
            assert!(!hidden, "{device:?} {}: {got} at {i}", case.name);
            seen += usize::from(want.is_nan());
        }
    }
    seen
}
