//! Deterministic division of examples into a training and a held-out set.

use crate::{DataError, random};
use std::collections::BTreeMap;
use std::path::Path;
use viewmaker_ops::random::Philox;

/// Two disjoint sets of indices, both ascending, neither empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Division {
    /// Examples to train on.
    pub train: Vec<usize>,
    /// Held-out examples.
    pub held_out: Vec<usize>,
}

/// Holds out `fraction` of the examples of every class (of all examples where they are unlabelled),
/// chosen by `seed`. Every class with two or more
/// examples is in both sets; one with a single example is trained on.
///
/// # Errors
/// When one of the sets would be empty: `source` has too few examples.
pub fn by_class(
    source: &Path,
    labels: &[Option<u32>],
    fraction: f32,
    seed: u64,
) -> Result<Division, DataError> {
    let mut classes = BTreeMap::<Option<u32>, Vec<usize>>::new();
    for (index, &label) in labels.iter().enumerate() {
        classes.entry(label).or_default().push(index);
    }
    let mut held_out = Vec::new();
    for (step, members) in classes.values_mut().enumerate() {
        let mut random = Philox::new(seed, random::SPLIT, step as u32).sequence();
        random::shuffle(members, &mut random);
        held_out.extend_from_slice(&members[..part_of(members.len(), fraction)]);
    }
    divide(source, labels.len(), &held_out)
}

/// Holds out whole groups (speakers, subjects), chosen by `seed`, until they hold `fraction` of the
/// examples; `groups` names the group of every example. No group is in both sets.
///
/// # Errors
/// When there are fewer than two groups.
pub fn by_group(
    source: &Path,
    groups: &[u32],
    fraction: f32,
    seed: u64,
) -> Result<Division, DataError> {
    let mut members = BTreeMap::<u32, Vec<usize>>::new();
    for (index, &group) in groups.iter().enumerate() {
        members.entry(group).or_default().push(index);
    }
    let mut order: Vec<u32> = members.keys().copied().collect();
    random::shuffle(
        &mut order,
        &mut Philox::new(seed, random::SPLIT, 0).sequence(),
    );
    let wanted = part_of(groups.len(), fraction);
    let mut held_out = Vec::new();
    for group in order.iter().skip(1) {
        if held_out.len() >= wanted {
            break;
        }
        held_out.extend_from_slice(&members[group]);
    }
    divide(source, groups.len(), &held_out)
}

/// `fraction` of `count`, rounded, leaving at least one on either side where that is possible.
fn part_of(count: usize, fraction: f32) -> usize {
    if count < 2 {
        return 0;
    }
    let part = (count as f64 * f64::from(fraction)).round() as usize;
    part.clamp(1, count - 1)
}

fn divide(source: &Path, count: usize, held_out: &[usize]) -> Result<Division, DataError> {
    let mut is_held_out = vec![false; count];
    for &index in held_out {
        is_held_out[index] = true;
    }
    let (held_out, train): (Vec<_>, Vec<_>) = (0..count).partition(|&i| is_held_out[i]);
    if train.is_empty() || held_out.is_empty() {
        let why = format!(
            "{count} examples cannot be divided into a training and a held-out set: \
             give more examples (two of a class at least), or folders named train and test"
        );
        return Err(DataError::unusable(source, why));
    }
    Ok(Division { train, held_out })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source() -> &'static Path {
        Path::new("source")
    }

    #[test]
    fn classes_keep_their_proportions() {
        let labels: Vec<_> = (0..300).map(|i| Some(u32::from(i % 3 == 0))).collect();
        let division = by_class(source(), &labels, 0.2, 7).unwrap();
        let ones = division
            .held_out
            .iter()
            .filter(|&&i| labels[i] == Some(1))
            .count();
        assert_eq!((division.held_out.len(), ones), (60, 20));
        let mut all = [division.train.clone(), division.held_out.clone()].concat();
        all.sort_unstable();
        assert_eq!(all, (0..300).collect::<Vec<_>>());
        assert_eq!(division, by_class(source(), &labels, 0.2, 7).unwrap());
        assert_ne!(division, by_class(source(), &labels, 0.2, 8).unwrap());
    }

    #[test]
    fn small_classes_are_in_both_sets() {
        let labels = [Some(0), Some(0), Some(1), Some(1), Some(2)];
        let division = by_class(source(), &labels, 0.01, 1).unwrap();
        assert_eq!(division.held_out.len(), 2);
        assert!(division.train.contains(&4));
        // A class that is held out whole could not be recognised.
        let all_different: Vec<_> = (0..10).map(Some).collect();
        assert!(by_class(source(), &all_different, 0.3, 1).is_err());
    }

    #[test]
    fn groups_stay_together() {
        let groups: Vec<u32> = (0..100).map(|i| i / 10).collect();
        let division = by_group(source(), &groups, 0.25, 3).unwrap();
        assert_eq!(division.held_out.len(), 30);
        for &i in &division.held_out {
            assert!(division.train.iter().all(|&j| groups[j] != groups[i]));
        }
    }

    #[test]
    fn one_example_or_one_group_is_an_error() {
        let message = by_class(source(), &[None], 0.5, 0).unwrap_err().to_string();
        assert!(message.starts_with("source: 1 examples"), "{message}");
        assert!(by_class(source(), &[], 0.5, 0).is_err());
        assert!(by_group(source(), &[4, 4, 4], 0.5, 0).is_err());
    }
}
