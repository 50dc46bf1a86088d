//! Blocks of the kernels on tensor cores (`kernels/contrastive_tiles.cuh`), in two sizes.

use super::{CONTRASTIVE, Contrast};
use viewmaker_device::{Kernel, Launch};

static FORWARD: Kernel = Kernel::new(&CONTRASTIVE, "forward_v3");
static FORWARD_WIDE: Kernel = Kernel::new(&CONTRASTIVE, "forward_v3_wide");
static BACKWARD: Kernel = Kernel::new(&CONTRASTIVE, "backward_v3");
static BACKWARD_WIDE: Kernel = Kernel::new(&CONTRASTIVE, "backward_v3_wide");

/// Threads of a block: four warps.
const THREADS: u32 = 128;
/// Components that are multiplied from one piece of shared memory, and that a block of a backward pass computes.
const CHUNK: usize = 128;
/// Columns of a tile.
const COLUMNS: usize = 64;
/// Wide blocks from which on they are used: two for each of the 132 multiprocessors of the largest cards. With
/// fewer, some would have nothing to do.
const MANY_BLOCKS: usize = 264;

/// How many rows a block computes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::contrastive) enum Block {
    /// 64.
    Narrow,
    /// 128, for rows of at most one chunk: half of the traffic from memory for each of them.
    Wide,
}

impl Block {
    /// What serves a loss best.
    pub(super) fn of(contrast: &Contrast) -> Self {
        let many = contrast.trained >= MANY_BLOCKS * Self::Wide.rows();
        match many && Self::Wide.serves(contrast.dim) {
            true => Self::Wide,
            false => Self::Narrow,
        }
    }

    /// Whether such blocks can compute rows of `dim` components.
    pub(in crate::contrastive) const fn serves(self, dim: usize) -> bool {
        match self {
            Self::Narrow => true,
            Self::Wide => dim <= CHUNK,
        }
    }

    const fn rows(self) -> usize {
        match self {
            Self::Narrow => 64,
            Self::Wide => 128,
        }
    }

    /// The kernel of the forward pass of `queries`, and its launch.
    pub(super) fn forward(self, queries: usize, dim: usize) -> (&'static Kernel, Launch) {
        let kernel = match self {
            Self::Narrow => &FORWARD,
            Self::Wide => &FORWARD_WIDE,
        };
        (kernel, self.launch(queries, 1, dim))
    }

    /// The kernel of the backward pass to `trained` rows, and its launch.
    pub(super) fn backward(self, trained: usize, dim: usize) -> (&'static Kernel, Launch) {
        let kernel = match self {
            Self::Narrow => &BACKWARD,
            Self::Wide => &BACKWARD_WIDE,
        };
        (kernel, self.launch(trained, dim.div_ceil(CHUNK), dim))
    }

    fn launch(self, rows: usize, parts: usize, dim: usize) -> Launch {
        let launch = Launch {
            grid: [rows.div_ceil(self.rows()) as u32, parts as u32, 1],
            ..Launch::linear(1, THREADS)
        };
        launch.with_shared(self.shared_bytes(dim) as u32)
    }

    /// What `Memory` of the kernels takes: chunks of 128 components in two bytes each of two tiles' columns and of
    /// the block's rows, three numbers for each row and column, and eight marks.
    const fn shared_bytes(self, dim: usize) -> usize {
        let (numbers, marks) = (3 * 4, 8 * 4);
        let resident = if dim <= CHUNK { 1 } else { 2 };
        let columns = 2 * COLUMNS * (2 * CHUNK + numbers);
        let rows = self.rows() * (2 * CHUNK * resident + numbers);
        columns + rows + marks
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_loss_gets_the_blocks_that_serve_it() {
        let of = |pairs, dim| Block::of(&Contrast::ntxent(pairs, dim, 0.1).expect("a valid loss"));
        assert_eq!(of(4096, 128), Block::Narrow);
        assert_eq!(of(32_768, 128), Block::Wide);
        assert_eq!(of(32_768, 129), Block::Narrow);
    }

    #[test]
    fn shared_memory_is_what_small_cards_have() {
        // Compute capability 8.6 has 99 KiB for a block.
        for block in [Block::Narrow, Block::Wide] {
            for dim in [1, 128, 129, 4096]
                .into_iter()
                .filter(|dim| block.serves(*dim))
            {
                assert!(block.shared_bytes(dim) <= 99 * 1024, "{block:?} {dim}");
            }
        }
    }
}
