//! The same losses by the plainest possible code in double precision.

use super::{Contrast, Positives, Sampled, cpu::inverse_length};

/// The loss of `z`, by its definition.
pub fn reference_loss(contrast: &Contrast, z: &[f64]) -> f64 {
    let logits = logits(contrast, &normalised(contrast.dim, z).0);
    let queries = queries(contrast);
    let losses = queries.iter().map(|(i, positives)| {
        let attract: f64 = positives.iter().map(|p| logits[*i][*p]).sum();
        log_sum(contrast, &logits, *i) - attract / positives.len() as f64
    });
    losses.sum::<f64>() / queries.len().max(1) as f64 + contrast.offset
}

/// The gradient of [`reference_loss`] with respect to the trained rows of `z`, times `loss_grad`.
pub fn reference_gradient(contrast: &Contrast, z: &[f64], loss_grad: f64) -> Vec<f64> {
    let dim = contrast.dim;
    let (unit, inverse_lengths) = normalised(contrast.dim, z);
    let logits = logits(contrast, &unit);
    let scale = loss_grad / (contrast.counted() as f64 * f64::from(contrast.temperature));
    let mut grad = vec![0.0; z.len()];
    for (i, k, weight) in weights(contrast, &logits) {
        for x in 0..dim {
            grad[i * dim + x] += scale * weight * unit[k * dim + x];
            grad[k * dim + x] += scale * weight * unit[i * dim + x];
        }
    }
    grad.truncate(contrast.trained * dim);
    let rows = grad.chunks_mut(dim).zip(unit.chunks(dim));
    for ((grad, u), inverse_length) in rows.zip(inverse_lengths) {
        let along: f64 = u.iter().zip(&*grad).map(|(u, g)| u * g).sum();
        for (g, u) in grad.iter_mut().zip(u) {
            *g = inverse_length * (*g - u * along);
        }
    }
    grad
}

/// The derivative of [`reference_loss`] with respect to the logarithm of the scale 1/t.
pub fn reference_scale_gradient(contrast: &Contrast, z: &[f64]) -> f64 {
    let logits = logits(contrast, &normalised(contrast.dim, z).0);
    let weights = weights(contrast, &logits);
    let terms = weights.iter().map(|(i, k, weight)| weight * logits[*i][*k]);
    terms.sum::<f64>() / contrast.counted() as f64
}

/// The derivative of the sum of all losses with respect to the logit of a query and a key: both, and it.
fn weights(contrast: &Contrast, logits: &[Vec<f64>]) -> Vec<(usize, usize, f64)> {
    let mut weights = Vec::new();
    for (i, positives) in queries(contrast) {
        let log_sum = log_sum(contrast, logits, i);
        let softmax = denominator(contrast, i).map(|k| (i, k, (logits[i][k] - log_sum).exp()));
        let share = (positives.len() as f64).recip();
        weights.extend(softmax.chain(positives.iter().map(|p| (i, *p, -share))));
    }
    weights
}

/// The queries that count, with their positives.
fn queries(contrast: &Contrast) -> Vec<(usize, Vec<usize>)> {
    let positives = |query| match &contrast.positives {
        Positives::Keys(rows) | Positives::Beside(rows) => vec![rows[query]],
        Positives::Classes(classes) => classes.positives(query).collect(),
    };
    let all = (0..contrast.queries()).map(|query| (query, positives(query)));
    all.filter(|(_, positives)| !positives.is_empty()).collect()
}

/// The rows in the denominator of a query.
fn denominator(contrast: &Contrast, query: usize) -> impl Iterator<Item = usize> {
    let groups = contrast.groups.iter();
    let keys = groups
        .filter(move |group| group.queries.contains(&query))
        .flat_map(|group| group.keys.clone())
        .filter(move |key| !contrast.excludes(query, *key));
    let beside = match &contrast.positives {
        Positives::Beside(rows) => Some(rows[query]),
        Positives::Keys(_) | Positives::Classes(_) => None,
    };
    keys.chain(beside)
}

/// Unit rows and 1/|z| of each, with the kernels' notion of a row without direction.
fn normalised(dim: usize, z: &[f64]) -> (Vec<f64>, Vec<f64>) {
    let lengths: Vec<f64> = z
        .chunks(dim)
        .map(|row| {
            let narrow: Vec<f32> = row.iter().map(|x| *x as f32).collect();
            let squares: f64 = row.iter().map(|x| x * x).sum();
            if inverse_length(&narrow) == 0.0 {
                0.0
            } else {
                squares.sqrt().recip()
            }
        })
        .collect();
    let unit = z.iter().enumerate().map(|(i, x)| x * lengths[i / dim]);
    (unit.collect(), lengths)
}

/// Logits of all queries with all rows.
fn logits(contrast: &Contrast, unit: &[f64]) -> Vec<Vec<f64>> {
    let row = |i: usize| &unit[i * contrast.dim..][..contrast.dim];
    let dot = |i, k| row(i).iter().zip(row(k)).map(|(a, b)| a * b).sum::<f64>();
    let logit = |i, k| dot(i, k) / f64::from(contrast.temperature);
    (0..contrast.queries())
        .map(|i| (0..contrast.rows).map(|k| logit(i, k)).collect())
        .collect()
}

fn log_sum(contrast: &Contrast, logits: &[Vec<f64>], query: usize) -> f64 {
    let keys = || denominator(contrast, query).map(|k| logits[query][k]);
    let largest = keys().fold(f64::NEG_INFINITY, f64::max);
    let sum: f64 = keys().map(|logit| (logit - largest).exp()).sum();
    largest + sum.ln()
}

/// The loss of [`Sampled`], by its definition.
pub fn reference_sampled(sampled: &Sampled<'_>, z: &[f64]) -> f64 {
    let (dim, examples) = (sampled.dim, sampled.positives.len());
    let draws = sampled.noise.len() / examples;
    let (unit, _) = normalised(dim, z);
    let logit = |i: usize, row: usize| {
        let pairs = unit[i * dim..][..dim]
            .iter()
            .zip(&sampled.bank[row * dim..]);
        let dot: f64 = pairs.map(|(u, x)| u * f64::from(*x)).sum();
        dot / f64::from(sampled.temperature)
    };
    let loss = |i: usize| {
        let noise = &sampled.noise[i * draws..][..draws];
        let sum: f64 = noise.iter().map(|row| logit(i, *row).exp()).sum();
        (sum / draws as f64).ln() - logit(i, sampled.positives[i])
    };
    (0..examples).map(loss).sum::<f64>() / examples as f64
}
