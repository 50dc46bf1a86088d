// Tiles of contrastive.cu on tensor cores: operands in bfloat16, sums in single precision.
//
//   - A block has four warps and ROWS rows, which stay in shared memory. Tiles of COLUMNS columns pass by, two of
//     them in shared memory: one is multiplied while the next one is on its way. One barrier a tile.
//   - A warp computes 32 rows, so that the columns it loads serve two products. With ROWS = 128 it has rows of its
//     own and takes both halves of a tile, one after the other where a gradient needs the registers; with ROWS = 64
//     two warps share their rows and take a half each: twice as many blocks, for losses that do not fill a card
//     otherwise.
//
// Rows are words of two bfloat16, `words` of them, a multiple of 8; missing components are 0. They are multiplied
// in chunks of 128 components; more than two chunks of a block's rows are read again for every tile.
#pragma once
#include "async.cuh"
#include "contrastive.cuh"
#include "mma.cuh"

namespace v3 {

constexpr int THREADS = 128;
constexpr int COLUMNS = 64;
constexpr int WARP_ROWS = 32;
constexpr int PART = 32;          // columns that a warp computes at a time
constexpr int CHUNK = 128;        // components of a chunk, and of a block's share of a gradient
constexpr int PIECES = CHUNK / 8;  // pieces of 16 bytes in a chunk of a row
constexpr float LOG2_E = 1.44269504f;

// 2^x with a relative error of 2⁻²², and 0 where it is below the normal numbers.
// Source: NVIDIA, PTX ISA, "ex2".
__device__ __forceinline__ float exp2_fast(float x) {
#if defined(VIEWMAKER_EMULATOR)
    return exp2f(x);
#else
    float y;
    asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
    return y;
#endif
}

// What kernels are told.
struct Loss {
    const unsigned* halves;
    int rows, words, chunks;
    Look look;
    int excluded;
    float inverse_temperature;

    // The words of a chunk and of those behind it.
    __device__ __forceinline__ int words_of(int chunk) const { return words - chunk * (CHUNK / 2); }
    // The next chunk, round and round.
    __device__ __forceinline__ int chunk_behind(int chunk) const { return chunk + 1 == chunks ? 0 : chunk + 1; }
    // No exponential becomes subnormal, and no factor overflows.
    __device__ __forceinline__ bool has_fixed_shift() const { return inverse_temperature <= 40.0f; }
};

// A chunk of N rows. Piece p of row r lies at p ^ r % 8: eight rows of one piece, as products read them, and eight
// pieces of one row, as copies write them, fill the 32 banks.
template <int N>
struct Panel {
    uint4 piece[N * PIECES];

    // Sends for rows first .. first + N.
    __device__ __forceinline__ void fetch(const Loss& loss, int first, int chunk) {
        constexpr int APART = THREADS / PIECES;
        int row = int(threadIdx.x) / PIECES, number = int(threadIdx.x) % PIECES;
        int word = chunk * (CHUNK / 2) + 4 * number;
        const unsigned* from = loss.halves + u64(first + row) * u64(loss.words) + u64(word);
        uint4* to = &piece[row * PIECES + (number ^ row % 8)];
#pragma unroll
        for (int j = 0; j < N / APART; ++j) {
            bool there = first + row + APART * j < loss.rows && word < loss.words;
            copy_piece(to + APART * PIECES * j, from, there);
            from += APART * loss.words;
        }
    }

    // Where this lane's row and piece are in the first 16 rows behind `row`: in matrices of 8 × 8, DOWN are the
    // next 8 rows in every second matrix, otherwise in the later two.
    template <bool DOWN>
    __device__ __forceinline__ static int place(int row) {
        int lane = lane_index() % 8, matrix = lane_index() / 8;
        int below = DOWN ? matrix % 2 : matrix / 2, beside = DOWN ? matrix / 2 : matrix % 2;
        return (row + 8 * below + lane) * PIECES + (beside ^ lane);
    }
    // 16 rows × 16 components: at place<true> words of A (mma.cuh), at place<false> words of B for the first 8 rows
    // as columns, and for the other 8.
    __device__ __forceinline__ void load(unsigned (&to)[4], int place, int row, int step) const {
        load_matrices<false>(to, &piece[(place ^ 2 * step) + PIECES * row]);
    }
    // At place<true> words of B for the first 8 components as columns, and for the other 8.
    __device__ __forceinline__ void load_values(unsigned (&to)[4], int place, int row, int step) const {
        load_matrices<true>(to, &piece[(place ^ 2 * step) + PIECES * row]);
    }
};

// What a backward pass knows of N rows as queries: e^(1/t − L), or L · log2(e) without a fixed shift, such that no key
// has a weight where the row is not a query.
template <int N>
struct Facts {
    float share[N];
    float positive_weight[N];
    int positive[N];
};

// The shared memory of a block. The last panel is there if there are two chunks or more.
template <int ROWS>
struct Memory {
    Panel<COLUMNS> columns[2];
    Facts<ROWS> of_rows;
    Facts<COLUMNS> of_columns[2];
    int has_positives[2][4];  // whether those of the columns of a warp's facts are among the rows
    Panel<ROWS> rows[2];
};
// As crates/ops/src/contrastive/device.rs counts them.
static_assert(sizeof(Memory<64>) - 2 * sizeof(Panel<64>) == 32768 + 768 + 1536 + 32, "bytes beside the rows");
static_assert(sizeof(Memory<128>) - 2 * sizeof(Panel<128>) == 32768 + 1536 + 1536 + 32, "bytes beside the rows");

// Where a warp works in a tile.
template <int ROWS>
struct Place {
    static constexpr int PARTS = ROWS / WARP_ROWS * PART / COLUMNS;  // that it computes of its rows
    int row, column;
    __device__ __forceinline__ Place() {
        row = warp_index() % (ROWS / WARP_ROWS) * WARP_ROWS;
        column = warp_index() / (ROWS / WARP_ROWS) * PART;
    }
};

// Similarities or weights of 32 rows × N columns, as results of products.
template <int N>
struct Tile {
    float at[2][N / 8][4];

    __device__ __forceinline__ void clear() {
#pragma unroll
        for (int m = 0; m < 2; ++m) {
#pragma unroll
            for (int n = 0; n < N / 8; ++n) {
#pragma unroll
                for (int i = 0; i < 4; ++i) at[m][n][i] = 0.0f;
            }
        }
    }
    // Adds the products of a chunk, of which so many words are not 0.
    template <class Rows, class Columns>
    __device__ __forceinline__ void multiply(const Rows& rows, const Columns& columns, int row, int column, int words) {
        int left = Rows::template place<true>(row), right = Columns::template place<false>(column);
        for (int first = 0; first < min(words, CHUNK / 2); first += 32) {
#pragma unroll
            for (int step = 0; step < 4; ++step) {
                unsigned a[2][4];
#pragma unroll
                for (int m = 0; m < 2; ++m) rows.load(a[m], left ^ first / 4, 16 * m, step);
#pragma unroll
                for (int n = 0; n < N / 16; ++n) {
                    unsigned b[4];
                    columns.load(b, right ^ first / 4, 16 * n, step);
                    unsigned low[2] = {b[0], b[1]}, high[2] = {b[2], b[3]};
#pragma unroll
                    for (int m = 0; m < 2; ++m) {
                        mma_bf16(at[m][2 * n], a[m], low);
                        mma_bf16(at[m][2 * n + 1], a[m], high);
                    }
                }
            }
        }
    }
    // Calls each(half of the rows, row, column, element): of this lane's four rows 8 · half + group.
    template <class Each>
    __device__ __forceinline__ void each(const Each& call) {
        int group = lane_index() / 4, pair = lane_index() % 4;
#pragma unroll
        for (int half = 0; half < 4; ++half) {
#pragma unroll
            for (int n = 0; n < N / 8; ++n) {
#pragma unroll
                for (int i = 0; i < 2; ++i) {
                    call(half, 8 * half + group, 8 * n + 2 * pair + i, at[half / 2][n][half % 2 * 2 + i]);
                }
            }
        }
    }
};

// Takes a block through its tiles, the first of which begins at `column`, and in each through the chunks, those
// behind `last` first and `last` at the end. next(column) is the first tile from there on, `end` if there is none;
// visit(rows, columns, column, chunk, following) computes: `following` is the column of the next step. All threads
// must call it.
template <int ROWS, class Next, class Visit>
__device__ __forceinline__ void walk(const Loss& loss, Memory<ROWS>& memory, int row0, int last, int column, int end,
                                     const Next& next, const Visit& visit) {
    if (column >= end) return;
    bool resident = loss.chunks <= 2;
    for (int chunk = 0; resident && chunk < loss.chunks; ++chunk) memory.rows[chunk].fetch(loss, row0, chunk);
    auto fetch = [&](int stage, int from, int chunk) {
        memory.columns[stage].fetch(loss, from, chunk);
        if (!resident) memory.rows[stage].fetch(loss, row0, chunk);
    };
    int chunk = loss.chunk_behind(last), stage = 0;
    fetch(stage, column, chunk);
    for (;;) {
        wait_for_copies();
        __syncthreads();  // this step is there, and the one before it has been read
        int following = chunk == last ? next(column + COLUMNS) : column;
        int following_chunk = loss.chunk_behind(chunk);
        if (following < end) fetch(stage ^ 1, following, following_chunk);
        visit(memory.rows[resident ? chunk : stage], memory.columns[stage], column, chunk, following);
        if (following >= end) return;
        column = following;
        chunk = following_chunk;
        stage ^= 1;
    }
}

}  // namespace v3
