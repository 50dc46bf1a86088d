use super::*;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// Examples whose values tell their index and draw; some are broken.
#[derive(Default)]
struct Numbers {
    len: usize,
    fails: Option<usize>,
    panics: Option<usize>,
    nan: Option<usize>,
    loads: AtomicUsize,
}

impl Dataset for Numbers {
    fn len(&self) -> usize {
        self.len
    }
    fn shape(&self) -> [usize; 3] {
        [1, 1, 3]
    }
    fn label(&self, index: usize) -> Option<u32> {
        Some(index as u32 % 5)
    }
    fn load(&self, index: usize, draw: Draw, out: &mut [f32]) -> Result<(), DataError> {
        self.loads.fetch_add(1, Ordering::SeqCst);
        if index.is_multiple_of(7) {
            std::thread::sleep(Duration::from_micros(300));
        }
        if self.fails == Some(index) {
            return Err(DataError::example("numbers", "is broken"));
        }
        assert!(self.panics != Some(index), "number {index} cannot be drawn");
        let random = rand::Rng::next_u32(&mut draw.sequence(index)) >> 8;
        out.copy_from_slice(&[index as f32, draw.epoch as f32, random as f32]);
        if self.nan == Some(index) {
            out[1] = f32::INFINITY;
        }
        Ok(())
    }
}

fn numbers(len: usize) -> Arc<Numbers> {
    Arc::new(Numbers {
        len,
        ..Default::default()
    })
}

type Content = (Vec<f32>, [usize; 4], Vec<usize>, Vec<Option<u32>>);

fn content(batch: Result<Batch, DataError>) -> Content {
    let batch = batch.unwrap();
    (
        batch.x.clone(),
        batch.dims,
        batch.indices.clone(),
        batch.labels.clone(),
    )
}

fn training(dataset: Arc<Numbers>, workers: usize, seed: u64) -> Loader {
    Loader::training(dataset, 10, workers, seed).unwrap()
}

#[test]
fn batches_do_not_depend_on_workers() {
    let all = |workers, seed, epoch| -> Vec<Content> {
        training(numbers(103), workers, seed)
            .epoch(epoch)
            .map(content)
            .collect()
    };
    let alone = all(0, 5, 2);
    assert_eq!(alone.len(), 10);
    assert_eq!(alone, all(1, 5, 2));
    assert_eq!(alone, all(4, 5, 2));
    let shared = training(numbers(103), 2, 5).shared_by_all_threads(true);
    assert_eq!(alone, shared.epoch(2).map(content).collect::<Vec<_>>());
    assert_ne!(alone, all(4, 6, 2));
    assert_ne!(alone[0].2, all(0, 5, 3)[0].2);
}

#[test]
fn views_do_not_depend_on_workers_and_pair_by_pair_on_the_epoch() {
    use crate::modality::by_name;
    use crate::views::{Stage, ViewsConfig};
    let data = crate::DataConfig {
        embedded_train: 24,
        embedded_test: 4,
        ..Default::default()
    };
    let set = by_name("image")
        .unwrap()
        .open(None, &data, 0)
        .unwrap()
        .train;
    let recipe = crate::Recipe::new("image", &[Stage::Expert], &ViewsConfig::default());
    let recipe = Arc::new(recipe.unwrap().unwrap());
    let pairs = |workers, epoch, first| -> Vec<Vec<Vec<f32>>> {
        let loader = Loader::training(Arc::clone(&set), 4, workers, 7).unwrap();
        let loader = loader.with_views(Arc::clone(&recipe), 2, 7);
        let batches = loader.epoch_from(epoch, first);
        batches
            .map(|batch| {
                let batch = batch.unwrap();
                batch.views().into_iter().map(<[f32]>::to_vec).collect()
            })
            .collect()
    };
    let alone = pairs(0, 3, 0);
    assert_eq!(alone.len(), 6);
    assert_eq!(alone, pairs(1, 3, 0));
    assert_eq!(alone, pairs(3, 3, 0));
    assert_eq!(alone[2..], pairs(2, 3, 2));
    assert_ne!(alone, pairs(0, 4, 0));
    assert!(
        alone
            .iter()
            .all(|views| views.len() == 2 && views[0] != views[1])
    );
    let loader = Loader::training(Arc::clone(&set), 4, 0, 7).unwrap();
    let batch = loader.clone().epoch(0).next().unwrap().unwrap();
    assert_eq!(batch.views(), [&batch.x[..]]);
    let single = loader.clone().with_views(Arc::clone(&recipe), 1, 7);
    let single = single.epoch(3).next();
    let single = single.unwrap().unwrap();
    assert_eq!(single.views(), [&alone[0][0][..]]);
    let many = loader.with_views(recipe, 5, 7).epoch(3).next();
    let many = many.unwrap().unwrap();
    assert_eq!(many.views()[..2], [&alone[0][0][..], &alone[0][1][..]]);
    let views = many.views();
    let new = (0..5).all(|view| !views[..view].contains(&views[view]));
    assert!(new && views.len() == 5);
}

#[test]
fn an_epoch_visits_an_example_at_most_once() {
    let loader = training(numbers(103), 2, 1);
    let mut seen: Vec<_> = loader
        .epoch(0)
        .flat_map(|b| b.unwrap().indices.clone())
        .collect();
    seen.sort_unstable();
    seen.dedup();
    assert_eq!(seen.len(), 100);
}

#[test]
fn a_continued_epoch_gives_the_same_batches() {
    let loader = training(numbers(200), 3, 9);
    let whole: Vec<_> = loader.epoch(1).map(content).collect();
    for first in [0, 1, 13, 19, 20, 25] {
        let batches = loader.epoch_from(1, first);
        assert_eq!(batches.position(), first);
        let rest: Vec<_> = batches.map(content).collect();
        assert_eq!(rest, whole[first.min(20)..]);
    }
}

#[test]
fn evaluation_visits_all_in_order() {
    let loader = Loader::evaluation(numbers(23), 10, 2).unwrap();
    assert_eq!(loader.batches_per_epoch(), 3);
    let batches: Vec<_> = loader.epoch(4).map(content).collect();
    assert_eq!(batches[2].1, [3, 1, 1, 3]);
    let order: Vec<_> = batches.iter().flat_map(|b| b.2.clone()).collect();
    assert_eq!(order, (0..23).collect::<Vec<_>>());
    // No random choices: the epoch does not matter.
    let again: Vec<_> = loader.epoch(0).map(content).collect();
    assert_eq!(batches, again);
}

#[test]
fn errors_and_panics_come_in_the_place_of_their_batch() {
    for workers in [0, 3] {
        let broken = Numbers {
            len: 60,
            fails: Some(12),
            panics: Some(35),
            nan: Some(59),
            ..Default::default()
        };
        let loader = Loader::evaluation(Arc::new(broken), 10, workers).unwrap();
        let results: Vec<_> = loader
            .epoch(0)
            .map(|b| b.map_err(|e| e.to_string()))
            .collect();
        assert_eq!(results.len(), 6);
        let message = |k: usize| results[k].as_ref().unwrap_err().as_str();
        assert_eq!(message(1), "numbers: is broken");
        assert_eq!(
            message(3),
            "example 35: loading it failed: number 35 cannot be drawn"
        );
        assert!(
            message(5).starts_with("example 59: the value at channel 0, row 0, column 1 is inf")
        );
        assert_eq!(results[4].as_ref().unwrap().indices[0], 40);
    }
}

#[test]
fn the_queue_is_bounded_and_stops_early() {
    let dataset = numbers(1000);
    let mut batches = training(Arc::clone(&dataset), 2, 0).epoch(0);
    assert!(batches.next().is_some());
    // One batch taken, 2 × 2 ahead.
    let loads = || dataset.loads.load(Ordering::SeqCst);
    while loads() < 50 {
        std::thread::yield_now();
    }
    std::thread::sleep(Duration::from_millis(20));
    assert_eq!(loads(), 50);
    drop(batches);
    assert_eq!(loads(), 50);
    assert_eq!(
        Arc::strong_count(&dataset),
        1,
        "a worker outlived its iterator"
    );
}

#[test]
fn buffers_are_used_again() {
    let loader = training(numbers(100), 0, 0);
    let mut batches = loader.epoch(0);
    let first = batches.next().unwrap().unwrap().x.as_ptr();
    assert_eq!(loader.buffers.free(), 1);
    let second = batches.next().unwrap().unwrap();
    assert_eq!(second.x.as_ptr(), first);
    assert_eq!(loader.buffers.free(), 0);
}

#[test]
fn impossible_batch_sizes_are_errors() {
    let too_large = Loader::training(numbers(9), 10, 1, 0)
        .err()
        .unwrap()
        .to_string();
    assert_eq!(
        too_large,
        "train.batch_size = 10: larger than the data set: it has 9 training examples, \
         and batches are full; write 9 or less"
    );
    assert!(Loader::training(numbers(9), 0, 1, 0).is_err());
    assert!(Loader::evaluation(numbers(9), 0, 1).is_err());
    assert_eq!(
        Loader::evaluation(numbers(0), 5, 2)
            .unwrap()
            .epoch(0)
            .count(),
        0
    );
}
