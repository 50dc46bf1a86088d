use super::*;
use crate::conformance::{Sample, Wanted, run_f32};

const RELU: Follower = Follower::Activation(Activation::Relu);

#[test]
fn fuses_in_the_order_of_computation() {
    let norm = FusedNorm::new(BatchNorm::default());
    let whole = norm.then(Follower::Add).and_then(|n| n.then(RELU));
    assert_eq!(whole.unwrap().name(), "batch_norm+add+relu");
    assert_eq!(whole.unwrap().then(RELU), None);
    assert_eq!(norm.then(RELU).unwrap().then(Follower::Add), None);
    assert_eq!(
        norm.then(Follower::Add).unwrap().then(Follower::Add),
        None,
        "one summand"
    );
    let falling = Follower::Activation(Activation::LeakyRelu { slope: -0.1 });
    assert_eq!(norm.then(falling), None);
}

#[test]
fn parameters_state_and_shapes_are_those_of_the_norm() {
    let op = FusedNorm::new(BatchNorm::default())
        .then(Follower::Add)
        .unwrap();
    let dims = Dims::new(2, 3, 4, 5);
    assert_eq!(op.output(&[dims, dims]), Ok(dims));
    assert_eq!(
        op.params(&[dims, dims]),
        BatchNorm::default().params(&[dims])
    );
    assert_eq!(op.state(&[dims, dims]), BatchNorm::default().state(&[dims]));
    assert!(op.output(&[dims]).is_err());
    assert!(op.output(&[dims, dims.with_batch(1)]).is_err());
}

/// Norm, sum and rectifier one after the other give the same bits as the fused operation.
#[test]
fn separate_operations_give_the_same_bits() {
    let dims = Dims::new(3, 9, 5, 33);
    for norm in [
        Norm::from(BatchNorm::default()),
        InstanceNorm::default().into(),
    ] {
        let op = FusedNorm::new(norm);
        let fused = op.then(Follower::Add).and_then(|op| op.then(RELU)).unwrap();
        let case = Case::new("", fused, &[dims, dims]);
        let sample = Sample::new(&case).unwrap();
        let starts = vec![vec![0.0; dims.c]; 2];
        let got = run_f32(&case, &sample, &starts, &Wanted::all(&case), 2);

        let alone = Case::new("", op, &[dims]);
        let mut part = Sample::new(&alone).unwrap();
        part.inputs = vec![sample.inputs[0].clone()];
        (part.params, part.state) = (sample.params.clone(), sample.state.clone());
        let pairs = got.output.iter().zip(&sample.output_grad);
        let behind = pairs.map(|(&y, &g)| if y <= 0.0 { 0.0 } else { g });
        part.output_grad = behind.collect();
        let want = run_f32(&alone, &part, &starts, &Wanted::all(&alone), 2);
        let sums = want.output.iter().zip(&sample.inputs[1]);
        let output: Vec<f32> = sums.map(|(y, s)| (y + s).max(0.0)).collect();
        assert_eq!(got.output, output);
        assert_eq!(got.gradients.inputs[0], want.gradients.inputs[0]);
        assert_eq!(got.gradients.inputs[1].as_ref(), Some(&part.output_grad));
        assert_eq!(got.gradients.params, want.gradients.params);
    }
}
