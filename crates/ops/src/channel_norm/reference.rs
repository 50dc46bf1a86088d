//! Normalisation of one channel of a group in double precision.

/// Mean and biased variance of one channel.
pub(crate) fn moments(x: &[f64], c: usize, channel: usize) -> (f64, f64) {
    let rows = (x.len() / c) as f64;
    let column = || x.iter().skip(channel).step_by(c);
    let mean = column().sum::<f64>() / rows;
    let variance = column().map(|x| (x - mean).powi(2)).sum::<f64>() / rows;
    (mean, variance)
}

/// Mean and reciprocal standard deviation of a channel with its scale and shift.
pub(crate) struct Channel {
    pub(crate) index: usize,
    pub(crate) mean: f64,
    pub(crate) inv_std: f64,
    pub(crate) weight: f64,
    /// Whether `mean` and `inv_std` are functions of the input.
    pub(crate) moving: bool,
}

impl Channel {
    pub(crate) fn forward(&self, x: &[f64], c: usize, bias: f64, out: &mut [f64]) {
        for i in (self.index..x.len()).step_by(c) {
            out[i] = (x[i] - self.mean) * self.inv_std * self.weight + bias;
        }
    }

    /// Writes the gradient of the input and returns those of scale and shift.
    pub(crate) fn backward(
        &self,
        x: &[f64],
        g: &[f64],
        c: usize,
        out: Option<&mut [f64]>,
    ) -> (f64, f64) {
        let rows = (x.len() / c) as f64;
        let normal = |i: usize| (x[i] - self.mean) * self.inv_std;
        let (mut of_product, mut of_g) = (0.0, 0.0);
        for i in (self.index..x.len()).step_by(c) {
            of_product += g[i] * normal(i);
            of_g += g[i];
        }
        let Some(out) = out else {
            return (of_product, of_g);
        };
        for i in (self.index..x.len()).step_by(c) {
            let through_stats = (of_g + normal(i) * of_product) / rows;
            let through_stats = if self.moving { through_stats } else { 0.0 };
            out[i] = (g[i] - through_stats) * self.inv_std * self.weight;
        }
        (of_product, of_g)
    }
}
