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
// next ones are on their way from memory meanwhile. Where fewer columns are left, kernels named _16 and _32
// compute that many.
//
// Maps have a multiple of 4 channels, zeros behind the last ones (pad_channels), and so do packed weights;
// sums gain nothing but zeros by it. Results have the channels that they have.
#include "common.cuh"
#include "conv2d_v2.cuh"
#include "conv2d_v3.cuh"
#include "patches.cuh"

#define PATCHES(map) \
    Patches { map, height, width, channels, rows_height, rows_width, rows, kernel, kernel, stride, pad, pad, reflect }

// out = convolution of `map` with packed weights [out_channels][tap, channel], plus bias unless null, from channel
// `column0` of the output on.
extern "C" __global__ void __launch_bounds__(THREADS)
    convolve_v1(const float* map, const float* weights, const float* bias, float* out, int out_channels,
                int column0, int height, int width, int channels, int rows_height, int rows_width, int rows,
                int kernel, int stride, int pad, int reflect) {
    v2::map_to_map<64, v2::Simt<64>, Look::FORWARD>(PATCHES(map), weights, bias, out, out_channels, column0);
}

extern "C" __global__ void __launch_bounds__(THREADS)
    convolve_v1_16(const float* map, const float* weights, const float* bias, float* out, int out_channels,
                   int column0, int height, int width, int channels, int rows_height, int rows_width, int rows,
                   int kernel, int stride, int pad, int reflect) {
    v2::map_to_map<16, v2::Simt<16>, Look::FORWARD>(PATCHES(map), weights, bias, out, out_channels, column0);
}

extern "C" __global__ void __launch_bounds__(THREADS)
    convolve_v2(const float* map, const float* weights, const float* bias, float* out, int out_channels,
                int column0, int height, int width, int channels, int rows_height, int rows_width, int rows,
                int kernel, int stride, int pad, int reflect) {
    v2::map_to_map<64, v2::TensorCores<v2::Bf16, 64>, Look::FORWARD>(PATCHES(map), weights, bias, out, out_channels,
                                                                     column0);
}

extern "C" __global__ void __launch_bounds__(THREADS)
    convolve_v2_tf32(const float* map, const float* weights, const float* bias, float* out, int out_channels,
                     int column0, int height, int width, int channels, int rows_height, int rows_width, int rows,
                     int kernel, int stride, int pad, int reflect) {
    v2::map_to_map<64, v2::TensorCores<v2::Tf32, 64>, Look::FORWARD>(PATCHES(map), weights, bias, out, out_channels,
                                                                     column0);
}

extern "C" __global__ void __launch_bounds__(THREADS)
    convolve_v2_tf32_16(const float* map, const float* weights, const float* bias, float* out, int out_channels,
                        int column0, int height, int width, int channels, int rows_height, int rows_width, int rows,
                        int kernel, int stride, int pad, int reflect) {
    v2::map_to_map<16, v2::TensorCores<v2::Tf32, 16>, Look::FORWARD>(PATCHES(map), weights, bias, out, out_channels,
                                                                     column0);
}

// The third version: for any map (v3_any), and for those whose channels are a multiple of 16.
extern "C" __global__ void __launch_bounds__(THREADS, 2)
    convolve_v3_any(const float* map, const float* weights, const float* bias, float* out, int out_channels,
                    int column0, int height, int width, int channels, int rows_height, int rows_width, int rows,
                    int kernel, int stride, int pad, int reflect) {
    v3::map_to_map<64, false, Look::FORWARD>(PATCHES(map), weights, bias, out, out_channels, column0);
}

extern "C" __global__ void __launch_bounds__(THREADS, 2)
    convolve_v3_any_32(const float* map, const float* weights, const float* bias, float* out, int out_channels,
                       int column0, int height, int width, int channels, int rows_height, int rows_width, int rows,
                       int kernel, int stride, int pad, int reflect) {
    v3::map_to_map<32, false, Look::FORWARD>(PATCHES(map), weights, bias, out, out_channels, column0);
}

extern "C" __global__ void __launch_bounds__(THREADS, 2)
    convolve_v3_16(const float* map, const float* weights, const float* bias, float* out, int out_channels,
                   int column0, int height, int width, int channels, int rows_height, int rows_width, int rows,
                   int kernel, int stride, int pad, int reflect) {
    v3::map_to_map<16, true, Look::FORWARD>(PATCHES(map), weights, bias, out, out_channels, column0);
}

extern "C" __global__ void __launch_bounds__(THREADS, 2)
    convolve_v3_32(const float* map, const float* weights, const float* bias, float* out, int out_channels,
                   int column0, int height, int width, int channels, int rows_height, int rows_width, int rows,
                   int kernel, int stride, int pad, int reflect) {
    v3::map_to_map<32, true, Look::FORWARD>(PATCHES(map), weights, bias, out, out_channels, column0);
}

extern "C" __global__ void __launch_bounds__(THREADS, 2)
    convolve_v3_64(const float* map, const float* weights, const float* bias, float* out, int out_channels,
                   int column0, int height, int width, int channels, int rows_height, int rows_width, int rows,
                   int kernel, int stride, int pad, int reflect) {
    v3::map_to_map<64, true, Look::FORWARD>(PATCHES(map), weights, bias, out, out_channels, column0);
}

extern "C" __global__ void __launch_bounds__(THREADS, 2)
    convolve_v3_128(const float* map, const float* weights, const float* bias, float* out, int out_channels,
                    int column0, int height, int width, int channels, int rows_height, int rows_width, int rows,
                    int kernel, int stride, int pad, int reflect) {
    v3::map_to_map<128, true, Look::FORWARD>(PATCHES(map), weights, bias, out, out_channels, column0);
}

// Gradient of the input: `map` is the gradient of the output, `rows_height` × `rows_width` are the
// positions of the input, weights are packed [in_channels][tap, out_channel]. Tensor cores compute the phases of the
// input apart (patches.cuh); the plain version has one, of every tap.
extern "C" __global__ void __launch_bounds__(THREADS)
    convolve_input_gradient_v1(const float* map, const float* weights, float* out, int in_channels, int column0,
                               int height, int width, int channels, int rows_height, int rows_width, int rows,
                               int kernel, int stride, int pad, int reflect) {
    v2::map_to_map<64, v2::Simt<64>, Look::TRANSPOSED>(PATCHES(map), weights, nullptr, out, in_channels, column0);
}

extern "C" __global__ void __launch_bounds__(THREADS)
    convolve_input_gradient_v1_16(const float* map, const float* weights, float* out, int in_channels, int column0,
                                  int height, int width, int channels, int rows_height, int rows_width, int rows,
                                  int kernel, int stride, int pad, int reflect) {
    v2::map_to_map<16, v2::Simt<16>, Look::TRANSPOSED>(PATCHES(map), weights, nullptr, out, in_channels, column0);
}

extern "C" __global__ void __launch_bounds__(THREADS)
    convolve_input_gradient_v2(const float* map, const float* weights, float* out, int in_channels, int column0,
                               int height, int width, int channels, int rows_height, int rows_width, int rows,
                               int kernel, int stride, int pad, int reflect) {
    v2::map_to_map<64, v2::TensorCores<v2::Bf16, 64>, Look::PHASE>(PATCHES(map), weights, nullptr, out, in_channels,
                                                                   column0);
}

extern "C" __global__ void __launch_bounds__(THREADS)
    convolve_input_gradient_v2_tf32(const float* map, const float* weights, float* out, int in_channels,
                                    int column0, int height, int width, int channels, int rows_height,
                                    int rows_width, int rows, int kernel, int stride, int pad, int reflect) {
    v2::map_to_map<64, v2::TensorCores<v2::Tf32, 64>, Look::PHASE>(PATCHES(map), weights, nullptr, out, in_channels,
                                                                   column0);
}

extern "C" __global__ void __launch_bounds__(THREADS)
    convolve_input_gradient_v2_tf32_16(const float* map, const float* weights, float* out, int in_channels,
                                       int column0, int height, int width, int channels, int rows_height,
                                       int rows_width, int rows, int kernel, int stride, int pad, int reflect) {
    v2::map_to_map<16, v2::TensorCores<v2::Tf32, 16>, Look::PHASE>(PATCHES(map), weights, nullptr, out, in_channels,
                                                                   column0);
}

extern "C" __global__ void __launch_bounds__(THREADS, 2)
    convolve_input_gradient_v3_any(const float* map, const float* weights, float* out, int in_channels, int column0,
                                   int height, int width, int channels, int rows_height, int rows_width, int rows,
                                   int kernel, int stride, int pad, int reflect) {
    v3::map_to_map<64, false, Look::PHASE>(PATCHES(map), weights, nullptr, out, in_channels, column0);
}

extern "C" __global__ void __launch_bounds__(THREADS, 2)
    convolve_input_gradient_v3_any_32(const float* map, const float* weights, float* out, int in_channels, int column0,
                                      int height, int width, int channels, int rows_height, int rows_width, int rows,
                                      int kernel, int stride, int pad, int reflect) {
    v3::map_to_map<32, false, Look::PHASE>(PATCHES(map), weights, nullptr, out, in_channels, column0);
}

extern "C" __global__ void __launch_bounds__(THREADS, 3)
    convolve_input_gradient_v3_16(const float* map, const float* weights, float* out, int in_channels, int column0,
                                  int height, int width, int channels, int rows_height, int rows_width, int rows,
                                  int kernel, int stride, int pad, int reflect) {
    v3::map_to_map<16, true, Look::PHASE>(PATCHES(map), weights, nullptr, out, in_channels, column0);
}

extern "C" __global__ void __launch_bounds__(THREADS, 2)
    convolve_input_gradient_v3_32(const float* map, const float* weights, float* out, int in_channels, int column0,
                                  int height, int width, int channels, int rows_height, int rows_width, int rows,
                                  int kernel, int stride, int pad, int reflect) {
    v3::map_to_map<32, true, Look::PHASE>(PATCHES(map), weights, nullptr, out, in_channels, column0);
}

extern "C" __global__ void __launch_bounds__(THREADS, 2)
    convolve_input_gradient_v3_64(const float* map, const float* weights, float* out, int in_channels, int column0,
                                  int height, int width, int channels, int rows_height, int rows_width, int rows,
                                  int kernel, int stride, int pad, int reflect) {
    v3::map_to_map<64, true, Look::PHASE>(PATCHES(map), weights, nullptr, out, in_channels, column0);
}

extern "C" __global__ void __launch_bounds__(THREADS, 2)
    convolve_input_gradient_v3_128(const float* map, const float* weights, float* out, int in_channels, int column0,
                                   int height, int width, int channels, int rows_height, int rows_width, int rows,
                                   int kernel, int stride, int pad, int reflect) {
    v3::map_to_map<128, true, Look::PHASE>(PATCHES(map), weights, nullptr, out, in_channels, column0);
}

// partials[z] = the share of positions z · share … of the gradient of the weights, [tap, channel][out_channel].
extern "C" __global__ void __launch_bounds__(THREADS)
    convolve_weight_gradient_v1(const float* map, const float* grad, float* partials, int out_channels,
                                int padded_channels, int column0, int share, int height, int width, int channels,
                                int rows_height, int rows_width, int rows, int kernel, int stride, int pad,
                                int reflect) {
    v2::maps_to_weights<64, v2::Simt<64>>(PATCHES(map), grad, partials, out_channels, padded_channels, column0,
                                          share);
}

extern "C" __global__ void __launch_bounds__(THREADS)
    convolve_weight_gradient_v1_16(const float* map, const float* grad, float* partials, int out_channels,
                                   int padded_channels, int column0, int share, int height, int width, int channels,
                                   int rows_height, int rows_width, int rows, int kernel, int stride, int pad,
                                   int reflect) {
    v2::maps_to_weights<16, v2::Simt<16>>(PATCHES(map), grad, partials, out_channels, padded_channels, column0,
                                          share);
}

extern "C" __global__ void __launch_bounds__(THREADS)
    convolve_weight_gradient_v2(const float* map, const float* grad, float* partials, int out_channels,
                                int padded_channels, int column0, int share, int height, int width, int channels,
                                int rows_height, int rows_width, int rows, int kernel, int stride, int pad,
                                int reflect) {
    v2::maps_to_weights<64, v2::TensorCores<v2::Bf16, 64>>(PATCHES(map), grad, partials, out_channels, padded_channels, column0,
                                                           share);
}

extern "C" __global__ void __launch_bounds__(THREADS)
    convolve_weight_gradient_v2_tf32(const float* map, const float* grad, float* partials, int out_channels,
                                     int padded_channels, int column0, int share, int height, int width,
                                     int channels, int rows_height, int rows_width, int rows, int kernel,
                                     int stride, int pad, int reflect) {
    v2::maps_to_weights<64, v2::TensorCores<v2::Tf32, 64>>(PATCHES(map), grad, partials, out_channels, padded_channels, column0,
                                                           share);
}

extern "C" __global__ void __launch_bounds__(THREADS)
    convolve_weight_gradient_v2_tf32_16(const float* map, const float* grad, float* partials, int out_channels,
                                        int padded_channels, int column0, int share, int height, int width,
                                        int channels, int rows_height, int rows_width, int rows, int kernel,
                                        int stride, int pad, int reflect) {
    v2::maps_to_weights<16, v2::TensorCores<v2::Tf32, 16>>(PATCHES(map), grad, partials, out_channels, padded_channels, column0,
                                                           share);
}

extern "C" __global__ void __launch_bounds__(THREADS, 2)
    convolve_weight_gradient_v3_16(const float* map, const float* grad, float* partials, int out_channels,
                                   int padded_channels, int column0, int share, int apart_examples, int apart_y,
                                   int apart_x, int height, int width, int channels, int rows_height,
                                   int rows_width, int rows, int kernel, int stride, int pad, int reflect) {
    Position apart = {apart_examples, apart_y, apart_x};
    v3::maps_to_weights<16>(PATCHES(map), grad, partials, out_channels, padded_channels, column0, share, apart);
}

extern "C" __global__ void __launch_bounds__(THREADS, 2)
    convolve_weight_gradient_v3_32(const float* map, const float* grad, float* partials, int out_channels,
                                   int padded_channels, int column0, int share, int apart_examples, int apart_y,
                                   int apart_x, int height, int width, int channels, int rows_height,
                                   int rows_width, int rows, int kernel, int stride, int pad, int reflect) {
    Position apart = {apart_examples, apart_y, apart_x};
    v3::maps_to_weights<32>(PATCHES(map), grad, partials, out_channels, padded_channels, column0, share, apart);
}

extern "C" __global__ void __launch_bounds__(THREADS, 2)
    convolve_weight_gradient_v3_64(const float* map, const float* grad, float* partials, int out_channels,
                                   int padded_channels, int column0, int share, int apart_examples, int apart_y,
                                   int apart_x, int height, int width, int channels, int rows_height,
                                   int rows_width, int rows, int kernel, int stride, int pad, int reflect) {
    Position apart = {apart_examples, apart_y, apart_x};
    v3::maps_to_weights<64>(PATCHES(map), grad, partials, out_channels, padded_channels, column0, share, apart);
}

extern "C" __global__ void __launch_bounds__(THREADS, 2)
    convolve_weight_gradient_v3_128(const float* map, const float* grad, float* partials, int out_channels,
                                    int padded_channels, int column0, int share, int apart_examples, int apart_y,
                                    int apart_x, int height, int width, int channels, int rows_height,
                                    int rows_width, int rows, int kernel, int stride, int pad, int reflect) {
    Position apart = {apart_examples, apart_y, apart_x};
    v3::maps_to_weights<128>(PATCHES(map), grad, partials, out_channels, padded_channels, column0, share, apart);
}

// padded[position][channel] = map[position][channel], zeros behind the last channel. `padded_channels` are a
// multiple of 4; one thread takes four of them, of `quads` altogether.
extern "C" __global__ void pad_channels(const float* map, float* padded, int quads, int channels,
                                        int padded_channels) {
    unsigned across = unsigned(padded_channels) / 4;
    for (u64 at = thread_number(); at < u64(quads); at += thread_count()) {
        unsigned position = unsigned(at) / across, channel = unsigned(at) % across * 4;
        const float* from = map + u64(position) * u64(channels);
        float value[4];
#pragma unroll
        for (unsigned j = 0; j < 4; ++j) value[j] = channel + j < unsigned(channels) ? from[channel + j] : 0.0f;
        reinterpret_cast<float4*>(padded)[at] = {value[0], value[1], value[2], value[3]};
    }
}

// packed[o][tap, i] = weight[o][i][tap], or with `transposed` packed[i][tap, o]; `padded` channels a tap, zeros
// behind the last one. With more than one phase in a row, packed[phase][i][tap of the phase, o] (patches.cuh). One
// thread an element.
extern "C" __global__ void pack_weights(const float* weight, float* packed, int out_channels, int in_channels,
                                        int kernel, int phases, int padded, int transposed) {
    int inner = transposed != 0 ? out_channels : in_channels, outer = transposed != 0 ? in_channels : out_channels;
    int taps = kernel * kernel;
    u64 count = u64(outer) * u64(taps) * u64(padded);
    for (u64 at = thread_number(); at < count; at += thread_count()) {
        int fast = int(at % u64(padded)), rest = int(at / u64(padded));
        int tap = rest % taps, slow = rest / taps, y = tap / kernel, x = tap % kernel;
        int o = transposed != 0 ? fast : slow, i = transposed != 0 ? slow : fast;
        int high = taps_of(kernel, phases, y % phases), wide = taps_of(kernel, phases, x % phases);
        int before = taps_before(kernel, phases, y % phases) * kernel + high * taps_before(kernel, phases, x % phases);
        int within = slow * high * wide + y / phases * wide + x / phases;
        u64 to = u64(before) * u64(outer) + u64(within);
        u64 from = (u64(o) * u64(in_channels) + u64(i)) * u64(taps) + u64(tap);
        packed[to * u64(padded) + u64(fast)] = fast < inner ? weight[from] : 0.0f;
    }
}

// Elements of partial results of the weight gradient, in the order of memory: where one lies in each, and where its
// weight does.
struct Partial {
    u64 from, weight;

    __device__ __forceinline__ Partial(u64 at, int out_channels, int in_channels, int padded, int taps) {
        int o = int(at % u64(out_channels)), k = int(at / u64(out_channels));
        int i = k % in_channels, tap = k / in_channels;
        from = (u64(tap) * u64(padded) + u64(i)) * u64(out_channels) + u64(o);
        weight = (u64(o) * u64(in_channels) + u64(i)) * u64(taps) + u64(tap);
    }
};

// weight[o][i][tap] += the sum of partials[z][tap, i][o] over z, in the order of z; `padded` channels i a tap.
// One thread an element.
extern "C" __global__ void add_partials(const float* partials, float* weight, int count, int out_channels,
                                        int in_channels, int padded, int taps) {
    u64 size = u64(out_channels) * u64(in_channels) * u64(taps);
    u64 apart = u64(out_channels) * u64(padded) * u64(taps);
    for (u64 at = thread_number(); at < size; at += thread_count()) {
        Partial of(at, out_channels, in_channels, padded, taps);
        float sum = 0.0f;
        for (int z = 0; z < count; ++z) sum += partials[of.from + u64(z) * apart];
        weight[of.weight] += sum;
    }
}

// The same for many partial results, of few weights: eight threads an element, each of every eighth partial result, and
// their sums in order. Blocks of 32 × 8 threads take 32 elements.
extern "C" __global__ void __launch_bounds__(256)
    add_many_partials(const float* partials, float* weight, int count, int out_channels, int in_channels, int padded,
                      int taps) {
    __shared__ float sums[8][32];
    int x = int(threadIdx.x) % 32, y = int(threadIdx.x) / 32;
    u64 at = u64(blockIdx.x) * 32 + u64(x), size = u64(out_channels) * u64(in_channels) * u64(taps);
    u64 apart = u64(out_channels) * u64(padded) * u64(taps);
    Partial of(at, out_channels, in_channels, padded, taps);
    float sum = 0.0f;
    if (at < size) {
#pragma unroll 4
        for (int z = y; z < count; z += 8) sum += partials[of.from + u64(z) * apart];
    }
    sums[y][x] = sum;
    __syncthreads();
    if (y == 0 && at < size) {
        for (int i = 1; i < 8; ++i) sum += sums[i][x];
        weight[of.weight] += sum;
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
