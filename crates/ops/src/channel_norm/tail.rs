//! What may follow a normalisation and is computed along with it: a sum with a second value, then
//! a rectifier.

use crate::activation::Activation;
use pulp::Simd;

/// The operations fused to the end of a normalisation.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Tail {
    /// Adds the second input.
    pub(crate) add: bool,
    /// Rectifies the result.
    pub(crate) rectifier: Option<Activation>,
}

impl Tail {
    /// Whether the backward pass reads the output: the sign that the rectifier saw comes from it
    /// where a summand hides it from the input.
    pub(crate) fn reads_output(&self) -> bool {
        self.add && self.rectifier.is_some()
    }
}

/// A rectifier in the inner loop of a kernel.
pub(super) trait Rectifier: Copy + Sync {
    /// Its value at `x`.
    fn value(self, x: f32) -> f32;

    /// The gradient of its argument. `x` is the argument or the value: both have one sign.
    fn gradient(self, x: f32, grad: f32) -> f32;

    /// The same for a register.
    fn gradients<S: Simd>(self, simd: S, x: S::f32s, grad: S::f32s) -> S::f32s;
}

/// No rectifier.
#[derive(Clone, Copy)]
pub(super) struct Identity;

impl Rectifier for Identity {
    #[inline(always)]
    fn value(self, x: f32) -> f32 {
        x
    }

    #[inline(always)]
    fn gradient(self, _: f32, grad: f32) -> f32 {
        grad
    }

    #[inline(always)]
    fn gradients<S: Simd>(self, _: S, _: S::f32s, grad: S::f32s) -> S::f32s {
        grad
    }
}

/// `max(x, 0)`, where not a number stays not a number.
#[derive(Clone, Copy)]
pub(super) struct Relu;

impl Rectifier for Relu {
    #[inline(always)]
    fn value(self, x: f32) -> f32 {
        if x <= 0.0 { 0.0 } else { x }
    }

    #[inline(always)]
    fn gradient(self, x: f32, grad: f32) -> f32 {
        if x <= 0.0 { 0.0 } else { grad }
    }

    #[inline(always)]
    fn gradients<S: Simd>(self, simd: S, x: S::f32s, grad: S::f32s) -> S::f32s {
        let zero = simd.splat_f32s(0.0);
        simd.select_f32s(simd.less_than_or_equal_f32s(x, zero), zero, grad)
    }
}

/// `x` where positive, a multiple elsewhere; the slope is positive, so that the sign survives.
#[derive(Clone, Copy)]
pub(super) struct LeakyRelu(pub(super) f32);

impl Rectifier for LeakyRelu {
    #[inline(always)]
    fn value(self, x: f32) -> f32 {
        if x > 0.0 { x } else { self.0 * x }
    }

    #[inline(always)]
    fn gradient(self, x: f32, grad: f32) -> f32 {
        if x > 0.0 { grad } else { self.0 * grad }
    }

    #[inline(always)]
    fn gradients<S: Simd>(self, simd: S, x: S::f32s, grad: S::f32s) -> S::f32s {
        let positive = simd.greater_than_f32s(x, simd.splat_f32s(0.0));
        let scaled = simd.mul_f32s(simd.splat_f32s(self.0), grad);
        simd.select_f32s(positive, grad, scaled)
    }
}

/// Calls `$body` with `$rectifier` bound to the value that computes `$tail`'s rectifier.
macro_rules! with_rectifier {
    ($tail:expr, $rectifier:ident => $body:expr) => {
        match $tail.rectifier {
            None => {
                let $rectifier = $crate::channel_norm::tail::Identity;
                $body
            }
            Some($crate::activation::Activation::Relu) => {
                let $rectifier = $crate::channel_norm::tail::Relu;
                $body
            }
            Some($crate::activation::Activation::LeakyRelu { slope }) => {
                let $rectifier = $crate::channel_norm::tail::LeakyRelu(slope);
                $body
            }
        }
    };
}
pub(super) use with_rectifier;
