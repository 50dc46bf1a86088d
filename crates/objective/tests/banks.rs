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
