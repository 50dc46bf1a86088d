//! The linear layer by its definition, in double precision.

use crate::Backward;

pub(super) fn forward(
    features: usize,
    input: &[f64],
    weight: &[f64],
    bias: Option<&[f64]>,
    output: &mut [f64],
) {
    let co = weight.len() / features;
    for (i, y) in output.iter_mut().enumerate() {
        let (n, o) = (i / co, i % co);
        let row = weight[o * features..].iter().take(features);
        let dot: f64 = row.zip(&input[n * features..]).map(|(w, x)| w * x).sum();
        *y = dot + bias.map_or(0.0, |b| b[o]);
    }
}

pub(super) fn backward(cx: Backward<'_, f64>) {
    let (ci, co) = (cx.input_dims[0].c, cx.output_dims.c);
    let (x, w, g) = (cx.inputs[0], cx.params[0], cx.output_grad);
    if let Some(input_grad) = &mut cx.input_grads[0] {
        for (j, d) in input_grad.iter_mut().enumerate() {
            let (n, i) = (j / ci, j % ci);
            *d = (0..co).map(|o| g[n * co + o] * w[o * ci + i]).sum();
        }
    }
    let Some([weight_grad, bias_grad @ ..]) = cx.param_grads else {
        return;
    };
    for n in 0..cx.output_dims.n {
        for o in 0..co {
            for i in 0..ci {
                weight_grad[o * ci + i] += g[n * co + o] * x[n * ci + i];
            }
            if let [bias_grad] = bias_grad {
                bias_grad[o] += g[n * co + o];
            }
        }
    }
}
