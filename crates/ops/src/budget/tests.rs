use super::*;
use proptest::prelude::*;

fn run(op: &Budget, example: usize, y: &[f32], g: &[f32]) -> (Vec<f32>, Vec<f32>) {
    let (mut out, mut grad) = (vec![f32::NAN; y.len()], vec![f32::NAN; y.len()]);
    cpu::forward(op, example, y, &mut out);
    cpu::backward(op, example, y, g, &mut grad);
    (out, grad)
}

/// One example of `n` elements at any scale, constant, sparse or random.
fn example(n: usize) -> impl Strategy<Value = Vec<f32>> {
    let scale = prop_oneof![
        Just(0.0f32),
        Just(1e-45),
        Just(1e-30),
        Just(1e-4),
        Just(1.0),
        Just(100.0),
        Just(1e30),
        Just(f32::MAX),
    ];
    let unit = -1.0f32..1.0;
    let shape = prop_oneof![
        prop::collection::vec(unit.clone(), n),
        unit.clone().prop_map(move |x| vec![x; n]),
        (0..n, unit).prop_map(move |(i, x)| {
            let mut sparse = vec![0.0; n];
            sparse[i] = x;
            sparse
        }),
    ];
    (scale, shape).prop_map(|(scale, x)| x.into_iter().map(|x| x * scale).collect())
}

fn batch() -> impl Strategy<Value = (usize, Vec<f32>)> {
    (1usize..4, 1usize..300).prop_flat_map(|(n, size)| {
        let examples = prop::collection::vec(example(size), n);
        examples.prop_map(move |batch| (size, batch.concat()))
    })
}

proptest! {
    /// Whatever the input, the size of every example is ε · m / (m + 1e-4), and nothing is ever
    /// infinite or not a number.
    #[test]
    fn budget_holds((size, y) in batch(), budget in 1e-3f32..100.0, norm in 0usize..3) {
        let op = Budget { distortion_budget: budget, norm: Norm::ALL[norm] };
        let g: Vec<f32> = (0..y.len()).map(|i| (i as f32).sin()).collect();
        let (out, grad) = run(&op, size, &y, &g);
        prop_assert!(out.iter().chain(&grad).all(|x| x.is_finite()));
        for (out, y) in out.chunks(size).zip(y.chunks(size)) {
            let m = op.norm.measure(y.iter().map(|&y| f64::from(y).tanh()));
            let want = f64::from(budget) * m / (m + EPSILON);
            let got = op.norm.measure(out.iter().copied().map(f64::from));
            // Below the normal range single precision has no relative accuracy.
            let denormal = f64::from(f32::MIN_POSITIVE);
            prop_assert!((got - want).abs() <= 1e-5 * want + denormal, "{got} instead of {want}");
        }
    }
}

#[test]
fn zero_input_is_left_alone_but_has_a_gradient() {
    for norm in Norm::ALL {
        let op = Budget {
            distortion_budget: 0.05,
            norm,
        };
        let (out, grad) = run(&op, 4, &[0.0; 4], &[1.0; 4]);
        assert_eq!(out, [0.0; 4]);
        assert_eq!(grad, [500.0; 4]);
    }
}

#[test]
fn infinite_input_saturates() {
    for norm in Norm::ALL {
        let op = Budget {
            distortion_budget: 0.5,
            norm,
        };
        let (out, grad) = run(&op, 2, &[f32::INFINITY, f32::NEG_INFINITY], &[1.0, 2.0]);
        assert!((out[0] - 0.5).abs() < 1e-4 && out[1] == -out[0]);
        assert_eq!(grad, [0.0; 2]);
    }
}

#[test]
fn examples_do_not_influence_each_other() {
    let op = Budget {
        distortion_budget: 0.05,
        norm: Norm::L1,
    };
    let (one, _) = run(&op, 2, &[0.5, -1.0], &[0.0; 2]);
    let (two, _) = run(&op, 2, &[0.5, -1.0, 1e9, 7.0], &[0.0; 4]);
    assert_eq!(one, two[..2]);
}

#[test]
fn refuses_budgets_that_make_no_sense() {
    for distortion_budget in [0.0, -1.0, f32::NAN, f32::INFINITY] {
        let op = Budget {
            distortion_budget,
            norm: Norm::L1,
        };
        assert!(op.output(&[Dims::vector(1, 1)]).is_err());
    }
}

#[test]
fn norms_have_names() {
    for norm in Norm::ALL {
        assert_eq!(norm.to_string().parse(), Ok(norm));
    }
    let error = "l3".parse::<Norm>().map_err(|e| e.to_string());
    assert_eq!(
        error,
        Err("unknown norm `l3`: expected l1, l2 or linf".into())
    );
}
