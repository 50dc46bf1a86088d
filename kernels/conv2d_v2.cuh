// The products of conv2d.cu, first and second version: plain products in single precision, and tensor cores.
//
// Operands: `fetch` takes this thread's share of the next step of depth into registers, `put` takes it to
// shared memory. `N` is the number of rows that a tile has.
#pragma once
#include "common.cuh"
#include "mma.cuh"
#include "patches.cuh"

namespace v2 {

// A tile of neighbours in depth: a thread takes four of every 32nd row, where there are so many.
template <int N>
struct Lines {
    static constexpr int EACH = N < 32 ? 1 : N / 32;

    __device__ __forceinline__ static int row(int j) { return int(threadIdx.x) / 8 + 32 * j; }
    __device__ __forceinline__ static int depth() { return int(threadIdx.x) % 8 * 4; }
    __device__ __forceinline__ static bool mine() { return N >= 32 || row(0) < N; }
};

// Rows are positions, the depth is (tap, channel).
template <Look LOOK>
struct PatchRows {
    using Share = Lines<ROWS>;
    Patches patches;
    Position at[Share::EACH];
    float4 value[Share::EACH];

    __device__ __forceinline__ PatchRows(const Patches& p, int row0) : patches(p) {
#pragma unroll
        for (int j = 0; j < Share::EACH; ++j) at[j] = position(p, row0 + Share::row(j));
    }
    __device__ __forceinline__ void fetch(int depth) {
        Tap tap = tap_of(patches, depth + Share::depth());
#pragma unroll
        for (int j = 0; j < Share::EACH; ++j) value[j] = four<LOOK>(patches, at[j], tap);
    }
    template <class Panel>
    __device__ __forceinline__ void put(Panel& to) const {
#pragma unroll
        for (int j = 0; j < Share::EACH; ++j) to.along_depth(Share::row(j), Share::depth(), value[j]);
    }
};

// Rows of a matrix whose columns are the depth.
template <int N>
struct MatrixRows {
    using Share = Lines<N>;
    const float* matrix;
    int row0, rows, depth_end;
    float4 value[Share::EACH];

    __device__ __forceinline__ void fetch(int depth) {
#pragma unroll
        for (int j = 0; j < Share::EACH; ++j) {
            value[j] = four(matrix, row0 + Share::row(j), rows, depth + Share::depth(), depth_end);
        }
    }
    template <class Panel>
    __device__ __forceinline__ void put(Panel& to) const {
#pragma unroll
        for (int j = 0; j < Share::EACH; ++j) {
            if (Share::mine()) to.along_depth(Share::row(j), Share::depth(), value[j]);
        }
    }
};

// A tile whose rows are neighbours in memory: a thread takes four rows at two depths, `STEPS` times, where
// there are so many.
template <int N>
struct Columns {
    static constexpr int GROUPS = N / 4;
    static constexpr int PAIRS = THREADS / GROUPS;
    static constexpr int STEPS = PAIRS > DEPTH / 2 ? 1 : DEPTH / 2 / PAIRS;

    __device__ __forceinline__ static int row() { return int(threadIdx.x) % GROUPS * 4; }
    __device__ __forceinline__ static int depth(int step) { return 2 * (int(threadIdx.x) / GROUPS + PAIRS * step); }
    __device__ __forceinline__ static bool mine() { return PAIRS <= DEPTH / 2 || depth(0) < DEPTH; }
};

// Rows are (tap, channel), the depth are positions.
struct PatchColumns {
    using Share = Columns<ROWS>;
    Patches patches;
    int end;
    Tap tap;
    float4 value[Share::STEPS][2];

    __device__ __forceinline__ PatchColumns(const Patches& p, int row0, int last)
        : patches(p), end(last), tap(tap_of(p, row0 + Share::row())) {}
    __device__ __forceinline__ void fetch(int depth) {
#pragma unroll
        for (int step = 0; step < Share::STEPS; ++step) {
#pragma unroll
            for (int half = 0; half < 2; ++half) {
                int row = depth + Share::depth(step) + half;
                Position at = row < end ? position(patches, row) : Position{-1, 0, 0};
                value[step][half] = four<Look::FORWARD>(patches, at, tap);
            }
        }
    }
    template <class Panel>
    __device__ __forceinline__ void put(Panel& to) const {
#pragma unroll
        for (int step = 0; step < Share::STEPS; ++step) {
            to.along_rows(Share::row(), Share::depth(step), value[step][0], value[step][1]);
        }
    }
};

// Rows are the columns of a matrix, the depth its rows up to `end`.
template <int N>
struct MatrixColumns {
    using Share = Columns<N>;
    const float* matrix;
    int row0, rows, end;
    float4 value[Share::STEPS][2];

    __device__ __forceinline__ void fetch(int depth) {
        int last = Share::mine() ? end : 0;
#pragma unroll
        for (int step = 0; step < Share::STEPS; ++step) {
#pragma unroll
            for (int half = 0; half < 2; ++half) {
                value[step][half] = four(matrix, depth + Share::depth(step) + half, last, row0 + Share::row(), rows);
            }
        }
    }
    template <class Panel>
    __device__ __forceinline__ void put(Panel& to) const {
#pragma unroll
        for (int step = 0; step < Share::STEPS; ++step) {
            if (Share::mine()) to.along_rows(Share::row(), Share::depth(step), value[step][0], value[step][1]);
        }
    }
};

// Element `i + by` of four, the first behind the last: lanes that store their elements in other orders meet
// in fewer banks.
__device__ __forceinline__ float turned(float4 x, int i, int by) {
    int at = (i + by) % 4;
    float low = at % 2 != 0 ? x.y : x.x, high = at % 2 != 0 ? x.w : x.z;
    return at >= 2 ? high : low;
}

// Single precision: a thread computes TALL rows × WIDE columns.
template <int WIDTH>
struct Simt {
    static constexpr int TALL = WIDTH < 64 ? 4 : 8;
    static constexpr int WIDE = TALL / 2;
    static constexpr int ACROSS = WIDTH / WIDE;

    template <int N>
    struct Panel {
        __align__(16) float value[DEPTH][N + 4];

        // Two of a warp's eight depths lie in the same banks, and so do four elements of one: each pair of depths
        // begins with another element.
        __device__ __forceinline__ void along_depth(int row, int depth, float4 x) {
            int by = lane_index() / 2 % 4;
#pragma unroll
            for (int i = 0; i < 4; ++i) value[depth + (i + by) % 4][row] = turned(x, i, by);
        }
        __device__ __forceinline__ void along_rows(int row, int depth, float4 first, float4 second) {
            *reinterpret_cast<float4*>(&value[depth][row]) = first;
            *reinterpret_cast<float4*>(&value[depth + 1][row]) = second;
        }
    };
    float sum[TALL][WIDE];

    __device__ __forceinline__ Simt() {
#pragma unroll
        for (int i = 0; i < TALL; ++i) {
#pragma unroll
            for (int j = 0; j < WIDE; ++j) sum[i][j] = 0.0f;
        }
    }
    __device__ __forceinline__ static int column() { return int(threadIdx.x) % ACROSS * WIDE; }
    // Four rows from here on, and of a tall thread four more 64 rows further, so that neighbouring threads read
    // neighbouring words.
    __device__ __forceinline__ static int row() { return int(threadIdx.x) / ACROSS * 4; }

    __device__ __forceinline__ static void load(float (&to)[2], const float* from) {
        float2 x = *reinterpret_cast<const float2*>(from);
        to[0] = x.x;
        to[1] = x.y;
    }
    __device__ __forceinline__ static void load(float (&to)[4], const float* from) {
        float4 x = *reinterpret_cast<const float4*>(from);
        to[0] = x.x;
        to[1] = x.y;
        to[2] = x.z;
        to[3] = x.w;
    }
    __device__ __forceinline__ void step(const Panel<ROWS>& a, const Panel<WIDTH>& b) {
#pragma unroll 4
        for (int k = 0; k < DEPTH; ++k) {
            float right[WIDE];
            load(right, &b.value[k][column()]);
#pragma unroll
            for (int part = 0; part < TALL / 4; ++part) {
                float left[4];
                load(left, &a.value[k][row() + 64 * part]);
#pragma unroll
                for (int i = 0; i < 4; ++i) {
#pragma unroll
                    for (int j = 0; j < WIDE; ++j) sum[4 * part + i][j] += left[i] * right[j];
                }
            }
        }
    }
    template <class Order>
    __device__ __forceinline__ void put(const Results<Order>& to) const {
#pragma unroll
        for (int i = 0; i < TALL; ++i) to.put(row() + i % 4 + i / 4 * 64, column(), sum[i]);
    }
};

// Words of a row of an operand on tensor cores, neighbours in depth one after the other: two bfloat16 each, or
// one number in TF32.
struct Bf16 {
    static constexpr int WORDS = DEPTH / 2;

    __device__ __forceinline__ static void four(unsigned* row, int depth, float4 x) {
        row[depth / 2] = pack_bf16(x.x, x.y);
        row[depth / 2 + 1] = pack_bf16(x.z, x.w);
    }
    __device__ __forceinline__ static void two(unsigned* row, int depth, float first, float second) {
        row[depth / 2] = pack_bf16(first, second);
    }
    __device__ __forceinline__ static void multiply(float (&d)[4], const unsigned (&a)[4], const unsigned (&b)[2]) {
        mma_bf16(d, a, b);
    }
};

struct Tf32 {
    static constexpr int WORDS = DEPTH;

    __device__ __forceinline__ static void four(unsigned* row, int depth, float4 x) {
        *reinterpret_cast<uint4*>(row + depth) = {round_tf32(x.x), round_tf32(x.y), round_tf32(x.z), round_tf32(x.w)};
    }
    __device__ __forceinline__ static void two(unsigned* row, int depth, float first, float second) {
        *reinterpret_cast<uint2*>(row + depth) = {round_tf32(first), round_tf32(second)};
    }
    __device__ __forceinline__ static void multiply(float (&d)[4], const unsigned (&a)[4], const unsigned (&b)[2]) {
        mma_tf32(d, a, b);
    }
};

// Tensor cores: each of 8 warps computes HEIGHT rows × PART columns.
template <class Number, int WIDTH>
struct TensorCores {
    static constexpr int ACROSS = WIDTH < 32 ? 1 : WIDTH / 32;
    static constexpr int PART = WIDTH / ACROSS;
    static constexpr int HEIGHT = ROWS / (THREADS / WARP_SIZE / ACROSS);

    template <int N>
    struct Panel {
        // Four words more than needed spread a warp's reads of 8 rows × 4 words over all banks.
        __align__(16) unsigned word[N][Number::WORDS + 4];

        __device__ __forceinline__ void along_depth(int row, int depth, float4 x) {
            Number::four(word[row], depth, x);
        }
        // Every second lane's rows lie in the same banks: each pair of lanes begins with another of its rows.
        __device__ __forceinline__ void along_rows(int row, int depth, float4 first, float4 second) {
            int by = lane_index() / 2 % 4;
#pragma unroll
            for (int i = 0; i < 4; ++i) {
                Number::two(word[row + (i + by) % 4], depth, turned(first, i, by), turned(second, i, by));
            }
        }
    };
    float sum[HEIGHT / 16][PART / 8][4];

    __device__ __forceinline__ TensorCores() {
#pragma unroll
        for (int i = 0; i < HEIGHT / 16; ++i) {
#pragma unroll
            for (int j = 0; j < PART / 8; ++j) {
#pragma unroll
                for (int e = 0; e < 4; ++e) sum[i][j][e] = 0.0f;
            }
        }
    }
    __device__ __forceinline__ static int row() { return warp_index() / ACROSS * HEIGHT + lane_index() / 4; }
    __device__ __forceinline__ static int column() { return warp_index() % ACROSS * PART; }

    __device__ __forceinline__ void step(const Panel<ROWS>& a, const Panel<WIDTH>& b) {
        int group = lane_index() / 4, pair = lane_index() % 4;
#pragma unroll
        for (int part = 0; part < Number::WORDS / 8; ++part) {
            int word = 8 * part + pair;
            unsigned left[HEIGHT / 16][4], right[PART / 8][2];
#pragma unroll
            for (int i = 0; i < HEIGHT / 16; ++i) {
                int r = row() + 16 * i;
                left[i][0] = a.word[r][word];
                left[i][1] = a.word[r + 8][word];
                left[i][2] = a.word[r][word + 4];
                left[i][3] = a.word[r + 8][word + 4];
            }
#pragma unroll
            for (int j = 0; j < PART / 8; ++j) {
                right[j][0] = b.word[column() + 8 * j + group][word];
                right[j][1] = b.word[column() + 8 * j + group][word + 4];
            }
#pragma unroll
            for (int i = 0; i < HEIGHT / 16; ++i) {
#pragma unroll
                for (int j = 0; j < PART / 8; ++j) Number::multiply(sum[i][j], left[i], right[j]);
            }
        }
    }
    template <class Order>
    __device__ __forceinline__ void put(const Results<Order>& to) const {
        int pair = lane_index() % 4;
#pragma unroll
        for (int i = 0; i < HEIGHT / 16; ++i) {
#pragma unroll
            for (int j = 0; j < PART / 8; ++j) {
#pragma unroll
                for (int e = 0; e < 4; e += 2) {
                    float two[2] = {sum[i][j][e], sum[i][j][e + 1]};
                    to.put(row() + 16 * i + 4 * e, column() + 8 * j + 2 * pair, two);
                }
            }
        }
    }
};

// The tile a · bᵀ, whose depth goes from `first` to `last`. All threads of the block must call it.
template <int WIDTH, class Math, class A, class B, class Order>
__device__ __forceinline__ void product(A& a, B& b, int first, int last, const Results<Order>& to) {
    __shared__ typename Math::template Panel<ROWS> left;
    __shared__ typename Math::template Panel<WIDTH> right;
    Math math;
    a.fetch(first);
    b.fetch(first);
    for (int depth = first; depth < last; depth += DEPTH) {
        __syncthreads();
        a.put(left);
        b.put(right);
        __syncthreads();
        if (depth + DEPTH < last) {
            a.fetch(depth + DEPTH);
            b.fetch(depth + DEPTH);
        }
        math.step(left, right);
    }
    math.put(to);
}

// Rows are positions, columns are channels of the result; grid.x are tiles of rows, grid.y of columns from
// `column0` on, grid.z are phases.
template <int WIDTH, class Math, Look LOOK>
__device__ __forceinline__ void map_to_map(const Patches& all, const float* weights, const float* bias, float* out,
                                           int channels, int column0) {
    typename Positions<LOOK>::Of positions(all);
    const Patches& patches = positions.patches;
    int row0 = int(blockIdx.x) * ROWS, depth = patches.depth();
    // As many blocks as the largest phase has tiles.
    if (LOOK == Look::PHASE && row0 >= patches.rows) return;
    column0 += int(blockIdx.y) * WIDTH;
    weights += u64(positions.before) * u64(channels) * u64(patches.channels);
    PatchRows<LOOK> a(patches, row0);
    MatrixRows<WIDTH> b = {weights, column0, channels, depth, {}};
    using Order = typename Positions<LOOK>::Of::Order;
    Results<Order> to = {out, bias, patches.rows, channels, row0, column0, Order(all)};
    product<WIDTH, Math>(a, b, 0, depth, to);
}

// Rows are (tap, channel), columns are channels of the output, `padded` in `grad`; block z sums positions
// z · share … and writes its own partial result.
template <int WIDTH, class Math>
__device__ __forceinline__ void maps_to_weights(const Patches& patches, const float* grad, float* partials,
                                                int channels, int padded, int column0, int share) {
    int row0 = int(blockIdx.x) * ROWS, rows = patches.depth();
    column0 += int(blockIdx.y) * WIDTH;
    int first = int(blockIdx.z) * share, last = first + share < patches.rows ? first + share : patches.rows;
    PatchColumns a(patches, row0, last);
    MatrixColumns<WIDTH> b = {grad, column0, padded, last, {}};
    float* out = partials + u64(blockIdx.z) * u64(rows) * u64(channels);
    Results<InOrder> to = {out, nullptr, rows, channels, row0, column0, InOrder(patches)};
    product<WIDTH, Math>(a, b, first, last, to);
}

}  // namespace v2
