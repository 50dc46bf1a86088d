//! Zero-shot classification: the class whose prompts lie nearest to an example.

use super::{Evaluation, Layer};
use crate::error::Result;
use crate::eval::features::Extraction;
use crate::progress::Ui;
use crate::train::text;
use serde::Serialize;
use viewmaker_data::captions;
use viewmaker_exec::Tower;

/// Result of a zero-shot classification.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ZeroShotResult {
    /// Part of the held-out examples whose class was told, in `[0, 1]`.
    pub accuracy: f64,
    /// What the prompts of a class say, its name in the place of `{}`.
    pub prompts: Vec<String>,
    /// Held-out examples.
    pub test_examples: usize,
}

impl Evaluation<'_> {
    /// Tells the class of every held-out example by the cosine of its embedding with the classes'
    /// prompts; `None` without labels.
    ///
    /// The embedding of a class is the mean of the unit embeddings of its prompts
    /// (`eval.prompts`), as in Radford et al., *Learning Transferable Visual Models From Natural
    /// Language Supervision* (ICML 2021), section 3.1.4.
    ///
    /// # Errors
    /// When an example cannot be loaded or the encoder has diverged.
    pub fn zero_shot(&self, texts: &Tower, ui: &mut dyn Ui) -> Result<Option<ZeroShotResult>> {
        let names = &self.splits.class_names;
        if names.is_empty() {
            return Ok(None);
        }
        let _statistics = self.clean_statistics()?;
        let how = Extraction {
            value: self.players.encoder.net().output(),
            ..self.extraction(Layer::Pooled)?
        };
        let mut test = self.embed(&self.splits.test, how, "embedding the test set", ui)?;
        test.normalize();
        let prompts = &self.config.eval.prompts;
        let classes: Vec<Vec<f32>> = names
            .iter()
            .map(|name| class_embedding(texts, name, prompts))
            .collect();
        let right = (0..test.len())
            .filter(|&row| nearest(test.row(row), &classes) == test.labels[row] as usize)
            .count();
        let accuracy = right as f64 / test.len().max(1) as f64;
        Ok((!test.is_empty()).then(|| ZeroShotResult {
            accuracy,
            prompts: prompts.clone(),
            test_examples: test.len(),
        }))
    }
}

/// The unit mean of the unit embeddings of the prompts of a class.
fn class_embedding(texts: &Tower, name: &str, prompts: &[String]) -> Vec<f32> {
    let filled = prompts.iter().map(|prompt| captions::fill(prompt, name));
    let rows = text::encode(texts, &filled.collect::<Vec<_>>());
    let dim = rows.len() / prompts.len().max(1);
    let mut sum = vec![0.0; dim];
    for row in rows.chunks(dim.max(1)) {
        let scale = 1.0 / length(row);
        sum.iter_mut().zip(row).for_each(|(s, x)| *s += scale * x);
    }
    let scale = 1.0 / length(&sum);
    sum.iter_mut().for_each(|s| *s *= scale);
    sum
}

/// Euclidean length, at least the smallest positive normal number.
fn length(row: &[f32]) -> f32 {
    let squares = row.iter().map(|x| x * x).sum::<f32>();
    squares.sqrt().max(f32::MIN_POSITIVE)
}

/// The class with the largest product, the first of equal ones.
fn nearest(row: &[f32], classes: &[Vec<f32>]) -> usize {
    let product = |class: &Vec<f32>| row.iter().zip(class).map(|(a, b)| a * b).sum::<f32>();
    let products: Vec<f32> = classes.iter().map(product).collect();
    (0..products.len()).fold(0, |best, k| {
        if products[k] > products[best] {
            k
        } else {
            best
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_class_is_the_first_of_the_largest_products() {
        let classes = [vec![1.0, 0.0], vec![0.0, 1.0], vec![0.0, 1.0]];
        assert_eq!(nearest(&[0.9, 0.1], &classes), 0);
        assert_eq!(nearest(&[0.1, 0.9], &classes), 1);
        assert_eq!(nearest(&[f32::NAN, 0.9], &classes), 0);
    }
}
