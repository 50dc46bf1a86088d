//! Row by row over a piece of a group: the passes that write what is as large as the input.

use super::cpu::Stats;
use super::tail::Rectifier;
use pulp::{Simd, WithSimd};

/// `out = rectified(γ x̂ + β [+ summand])`.
pub(super) struct Apply<'a, R> {
    pub(super) x: &'a [f32],
    pub(super) stats: Stats<'a>,
    pub(super) affine: [&'a [f32]; 2],
    pub(super) summand: Option<&'a [f32]>,
    pub(super) rectifier: R,
    pub(super) out: &'a mut [f32],
}

impl<R: Rectifier> WithSimd for Apply<'_, R> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        match self.summand {
            Some(summand) => self.rows::<true>(summand),
            None => {
                let x = self.x;
                self.rows::<false>(x);
            }
        }
    }
}

impl<R: Rectifier> Apply<'_, R> {
    #[inline(always)]
    fn rows<const ADD: bool>(self, summand: &[f32]) {
        let Stats { mean, inv_std } = self.stats;
        let c = mean.len();
        let [weight, bias] = self.affine;
        let (inv_std, weight, bias) = (&inv_std[..c], &weight[..c], &bias[..c]);
        let rows = self.x.chunks_exact(c).zip(summand.chunks_exact(c));
        for (out, (x, summand)) in self.out.chunks_exact_mut(c).zip(rows) {
            for i in 0..c {
                let mut y = (x[i] - mean[i]) * inv_std[i] * weight[i] + bias[i];
                if ADD {
                    y += summand[i];
                }
                out[i] = self.rectifier.value(y);
            }
        }
    }
}

/// Where a gradient through the rectifier finds the sign of its argument.
#[derive(Clone, Copy)]
pub(super) enum Sign<'a> {
    /// It is computed again from the input: cheaper than reading one more buffer.
    Input([&'a [f32]; 2]),
    /// The output has it: the argument has a summand.
    Output(&'a [f32]),
}

/// Gradient of the input and of the summand, where wanted:
/// `∂x = (g − mean(g) − x̂ · mean(g x̂)) · γ / σ` and `∂summand = g` with `g` the gradient behind
/// the rectifier. Means of zero belong to statistics that are constants.
pub(super) struct Spread<'a, R> {
    pub(super) x: &'a [f32],
    pub(super) grad: &'a [f32],
    pub(super) stats: Stats<'a>,
    pub(super) weight: &'a [f32],
    /// Means of `g` and of `g x̂`; `None` where the statistics are constants.
    pub(super) means: Option<&'a [f32]>,
    pub(super) sign: Sign<'a>,
    pub(super) rectifier: R,
    pub(super) input_grad: Option<&'a mut [f32]>,
    pub(super) summand_grad: Option<&'a mut [f32]>,
}

impl<R: Rectifier> WithSimd for Spread<'_, R> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        match self.sign {
            Sign::Output(y) => self.with_sign::<true>(y, [&[], &[]]),
            Sign::Input(affine) => {
                let x = self.x;
                self.with_sign::<false>(x, affine);
            }
        }
    }
}

impl<R: Rectifier> Spread<'_, R> {
    #[inline(always)]
    fn with_sign<const OUTPUT: bool>(mut self, y: &[f32], affine: [&[f32]; 2]) {
        match (self.input_grad.take(), self.summand_grad.take()) {
            (Some(a), Some(b)) => self.rows::<OUTPUT, true, true>(y, affine, a, b),
            (Some(a), None) => self.rows::<OUTPUT, true, false>(y, affine, a, &mut []),
            (None, Some(b)) => self.rows::<OUTPUT, false, true>(y, affine, &mut [], b),
            (None, None) => {}
        }
    }

    #[inline(always)]
    fn rows<const OUTPUT: bool, const INPUT_GRAD: bool, const SUMMAND_GRAD: bool>(
        &self,
        y: &[f32],
        affine: [&[f32]; 2],
        input_grad: &mut [f32],
        summand_grad: &mut [f32],
    ) {
        let Stats { mean, inv_std } = self.stats;
        let c = mean.len();
        let (inv_std, weight) = (&inv_std[..c], &self.weight[..c]);
        let [scale, shift] = match OUTPUT {
            true => [mean, mean],
            false => affine.map(|a| &a[..c]),
        };
        let (of_g, of_product) = match self.means {
            Some(means) => (&means[..c], &means[c..2 * c]),
            None => (mean, mean),
        };
        let moving = self.means.is_some();
        let rows = self.x.chunks_exact(c).zip(self.grad.chunks_exact(c));
        for (row, ((x, g), y)) in rows.zip(y.chunks_exact(c)).enumerate() {
            let at = row * c;
            let dx = if INPUT_GRAD {
                &mut input_grad[at..at + c]
            } else {
                &mut []
            };
            let ds = if SUMMAND_GRAD {
                &mut summand_grad[at..at + c]
            } else {
                &mut []
            };
            for i in 0..c {
                let normal = (x[i] - mean[i]) * inv_std[i];
                let argument = if OUTPUT {
                    y[i]
                } else {
                    normal * scale[i] + shift[i]
                };
                let g = self.rectifier.gradient(argument, g[i]);
                if SUMMAND_GRAD {
                    ds[i] = g;
                }
                if INPUT_GRAD {
                    let centred = match moving {
                        true => g - of_g[i] - normal * of_product[i],
                        false => g,
                    };
                    dx[i] = centred * (inv_std[i] * weight[i]);
                }
            }
        }
    }
}
