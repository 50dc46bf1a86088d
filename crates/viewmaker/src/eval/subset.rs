//! Small labelled training sets.

use rand::seq::SliceRandom;
use std::collections::BTreeMap;
use viewmaker_ops::random::Philox;

/// Stream of the generator; the step is the class.
const STREAM: u32 = 0x22;

/// Rows of a training set whose classes are `labels`: `fraction` (in `(0, 1]`) of those of every class,
/// rounded, but at least one, chosen by `seed`; ascending. With one seed, a smaller fraction gives a
/// part of what a larger one gives.
pub fn stratified(labels: &[u32], fraction: f64, seed: u64) -> Vec<usize> {
    let mut classes = BTreeMap::<u32, Vec<usize>>::new();
    for (row, label) in labels.iter().enumerate() {
        classes.entry(*label).or_default().push(row);
    }
    let mut chosen = Vec::new();
    for (class, members) in &mut classes {
        members.shuffle(&mut Philox::new(seed, STREAM, *class).sequence());
        let count = (members.len() as f64 * fraction).round() as usize;
        chosen.extend_from_slice(&members[..count.clamp(1, members.len())]);
    }
    chosen.sort_unstable();
    chosen
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_class_is_there_and_keeps_its_part() {
        let labels: Vec<u32> = (0..1000)
            .map(|i| u32::from(i % 4 == 0) + u32::from(i == 9))
            .collect();
        let count = |rows: &[usize], class| rows.iter().filter(|&&r| labels[r] == class).count();
        let rows = stratified(&labels, 0.1, 3);
        assert_eq!([0, 1].map(|class| count(&rows, class)), [75, 25]);
        assert!(rows.windows(2).all(|pair| pair[0] < pair[1]));
        let few = stratified(&labels, 0.001, 3);
        assert_eq!([0, 1].map(|class| count(&few, class)), [1, 1]);
        assert!(
            few.iter().all(|row| rows.contains(row)),
            "subsets are nested"
        );
        assert_eq!(rows, stratified(&labels, 0.1, 3));
        assert_ne!(rows, stratified(&labels, 0.1, 4));
        assert_eq!(stratified(&labels, 1.0, 0).len(), 1000);
        assert!(stratified(&[], 0.5, 0).is_empty());
    }
}
