//! Several disjoint parts of one allocation at once, without unsafe code.

use std::ops::Range;

/// Splits `arena` into the parts at `ranges`, in the order given.
///
/// Empty ranges give empty parts. The ranges must be disjoint, which a plan guarantees for the
/// buffers of one node.
pub(crate) fn carve<'a, T>(arena: &'a mut [T], ranges: &[Range<usize>]) -> Vec<&'a mut [T]> {
    let mut order: Vec<usize> = (0..ranges.len()).collect();
    order.sort_by_key(|&i| (ranges[i].start, ranges[i].end));
    let mut parts: Vec<&'a mut [T]> = ranges.iter().map(|_| Default::default()).collect();
    let (mut rest, mut position) = (arena, 0);
    for i in order {
        let range = &ranges[i];
        if range.is_empty() {
            continue;
        }
        let (_, tail) = rest.split_at_mut(range.start - position);
        let (part, tail) = tail.split_at_mut(range.len());
        parts[i] = part;
        rest = tail;
        position = range.end;
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_come_back_in_the_order_asked_for() {
        let mut arena: Vec<usize> = (0..20).collect();
        let parts = carve(&mut arena, &[10..13, 0..2, 5..5, 2..5]);
        assert_eq!(parts[0], [10, 11, 12]);
        assert_eq!(parts[1], [0, 1]);
        assert!(parts[2].is_empty());
        assert_eq!(parts[3], [2, 3, 4]);
    }
}
