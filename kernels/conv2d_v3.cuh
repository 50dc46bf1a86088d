// The products of conv2d.cu, third version. What it does otherwise than the second:
//
//   - Fragments come from shared memory by load_matrices: 6 loads for 16 products of a warp (4 for 8 in narrow
//     tiles) instead of 16 for 8. A tile lies there as it lies in memory, neighbours in depth or neighbours among rows side by
//     side (the loads transpose), and pieces of 16 bytes change places within a line, so that neither the
//     loads nor the stores meet in a bank.
//   - Shared memory has room for two steps of 32 elements of depth. One barrier a step: while a step is
//     multiplied, the next one is put beside it. In wide tiles its two operands are on their way one after
//     the other, each during half of the products, so that registers for one suffice.
//   - Where channels are a multiple of 16, half a step lies within one tap, and positions are looked up when
//     the tap changes instead of for every element: for kernels of one tap once. Positions of a weight gradient
//     advance without divisions.
//
// Sums run over depth in the order of the second version.
#pragma once
#include "common.cuh"
#include "mma.cuh"
#include "patches.cuh"

namespace v3 {

__device__ __forceinline__ uint2 four_bf16(float4 x) { return {pack_bf16(x.x, x.y), pack_bf16(x.z, x.w)}; }

// Operands in shared memory, two stages of N rows × one step of depth, as pieces of 8 elements. `first` is the
// first row of a warp's part, `i` counts its 16 rows. Where pieces have changed places is an exclusive or with
// the last bits of a piece's number: one register serves all of a thread's pieces.

// Neighbours in depth side by side: four pieces a row. Two rows fill the 32 banks; pieces change places from
// pair to pair so that equal pieces of eight rows lie apart, and so do the four rows × two pieces that half a
// warp stores.
template <int N>
struct AlongDepth {
    static constexpr int PIECES = N * DEPTH / 8;
    uint4 piece[2 * PIECES];

    static constexpr int EACH = N < 64 ? 1 : N / 64;

    // What a thread takes to a stage: four elements at two depths of every 64th row, where there are so many.
    struct Share {
        float4 value[EACH][2];
    };
    __device__ __forceinline__ static bool mine() { return N >= 64 || row() < N; }
    __device__ __forceinline__ static int row() { return int(threadIdx.x) / 4; }
    __device__ __forceinline__ static int depth() { return int(threadIdx.x) % 4 * 4; }
    __device__ __forceinline__ static int swap(int row) { return row / 4 % 2 | row / 2 % 2 * 2; }

    __device__ __forceinline__ void put(int stage, const Share& share) {
        if (!mine()) return;
        int at = stage * PIECES + 4 * row() + (depth() / 8 ^ swap(row()));
#pragma unroll
        for (int j = 0; j < EACH; ++j) {
#pragma unroll
            for (int half = 0; half < 2; ++half) {
                uint2* to = reinterpret_cast<uint2*>(&piece[(at ^ 2 * half) + 256 * j]);
                to[depth() / 4 % 2] = four_bf16(share.value[j][half]);
            }
        }
    }
    // Words of A (mma.cuh) for 16 rows × half a step.
    __device__ __forceinline__ void left(unsigned (&to)[4], int stage, int first, int i, int half) const {
        int lane = lane_index() % 8, matrix = lane_index() / 8;
        int at = stage * PIECES + 4 * (first + matrix % 2 * 8 + lane) + (matrix / 2 ^ swap(lane));
        load_matrices<false>(to, &piece[(at ^ 2 * half) + 64 * i]);
    }
    // Words of B for 8 columns, and for the next 8.
    __device__ __forceinline__ void right(unsigned (&to)[4], int stage, int first, int i, int half) const {
        int lane = lane_index() % 8, matrix = lane_index() / 8;
        int at = stage * PIECES + 4 * (first + matrix / 2 * 8 + lane) + (matrix % 2 ^ swap(lane));
        load_matrices<false>(to, &piece[(at ^ 2 * half) + 64 * i]);
    }
};

// Neighbours among rows side by side: a line for each element of depth. Pieces change places from line to
// line, or where several lines fill the 32 banks, when those are full.
template <int N>
struct AlongRows {
    static constexpr int LINE = N / 8;
    static constexpr int PIECES = DEPTH * LINE;
    static constexpr int STRIDE = THREADS / (N / 4);
    static constexpr int EACH = STRIDE > DEPTH ? 1 : DEPTH / STRIDE;
    uint4 piece[2 * PIECES];

    // What a thread takes to a stage: four rows at every STRIDE-th depth, where there are so many.
    struct Share {
        float4 value[EACH];
    };
    __device__ __forceinline__ static int row() { return int(threadIdx.x) % (N / 4) * 4; }
    __device__ __forceinline__ static int depth() { return int(threadIdx.x) / (N / 4); }
    __device__ __forceinline__ static bool mine() { return STRIDE <= DEPTH || depth() < DEPTH; }
    __device__ __forceinline__ static int swap(int depth) { return LINE < 8 ? depth % 8 * LINE / 8 : depth % 8; }

    __device__ __forceinline__ void put(int stage, const Share& share) {
        if (!mine()) return;
        int at = stage * PIECES + LINE * depth() + (row() / 8 ^ swap(depth()));
#pragma unroll
        for (int j = 0; j < EACH; ++j) {
            uint2* to = reinterpret_cast<uint2*>(&piece[at + LINE * STRIDE * j]);
            to[row() / 4 % 2] = four_bf16(share.value[j]);
        }
    }
    __device__ __forceinline__ void left(unsigned (&to)[4], int stage, int first, int i, int half) const {
        int lane = lane_index() % 8, matrix = lane_index() / 8;
        int at = stage * PIECES + LINE * (matrix / 2 * 8 + lane) + (first / 8 ^ matrix % 2 ^ swap(lane));
        load_matrices<true>(to, &piece[(at ^ 2 * i) + 16 * LINE * half]);
    }
    __device__ __forceinline__ void right(unsigned (&to)[4], int stage, int first, int i, int half) const {
        int lane = lane_index() % 8, matrix = lane_index() / 8;
        int at = stage * PIECES + LINE * (matrix % 2 * 8 + lane) + (first / 8 ^ matrix / 2 ^ swap(lane));
        load_matrices<true>(to, &piece[(at ^ 2 * i) + 16 * LINE * half]);
    }
};

// Operands: `fetch` takes this thread's share of the next step into registers; `begun` is the depth before it.

// Rows are positions, the depth is (tap, channel).
template <Look LOOK>
struct PatchRows {
    using Panel = AlongDepth<ROWS>;
    Patches patches;
    Position at[ROWS / 64];

    __device__ __forceinline__ PatchRows(const Patches& p, int row0) : patches(p) {
#pragma unroll
        for (int j = 0; j < ROWS / 64; ++j) at[j] = position(p, row0 + Panel::row() + 64 * j);
    }
    __device__ __forceinline__ Panel::Share fetch(int begun) const {
        Panel::Share share;
#pragma unroll
        for (int half = 0; half < 2; ++half) {
            Tap tap = tap_of(patches, begun + Panel::depth() + 16 * half);
#pragma unroll
            for (int j = 0; j < ROWS / 64; ++j) share.value[j][half] = four<LOOK>(patches, at[j], tap);
        }
        return share;
    }
};

// The same where half a step lies within one tap.
template <Look LOOK>
struct TapRows {
    using Panel = AlongDepth<ROWS>;
    Patches patches;
    Position at[ROWS / 64];
    int from[ROWS / 64];  // the position of the map that the tap looks at, -1 for none
    int tap_y = 0, tap_x = 0, channel = 0;

    __device__ __forceinline__ TapRows(const Patches& p, int row0) : patches(p) {
#pragma unroll
        for (int j = 0; j < ROWS / 64; ++j) at[j] = position(p, row0 + Panel::row() + 64 * j);
        look();
    }
    __device__ __forceinline__ void look() {
#pragma unroll
        for (int j = 0; j < ROWS / 64; ++j) from[j] = place<LOOK>(patches, at[j], tap_y, tap_x);
    }
    __device__ __forceinline__ Panel::Share fetch(int) {
        if (channel == patches.channels) next_tap();
        Panel::Share share;
        take(share, 0, 0);
        channel += DEPTH / 2;
        if (channel == patches.channels) {
            next_tap();
            take(share, 1, 0);
        } else {
            // Where the first half began is known already.
            take(share, 1, DEPTH / 2);
        }
        channel += DEPTH / 2;
        return share;
    }
    // Half a step from `channel` on, which lies `behind` channels behind a known one.
    __device__ __forceinline__ void take(Panel::Share& share, int half, int behind) const {
#pragma unroll
        for (int j = 0; j < ROWS / 64; ++j) {
            u64 first = u64(from[j]) * u64(patches.channels) + u64(channel - behind + Panel::depth());
            share.value[j][half] = four_if(from[j] >= 0, patches.map + first + behind);
        }
    }
    // Behind the last tap there may be half a step of zeros.
    __device__ __forceinline__ void next_tap() {
        channel = 0;
        if (++tap_x == patches.taps_x) {
            tap_x = 0;
            ++tap_y;
        }
        look();
        if (tap_y < patches.taps_y) return;
#pragma unroll
        for (int j = 0; j < ROWS / 64; ++j) from[j] = -1;
    }
};

template <bool HALVES, Look LOOK>
struct Rows {
    using Of = PatchRows<LOOK>;
};
template <Look LOOK>
struct Rows<true, LOOK> {
    using Of = TapRows<LOOK>;
};

// Rows of a matrix whose columns, a multiple of 4, are the depth.
template <int N>
struct MatrixRows {
    using Panel = AlongDepth<N>;
    const float* start;   // of the thread's first row, at its first depth
    int columns;
    int down, across;     // rows and columns from there on

    __device__ __forceinline__ MatrixRows(const float* matrix, int row0, int count, int depth)
        : columns(depth), across(depth - Panel::depth()) {
        int row = row0 + Panel::row();
        down = Panel::mine() ? count - row : 0;
        start = matrix + u64(row) * u64(columns) + u64(Panel::depth());
    }
    __device__ __forceinline__ typename Panel::Share fetch(int begun) const {
        typename Panel::Share share;
#pragma unroll
        for (int j = 0; j < Panel::EACH; ++j) {
#pragma unroll
            for (int half = 0; half < 2; ++half) {
                const float* from = start + u64(64 * j) * u64(columns) + u64(begun + 16 * half);
                share.value[j][half] = four_if(64 * j < down && begun + 16 * half < across, from);
            }
        }
        return share;
    }
};

// Rows are (tap, channel), the depth are positions. Rows beyond the last tap are another tap's: nobody reads
// what they give.
struct PatchColumns {
    using Panel = AlongRows<ROWS>;
    Patches patches;
    int left;  // positions from the thread's first one on
    Tap tap;
    Position at, by;  // the next position, and the distance to the one after it

    __device__ __forceinline__ PatchColumns(const Patches& p, int row0, int from, int to, Position apart)
        : patches(p), tap(tap_of(p, row0 + Panel::row())), by(apart) {
        int first = from + Panel::depth();
        left = to - first;
        tap.channel = tap.channel < 0 ? 0 : tap.channel;
        int line = first / p.rows_width;
        at = {line / p.rows_height, line % p.rows_height, first % p.rows_width};
    }
    __device__ __forceinline__ Panel::Share fetch(int begun) {
        Panel::Share share;
#pragma unroll
        for (int j = 0; j < Panel::EACH; ++j) {
            bool there = begun + Panel::STRIDE * j < left;
            int from = place<Look::FORWARD>(patches, at, tap.y, tap.x);
            u64 begin = u64(from) * u64(patches.channels) + u64(tap.channel);
            share.value[j] = four_if(there && from >= 0, patches.map + begin);
            advance();
        }
        return share;
    }
    __device__ __forceinline__ void advance() {
        at.x += by.x;
        bool line = at.x >= patches.rows_width;
        at.x -= line ? patches.rows_width : 0;
        at.y += by.y + (line ? 1 : 0);
        bool example = at.y >= patches.rows_height;
        at.y -= example ? patches.rows_height : 0;
        at.example += by.example + (example ? 1 : 0);
    }
};

// Rows are the columns of a matrix, a multiple of 4, the depth its rows. Rows beyond the last column are
// another column's.
template <int N>
struct MatrixColumns {
    using Panel = AlongRows<N>;
    const float* start;  // of the thread's first depth, at its first row
    int columns, left;   // left: rows of the matrix from there on

    __device__ __forceinline__ MatrixColumns(const float* matrix, int column0, int count, int from, int to)
        : columns(count) {
        int first = from + Panel::depth(), column = column0 + Panel::row();
        left = Panel::mine() ? to - first : 0;
        start = matrix + u64(first) * u64(columns) + u64(column < columns ? column : 0);
    }
    __device__ __forceinline__ typename Panel::Share fetch(int begun) const {
        typename Panel::Share share;
#pragma unroll
        for (int j = 0; j < Panel::EACH; ++j) {
            const float* from = start + u64(begun + Panel::STRIDE * j) * u64(columns);
            share.value[j] = four_if(begun + Panel::STRIDE * j < left, from);
        }
        return share;
    }
};

// A tile of 128 rows × WIDTH columns: each of 8 warps computes HEIGHT rows × PART columns.
template <int WIDTH>
struct Tile {
    static constexpr int ACROSS = WIDTH < 32 ? 1 : WIDTH / 32;
    static constexpr int PART = WIDTH / ACROSS;
    static constexpr int HEIGHT = ROWS / (THREADS / WARP_SIZE / ACROSS);
    // Whether a thread's registers have room for its share of both operands beside the sums.
    static constexpr bool ROOM = WIDTH <= 64;
    float sum[HEIGHT / 16][PART / 8][4];

    __device__ __forceinline__ Tile() {
#pragma unroll
        for (int i = 0; i < HEIGHT / 16; ++i) {
#pragma unroll
            for (int j = 0; j < PART / 8; ++j) {
#pragma unroll
                for (int e = 0; e < 4; ++e) sum[i][j][e] = 0.0f;
            }
        }
    }
    __device__ __forceinline__ static int row() { return warp_index() / ACROSS * HEIGHT; }
    __device__ __forceinline__ static int column() { return warp_index() % ACROSS * PART; }

    // Adds the products of half a step.
    template <class Left, class Right>
    __device__ __forceinline__ void multiply(const Left& a, const Right& b, int stage, int half) {
        unsigned right[PART / 16][4];
#pragma unroll
        for (int j = 0; j < PART / 16; ++j) b.right(right[j], stage, column(), j, half);
#pragma unroll
        for (int i = 0; i < HEIGHT / 16; ++i) {
            unsigned left[4];
            a.left(left, stage, row(), i, half);
#pragma unroll
            for (int j = 0; j < PART / 8; ++j) {
                unsigned pair[2] = {right[j / 2][j % 2 * 2], right[j / 2][j % 2 * 2 + 1]};
                mma_bf16(sum[i][j], left, pair);
            }
        }
    }
    template <class Order>
    __device__ __forceinline__ void put(const Results<Order>& to) const {
        int group = lane_index() / 4, pair = lane_index() % 4;
#pragma unroll
        for (int j = 0; j < PART / 8; ++j) {
#pragma unroll
            for (int i = 0; i < HEIGHT / 16; ++i) {
#pragma unroll
                for (int e = 0; e < 4; e += 2) {
                    float two[2] = {sum[i][j][e], sum[i][j][e + 1]};
                    to.put(row() + 16 * i + group + 4 * e, column() + 8 * j + 2 * pair, two);
                }
            }
        }
    }
};

// tile += a · bᵀ over so many steps of depth, at least one. All threads of the block must call it.
template <class Sums, class A, class B>
__device__ __forceinline__ void product(Sums& tile, typename A::Panel& left, typename B::Panel& right, A& a, B& b,
                                        int steps) {
    left.put(0, a.fetch(0));
    right.put(0, b.fetch(0));
    __syncthreads();
    for (int step = 1; step < steps; ++step) {
        int now = (step - 1) % 2, next = step % 2;
        typename A::Panel::Share of_a = a.fetch(DEPTH * step);
        typename B::Panel::Share of_b;
        if (Sums::ROOM) of_b = b.fetch(DEPTH * step);
        tile.multiply(left, right, now, 0);
        if (!Sums::ROOM) {
            left.put(next, of_a);
            of_b = b.fetch(DEPTH * step);
        }
        tile.multiply(left, right, now, 1);
        if (Sums::ROOM) left.put(next, of_a);
        right.put(next, of_b);
        __syncthreads();
    }
    int last = (steps - 1) % 2;
    tile.multiply(left, right, last, 0);
    tile.multiply(left, right, last, 1);
}

// Rows are positions, columns are channels of the result; grid.x are tiles of rows, grid.y of columns from
// `column0` on, grid.z are phases. HALVES: the map's channels are a multiple of half a step.
template <int WIDTH, bool HALVES, Look LOOK>
__device__ __forceinline__ void map_to_map(const Patches& all, const float* weights, const float* bias, float* out,
                                           int channels, int column0) {
    __shared__ AlongDepth<ROWS> left;
    __shared__ AlongDepth<WIDTH> right;
    typename Positions<LOOK>::Of positions(all);
    const Patches& patches = positions.patches;
    int row0 = int(blockIdx.x) * ROWS, depth = patches.depth();
    // As many blocks as the largest phase has tiles.
    if (LOOK == Look::PHASE && row0 >= patches.rows) return;
    column0 += int(blockIdx.y) * WIDTH;
    weights += u64(positions.before) * u64(channels) * u64(patches.channels);
    typename Rows<HALVES, LOOK>::Of a(patches, row0);
    MatrixRows<WIDTH> b(weights, column0, channels, depth);
    Tile<WIDTH> tile;
    // Phases without taps are zero.
    if (depth > 0) product(tile, left, right, a, b, ceil_div(depth, DEPTH));
    using Order = typename Positions<LOOK>::Of::Order;
    Results<Order> to = {out, bias, patches.rows, channels, row0, column0, Order(all)};
    tile.put(to);
}

// Rows are (tap, channel), columns are channels of the output, `padded` in `grad`; block z sums positions
// z · share … and writes its own partial result. `apart` is how far apart positions lie of which one is the
// eighth after the other.
template <int WIDTH>
__device__ __forceinline__ void maps_to_weights(const Patches& patches, const float* grad, float* partials,
                                                int channels, int padded, int column0, int share, Position apart) {
    __shared__ AlongRows<ROWS> left;
    __shared__ AlongRows<WIDTH> right;
    int row0 = int(blockIdx.x) * ROWS, rows = patches.depth();
    column0 += int(blockIdx.y) * WIDTH;
    int first = int(blockIdx.z) * share, last = first + share < patches.rows ? first + share : patches.rows;
    Tile<WIDTH> tile;
    PatchColumns a(patches, row0, first, last, apart);
    MatrixColumns<WIDTH> b(grad, column0, padded, first, last);
    product(tile, left, right, a, b, ceil_div(last - first, DEPTH));
    float* out = partials + u64(blockIdx.z) * u64(rows) * u64(channels);
    Results<InOrder> to = {out, nullptr, rows, channels, row0, column0, InOrder(patches)};
    tile.put(to);
}

}  // namespace v3
