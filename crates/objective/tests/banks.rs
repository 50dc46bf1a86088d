//! Memory banks and key queues beyond the original's numbers: wrap-around, look-ups, bad input.

use viewmaker_objective::ObjectiveError;
use viewmaker_objective::key_queue::KeyQueue;
use viewmaker_objective::memory_bank::MemoryBank;

#[test]
fn the_queue_wraps_around() -> Result<(), ObjectiveError> {
    let mut queue = KeyQueue::from_rows(vec![0.0; 6], 2, 2)?;
    queue.enqueue(&[0.0, 2.0, 3.0, 0.0])?;
    assert_eq!(queue.rows(), [1.0, 0.0, 0.0, 0.0, 0.0, 1.0]);
    assert_eq!(queue.next(), 1);
    // More keys than rows: the last ones stay.
    queue.enqueue(&[1.0, 0.0, 1.0, 0.0, 0.0, 1.0, 0.0, -1.0])?;
    assert_eq!(queue.rows(), [0.0, 1.0, 0.0, -1.0, 1.0, 0.0]);
    assert_eq!(queue.next(), 2);
    assert!(queue.enqueue(&[1.0]).is_err());
    assert!(KeyQueue::from_rows(vec![0.0; 6], 2, 3).is_err());
    assert!(KeyQueue::from_rows(vec![0.0; 5], 2, 0).is_err());
    assert!(KeyQueue::from_rows(Vec::new(), 0, 0).is_err());
    Ok(())
}

/// Whoever copies the newest rows after every change has the whole queue.
#[test]
fn the_newest_rows_are_those_that_a_copy_lacks() -> Result<(), ObjectiveError> {
    let mut queue = KeyQueue::new(7, 2, 1)?;
    let mut copy = vec![f32::NAN; queue.rows().len()];
    let mut seen = 0;
    let mut most = 0;
    // Within the ring, over its end, exactly once around, and more than that; none at all.
    for keys in [0, 3, 3, 2, 0, 7, 9, 1] {
        let values: Vec<f32> = (0..2 * keys).map(|i| (i + keys) as f32 + 1.0).collect();
        queue.enqueue(&values)?;
        let ranges: Vec<_> = queue.newest(queue.written() - seen).collect();
        for rows in &ranges {
            let elements = 2 * rows.start..2 * rows.end;
            copy[elements.clone()].copy_from_slice(&queue.rows()[elements]);
        }
        most = most.max(ranges.len());
        seen = queue.written();
        assert_eq!(copy, queue.rows(), "{keys}: {ranges:?}");
    }
    assert_eq!(most, 2, "no batch went over the end of the ring");
    let mut restored = KeyQueue::new(7, 2, 2)?;
    let seen = restored.written();
    restored.load_state("moco-v2", &queue.state())?;
    assert_eq!(
        restored
            .newest(restored.written() - seen)
            .map(|r| r.len())
            .sum::<usize>(),
        7
    );
    Ok(())
}

#[test]
fn new_rows_are_unit_and_depend_on_the_seed() -> Result<(), ObjectiveError> {
    let banks = [1, 1, 2].map(|seed| MemoryBank::new(40, 7, seed));
    let [first, same, other] = banks;
    let (first, same, other) = (first?, same?, other?);
    assert_eq!(first, same);
    assert_ne!(first, other);
    let queue = KeyQueue::new(40, 7, 1)?;
    for row in first.rows().chunks(7).chain(queue.rows().chunks(7)) {
        let squares: f32 = row.iter().map(|x| x * x).sum();
        assert!((squares - 1.0).abs() < 1e-6);
    }
    assert!(MemoryBank::new(0, 7, 1).is_err());
    assert!(MemoryBank::new(7, 0, 1).is_err());
    Ok(())
}

#[test]
fn of_equal_indices_the_last_wins() -> Result<(), ObjectiveError> {
    let mut bank = MemoryBank::from_rows(vec![1.0, 0.0, 0.0, 1.0], 2)?;
    bank.update(&[0, 0], &[0.0, -5.0, 0.0, 5.0], 0.5)?;
    let half = 0.5_f32.sqrt();
    for (got, want) in bank.rows().iter().zip([half, half, 0.0, 1.0]) {
        assert!((got - want).abs() < 1e-7);
    }
    Ok(())
}

#[test]
fn the_nearest_row_is_the_first_of_the_largest() -> Result<(), ObjectiveError> {
    let rows = vec![0.0, 1.0, 1.0, 0.0, 1.0, 0.0, -1.0, 0.0];
    let bank = MemoryBank::from_rows(rows, 2)?;
    assert_eq!(bank.nearest(&[5.0, 1.0, -1.0, 0.5, 0.0, 0.0])?, [1, 3, 0]);
    assert_eq!(bank.distances(&[0.0, 0.0])?, [1.0; 4]);
    assert!(bank.nearest(&[1.0]).is_err());
    assert!(bank.dot_products(&[1.0, 2.0, 3.0]).is_err());
    Ok(())
}
