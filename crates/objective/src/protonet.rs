//! Prototypical networks: classify queries by their nearest class mean, in tasks whose classes are
//! the examples of a batch and whose members are views of them.

use crate::objective::{BatchInfo, Branches, Embeddings, Loss, Objective, Outputs, Setup};
use crate::registry::Entry;
use crate::tensor::stack;
use crate::tensor::{Matrix, Real, Scalar, bounded, check_shapes, cross_entropy, pair_distances};
use crate::{ObjectiveConfig, ObjectiveError};
use dfdx::prelude::*;
use viewmaker_ops::random::Philox;

const NAME: &str = "protonet";

/// Separates the draws of the tasks from every other use of random numbers.
const TASKS: u32 = 0x7072_6f74;

/// How it is registered.
pub(crate) const ENTRY: Entry = Entry {
    name: NAME,
    title: "Prototypical networks on tasks whose classes are examples: shots + queries views of each",
    equation: "mean over tasks and queries q of −log softmax_k(−|q − c_k|²), c_k = mean of the shots of k",
    paper: "Snell, Swersky & Zemel, Prototypical Networks, NIPS 2017, eq. 2; on augmented instances: \
            Ni et al., The Close Relationship Between Contrastive Learning and Meta-Learning, ICLR 2022",
    branches: Branches::TWO_VIEWS,
    game: "through support and query views",
    options: &["ways", "shots", "queries", "tasks"],
    defaults: &[],
    build: |entry, config, setup| Ok(Box::new(Tasks::new(entry, config, setup))),
};

/// What [`protonet`] computes for one episode.
#[derive(Debug)]
pub struct Episode<E: Real, T>
where
    Cpu: Device<E>,
{
    /// Mean cross-entropy over the queries, 0 and up.
    pub loss: Scalar<E, T>,
    /// Share of queries that are nearest to their own prototype, 0 to 1.
    pub accuracy: f64,
}

/// Cross-entropy of `−|q − c_k|²` over the classes, where the prototype `c_k` is the mean of the
/// support rows of class k; and the accuracy of the nearest prototype.
///
/// `support`: `[ways·shots, D]` and `query`: `[ways·queries, D]`, rows of one class next to each other.
///
/// Source: Snell, Swersky & Zemel, *Prototypical Networks for Few-shot Learning* (NIPS 2017),
/// equations 1 and 2 and algorithm 1.
pub fn protonet<E: Real, T: Tape<E, Cpu>>(
    support: Matrix<E, T>,
    query: Matrix<E, T>,
    ways: usize,
) -> Result<Episode<E, T>, ObjectiveError>
where
    Cpu: Device<E>,
{
    let ((supports, d), (queries, query_d)) = (*support.shape(), *query.shape());
    let fits = |rows: usize| ways > 0 && rows > 0 && rows.is_multiple_of(ways);
    if !fits(supports) || !fits(queries) || d != query_d || d == 0 {
        let expected = format!("support and query rows in multiples of {ways} ways, one width");
        let found = format!("[{supports}, {d}] and [{queries}, {query_d}]");
        return Err(ObjectiveError::input(NAME, expected, found));
    }
    let by_class = bounded(support).reshape_like(&(ways, supports / ways, d));
    let prototypes = by_class.mean::<(usize, usize), Axis<1>>();
    let logits = -pair_distances(bounded(query), prototypes);
    let targets: Vec<usize> = (0..queries).map(|q| q / (queries / ways)).collect();
    let accuracy = accuracy(&logits.as_vec(), &targets, ways);
    let loss = cross_entropy(logits, targets);
    Ok(Episode { loss, accuracy })
}

/// Share of rows whose largest logit (the first of equal ones) is the target's.
fn accuracy<E: Real>(logits: &[E], targets: &[usize], ways: usize) -> f64 {
    let right = logits.chunks(ways).zip(targets).filter(|(row, target)| {
        let best = (0..ways).fold(0, |best, k| if row[k] > row[best] { k } else { best });
        best == **target
    });
    right.count() as f64 / targets.len() as f64
}

/// [`protonet`] on tasks made of a batch: `ways` of its examples are the classes of a task, the
/// first `shots` views of each are its support, the other `queries` views its queries. The loss is the
/// mean over `tasks` tasks.
///
/// Tasks share no example as long as the batch has enough of them: examples are dealt from a shuffled
/// batch, which is shuffled anew when fewer than `ways` are left.
#[derive(Debug)]
struct Tasks {
    entry: &'static Entry,
    ways: usize,
    shots: usize,
    queries: usize,
    tasks: usize,
    seed: u64,
}

impl Tasks {
    fn new(entry: &'static Entry, config: &ObjectiveConfig, setup: &Setup) -> Self {
        Self {
            entry,
            ways: config.ways,
            shots: config.shots,
            queries: config.queries,
            tasks: config.tasks,
            seed: setup.seed,
        }
    }

    /// The classes of every task in a batch of `rows` examples, at least `ways`.
    fn deal(&self, rows: usize, pass: u32) -> Vec<Vec<usize>> {
        let draws = Philox::new(self.seed, TASKS, pass);
        let hands = rows / self.ways;
        let mut order = Vec::new();
        let task = |task: usize| {
            if task.is_multiple_of(hands) {
                order = shuffled(rows, draws, (task / hands) as u64);
            }
            order[task % hands * self.ways..][..self.ways].to_vec()
        };
        (0..self.tasks).map(task).collect()
    }
}

/// The numbers below `rows` in the random order number `round`: sorted by random keys.
fn shuffled(rows: usize, draws: Philox, round: u64) -> Vec<usize> {
    let key = |row: usize| draws.block(round * rows as u64 + row as u64);
    let mut order: Vec<usize> = (0..rows).collect();
    order.sort_by_cached_key(|&row| (key(row), row));
    order
}

impl Objective for Tasks {
    fn name(&self) -> &'static str {
        self.entry.name
    }

    fn branches(&self) -> Branches {
        Branches {
            least_batch: self.ways,
            ..Branches::online_views(self.shots + self.queries)
        }
    }

    fn loss(&mut self, outputs: Outputs, batch: &BatchInfo<'_>) -> Result<Loss, ObjectiveError> {
        let views = outputs.embeddings;
        let shapes: Vec<_> = views.iter().map(|z| *z.shape()).collect();
        check_shapes(NAME, &shapes, self.ways)?;
        if views.len() != self.shots + self.queries {
            let expected = format!("{} shots and {} queries", self.shots, self.queries);
            return Err(ObjectiveError::input(
                NAME,
                expected,
                views.len().to_string(),
            ));
        }
        let rows = shapes[0].0;
        let classes = self.deal(rows, batch.pass);
        // Row r of view v is row v·N + r of all.
        let all = views.into_iter().reduce(stack);
        let Some(all) = all else {
            return Err(ObjectiveError::input(NAME, "views", "none"));
        };
        let (all, tape) = all.split_tape();
        let members = |classes: &[usize], views: std::ops::Range<usize>| {
            let of = |class: &usize| views.clone().map(|v| v * rows + class).collect::<Vec<_>>();
            let index: Vec<usize> = classes.iter().flat_map(of).collect();
            let count = index.len();
            let index = all.device().tensor_from_vec(index, (count,));
            all.retaped::<OwnedTape<f32, Cpu>>().gather(index)
        };
        let zero: Scalar<f32> = all.device().tensor(0.0);
        let mut sum: Loss = zero.put_tape(tape);
        for classes in &classes {
            let support: Embeddings = members(classes, 0..self.shots);
            let query: Embeddings = members(classes, self.shots..self.shots + self.queries);
            sum = sum + protonet(support, query, self.ways)?.loss;
        }
        Ok(sum / self.tasks as f32)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tasks(ways: usize, tasks: usize) -> Tasks {
        let config = ObjectiveConfig {
            ways,
            tasks,
            ..ObjectiveConfig::default()
        };
        let setup = Setup {
            embedding_dim: 3,
            dataset_len: 100,
            seed: 4,
        };
        Tasks::new(&ENTRY, &config, &setup)
    }

    #[test]
    fn tasks_have_distinct_classes_and_share_none_while_there_are_enough() {
        let dealt = tasks(4, 5).deal(11, 9);
        assert_eq!(dealt.len(), 5);
        for pair in dealt.chunks(2) {
            let mut seen = pair.concat();
            seen.sort_unstable();
            let count = seen.len();
            seen.dedup();
            assert_eq!(seen.len(), count, "{pair:?}");
            assert!(seen.iter().all(|&row| row < 11));
        }
        assert_ne!(dealt[0], dealt[2], "every round is shuffled anew");
        assert_eq!(dealt, tasks(4, 5).deal(11, 9));
        assert_ne!(dealt, tasks(4, 5).deal(11, 10));
    }

    #[test]
    fn every_example_comes_equally_often() {
        let mut counts = [0; 5];
        for pass in 0..2000 {
            for row in tasks(2, 1).deal(5, pass).concat() {
                counts[row] += 1;
            }
        }
        let fair = |count: &usize| (720..880).contains(count);
        assert!(counts.iter().all(fair), "{counts:?}");
    }
}
