//! Momentum encoder, queue, bank and predictor against plain references.

use crate::support::*;
use viewmaker::config::ViewSource;
use viewmaker::pictures;
use viewmaker::train::step::StepRates;
use viewmaker_exec::Tower;

#[test]
fn moco_moves_step_by_step_like_a_plain_reference() {
    let mut config = config("image", "moco-v2");
    config.views.source = ViewSource::None.into();
    let splits = pictures::open_data(&config).unwrap();
    let mut bench = Bench::new(&descending(&config), &splits);
    let follower = bench
        .learners
        .companions
        .momentum_encoder()
        .unwrap()
        .clone();
    let dim = bench.learners.players.embedding_dim();
    let (momentum, length) = (0.75, config.objective.queue);
    let queue = bench.learners.objective.state()[0].2.clone();
    let mut queue: Vec<Vec<f32>> = queue.chunks(dim).map(<[f32]>::to_vec).collect();
    let mut next = 0;
    for step in 0..3 {
        let before = follower.weights().params.clone();
        let (keys, statistics) = embed(&follower, &bench.batch);
        bench.step(StepRates {
            encoder_momentum: momentum,
            encoder_lr: 0.1,
            ..RATES
        });
        // The momentum encoder: average of weights, statistics of its own, never a gradient.
        let encoder = bench.learners.players.encoder.weights();
        let pairs = before.iter().zip(&encoder.params);
        let average: Vec<f32> = pairs
            .map(|(own, other)| momentum * own + (1.0 - momentum) * other)
            .collect();
        assert!(encoder.params != before, "step {step}: the encoder moves");
        assert!(follower.weights().params == average, "step {step}: weights");
        assert!(
            follower.weights().state == statistics,
            "step {step}: statistics"
        );
        assert!(
            follower.grads().iter().all(|g| *g == 0.0),
            "step {step}: gradient"
        );
        // The queue: the keys from before the step, normalised, over the oldest rows.
        for key in keys.chunks(dim) {
            let length_of = key
                .iter()
                .map(|x| f64::from(*x).powi(2))
                .sum::<f64>()
                .sqrt();
            queue[next] = key
                .iter()
                .map(|x| (f64::from(*x) / length_of) as f32)
                .collect();
            next = (next + 1) % length;
        }
        let state = bench.learners.objective.state();
        assert_eq!(state[0].2, queue.concat(), "step {step}: queue");
        assert_eq!(state[1].2, [next as f32], "step {step}: next row");
    }
}

#[test]
fn instdisc_moves_its_bank_like_a_plain_reference() {
    let mut config = config("image", "instdisc");
    config.views.source = ViewSource::None.into();
    config.objective.bank_momentum = 0.25;
    let splits = pictures::open_data(&config).unwrap();
    let mut bench = Bench::new(&descending(&config), &splits);
    let dim = bench.learners.players.embedding_dim();
    let mut bank = bench.learners.objective.state()[0].2.clone();
    for step in 0..3 {
        let outcome = bench.step(RATES);
        let z = &outcome.embeddings[0][0];
        for (index, z) in bench.batch.indices.iter().zip(z.chunks(dim)) {
            let unit = |row: &[f64]| -> Vec<f64> {
                let length = row.iter().map(|x| x * x).sum::<f64>().sqrt();
                row.iter().map(|x| x / length).collect()
            };
            let u = unit(&z.iter().map(|x| f64::from(*x)).collect::<Vec<_>>());
            let row = &mut bank[index * dim..(index + 1) * dim];
            let blend = row
                .iter()
                .zip(u)
                .map(|(old, u)| 0.25 * f64::from(*old) + 0.75 * u);
            let new = unit(&blend.collect::<Vec<_>>());
            row.iter_mut()
                .zip(new)
                .for_each(|(row, new)| *row = new as f32);
        }
        let got = &bench.learners.objective.state()[0].2;
        let error = got.iter().zip(&bank).map(|(a, b)| (a - b).abs());
        assert!(error.fold(0.0, f32::max) < 1e-6, "step {step}");
    }
}

#[test]
fn the_gradient_through_predictor_and_encoder_is_the_slope_of_the_loss() {
    for name in ["byol", "moco-v3"] {
        let mut config = config("image", name);
        config.views.source = ViewSource::Noise.into();
        let splits = pictures::open_data(&config).unwrap();
        let mut bench = Bench::new(&descending(&config), &splits);
        let lr = 1e-4;
        // The momentum encoder stays, so that only the gradient moves the loss.
        let rates = StepRates {
            encoder_lr: lr,
            encoder_momentum: 1.0,
            ..RATES
        };
        let first = bench.step(rates).encoder_loss;
        let square = |tower: &Tower| {
            tower
                .grads()
                .iter()
                .map(|g| f64::from(*g).powi(2))
                .sum::<f64>()
        };
        let predictor = square(bench.learners.companions.predictor().unwrap());
        let slope = square(&bench.learners.players.encoder) + predictor;
        assert!(predictor > 0.0 && predictor < slope, "{name}");
        let second = bench
            .step(StepRates {
                encoder_lr: 0.0,
                ..rates
            })
            .encoder_loss;
        let ratio = f64::from(first - second) / (f64::from(lr) * slope);
        assert!((ratio - 1.0).abs() < 0.1, "{name}: {ratio}");
    }
}
