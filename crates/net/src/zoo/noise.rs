//! Views by random noise of the same budget: the baseline that learned views must beat.

use super::viewmaker::{check_budget, close_view};
use crate::{Net, NetBuilder, NetError};
use viewmaker_ops::budget::{Budget, Norm};
use viewmaker_ops::normalize::Normalize;

/// What noise views are built from.
#[derive(Clone, Debug, PartialEq)]
pub struct NoiseViewConfig {
    /// Channels, height, width of the examples.
    pub input: [usize; 3],
    /// Distortion budget ε > 0.
    pub distortion_budget: f32,
    /// Norm of the budget.
    pub norm: Norm,
    /// Clamp views to `[0, 1]`.
    pub clamp: bool,
}

/// Builds the network view = x + budget(noise), without parameters.
///
/// Inputs: `x` and `noise.0`, both shaped like an example; the noise is uniform in `[0, 1)` like a
/// viewmaker's, and is centred before it becomes a perturbation. Outputs: `view` and `delta`.
///
/// # Errors
/// When the budget is not a positive number.
pub fn noise_views(config: &NoiseViewConfig) -> Result<Net, NetError> {
    let mut b = NetBuilder::new("noise views");
    if let Err(why) = check_budget(config.distortion_budget) {
        return Err(b.option("viewmaker.distortion_budget", config.distortion_budget, why));
    }
    let x = b.input("x", config.input)?;
    let noise = b.input("noise.0", config.input)?;
    let budget = Budget {
        distortion_budget: config.distortion_budget,
        norm: config.norm,
    };
    // From [0, 1) to [−1, 1), exactly.
    let centre = Normalize {
        mean: vec![0.5; config.input[0]],
        std: vec![0.5; config.input[0]],
    };
    let noise = b.apply("centre", centre, &[noise])?;
    let delta = b.apply("budget", budget, &[noise])?;
    let view = close_view(&mut b, x, delta, config.clamp)?;
    b.output("view", view);
    b.output("delta", delta);
    Ok(b.finish())
}
