//! The one random generator of the workspace: Philox4x32-10, a pure function of
//! (seed, stream, step, element).
//!
//! Source: Salmon, Moraes, Dror & Shaw, *Parallel random numbers: as easy as 1, 2, 3* (SC 2011),
//! section 3.3. Because a number depends only on its coordinates, the same noise comes out on any
//! number of threads, on any device, and after any resume.

use rayon::prelude::*;

const MULTIPLIER: [u32; 2] = [0xD251_1F53, 0xCD9E_8D57];
const WEYL: [u32; 2] = [0x9E37_79B9, 0xBB67_AE85];
const ROUNDS: usize = 10;

/// One Philox4x32-10 block: four random words for a counter and a key.
pub fn philox4x32(mut counter: [u32; 4], mut key: [u32; 2]) -> [u32; 4] {
    for round in 0..ROUNDS {
        if round > 0 {
            key = [key[0].wrapping_add(WEYL[0]), key[1].wrapping_add(WEYL[1])];
        }
        let low = u64::from(MULTIPLIER[0]) * u64::from(counter[0]);
        let high = u64::from(MULTIPLIER[1]) * u64::from(counter[2]);
        counter = [
            (high >> 32) as u32 ^ counter[1] ^ key[0],
            high as u32,
            (low >> 32) as u32 ^ counter[3] ^ key[1],
            low as u32,
        ];
    }
    counter
}

/// A uniform number in `[0, 1)` from the upper 24 bits of a word: every value is exact in `f32`.
pub fn unit_f32(word: u32) -> f32 {
    (word >> 8) as f32 * (1.0 / 16_777_216.0)
}

/// The sequence of random numbers at one (seed, stream, step).
///
/// `stream` separates uses (noise of view 1, noise of view 2, shuffling, …) and `step` the moments
/// of one use; neither needs to be random.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Philox {
    key: [u32; 2],
    pub(crate) stream: u32,
    pub(crate) step: u32,
}

impl Philox {
    /// The sequence at `(seed, stream, step)`.
    pub const fn new(seed: u64, stream: u32, step: u32) -> Self {
        Self {
            key: [seed as u32, (seed >> 32) as u32],
            stream,
            step,
        }
    }

    /// The seed that it was made of.
    pub const fn seed(&self) -> u64 {
        self.key[0] as u64 | (self.key[1] as u64) << 32
    }

    /// The four words with indices `4·block .. 4·block + 4`.
    pub fn block(&self, block: u64) -> [u32; 4] {
        let counter = [block as u32, (block >> 32) as u32, self.step, self.stream];
        philox4x32(counter, self.key)
    }

    /// The word with index `element`.
    pub fn word(&self, element: u64) -> u32 {
        self.block(element / 4)[(element % 4) as usize]
    }

    /// The uniform number in `[0, 1)` with index `element`.
    pub fn uniform(&self, element: u64) -> f32 {
        unit_f32(self.word(element))
    }

    /// Fills `out` with the uniform numbers in `[0, 1)` with indices `0 .. out.len()`, in parallel.
    pub fn fill_uniform(&self, out: &mut [f32]) {
        self.fill_uniform_from(0, out);
    }

    /// Fills `out` with the uniform numbers in `[0, 1)` with indices `first .. first + out.len()`, in
    /// parallel; those before cost nothing.
    pub fn fill_uniform_from(&self, first: u64, out: &mut [f32]) {
        const PIECE: usize = 4096;
        let block = first.div_ceil(4);
        // What is left of a block that begins before.
        let begun = ((first.wrapping_neg() % 4) as usize).min(out.len());
        let (begun, whole) = out.split_at_mut(begun);
        for (x, element) in begun.iter_mut().zip(first..) {
            *x = self.uniform(element);
        }
        whole
            .par_chunks_mut(PIECE)
            .enumerate()
            .for_each(|(p, piece)| {
                let block = block + (p * PIECE / 4) as u64;
                for (b, four) in piece.chunks_mut(4).enumerate() {
                    let words = self.block(block + b as u64);
                    for (x, word) in four.iter_mut().zip(words) {
                        *x = unit_f32(word);
                    }
                }
            });
    }

    /// A sequential generator over the same words, for `rand` distributions and shuffles.
    pub fn sequence(&self) -> Sequence {
        Sequence {
            philox: *self,
            next: 0,
        }
    }
}

/// Reads the words of a [`Philox`] one after the other.
#[derive(Clone, Debug)]
pub struct Sequence {
    philox: Philox,
    next: u64,
}

impl rand::TryRng for Sequence {
    type Error = std::convert::Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Self::Error> {
        let word = self.philox.word(self.next);
        self.next += 1;
        Ok(word)
    }

    fn try_next_u64(&mut self) -> Result<u64, Self::Error> {
        let low = u64::from(self.try_next_u32()?);
        let high = u64::from(self.try_next_u32()?);
        Ok(high << 32 | low)
    }

    fn try_fill_bytes(&mut self, dst: &mut [u8]) -> Result<(), Self::Error> {
        for four in dst.chunks_mut(4) {
            let bytes = self.try_next_u32()?.to_le_bytes();
            four.copy_from_slice(&bytes[..four.len()]);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Known answers published with the reference implementation (Random123, `kat_vectors`).
    #[test]
    fn matches_published_known_answers() {
        let zeros = philox4x32([0; 4], [0; 2]);
        assert_eq!(zeros, [0x6627_e8d5, 0xe169_c58d, 0xbc57_ac4c, 0x9b00_dbd8]);
        let ones = philox4x32([u32::MAX; 4], [u32::MAX; 2]);
        assert_eq!(ones, [0x408f_276d, 0x41c8_3b0e, 0xa20b_c7c6, 0x6d54_51fd]);
        let pi = philox4x32(
            [0x243f_6a88, 0x85a3_08d3, 0x1319_8a2e, 0x0370_7344],
            [0xa409_3822, 0x299f_31d0],
        );
        assert_eq!(pi, [0xd16c_fe09, 0x94fd_cceb, 0x5001_e420, 0x2412_6ea1]);
    }

    #[test]
    fn filling_equals_indexing() {
        let philox = Philox::new(0x1234_5678_9abc_def0, 7, 42);
        let mut out = vec![0.0; 10_001];
        philox.fill_uniform(&mut out);
        for i in [0usize, 1, 4095, 4096, 4097, 10_000] {
            assert_eq!(out[i], philox.uniform(i as u64));
        }
        assert!(out.iter().all(|x| (0.0..1.0).contains(x)));
    }

    #[test]
    fn a_part_is_what_the_whole_has_there() {
        let philox = Philox::new(3, 1, 2);
        let mut whole = vec![0.0; 9_000];
        philox.fill_uniform(&mut whole);
        for first in [0, 1, 2, 3, 4, 4_095, 4_097, 8_999] {
            for len in [0, 1, 2, 3, 5, 4_099] {
                let mut part = vec![-1.0; usize::min(len, whole.len() - first)];
                philox.fill_uniform_from(first as u64, &mut part);
                assert_eq!(part, whole[first..][..part.len()], "{first}, {len}");
            }
        }
    }

    #[test]
    fn coordinates_separate_sequences() {
        let word = |seed, stream, step| Philox::new(seed, stream, step).word(5);
        let base = word(1, 2, 3);
        for other in [word(2, 2, 3), word(1, 3, 3), word(1, 2, 4), word(1, 3, 2)] {
            assert_ne!(base, other);
        }
    }
}
