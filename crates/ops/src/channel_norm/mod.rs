//! What batch and instance normalisation share: statistics per channel over the rows of a group,
//! and the gradient through them.
//!
//! A *group* is a contiguous `rows × channels` matrix that is normalised together: the whole batch
//! for batch normalisation, one example for instance normalisation. With mean `μ`, biased variance
//! `σ²` and `x̂ = (x − μ) / √(σ² + ε)` the output is `y = γ x̂ + β` and
//! `∂L/∂x = γ / √(σ² + ε) · (g − mean(g) − x̂ · mean(g x̂))`, `∂L/∂γ = Σ g x̂`, `∂L/∂β = Σ g`
//! (Ioffe & Szegedy, *Batch normalization*, ICML 2015, section 3; Ulyanov, Vedaldi & Lempitsky,
//! *Instance normalization*, 2016).

pub(crate) mod cpu;
pub(crate) mod device;
pub(crate) mod reference;
mod rows;
mod strip;
mod tail;

pub(crate) use tail::Tail;

use crate::{Init, ParamSpec, ShapeError};

/// Scale `γ` (`weight`, 1) and shift `β` (`bias`, 0) per channel.
pub(crate) fn affine(channels: usize) -> Vec<ParamSpec> {
    let param = |name, value| ParamSpec {
        name,
        shape: vec![channels],
        init: Init::Constant(value),
    };
    vec![param("weight", 1.0), param("bias", 0.0)]
}

/// Floating-point operations per element: four for the statistics, four to apply them.
pub(crate) const FLOPS: u64 = 8;

/// Checks that there is one input and that `eps` is usable.
pub(crate) fn check(
    op: &'static str,
    eps: f32,
    inputs: &[crate::Dims],
) -> Result<crate::Dims, ShapeError> {
    ShapeError::expect_inputs(op, inputs, 1)?;
    if eps.is_finite() && eps > 0.0 {
        return Ok(inputs[0]);
    }
    let why = format!("eps must be finite and positive, found {eps}");
    Err(ShapeError::new(op, inputs, why))
}
