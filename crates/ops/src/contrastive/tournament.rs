//! Every pair of blocks of rows once, in rounds.
//!
//! A tile of similarities serves both of its blocks: it is the transposed tile of the other pair.
//! Whoever computes it adds to what both blocks gather. In a round every block takes part in one pair
//! at most (the circle method of round-robin tournaments), so the pairs of a round can be computed at
//! the same time, and every block receives its contributions in the order of the rounds whatever the
//! number of threads. Rounds do not wait for each other, only blocks do.

use super::Contrast;
use rayon::prelude::*;
use std::ops::Range;
use std::sync::{Condvar, Mutex, PoisonError};

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
    /// The keys that they look at; none where they are not queries.
    pub keys: Range<usize>,
    /// Whether they gather sums and gradients; other rows are constants and never queries.
    pub trained: bool,
}

impl Block {
    /// Whether queries of this block look at keys of the other.
    pub(super) fn asks(&self, other: &Self) -> bool {
        self.keys.contains(&other.rows.start)
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
        let roles = contrast.groups.iter();
        let roles = roles.flat_map(|g| [g.queries.end, g.keys.start, g.keys.end]);
        let mut ends: Vec<usize> = roles.chain([contrast.trained, contrast.rows]).collect();
        ends.sort_unstable();
        let most = |rows: usize| {
            let each = rows.div_ceil(WANTED).next_multiple_of(LEAST_ROWS);
            each.clamp(LEAST_ROWS, MOST_ROWS)
        };
        // Constants do not gather and give no work of their own: many of them must not make the other
        // blocks few.
        let (rows, trained) = (contrast.rows, contrast.trained);
        let (most_trained, most_constant) = (most(rows.min(2 * trained)), most(rows));
        let mut blocks = Vec::new();
        let mut start = 0;
        for end in ends {
            while start < end {
                let trained = start < trained;
                let each = if trained { most_trained } else { most_constant };
                let rows = start..end.min(start + each);
                start = rows.end;
                let mut groups = contrast.groups.iter();
                let group = groups.find(|group| group.queries.contains(&rows.start));
                blocks.push(Block {
                    keys: group.map_or(0..0, |group| group.keys.clone()),
                    trained,
                    rows,
                });
            }
        }
        let rounds = rounds(&blocks);
        Self { blocks, rounds }
    }

    /// Lets every pair of blocks meet that has something to say to each other. `gathered` holds
    /// `width` elements for every trained row, and `meet` adds to those of both blocks, none for
    /// constants; a block that meets itself comes alone.
    pub(super) fn play<T, S>(
        &self,
        gathered: &mut [T],
        width: usize,
        scratch: impl Fn() -> S + Sync + Send,
        meet: impl Fn(&mut S, (usize, &mut [T]), Option<(usize, &mut [T])>) + Sync + Send,
    ) where
        T: Send,
    {
        let mut parts = Vec::with_capacity(self.blocks.len());
        let mut rest = gathered;
        for block in &self.blocks {
            let rows = if block.trained { block.rows.len() } else { 0 };
            let (part, after) = rest.split_at_mut(rows * width);
            parts.push(Some(part));
            rest = after;
        }
        let hall = Hall::new(parts, self.rounds.iter().flatten().copied());
        let workers = rayon::current_num_threads().min(self.rounds.iter().flatten().count());
        let workers = (0..workers).into_par_iter().with_max_len(1);
        workers.for_each(|_| {
            let mut scratch = scratch();
            while let Some(mut meeting) = hall.start() {
                let Pair { a, b, .. } = meeting.pair;
                let [to_a, to_b] = &mut meeting.parts;
                let to_b = to_b.as_deref_mut().map(|part| (b, part));
                if let Some(part) = to_a {
                    meet(&mut scratch, (a, part), to_b);
                }
            }
        });
    }
}

/// A pair of blocks, or a block with itself, and how many pairs of each come before.
#[derive(Clone, Copy, Debug)]
struct Pair {
    a: usize,
    b: usize,
    turns: (usize, usize),
}

/// Where blocks wait for their next meeting. A pair may begin when both of its blocks are there and
/// have been through all their earlier pairs, which is before the rounds of other blocks end.
struct Hall<'a, T> {
    waiting: Mutex<Waiting<'a, T>>,
    returned: Condvar,
}

struct Waiting<'a, T> {
    /// Pairs that have not begun, the last one first.
    pairs: Vec<Pair>,
    /// What the blocks gather, unless they are in a meeting.
    parts: Vec<Option<&'a mut [T]>>,
    /// Pairs of every block that have begun.
    turns: Vec<usize>,
}

impl<'a, T> Hall<'a, T> {
    fn new(
        parts: Vec<Option<&'a mut [T]>>,
        pairs: impl DoubleEndedIterator<Item = (usize, usize)>,
    ) -> Self {
        let mut turns = vec![0; parts.len()];
        let mut turn = |block: usize| {
            turns[block] += 1;
            turns[block] - 1
        };
        let number = |(a, b): (usize, usize)| {
            let first = turn(a);
            let second = if a == b { first } else { turn(b) };
            Pair {
                a,
                b,
                turns: (first, second),
            }
        };
        let mut pairs: Vec<Pair> = pairs.map(number).collect();
        pairs.reverse();
        let turns = vec![0; parts.len()];
        Self {
            waiting: Mutex::new(Waiting {
                pairs,
                parts,
                turns,
            }),
            returned: Condvar::new(),
        }
    }

    /// Takes the first pair that may begin, waiting for one if need be; `None` when all have begun.
    fn start(&self) -> Option<Meeting<'_, 'a, T>> {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            if waiting.pairs.is_empty() {
                return None;
            }
            if let Some(at) = waiting
                .pairs
                .iter()
                .rposition(|pair| waiting.may_begin(pair))
            {
                let pair = waiting.pairs.remove(at);
                let parts = waiting.take(&pair);
                return Some(Meeting {
                    hall: self,
                    pair,
                    parts,
                });
            }
            let returned = self.returned.wait(waiting);
            waiting = returned.unwrap_or_else(PoisonError::into_inner);
        }
    }
}

impl<'a, T> Waiting<'a, T> {
    fn may_begin(&self, pair: &Pair) -> bool {
        // Who gathers nothing may be in any number of meetings, in any order.
        let ready = |block: usize, turn| match &self.parts[block] {
            Some(part) => part.is_empty() || self.turns[block] == turn,
            None => false,
        };
        ready(pair.a, pair.turns.0) && ready(pair.b, pair.turns.1)
    }

    /// What both blocks of a pair gather; the second is missing where a block meets itself.
    fn take(&mut self, pair: &Pair) -> [Option<&'a mut [T]>; 2] {
        let mut take = |block: usize| {
            self.turns[block] += 1;
            match &self.parts[block] {
                Some([]) => Some(<&mut [T]>::default()),
                _ => self.parts[block].take(),
            }
        };
        [
            take(pair.a),
            (pair.a != pair.b).then(|| take(pair.b)).flatten(),
        ]
    }
}

/// A pair that has begun. Its blocks return however it ends, so that nobody waits for them in vain.
struct Meeting<'h, 'a, T> {
    hall: &'h Hall<'a, T>,
    pair: Pair,
    parts: [Option<&'a mut [T]>; 2],
}

impl<T> Drop for Meeting<'_, '_, T> {
    fn drop(&mut self) {
        let mut waiting = self
            .hall
            .waiting
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let [a, b] = &mut self.parts;
        waiting.parts[self.pair.a] = a.take();
        if self.pair.a != self.pair.b {
            waiting.parts[self.pair.b] = b.take();
        }
        self.hall.returned.notify_all();
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
                keys: 0..count,
                trained: true,
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
    fn blocks_gather_in_the_order_of_the_rounds() {
        let contrast = Contrast::ntxent(300, 4, 0.1).expect("a valid loss");
        let tournament = Tournament::new(&contrast);
        let mut want = vec![Vec::new(); tournament.blocks.len()];
        for &(a, b) in tournament.rounds.iter().flatten() {
            want[a].push(b);
            if a != b {
                want[b].push(a);
            }
        }
        for threads in [1, 2, 5] {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads);
            let mut gathered = vec![Vec::new(); 600];
            pool.build().expect("a pool").install(|| {
                let add = |_: &mut (),
                           a: (usize, &mut [Vec<usize>]),
                           b: Option<(usize, &mut [Vec<usize>])>| {
                    a.1[0].push(b.as_ref().map_or(a.0, |b| b.0));
                    if let Some(b) = b {
                        b.1[0].push(a.0);
                    }
                };
                tournament.play(&mut gathered, 1, || (), add);
            });
            for (block, want) in tournament.blocks.iter().zip(&want) {
                assert_eq!(&gathered[block.rows.start], want, "{threads} threads");
            }
        }
    }

    #[test]
    #[should_panic(expected = "at the third meeting")]
    fn a_panic_leaves_nobody_waiting() {
        let contrast = Contrast::ntxent(300, 4, 0.1).expect("a valid loss");
        let tournament = Tournament::new(&contrast);
        let met = std::sync::atomic::AtomicUsize::new(0);
        let pool = rayon::ThreadPoolBuilder::new().num_threads(3);
        pool.build().expect("a pool").install(|| {
            tournament.play(
                &mut vec![0.0; 600],
                1,
                || (),
                |_, _, _| {
                    let before = met.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                    assert!(before != 2, "at the third meeting");
                },
            );
        });
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
        let blocks = Tournament::new(&contrast).blocks;
        let asked = blocks.iter().filter(|block| blocks[0].asks(block));
        assert_eq!(asked.map(|block| block.rows.len()).sum::<usize>(), 651);
        for block in blocks {
            assert_eq!(block.rows.start, next);
            next = block.rows.end;
            for row in block.rows {
                let keys = if row < 300 { 250..901 } else { 0..0 };
                assert_eq!(
                    (block.keys.clone(), block.trained),
                    (keys, true),
                    "row {row}"
                );
            }
        }
        assert_eq!(next, 1000);
    }
}
