//! Convolution by its definition, in double precision.

use super::geometry::Geometry;
use crate::Backward;

/// Calls `visit(output, input, weight)` with the indices of every product.
fn products(g: &Geometry, mut visit: impl FnMut(usize, usize, usize)) {
    let (x, y, k) = (g.input, g.output, g.kernel);
    for n in 0..y.n {
        for (oy, ox) in (0..y.h).flat_map(|oy| (0..y.w).map(move |ox| (oy, ox))) {
            for (ky, kx) in (0..k).flat_map(|ky| (0..k).map(move |kx| (ky, kx))) {
                let source = (g.input_row(oy, ky), g.input_column(ox, kx));
                let (Some(iy), Some(ix)) = source else {
                    continue;
                };
                for o in 0..y.c {
                    let output = ((n * y.h + oy) * y.w + ox) * y.c + o;
                    for i in 0..x.c {
                        let input = ((n * x.h + iy) * x.w + ix) * x.c + i;
                        let weight = ((o * x.c + i) * k + ky) * k + kx;
                        visit(output, input, weight);
                    }
                }
            }
        }
    }
}

pub(super) fn forward(
    geometry: &Geometry,
    input: &[f64],
    weight: &[f64],
    bias: Option<&[f64]>,
    output: &mut [f64],
) {
    for position in output.chunks_exact_mut(geometry.output.c) {
        match bias {
            Some(bias) => position.copy_from_slice(bias),
            None => position.fill(0.0),
        }
    }
    products(geometry, |o, i, w| output[o] += input[i] * weight[w]);
}

pub(super) fn backward(geometry: &Geometry, cx: Backward<'_, f64>) {
    let (input, weight, grad) = (cx.inputs[0], cx.params[0], cx.output_grad);
    if let Some(input_grad) = &mut cx.input_grads[0] {
        input_grad.fill(0.0);
        products(geometry, |o, i, w| input_grad[i] += grad[o] * weight[w]);
    }
    let Some([weight_grad, bias_grad @ ..]) = cx.param_grads else {
        return;
    };
    products(geometry, |o, i, w| weight_grad[w] += grad[o] * input[i]);
    if let [bias_grad] = bias_grad {
        for (i, g) in grad.iter().enumerate() {
            bias_grad[i % geometry.output.c] += g;
        }
    }
}
