//! Our worker speaks the protocol and computes what the reference does; differences between two
//! sides are found.

use crate::peer::duel::compare;
use crate::peer::fixtures::Check;
use crate::peer::layers::LayerShape;
use crate::peer::worker::serve;
use serde_json::{Value, json};
use viewmaker::bench::Spread;
use viewmaker_ops::{Dims, Forward, Mode, Op};

/// Our answers to some requests.
fn answers(requests: &[Value]) -> Vec<Value> {
    let lines: Vec<String> = requests.iter().map(Value::to_string).collect();
    let mut out = Vec::new();
    serve(&mut lines.join("\n").as_bytes(), &mut out).unwrap();
    let text = String::from_utf8(out).unwrap();
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

#[test]
fn a_worker_prepares_runs_and_reports_its_memory() {
    let shape = LayerShape {
        input: [3, 6, 5],
        out_channels: 4,
        kernel: 3,
        stride: 1,
        padding: 1,
        reflect: true,
        bias: true,
    };
    let mut work = serde_json::to_value(&shape).unwrap();
    work["kind"] = json!("layer");
    work["batch"] = json!(2);
    work["pass"] = json!("forward");
    let answers = answers(&[
        json!({ "run": 1 }),
        json!({ "prepare": work, "threads": 1, "variant": "" }),
        json!({ "run": 3 }),
        json!({ "quit": true }),
        json!({ "run": 1 }),
    ]);
    assert_eq!(answers.len(), 4, "nothing is answered after quit");
    assert!(answers[0]["error"].as_str().unwrap().contains("prepare"));
    let check: Check = serde_json::from_value(answers[1]["check"].clone()).unwrap();
    let want = reference(&shape, 2);
    assert_eq!(check["output"].len(), want.len());
    for (got, want) in check["output"].iter().zip(&want) {
        assert!((got - want).abs() < 1e-5, "{got} against {want}");
    }
    assert!(answers[2]["seconds"].as_f64().unwrap() > 0.0);
    if cfg!(target_os = "linux") {
        assert!(answers[3]["peak_bytes"].as_u64().unwrap() > 0);
    }
}

/// 32 evenly spaced elements of the layer's NCHW output in double precision.
fn reference(shape: &LayerShape, batch: usize) -> Vec<f64> {
    let op = shape.op();
    let [c, h, w] = shape.input;
    let dims = Dims::new(batch, h, w, c);
    let fill = |name: &str, shape: &[usize]| -> Vec<f64> {
        let values = viewmaker_golden::fill(name, shape, 7);
        values.into_iter().map(f64::from).collect()
    };
    let nchw = fill("x", &[batch, c, h, w]);
    let mut input = vec![0.0; dims.len()];
    for (i, x) in nchw.into_iter().enumerate() {
        let (n, channel, place) = (i / dims.example(), i / dims.area() % c, i % dims.area());
        input[(n * dims.area() + place) * c + channel] = x;
    }
    let params: Vec<Vec<f64>> = op
        .params(&[dims])
        .iter()
        .map(|p| fill(p.name, &p.shape))
        .collect();
    let params: Vec<&[f64]> = params.iter().map(Vec::as_slice).collect();
    let out = op.output(&[dims]).unwrap();
    let mut output = vec![0.0; out.len()];
    op.reference_forward(Forward {
        mode: Mode::Train,
        input_dims: &[dims],
        output_dims: out,
        inputs: &[&input],
        params: &params,
        state: &mut [],
        output: &mut output,
        saved: &mut [],
        scratch: &mut [],
    });
    let at = |i: usize| {
        let (n, channel, place) = (i / out.example(), i / out.area() % out.c, i % out.area());
        output[(n * out.area() + place) * out.c + channel]
    };
    (0..32).map(|i| at(i * out.len() / 32)).collect()
}

#[test]
fn sides_that_differ_are_not_timed() {
    let check = |values: &[f64]| Check::from([("output".to_string(), values.to_vec())]);
    let ours = check(&[1.0, -200.0, 0.0]);
    assert!(compare(&ours, &check(&[1.0, -200.1, 0.3])).is_ok());
    for theirs in [
        check(&[1.0, -200.0, 0.5]),
        check(&[1.0, -200.0, f64::NAN]),
        check(&[1.0, -200.0]),
    ] {
        let why = compare(&ours, &theirs).unwrap_err().to_string();
        assert!(why.contains("do not compute the same output"), "{why}");
    }
    let other = Check::from([("loss".to_string(), vec![0.0])]);
    assert!(compare(&ours, &other).is_err());
}

#[test]
fn spreads_of_odd_and_even_counts() {
    let spread = |values: &[f64]| Spread::of(values).map(|s| (s.min, s.median, s.max));
    assert_eq!(spread(&[]), None);
    assert_eq!(spread(&[3.0, 1.0, 2.0]), Some((1.0, 2.0, 3.0)));
    assert_eq!(spread(&[4.0, 1.0, 2.0, 8.0]), Some((1.0, 3.0, 8.0)));
}
