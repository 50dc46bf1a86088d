//! Few-shot episodes on frozen features, classified by the nearest class mean.

use super::features::Features;
use super::spread::Spread;
use super::{Evaluation, Layer};
use crate::error::{Error, Result};
use crate::progress::Ui;
use rand::seq::SliceRandom;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use viewmaker_ops::random::Philox;

/// Stream of the generator; the step is the episode.
const STREAM: u32 = 0x23;

/// What nearness means.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Nearness {
    /// Squared Euclidean distance of the features.
    Euclidean,
    /// Cosine: features and class means are scaled to length 1 first.
    Cosine,
}

/// Accuracies of few-shot episodes of one kind.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct FewshotAt {
    /// The episodes.
    pub settings: Episodes,
    /// Mean accuracy over the episodes, in `[0, 1]`.
    pub accuracy: f64,
    /// Standard deviation over the episodes; `None` for a single one.
    pub std: Option<f64>,
    /// Half the width of the 95 % interval of the mean.
    pub interval95: f64,
    /// Mean accuracy of the same encoder before training.
    pub untrained: f64,
    /// Half the width of its 95 % interval.
    pub untrained_interval95: f64,
}

/// What few examples of new classes are enough for.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct FewshotResult {
    /// Where the features were read.
    pub layer: Layer,
    /// Number of features.
    pub dim: usize,
    /// Held-out examples that the episodes are drawn from.
    pub test_examples: usize,
    /// Accuracies by number of labelled examples.
    pub shots: Vec<FewshotAt>,
}

/// One kind of episode.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Episodes {
    /// Classes of an episode.
    pub ways: usize,
    /// Labelled examples of each class.
    pub shots: usize,
    /// Examples of each class that are classified.
    pub queries: usize,
    /// Number of episodes.
    pub episodes: usize,
    /// What nearness means.
    pub distance: Nearness,
    /// Seed of the choice of classes and examples.
    pub seed: u64,
}

impl Episodes {
    /// The accuracy of every episode, with mean and deviation. In each, `ways` classes are drawn, and
    /// `shots + queries` examples of each; a query belongs to the class k whose mean `c_k` of the
    /// shots is nearest, `argmin_k |q − c_k|²`.
    ///
    /// Source: Snell, Swersky & Zemel, *Prototypical Networks for Few-shot Learning* (NIPS 2017),
    /// equations 1 and 2.
    ///
    /// # Errors
    /// When fewer than `ways` classes have `shots + queries` examples.
    pub fn run(&self, features: &Features) -> Result<Spread> {
        let mut features = features.clone();
        if self.distance == Nearness::Cosine {
            features.normalize();
        }
        let classes = self.eligible(&features.labels)?;
        let values: Vec<f64> = (0..self.episodes)
            .into_par_iter()
            .map(|episode| self.accuracy(&features, &classes, episode))
            .collect();
        Ok(Spread::of(values))
    }

    /// The rows of every class that has enough of them.
    fn eligible(&self, labels: &[u32]) -> Result<Vec<Vec<usize>>> {
        let most = labels.iter().max().map_or(0, |most| *most as usize + 1);
        let mut classes = vec![Vec::new(); most];
        for (row, label) in labels.iter().enumerate() {
            classes[*label as usize].push(row);
        }
        classes.retain(|rows| !rows.is_empty());
        let (all, needed) = (classes.len(), self.shots + self.queries);
        classes.retain(|rows| rows.len() >= needed);
        if classes.len() >= self.ways {
            return Ok(classes);
        }
        Err(Error::usage(format!(
            "eval.fewshot.ways = {}: {} of the {all} held-out classes have the {needed} examples \
             that an episode takes of each (shots and queries: {} + {}); choose fewer \
             eval.fewshot.ways, eval.fewshot.shots or eval.fewshot.queries, or hold out more data",
            self.ways,
            classes.len(),
            self.shots,
            self.queries,
        )))
    }

    fn accuracy(&self, features: &Features, classes: &[Vec<usize>], episode: usize) -> f64 {
        let mut random = Philox::new(self.seed, STREAM, episode as u32).sequence();
        let mut order: Vec<usize> = (0..classes.len()).collect();
        let (ways, _) = order.partial_shuffle(&mut random, self.ways);
        let mut means = Vec::with_capacity(self.ways * features.dim);
        let mut queries = Vec::with_capacity(self.ways);
        for class in ways {
            let mut rows = classes[*class].clone();
            let (drawn, _) = rows.partial_shuffle(&mut random, self.shots + self.queries);
            means.extend(self.mean(features, &drawn[..self.shots]));
            queries.push(drawn[self.shots..].to_vec());
        }
        let right = queries.iter().enumerate().map(|(way, rows)| {
            let right = |row: &&usize| nearest(&means, features.row(**row)) == way;
            rows.iter().filter(right).count()
        });
        right.sum::<usize>() as f64 / (self.ways * self.queries) as f64
    }

    fn mean(&self, features: &Features, rows: &[usize]) -> Vec<f64> {
        let mut mean = vec![0.0; features.dim];
        for &row in rows {
            for (m, x) in mean.iter_mut().zip(features.row(row)) {
                *m += f64::from(*x) / rows.len() as f64;
            }
        }
        let length = mean.iter().map(|m| m * m).sum::<f64>().sqrt();
        if self.distance == Nearness::Cosine && length > 0.0 {
            mean.iter_mut().for_each(|m| *m /= length);
        }
        mean
    }
}

impl Evaluation<'_> {
    /// Few-shot episodes on the frozen features of held-out examples; `None` without labels.
    ///
    /// # Errors
    /// When there are too few classes or examples for an episode, or one cannot be loaded.
    pub fn fewshot(&self, ui: &mut dyn Ui) -> Result<Option<FewshotResult>> {
        if self.splits.class_names.is_empty() {
            return Ok(None);
        }
        let section = &self.config.eval.fewshot;
        let test = self.frozen_test(Layer::Pooled, ui)?;
        let untrained = self.untrained()?;
        let untrained = self.of(&untrained).frozen_test(Layer::Pooled, ui)?;
        let at = |&shots: &usize| {
            let settings = section.episodes_of(shots, self.config.seed);
            let accuracy = settings.run(&test)?;
            let untrained = settings.run(&untrained)?;
            Ok(FewshotAt {
                settings,
                accuracy: accuracy.mean,
                std: accuracy.std,
                interval95: accuracy.interval95(),
                untrained: untrained.mean,
                untrained_interval95: untrained.interval95(),
            })
        };
        Ok(Some(FewshotResult {
            layer: Layer::Pooled,
            dim: test.dim,
            test_examples: test.len(),
            shots: section.shots.iter().map(at).collect::<Result<_>>()?,
        }))
    }

    /// Whether there are enough classes and examples for the episodes of [`Evaluation::fewshot`]; reads no
    /// example.
    ///
    /// # Errors
    /// When there are too few.
    pub fn check_fewshot(&self) -> Result<()> {
        let test = &self.splits.test;
        let labels: Vec<u32> = (0..test.len()).filter_map(|i| test.label(i)).collect();
        let section = &self.config.eval.fewshot;
        section.shots.iter().try_for_each(|&shots| {
            let episodes = section.episodes_of(shots, self.config.seed);
            episodes.eligible(&labels).map(drop)
        })
    }
}

/// The nearest of the means (rows as long as `query`); the first of equally near ones.
fn nearest(means: &[f64], query: &[f32]) -> usize {
    let distance = |mean: &[f64]| -> f64 {
        let pairs = mean.iter().zip(query);
        pairs.map(|(m, x)| (m - f64::from(*x)).powi(2)).sum()
    };
    let distances = means.chunks_exact(query.len().max(1)).map(distance);
    let best =
        distances.enumerate().fold(
            (0, f64::INFINITY),
            |best, (k, d)| {
                if d < best.1 { (k, d) } else { best }
            },
        );
    best.0
}

#[cfg(test)]
mod tests {
    use super::*;

    const EPISODES: Episodes = Episodes {
        ways: 3,
        shots: 2,
        queries: 4,
        episodes: 50,
        distance: Nearness::Euclidean,
        seed: 1,
    };

    /// `classes` classes of `count` rows each; `far` moves the classes apart.
    fn features(classes: usize, count: usize, far: f32) -> Features {
        let random = Philox::new(7, 8, 9);
        let labels: Vec<u32> = (0..classes * count).map(|i| (i % classes) as u32).collect();
        let rows = labels.iter().enumerate().flat_map(|(i, label)| {
            (0..8).map(move |d| {
                let centre = if d == *label as usize { far } else { 0.0 };
                centre + random.uniform((8 * i + d) as u64)
            })
        });
        Features {
            dim: 8,
            rows: rows.collect(),
            indices: (0..labels.len()).collect(),
            labels,
        }
    }

    #[test]
    fn nearest_means_of_known_places() {
        let means = [0.0, 0.0, 4.0, 0.0];
        assert_eq!(nearest(&means, &[1.9, 3.0]), 0);
        assert_eq!(nearest(&means, &[2.1, 3.0]), 1);
        assert_eq!(
            nearest(&means, &[2.0, 0.0]),
            0,
            "the first of equally near ones"
        );
    }

    #[test]
    fn separate_classes_are_found_and_noise_is_chance() {
        for distance in [Nearness::Euclidean, Nearness::Cosine] {
            let episodes = Episodes {
                distance,
                ..EPISODES
            };
            let apart = episodes.run(&features(5, 12, 9.0)).unwrap();
            assert_eq!((apart.mean, apart.std), (1.0, Some(0.0)));
        }
        let many = Episodes {
            episodes: 600,
            ..EPISODES
        };
        let noise = many.run(&features(5, 12, 0.0)).unwrap();
        assert!((noise.mean - 1.0 / 3.0).abs() < 0.05, "{}", noise.mean);
        assert!(noise.interval95() < 0.02);
    }

    #[test]
    fn episodes_do_not_depend_on_threads_and_depend_on_the_seed() {
        let features = features(6, 10, 0.3);
        let run = |threads, seed| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads);
            let episodes = Episodes { seed, ..EPISODES };
            pool.build()
                .unwrap()
                .install(|| episodes.run(&features).unwrap())
        };
        assert_eq!(run(1, 1), run(3, 1));
        assert_ne!(run(1, 1).values, run(1, 2).values);
    }

    #[test]
    fn too_few_classes_are_explained() {
        let message = EPISODES.run(&features(2, 12, 1.0)).unwrap_err().to_string();
        assert!(
            message.starts_with("eval.fewshot.ways = 3: 2 of the 2 held-out"),
            "{message}"
        );
        let message = EPISODES.run(&features(5, 5, 1.0)).unwrap_err().to_string();
        assert!(
            message.contains("0 of the 5") && message.contains("6 examples"),
            "{message}"
        );
        assert!(EPISODES.run(&Features::default()).is_err());
    }
}
