// Operations on rows of a matrix: projection onto the unit sphere, layer normalisation, attention.
#include "common.cuh"

// Sum over the lanes of a warp, in double precision. Every lane gets it.
__device__ __forceinline__ double warp_sum_of_doubles(double value) {
#pragma unroll
    for (int distance = WARP_SIZE / 2; distance > 0; distance /= 2) value += __shfl_xor_sync(FULL_WARP, value, distance);
    return value;
}

// out = x/|x| for every row; a row of zeros gives zeros, one with NaN gives NaN. One warp a row; no square overflows in double
// precision.
extern "C" __global__ void l2_normalise(const float* x, float* out, int rows, int columns) {
    int row = int(thread_number() / WARP_SIZE);
    if (row >= rows) return;
    x += u64(row) * u64(columns);
    out += u64(row) * u64(columns);
    double squares = 0.0;
    for (int i = lane_index(); i < columns; i += WARP_SIZE) squares += double(x[i]) * double(x[i]);
    double length = sqrt(warp_sum_of_doubles(squares));
    for (int i = lane_index(); i < columns; i += WARP_SIZE) out[i] = length == 0.0 ? 0.0f : float(double(x[i]) / length);
}

// out = (g − y ⟨y, g⟩)/|x|, 0 where |x| is below the smallest normal number, NaN where it is, and never infinite.
extern "C" __global__ void l2_normalise_gradient(const float* x, const float* grad, float* out, int rows,
                                                 int columns) {
    int row = int(thread_number() / WARP_SIZE);
    if (row >= rows) return;
    x += u64(row) * u64(columns);
    grad += u64(row) * u64(columns);
    out += u64(row) * u64(columns);
    double squares = 0.0, along = 0.0;
    for (int i = lane_index(); i < columns; i += WARP_SIZE) {
        squares += double(x[i]) * double(x[i]);
        along += double(x[i]) * double(grad[i]);
    }
    double length = sqrt(warp_sum_of_doubles(squares));
    along = warp_sum_of_doubles(along);
    bool has_direction = !(length < 1.1754943508222875e-38);
    for (int i = lane_index(); i < columns; i += WARP_SIZE) {
        double value = has_direction ? (double(grad[i]) - double(x[i]) / length * (along / length)) / length : 0.0;
        constexpr double LARGEST = 3.4028234663852886e38;
        out[i] = float(value > LARGEST ? LARGEST : value < -LARGEST ? -LARGEST : value);
    }
}

// out = (x − mean)/√(variance + ε) · weight + bias of every row; saved = mean and reciprocal deviation. One
// warp a row.
extern "C" __global__ void layer_norm(const float* x, const float* weight, const float* bias, float* out, float* saved,
                                      int rows, int columns, float epsilon) {
    int row = int(thread_number() / WARP_SIZE);
    if (row >= rows) return;
    x += u64(row) * u64(columns);
    out += u64(row) * u64(columns);
    double sum = 0.0, squares = 0.0;
    for (int i = lane_index(); i < columns; i += WARP_SIZE) sum += double(x[i]);
    double mean = warp_sum_of_doubles(sum) / columns;
    for (int i = lane_index(); i < columns; i += WARP_SIZE) {
        double off = double(x[i]) - mean;
        squares += off * off;
    }
    double inverse = 1.0 / sqrt(warp_sum_of_doubles(squares) / columns + double(epsilon));
    for (int i = lane_index(); i < columns; i += WARP_SIZE) {
        out[i] = float((double(x[i]) - mean) * inverse) * weight[i] + bias[i];
    }
    if (lane_index() == 0) {
        saved[2 * u64(row)] = float(mean);
        saved[2 * u64(row) + 1] = float(inverse);
    }
}

extern "C" __global__ void layer_norm_gradient(const float* x, const float* weight, const float* saved,
                                               const float* grad, float* out, int rows, int columns) {
    int row = int(thread_number() / WARP_SIZE);
    if (row >= rows) return;
    x += u64(row) * u64(columns);
    grad += u64(row) * u64(columns);
    out += u64(row) * u64(columns);
    float mean = saved[2 * u64(row)], inverse = saved[2 * u64(row) + 1], sum = 0.0f, along = 0.0f;
    for (int i = lane_index(); i < columns; i += WARP_SIZE) {
        float g = grad[i] * weight[i];
        sum += g;
        along += g * (x[i] - mean) * inverse;
    }
    sum = warp_sum(sum) / float(columns);
    along = warp_sum(along) / float(columns);
    for (int i = lane_index(); i < columns; i += WARP_SIZE) {
        out[i] = (grad[i] * weight[i] - sum - (x[i] - mean) * inverse * along) * inverse;
    }
}

// weight_grad += Σ g · x̂ and bias_grad += Σ g over all rows. Blocks of 32 × 8 threads take 32 columns.
extern "C" __global__ void __launch_bounds__(256)
    layer_norm_parameters(const float* x, const float* saved, const float* grad, float* weight_grad, float* bias_grad,
                          int rows, int columns) {
    __shared__ float sums[8][64];
    int lane = lane_index(), line = warp_index(), column = int(blockIdx.x) * 32 + lane;
    float sum = 0.0f, along = 0.0f;
    if (column < columns) {
        for (int row = line; row < rows; row += 8) {
            u64 at = u64(row) * u64(columns) + u64(column);
            sum += grad[at];
            along += grad[at] * (x[at] - saved[2 * u64(row)]) * saved[2 * u64(row) + 1];
        }
    }
    sums[line][lane] = sum;
    sums[line][32 + lane] = along;
    __syncthreads();
    if (line == 0 && column < columns) {
        for (int i = 1; i < 8; ++i) {
            sum += sums[i][lane];
            along += sums[i][32 + lane];
        }
        weight_grad[column] += along;
        bias_grad[column] += sum;
    }
}

// Attention (crates/ops/src/attention/mod.rs). Rows of qkv are positions with queries, keys and values one
// after the other; a head has `width` channels of each. A query is numbered (example, head, position).
struct Query {
    int example, head, position;

    __device__ __forceinline__ Query(int number, int heads, int positions) {
        position = number % positions;
        head = number / positions % heads;
        example = number / positions / heads;
    }
};

// Part 0, 1 or 2 (query, key, value) of a position and head.
__device__ __forceinline__ const float* part(const float* qkv, Query q, int position, int which, int positions,
                                             int heads, int width) {
    int channels = heads * width;
    u64 row = u64(q.example) * u64(positions) + u64(position);
    return qkv + (row * 3 + u64(which)) * u64(channels) + u64(q.head * width);
}

__device__ __forceinline__ float dot(const float* a, const float* b, int n) {
    float sum = 0.0f;
    for (int i = 0; i < n; ++i) sum += a[i] * b[i];
    return sum;
}

// weights[query][key] = softmax over the keys that are present; zeros where there are none. One thread a
// query.
extern "C" __global__ void attention_weights(const float* qkv, const float* present, float* weights, int queries,
                                             int positions, int heads, int width) {
    int number = int(thread_number());
    if (number >= queries) return;
    Query q(number, heads, positions);
    float* out = weights + u64(number) * u64(positions);
    const float* seen = present + u64(q.example) * u64(positions);
    const float* own = part(qkv, q, q.position, 0, positions, heads, width);
    float scale = 1.0f / sqrtf(float(width)), largest = Max::identity(), sum = 0.0f;
    for (int j = 0; j < positions; ++j) {
        if (!(seen[j] > 0.0f)) continue;
        out[j] = scale * dot(own, part(qkv, q, j, 1, positions, heads, width), width);
        largest = fmaxf(largest, out[j]);
    }
    for (int j = 0; j < positions; ++j) {
        out[j] = seen[j] > 0.0f ? expf(out[j] - largest) : 0.0f;
        sum += out[j];
    }
    for (int j = 0; j < positions; ++j) out[j] = sum == 0.0f ? 0.0f : out[j] / sum;
}

// out = Σ weights · values. One thread an element.
extern "C" __global__ void attention_values(const float* qkv, const float* weights, float* out, int positions,
                                            int heads, int width, u64 n) {
    int channels = heads * width;
    for (u64 at = thread_number(); at < n; at += thread_count()) {
        int channel = int(at % u64(channels)), row = int(at / u64(channels));
        Query q(0, heads, positions);
        q.example = row / positions;
        q.head = channel / width;
        int position = row % positions;
        const float* share = weights + (u64(q.example * heads + q.head) * u64(positions) + u64(position)) * u64(positions);
        float sum = 0.0f;
        for (int j = 0; j < positions; ++j) {
            sum += share[j] * part(qkv, q, j, 2, positions, heads, width)[channel % width];
        }
        out[at] = sum;
    }
}

// slopes[query][key] = the gradient with respect to a score. One thread a query.
extern "C" __global__ void attention_slopes(const float* qkv, const float* weights, const float* grad, float* slopes,
                                            int queries, int positions, int heads, int width) {
    int number = int(thread_number());
    if (number >= queries) return;
    Query q(number, heads, positions);
    u64 row = u64(q.example) * u64(positions) + u64(q.position);
    const float* own = grad + row * u64(heads * width) + u64(q.head * width);
    const float* share = weights + u64(number) * u64(positions);
    float* out = slopes + u64(number) * u64(positions);
    float mean = 0.0f, scale = 1.0f / sqrtf(float(width));
    for (int j = 0; j < positions; ++j) {
        out[j] = dot(own, part(qkv, q, j, 2, positions, heads, width), width);
        mean += share[j] * out[j];
    }
    for (int j = 0; j < positions; ++j) out[j] = share[j] * (out[j] - mean) * scale;
}

// dx = the gradient with respect to queries, keys and values. One thread an element.
extern "C" __global__ void attention_gradient(const float* qkv, const float* weights, const float* slopes,
                                              const float* grad, float* dx, int positions, int heads, int width,
                                              u64 n) {
    int channels = heads * width;
    for (u64 at = thread_number(); at < n; at += thread_count()) {
        int channel = int(at % u64(channels)), which = int(at / u64(channels) % 3);
        int row = int(at / u64(channels) / 3), position = row % positions;
        Query q(0, heads, positions);
        q.example = row / positions;
        q.head = channel / width;
        u64 first = u64(q.example * heads + q.head) * u64(positions) * u64(positions);
        float sum = 0.0f;
        for (int j = 0; j < positions; ++j) {
            u64 as_query = first + u64(position) * u64(positions) + u64(j);
            u64 as_key = first + u64(j) * u64(positions) + u64(position);
            if (which == 0) sum += slopes[as_query] * part(qkv, q, j, 1, positions, heads, width)[channel % width];
            if (which == 1) sum += slopes[as_key] * part(qkv, q, j, 0, positions, heads, width)[channel % width];
            if (which == 2) {
                u64 other = (u64(q.example) * u64(positions) + u64(j)) * u64(channels) + u64(channel);
                sum += weights[as_key] * grad[other];
            }
        }
        dx[at] = sum;
    }
}
