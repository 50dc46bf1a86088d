//! Every pair of blocks of rows once, in rounds.
//!
//! A tile of similarities serves both of its blocks: it is the transposed tile of the other pair.
//! Whoever computes it adds to what both blocks gather. In a round every block takes part in one pair
//! at most (the circle method of round-robin tournaments), so the pairs of a round can be computed at
//! the same time, and every block receives its contributions in the order of the rounds whatever the
//! number of threads.

use super::Contrast;
use rayon::prelude::*;
use std::ops::Range;

/// Rows of a block, at most: a tile of this height and width stays in the second-level cache.
const MOST_ROWS: usize = 256;
/// Rows of a block, at least, where there are that many.
const LEAST_ROWS: usize = 32;
/// Blocks that a small matrix is cut into, so that several threads find work.
const WANTED: usize = 16;

/// Rows that follow each other and have the same roles.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Block {
    /// The rows of `z`.
    pub rows: Range<usize>,
    /// Whether they are queries.
    pub queries: bool,
    /// Whether they are keys.
    pub keys: bool,
}

impl Block {
    /// Whether queries of this block look at keys of the other.
    pub(super) const fn asks(&self, other: &Self) -> bool {
        self.queries && other.keys
    }
}

/// Blocks and the order in which they meet.
#[derive(Clone, Debug)]
pub(super) struct Tournament {
    /// The blocks, in the order of their rows.
    pub blocks: Vec<Block>,
    rounds: Vec<Vec<(usize, usize)>>,
}

impl Tournament {
    /// Cuts the rows of a loss into blocks, which depend on its geometry only.
    pub(super) fn new(contrast: &Contrast) -> Self {
        let (queries, keys) = (contrast.queries(), &contrast.keys);
        let mut ends = [queries, keys.start, keys.end, contrast.rows];
        ends.sort_unstable();
        let each = contrast.rows.div_ceil(WANTED).next_multiple_of(LEAST_ROWS);
        let each = each.clamp(LEAST_ROWS, MOST_ROWS);
        let mut blocks = Vec::new();
        let mut start = 0;
        for end in ends {
            while start < end {
                let rows = start..end.min(start + each);
                start = rows.end;
                blocks.push(Block {
                    queries: rows.start < queries,
                    keys: keys.contains(&rows.start),
                    rows,
                });
            }
        }
        let rounds = rounds(&blocks);
        Self { blocks, rounds }
    }

    /// Lets every pair of blocks meet that has something to say to each other. `gathered` holds
    /// `width` elements for every row, and `meet` adds to those of both blocks; a block that meets
    /// itself comes alone.
    pub(super) fn play<T, S>(
        &self,
        gathered: &mut [T],
        width: usize,
        scratch: impl Fn() -> S + Sync + Send,
        meet: impl Fn(&mut S, (usize, &mut [T]), Option<(usize, &mut [T])>) + Sync + Send,
    ) where
        T: Send,
    {
        let mut parts: Vec<&mut [T]> = Vec::with_capacity(self.blocks.len());
        let mut rest = gathered;
        for block in &self.blocks {
            let (part, after) = rest.split_at_mut(block.rows.len() * width);
            parts.push(part);
            rest = after;
        }
        for round in &self.rounds {
            let mut free: Vec<Option<&mut [T]>> =
                parts.iter_mut().map(|part| Some(&mut **part)).collect();
            let mut take = |block: usize| free[block].take().unwrap_or_default();
            let pairs: Vec<_> = round
                .iter()
                .map(|&(a, b)| ((a, take(a)), (a != b).then(|| (b, take(b)))))
                .collect();
            let pairs = pairs.into_par_iter().with_max_len(1);
            pairs.for_each_init(&scratch, |scratch, (a, b)| meet(scratch, a, b));
        }
    }
}

/// The pairs that have something to say to each other, by rounds; each block with itself first.
fn rounds(blocks: &[Block]) -> Vec<Vec<(usize, usize)>> {
    let count = blocks.len();
    let worth = |&(a, b): &(usize, usize)| {
        let (a, b) = (&blocks[a], &blocks[b]);
        a.asks(b) || b.asks(a)
    };
    let alone = (0..count).map(|block| (block, block)).collect();
    // One seat stands still while the others turn; with an odd number one block rests.
    let seats = count.next_multiple_of(2);
    let turns = (1..seats).map(|turn| {
        let at = |seat: usize| match seat {
            0 => 0,
            _ => 1 + (seat - 1 + turn) % (seats - 1),
        };
        let pair = |seat: usize| (at(seat), at(seats - 1 - seat));
        let pairs = (0..seats / 2).map(pair);
        let ordered = pairs.map(|(a, b)| (a.min(b), a.max(b)));
        ordered.filter(|&(_, b)| b < count).collect()
    });
    let rounds = std::iter::once(alone).chain(turns);
    rounds
        .map(|round: Vec<_>| round.into_iter().filter(worth).collect())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_pair_meets_once_and_no_block_twice_in_a_round() {
        for count in 1..12 {
            let block = |i: usize| Block {
                rows: i..i + 1,
                queries: true,
                keys: true,
            };
            let blocks: Vec<Block> = (0..count).map(block).collect();
            let mut met = vec![0; count * count];
            for round in rounds(&blocks) {
                let mut busy = vec![false; count];
                for (a, b) in round {
                    met[a * count + b] += 1;
                    let players = if a == b { vec![a] } else { vec![a, b] };
                    for block in players {
                        assert!(!std::mem::replace(&mut busy[block], true));
                    }
                }
            }
            for a in 0..count {
                for b in 0..count {
                    assert_eq!(met[a * count + b], usize::from(a <= b), "{a} and {b}");
                }
            }
        }
    }

    #[test]
    fn blocks_cover_the_rows_and_have_one_role() {
        let contrast = Contrast::new(
            (1000, 4),
            (0..300).map(|i| 250 + i).collect(),
            250..901,
            super::super::Excluded::Itself,
            0.1,
        )
        .expect("a valid loss");
        let mut next = 0;
        for block in Tournament::new(&contrast).blocks {
            assert_eq!(block.rows.start, next);
            next = block.rows.end;
            for row in block.rows {
                assert_eq!(block.queries, row < 300, "row {row}");
                assert_eq!(block.keys, (250..901).contains(&row), "row {row}");
            }
        }
        assert_eq!(next, 1000);
    }
}
