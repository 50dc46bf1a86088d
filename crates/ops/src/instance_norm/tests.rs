use super::*;
use crate::conformance::{Sample, Wanted, run_f32};

/// Output for unit scale and shift 0.25; checks that nothing is infinite or not a number.
fn run(dims: Dims, x: Vec<f32>) -> Vec<f32> {
    let case = Case::new("", InstanceNorm::default(), &[dims]);
    let mut sample = Sample::new(&case).unwrap();
    sample.inputs = vec![x];
    sample.params = vec![vec![1.0; dims.c], vec![0.25; dims.c]];
    let starts = vec![vec![0.0; dims.c]; 2];
    let results = run_f32(&case, &sample, &starts, &Wanted::all(&case), 2);
    assert!(results.output.iter().all(|x| x.is_finite()));
    for (what, grad) in results.gradients.named() {
        assert!(grad.unwrap().iter().all(|x| x.is_finite()), "{what}");
    }
    results.output
}

#[test]
fn single_position_gives_the_bias() {
    assert_eq!(
        run(Dims::vector(2, 2), vec![1.0, -5.0, 1e30, 0.0]),
        [0.25; 4]
    );
}

#[test]
fn constant_input_gives_the_bias() {
    let dims = Dims::new(2, 9, 5, 3);
    for value in [0.0, 0.1, -7.3e4, 1e30] {
        assert!(
            run(dims, vec![value; dims.len()])
                .iter()
                .all(|&y| y == 0.25),
            "{value}"
        );
    }
}

#[test]
fn examples_are_independent_and_unit_scale() {
    let dims = Dims::new(2, 8, 8, 1);
    let x = |i: usize| (i as f32 * 0.9).sin();
    let one = run(dims.with_batch(1), (0..64).map(x).collect());
    let scaled = (0..128).map(|i| if i < 64 { x(i) } else { 1e30 * x(i - 64) });
    let two = run(dims, scaled.collect());
    assert_eq!(one, two[..64]);
    let difference = one.iter().zip(&two[64..]).map(|(a, b)| (a - b).abs());
    assert!(difference.fold(0.0, f32::max) < 1e-4);
}

#[test]
fn tiny_and_duplicated_inputs_stay_finite() {
    let dims = Dims::new(2, 4, 4, 5);
    for scale in [1e-45f32, 1e-38, 1e-20, 1e20, 1e37] {
        run(
            dims,
            (0..dims.len()).map(|i| scale * (i % 10) as f32).collect(),
        );
    }
}

#[test]
fn refuses_a_wrong_eps() {
    for eps in [0.0, -1.0, f32::NAN, f32::INFINITY] {
        assert!(
            InstanceNorm { eps }
                .output(&[Dims::new(1, 2, 2, 1)])
                .is_err()
        );
    }
}
