// Two-dimensional convolution, NHWC, as products of matrices whose operands are never stored: a block
// gathers the patches of the map that it needs (crates/ops/src/conv2d/device.rs launches these).
//
//   forward           out[position][o]   = Σ over (tap, i) of patch[position][tap, i] · weight[o][tap, i] + bias[o]
//   input gradient    dx[position][i]    = Σ over (tap, o) of patch of dy, transposed · weight[o][tap, i]
//   weight gradient   dw[(tap, i)][o]    = Σ over positions of patch[position][tap, i] · dy[position][o]
//
//   v1  plain SIMT in single precision
//   v2  tensor cores: operands rounded to bfloat16 or TF32 on the way to shared memory, sums in single precision
//   v3  the same products from fragments that are loaded eight rows at once (conv2d_v3.cuh)
//
// A block of 256 threads computes 128 rows × 64 columns (v3 also 128), 32 elements of depth at a time; the
// next ones are on their way from memory meanwhile.
#include "common.cuh"
#include "mma.cuh"
#include "patches.cuh"
#include "conv2d_v3.cuh"

constexpr int COLUMNS = 64;

// Operands. `fetch` takes the next 32 elements of depth of a tile into registers, `put` takes them to
// shared memory; `N` is the number of rows that the tile has.

// Rows are positions, the depth is (tap, channel).
template <int N, bool TRANSPOSED>
struct PatchRows {
    Patches patches;
    Position at[N / 32];
    float4 value[N / 32];

    __device__ __forceinline__ PatchRows(const Patches& p, int row0) : patches(p) {
#pragma unroll
        for (int j = 0; j < N / 32; ++j) at[j] = position(p, row0 + int(threadIdx.x) / 8 + 32 * j);
    }
    __device__ __forceinline__ void fetch(int depth) {
        Tap tap = tap_of(patches, depth + int(threadIdx.x) % 8 * 4);
#pragma unroll
        for (int j = 0; j < N / 32; ++j) value[j] = four<TRANSPOSED>(patches, at[j], tap);
    }
    template <class Panel>
    __device__ __forceinline__ void put(Panel& to) const {
#pragma unroll
        for (int j = 0; j < N / 32; ++j) {
            to.along_depth(int(threadIdx.x) / 8 + 32 * j, int(threadIdx.x) % 8 * 4, value[j]);
        }
    }
};

// Rows of a matrix whose columns are the depth.
template <int N>
struct MatrixRows {
    const float* matrix;
    int row0, rows, depth_end;
    float4 value[N / 32];

    __device__ __forceinline__ void fetch(int depth) {
#pragma unroll
        for (int j = 0; j < N / 32; ++j) {
            int row = row0 + int(threadIdx.x) / 8 + 32 * j;
            value[j] = four(matrix, row, rows, depth + int(threadIdx.x) % 8 * 4, depth_end);
        }
    }
    template <class Panel>
    __device__ __forceinline__ void put(Panel& to) const {
#pragma unroll
        for (int j = 0; j < N / 32; ++j) {
            to.along_depth(int(threadIdx.x) / 8 + 32 * j, int(threadIdx.x) % 8 * 4, value[j]);
        }
    }
};

// What a thread takes of a tile whose rows are neighbours in memory: four rows at two depths, `STEPS`
// times.
template <int N>
struct Columns {
    static constexpr int GROUPS = N / 4;
    static constexpr int PAIRS = THREADS / GROUPS;
    static constexpr int STEPS = DEPTH / 2 / PAIRS;

    __device__ __forceinline__ static int row() { return int(threadIdx.x) % GROUPS * 4; }
    __device__ __forceinline__ static int depth(int step) { return 2 * (int(threadIdx.x) / GROUPS + PAIRS * step); }
};

// Rows are (tap, channel), the depth are positions.
template <int N>
struct PatchColumns {
    using Share = Columns<N>;
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
                value[step][half] = four<false>(patches, at, tap);
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
#pragma unroll
        for (int step = 0; step < Share::STEPS; ++step) {
#pragma unroll
            for (int half = 0; half < 2; ++half) {
                value[step][half] = four(matrix, depth + Share::depth(step) + half, end, row0 + Share::row(), rows);
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

// Single precision: a thread computes 8 rows × 4 columns.
struct Simt {
    template <int N>
    struct Panel {
        float value[DEPTH][N + 4];

        __device__ __forceinline__ void along_depth(int row, int depth, float4 x) {
            value[depth][row] = x.x;
            value[depth + 1][row] = x.y;
            value[depth + 2][row] = x.z;
            value[depth + 3][row] = x.w;
        }
        __device__ __forceinline__ void along_rows(int row, int depth, float4 first, float4 second) {
            *reinterpret_cast<float4*>(&value[depth][row]) = first;
            *reinterpret_cast<float4*>(&value[depth + 1][row]) = second;
        }
    };
    float sum[8][4];

    __device__ __forceinline__ Simt() {
#pragma unroll
        for (int i = 0; i < 8; ++i) {
#pragma unroll
            for (int j = 0; j < 4; ++j) sum[i][j] = 0.0f;
        }
    }
    // Rows 4y + 64h … of the tile, h = 0 and 1, so that neighbouring threads read neighbouring words.
    __device__ __forceinline__ void step(const Panel<ROWS>& a, const Panel<COLUMNS>& b) {
        int x = int(threadIdx.x) % 16, y = int(threadIdx.x) / 16;
#pragma unroll 4
        for (int k = 0; k < DEPTH; ++k) {
            float4 low = *reinterpret_cast<const float4*>(&a.value[k][4 * y]);
            float4 high = *reinterpret_cast<const float4*>(&a.value[k][4 * y + 64]);
            float4 right = *reinterpret_cast<const float4*>(&b.value[k][4 * x]);
            float left[8] = {low.x, low.y, low.z, low.w, high.x, high.y, high.z, high.w};
#pragma unroll
            for (int i = 0; i < 8; ++i) {
                sum[i][0] += left[i] * right.x;
                sum[i][1] += left[i] * right.y;
                sum[i][2] += left[i] * right.z;
                sum[i][3] += left[i] * right.w;
            }
        }
    }
    template <class Out>
    __device__ __forceinline__ void each(const Out& out) const {
        int x = int(threadIdx.x) % 16, y = int(threadIdx.x) / 16;
#pragma unroll
        for (int i = 0; i < 8; ++i) {
#pragma unroll
            for (int j = 0; j < 4; ++j) out(4 * y + i % 4 + i / 4 * 64, 4 * x + j, sum[i][j]);
        }
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

// Tensor cores: each of 8 warps computes 32 rows × 32 columns.
template <class Number>
struct TensorCores {
    template <int N>
    struct Panel {
        // Four words more than needed spread a warp's reads of 8 rows × 4 words over all banks.
        __align__(16) unsigned word[N][Number::WORDS + 4];

        __device__ __forceinline__ void along_depth(int row, int depth, float4 x) {
            Number::four(word[row], depth, x);
        }
        __device__ __forceinline__ void along_rows(int row, int depth, float4 first, float4 second) {
            Number::two(word[row], depth, first.x, second.x);
            Number::two(word[row + 1], depth, first.y, second.y);
            Number::two(word[row + 2], depth, first.z, second.z);
            Number::two(word[row + 3], depth, first.w, second.w);
        }
    };
    float sum[2][4][4];

    __device__ __forceinline__ TensorCores() {
#pragma unroll
        for (int i = 0; i < 2; ++i) {
#pragma unroll
            for (int j = 0; j < 4; ++j) {
#pragma unroll
                for (int e = 0; e < 4; ++e) sum[i][j][e] = 0.0f;
            }
        }
    }
    __device__ __forceinline__ static int row() { return warp_index() / 2 * 32 + lane_index() / 4; }
    __device__ __forceinline__ static int column() { return warp_index() % 2 * 32; }

    __device__ __forceinline__ void step(const Panel<ROWS>& a, const Panel<COLUMNS>& b) {
        int group = lane_index() / 4, pair = lane_index() % 4;
#pragma unroll
        for (int part = 0; part < Number::WORDS / 8; ++part) {
            int word = 8 * part + pair;
            unsigned left[2][4], right[4][2];
#pragma unroll
            for (int i = 0; i < 2; ++i) {
                int r = row() + 16 * i;
                left[i][0] = a.word[r][word];
                left[i][1] = a.word[r + 8][word];
                left[i][2] = a.word[r][word + 4];
                left[i][3] = a.word[r + 8][word + 4];
            }
#pragma unroll
            for (int j = 0; j < 4; ++j) {
                right[j][0] = b.word[column() + 8 * j + group][word];
                right[j][1] = b.word[column() + 8 * j + group][word + 4];
            }
#pragma unroll
            for (int i = 0; i < 2; ++i) {
#pragma unroll
                for (int j = 0; j < 4; ++j) Number::multiply(sum[i][j], left[i], right[j]);
            }
        }
    }
    template <class Out>
    __device__ __forceinline__ void each(const Out& out) const {
        int pair = lane_index() % 4;
#pragma unroll
        for (int i = 0; i < 2; ++i) {
#pragma unroll
            for (int j = 0; j < 4; ++j) {
#pragma unroll
                for (int e = 0; e < 4; ++e) {
                    out(row() + 16 * i + e / 2 * 8, column() + 8 * j + 2 * pair + e % 2, sum[i][j][e]);
                }
            }
        }
    }
};

// Calls out(row, column, value) for every element of the tile a · bᵀ, whose depth goes from `first` to
// `last`. All threads of the block must call it.
template <class Math, class A, class B, class Out>
__device__ __forceinline__ void product(A& a, B& b, int first, int last, const Out& out) {
    __shared__ typename Math::template Panel<ROWS> left;
    __shared__ typename Math::template Panel<COLUMNS> right;
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
    math.each(out);
}

// Rows are positions, columns are channels of the result; grid.x are tiles of rows, grid.y of columns.
template <class Math, bool TRANSPOSED>
__device__ __forceinline__ void map_to_map(const Patches& patches, const float* weights, const float* bias, float* out,
                                           int channels) {
    int row0 = int(blockIdx.x) * ROWS, column0 = int(blockIdx.y) * COLUMNS, depth = patches.depth();
    PatchRows<ROWS, TRANSPOSED> a(patches, row0);
    MatrixRows<COLUMNS> b = {weights, column0, channels, depth, {}};
    product<Math>(a, b, 0, depth, [&](int row, int column, float value) {
        row += row0;
        column += column0;
        if (row < patches.rows && column < channels) {
            float offset = bias != nullptr ? bias[column] : 0.0f;
            out[u64(row) * u64(channels) + u64(column)] = value + offset;
        }
    });
}

// Rows are (tap, channel), columns are channels of the output; block z sums positions z · share … and
// writes its own partial result.
template <class Math>
__device__ __forceinline__ void maps_to_weights(const Patches& patches, const float* grad, float* partials,
                                                int channels, int share) {
    int row0 = int(blockIdx.x) * ROWS, column0 = int(blockIdx.y) * COLUMNS, rows = patches.depth();
    int first = int(blockIdx.z) * share, last = first + share < patches.rows ? first + share : patches.rows;
    PatchColumns<ROWS> a(patches, row0, last);
    MatrixColumns<COLUMNS> b = {grad, column0, channels, last, {}};
    float* out = partials + u64(blockIdx.z) * u64(rows) * u64(channels);
    product<Math>(a, b, first, last, [&](int row, int column, float value) {
        row += row0;
        column += column0;
        if (row < rows && column < channels) out[u64(row) * u64(channels) + u64(column)] = value;
    });
}

#define PATCHES(map) \
    Patches { map, height, width, channels, rows_height, rows_width, rows, kernel, stride, pad, reflect }

// out = convolution of `map` with packed weights [out_channels][tap, channel], plus bias unless null.
extern "C" __global__ void __launch_bounds__(THREADS)
    convolve_v1(const float* map, const float* weights, const float* bias, float* out, int out_channels, int height,
               int width, int channels, int rows_height, int rows_width, int rows, int kernel, int stride, int pad,
               int reflect) {
    map_to_map<Simt, false>(PATCHES(map), weights, bias, out, out_channels);
}

extern "C" __global__ void __launch_bounds__(THREADS)
    convolve_v2(const float* map, const float* weights, const float* bias, float* out, int out_channels, int height,
               int width, int channels, int rows_height, int rows_width, int rows, int kernel, int stride, int pad,
               int reflect) {
    map_to_map<TensorCores<Bf16>, false>(PATCHES(map), weights, bias, out, out_channels);
}

extern "C" __global__ void __launch_bounds__(THREADS)
    convolve_v2_tf32(const float* map, const float* weights, const float* bias, float* out, int out_channels,
               int height, int width, int channels, int rows_height, int rows_width, int rows, int kernel, int stride,
               int pad, int reflect) {
    map_to_map<TensorCores<Tf32>, false>(PATCHES(map), weights, bias, out, out_channels);
}

// The third version: tiles of 64 columns for any map, and of 64 and of 128 where the map's channels are a
// multiple of 32 (and for the weights' gradient those of the output a multiple of 4).
extern "C" __global__ void __launch_bounds__(THREADS, 2)
    convolve_v3_any(const float* map, const float* weights, const float* bias, float* out, int out_channels,
               int height, int width, int channels, int rows_height, int rows_width, int rows, int kernel, int stride,
               int pad, int reflect) {
    v3::map_to_map<64, false, false>(PATCHES(map), weights, bias, out, out_channels);
}

extern "C" __global__ void __launch_bounds__(THREADS, 2)
    convolve_v3_64(const float* map, const float* weights, const float* bias, float* out, int out_channels,
               int height, int width, int channels, int rows_height, int rows_width, int rows, int kernel, int stride,
               int pad, int reflect) {
    v3::map_to_map<64, true, false>(PATCHES(map), weights, bias, out, out_channels);
}

extern "C" __global__ void __launch_bounds__(THREADS, 2)
    convolve_v3_128(const float* map, const float* weights, const float* bias, float* out, int out_channels,
               int height, int width, int channels, int rows_height, int rows_width, int rows, int kernel, int stride,
               int pad, int reflect) {
    v3::map_to_map<128, true, false>(PATCHES(map), weights, bias, out, out_channels);
}

// Gradient of the input: `map` is the gradient of the output, `rows_height` × `rows_width` are the
// positions of the input, weights are packed [in_channels][tap, out_channel].
extern "C" __global__ void __launch_bounds__(THREADS)
    convolve_input_gradient_v1(const float* map, const float* weights, float* out, int in_channels, int height, int width,
                      int channels, int rows_height, int rows_width, int rows, int kernel, int stride, int pad,
                      int reflect) {
    map_to_map<Simt, true>(PATCHES(map), weights, nullptr, out, in_channels);
}

extern "C" __global__ void __launch_bounds__(THREADS)
    convolve_input_gradient_v2(const float* map, const float* weights, float* out, int in_channels, int height, int width,
                      int channels, int rows_height, int rows_width, int rows, int kernel, int stride, int pad,
                      int reflect) {
    map_to_map<TensorCores<Bf16>, true>(PATCHES(map), weights, nullptr, out, in_channels);
}

extern "C" __global__ void __launch_bounds__(THREADS)
    convolve_input_gradient_v2_tf32(const float* map, const float* weights, float* out, int in_channels, int height,
                      int width, int channels, int rows_height, int rows_width, int rows, int kernel, int stride,
                      int pad, int reflect) {
    map_to_map<TensorCores<Tf32>, true>(PATCHES(map), weights, nullptr, out, in_channels);
}

extern "C" __global__ void __launch_bounds__(THREADS, 2)
    convolve_input_gradient_v3_any(const float* map, const float* weights, float* out, int in_channels, int height,
                      int width, int channels, int rows_height, int rows_width, int rows, int kernel, int stride,
                      int pad, int reflect) {
    v3::map_to_map<64, false, true>(PATCHES(map), weights, nullptr, out, in_channels);
}

extern "C" __global__ void __launch_bounds__(THREADS, 2)
    convolve_input_gradient_v3_64(const float* map, const float* weights, float* out, int in_channels, int height,
                      int width, int channels, int rows_height, int rows_width, int rows, int kernel, int stride,
                      int pad, int reflect) {
    v3::map_to_map<64, true, true>(PATCHES(map), weights, nullptr, out, in_channels);
}

extern "C" __global__ void __launch_bounds__(THREADS, 2)
    convolve_input_gradient_v3_128(const float* map, const float* weights, float* out, int in_channels, int height,
                      int width, int channels, int rows_height, int rows_width, int rows, int kernel, int stride,
                      int pad, int reflect) {
    v3::map_to_map<128, true, true>(PATCHES(map), weights, nullptr, out, in_channels);
}

// partials[z] = the share of positions z · share … of the gradient of the weights, [tap, channel][out_channel].
extern "C" __global__ void __launch_bounds__(THREADS)
    convolve_weight_gradient_v1(const float* map, const float* grad, float* partials, int out_channels, int share, int height,
                       int width, int channels, int rows_height, int rows_width, int rows, int kernel, int stride,
                       int pad, int reflect) {
    maps_to_weights<Simt>(PATCHES(map), grad, partials, out_channels, share);
}

extern "C" __global__ void __launch_bounds__(THREADS)
    convolve_weight_gradient_v2(const float* map, const float* grad, float* partials, int out_channels, int share, int height,
                       int width, int channels, int rows_height, int rows_width, int rows, int kernel, int stride,
                       int pad, int reflect) {
    maps_to_weights<TensorCores<Bf16>>(PATCHES(map), grad, partials, out_channels, share);
}

extern "C" __global__ void __launch_bounds__(THREADS)
    convolve_weight_gradient_v2_tf32(const float* map, const float* grad, float* partials, int out_channels, int share,
                       int height, int width, int channels, int rows_height, int rows_width, int rows, int kernel,
                       int stride, int pad, int reflect) {
    maps_to_weights<TensorCores<Tf32>>(PATCHES(map), grad, partials, out_channels, share);
}

extern "C" __global__ void __launch_bounds__(THREADS, 2)
    convolve_weight_gradient_v3_any(const float* map, const float* grad, float* partials, int out_channels, int share,
                       int apart_examples, int apart_y, int apart_x, int height, int width, int channels,
                       int rows_height, int rows_width, int rows, int kernel, int stride, int pad, int reflect) {
    Position apart = {apart_examples, apart_y, apart_x};
    v3::maps_to_weights<64, false>(PATCHES(map), grad, partials, out_channels, share, apart);
}

extern "C" __global__ void __launch_bounds__(THREADS, 2)
    convolve_weight_gradient_v3_64(const float* map, const float* grad, float* partials, int out_channels, int share,
                       int apart_examples, int apart_y, int apart_x, int height, int width, int channels,
                       int rows_height, int rows_width, int rows, int kernel, int stride, int pad, int reflect) {
    Position apart = {apart_examples, apart_y, apart_x};
    v3::maps_to_weights<64, true>(PATCHES(map), grad, partials, out_channels, share, apart);
}

extern "C" __global__ void __launch_bounds__(THREADS, 2)
    convolve_weight_gradient_v3_128(const float* map, const float* grad, float* partials, int out_channels, int share,
                       int apart_examples, int apart_y, int apart_x, int height, int width, int channels,
                       int rows_height, int rows_width, int rows, int kernel, int stride, int pad, int reflect) {
    Position apart = {apart_examples, apart_y, apart_x};
    v3::maps_to_weights<128, true>(PATCHES(map), grad, partials, out_channels, share, apart);
}

// packed[o][tap, i] = weight[o][i][tap], or with `transposed` packed[i][tap, o]. One thread an element.
extern "C" __global__ void pack_weights(const float* weight, float* packed, int out_channels, int in_channels,
                                        int taps, int transposed) {
    u64 count = u64(out_channels) * u64(in_channels) * u64(taps);
    int inner = transposed != 0 ? out_channels : in_channels;
    for (u64 at = thread_number(); at < count; at += thread_count()) {
        int fast = int(at % u64(inner)), rest = int(at / u64(inner));
        int tap = rest % taps, slow = rest / taps;
        int o = transposed != 0 ? fast : slow, i = transposed != 0 ? slow : fast;
        packed[at] = weight[(u64(o) * u64(in_channels) + u64(i)) * u64(taps) + u64(tap)];
    }
}

// weight[o][i][tap] += the sum of partials[z][tap, i][o] over z, in the order of z. One thread an element.
extern "C" __global__ void add_partials(const float* partials, float* weight, int count, int out_channels,
                                        int in_channels, int taps) {
    u64 size = u64(out_channels) * u64(in_channels) * u64(taps);
    for (u64 at = thread_number(); at < size; at += thread_count()) {
        int o = int(at % u64(out_channels)), k = int(at / u64(out_channels));
        float sum = 0.0f;
        for (int z = 0; z < count; ++z) sum += partials[u64(z) * size + at];
        int i = k % in_channels, tap = k / in_channels;
        weight[(u64(o) * u64(in_channels) + u64(i)) * u64(taps) + u64(tap)] += sum;
    }
}

// The sum over the places of a reflected map of what was computed for each: `padded` has `pad` positions
// more on each side. One thread an element of dx.
extern "C" __global__ void fold_reflection(const float* padded, float* dx, int examples, int height, int width,
                                           int channels, int pad) {
    u64 count = u64(examples) * u64(height) * u64(width) * u64(channels);
    int wide = width + 2 * pad, high = height + 2 * pad;
    for (u64 at = thread_number(); at < count; at += thread_count()) {
        int c = int(at % u64(channels)), place = int(at / u64(channels));
        int x = place % width, y = place / width % height, n = place / width / height;
        // Itself and its mirror images at the first and the last row; the edge has none.
        int rows[3] = {y + pad, y >= 1 && y <= pad ? pad - y : -1,
                       y <= height - 2 && y >= height - 1 - pad ? 2 * (height - 1) - y + pad : -1};
        int columns[3] = {x + pad, x >= 1 && x <= pad ? pad - x : -1,
                          x <= width - 2 && x >= width - 1 - pad ? 2 * (width - 1) - x + pad : -1};
        float sum = 0.0f;
        for (int i = 0; i < 3; ++i) {
            for (int j = 0; j < 3; ++j) {
                if (rows[i] < 0 || columns[j] < 0) continue;
                u64 from = (u64(n) * u64(high) + u64(rows[i])) * u64(wide) + u64(columns[j]);
                sum += padded[from * u64(channels) + u64(c)];
            }
        }
        dx[at] = sum;
    }
}

// partials[chunk][c] = the sum of column c of rows chunk · share … of a matrix. Blocks of 32 × 8 threads
// take 32 columns; grid.x are groups of columns, grid.y chunks.
extern "C" __global__ void __launch_bounds__(256)
    column_sums(const float* matrix, float* partials, int rows, int columns, int share) {
    __shared__ float sums[8][32];
    int x = int(threadIdx.x) % 32, y = int(threadIdx.x) / 32, column = int(blockIdx.x) * 32 + x;
    int first = int(blockIdx.y) * share, last = first + share < rows ? first + share : rows;
    float sum = 0.0f;
    if (column < columns) {
        for (int row = first + y; row < last; row += 8) sum += matrix[u64(row) * u64(columns) + u64(column)];
    }
    sums[y][x] = sum;
    __syncthreads();
    if (y == 0 && column < columns) {
        for (int i = 1; i < 8; ++i) sum += sums[i][x];
        partials[u64(blockIdx.y) * u64(columns) + u64(column)] = sum;
    }
}

// grad[c] += the sum of partials[chunk][c] over the chunks. One thread a column.
extern "C" __global__ void add_column_sums(const float* partials, float* grad, int chunks, int columns) {
    int column = int(thread_number());
    if (column >= columns) return;
    double sum = 0.0;
    for (int chunk = 0; chunk < chunks; ++chunk) sum += double(partials[u64(chunk) * u64(columns) + u64(column)]);
    grad[column] += float(sum);
}
