use super::*;
use crate::conformance::{Sample, Wanted, run_f32};

/// Trains one step on `x` and checks that nothing is infinite or not a number.
fn step(dims: Dims, x: Vec<f32>) -> (Vec<f32>, Vec<Vec<f32>>) {
    let case = Case::new("", BatchNorm::default(), &[dims]);
    let mut sample = Sample::new(&case).unwrap();
    sample.inputs = vec![x];
    sample.params = vec![vec![1.0; dims.c], vec![0.25; dims.c]];
    sample.state = vec![vec![0.0; dims.c], vec![1.0; dims.c], vec![0.0]];
    let starts = vec![vec![0.0; dims.c]; 2];
    let results = run_f32(&case, &sample, &starts, &Wanted::all(&case), 2);
    assert!(results.output.iter().all(|x| x.is_finite()));
    assert!(results.state.iter().flatten().all(|x| x.is_finite()));
    for (what, grad) in results.gradients.named() {
        assert!(grad.unwrap().iter().all(|x| x.is_finite()), "{what}");
    }
    (results.output, results.state)
}

#[test]
fn running_variance_is_unbiased() {
    let (output, state) = step(Dims::vector(2, 1), vec![1.0, 3.0]);
    assert!((output[0] + 0.75).abs() < 1e-5 && (output[1] - 1.25).abs() < 1e-5);
    assert_eq!(state, [vec![0.2], vec![1.1], vec![1.0]]);
}

#[test]
fn evaluation_writes_no_state() {
    let case = Case::new("", BatchNorm::default(), &[Dims::new(2, 3, 3, 2)]).mode(Mode::Eval);
    let sample = Sample::new(&case).unwrap();
    let starts = vec![vec![0.0; 2]; 2];
    let results = run_f32(&case, &sample, &starts, &Wanted::all(&case), 1);
    assert_eq!(results.state, sample.state);
}

#[test]
fn constant_input_gives_the_bias() {
    let dims = Dims::new(3, 5, 7, 2);
    for value in [0.0, 0.1, -7.3e4, 1e30] {
        let (output, _) = step(dims, vec![value; dims.len()]);
        assert!(output.iter().all(|&y| y == 0.25), "{value}");
    }
}

#[test]
fn single_position_gives_the_bias() {
    let (output, state) = step(Dims::vector(1, 3), vec![1.0, -2.0, 1e9]);
    assert_eq!(output, [0.25; 3]);
    assert_eq!(state[1], [0.9; 3]);
}

#[test]
fn huge_and_duplicated_inputs_stay_finite() {
    let dims = Dims::new(2, 8, 8, 5);
    for scale in [1e-40f32, 1e-20, 1e10, 1e25, 1e37] {
        let x = (0..dims.len()).map(|i| scale * ((i % 40) as f32).sin());
        step(dims, x.collect());
    }
    let (output, _) = step(
        dims,
        (0..dims.len()).map(|i| 1e30 * (i as f32).sin()).collect(),
    );
    let spread = output.iter().fold(0.0f32, |m, y| m.max(y.abs()));
    assert!(spread > 1.0, "huge inputs are normalised, not flattened");
}

/// A mean a thousand times the deviation must not cost the variance its accuracy.
#[test]
fn far_mean_keeps_accuracy() {
    let dims = Dims::new(1, 64, 64, 3);
    let deviation = |i: usize| if (i / 3).is_multiple_of(2) { 1.0 } else { -1.0 };
    let x = (0..dims.len()).map(|i| 1000.0 + deviation(i));
    let (output, _) = step(dims, x.collect());
    for (i, y) in output.iter().enumerate() {
        assert!((y - 0.25 - deviation(i)).abs() < 1e-5, "{y}");
    }
}

#[test]
fn not_a_number_is_not_hidden() {
    let case = Case::new("", BatchNorm::default(), &[Dims::vector(3, 1)]);
    let mut sample = Sample::new(&case).unwrap();
    sample.inputs = vec![vec![1.0, f32::NAN, 2.0]];
    let results = run_f32(
        &case,
        &sample,
        &[vec![0.0], vec![0.0]],
        &Wanted::all(&case),
        1,
    );
    assert!(results.output.iter().all(|y| y.is_nan()));
    assert!(results.state[0][0].is_nan() && results.state[1][0].is_nan());
}

#[test]
fn refuses_wrong_attributes() {
    let inputs = [Dims::new(1, 2, 2, 1)];
    for (eps, momentum) in [(0.0, 0.1), (f32::NAN, 0.1), (1e-5, 1.5), (1e-5, f32::NAN)] {
        assert!(BatchNorm { eps, momentum }.output(&inputs).is_err());
    }
}
