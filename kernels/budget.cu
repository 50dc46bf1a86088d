// The distortion budget: tanh(y) of every example, rescaled to a given size (formulas:
// crates/ops/src/budget/mod.rs). One block an example; sums in double precision.
#include "common.cuh"

constexpr int THREADS = 256;
constexpr double SMALL = 1e-4;

// The sum, or the largest, of the threads' values, by halves. All threads get it.
__device__ __forceinline__ double block_sum_of_doubles(double value, bool largest) {
    __shared__ double partial[THREADS];
    __syncthreads();
    partial[threadIdx.x] = value;
    for (int half = THREADS / 2; half > 0; half /= 2) {
        __syncthreads();
        if (int(threadIdx.x) < half) {
            double a = partial[threadIdx.x], b = partial[int(threadIdx.x) + half];
            partial[threadIdx.x] = largest ? (a > b ? a : b) : a + b;
        }
    }
    __syncthreads();
    return partial[0];
}

// The size of tanh(y): norm 1 mean of |t|, 2 root of the mean square, 3 largest |t|.
__device__ __forceinline__ double size_of(const float* y, int count, int norm) {
    double value = 0.0;
    for (int i = int(threadIdx.x); i < count; i += THREADS) {
        double t = fabs(double(tanhf(y[i])));
        value = norm == 1 ? value + t : norm == 2 ? value + t * t : value > t ? value : t;
    }
    value = block_sum_of_doubles(value, norm == 3);
    return norm == 1 ? value / count : norm == 2 ? sqrt(value / count) : value;
}

extern "C" __global__ void __launch_bounds__(THREADS)
    budget(const float* y, float* out, int example, float size, int norm) {
    u64 base = u64(blockIdx.x) * u64(example);
    float scale = float(double(size) / (size_of(y + base, example, norm) + SMALL));
    for (int i = int(threadIdx.x); i < example; i += THREADS) out[base + u64(i)] = tanhf(y[base + u64(i)]) * scale;
}

// 1 − tanh²(y), without the cancellation of that formula.
__device__ __forceinline__ float tanh_slope(float y) {
    float e = expf(-2.0f * fabsf(y));
    return 4.0f * e / ((1.0f + e) * (1.0f + e));
}

extern "C" __global__ void __launch_bounds__(THREADS)
    budget_gradient(const float* y, const float* grad, float* out, int example, float size, int norm) {
    u64 base = u64(blockIdx.x) * u64(example);
    y += base;
    grad += base;
    out += base;
    double measured = size_of(y, example, norm), along = 0.0, first = double(example);
    for (int i = int(threadIdx.x); i < example; i += THREADS) {
        double t = double(tanhf(y[i]));
        along += t * double(grad[i]);
        if (fabs(t) == measured && double(i) < first) first = double(i);
    }
    along = block_sum_of_doubles(along, false);
    first = -block_sum_of_doubles(-first, true);
    double scale = double(size) / (measured + SMALL), size_grad = -along * scale / (measured + SMALL);
    for (int i = int(threadIdx.x); i < example; i += THREADS) {
        double t = double(tanhf(y[i])), sign = double(t > 0.0) - double(t < 0.0), through = 0.0;
        if (norm == 1) through = sign / example;
        if (norm == 2) through = measured > 0.0 ? t / measured / example : 0.0;
        if (norm == 3) through = double(i) == first ? sign : 0.0;
        out[i] = float(scale * double(grad[i]) + size_grad * through) * tanh_slope(y[i]);
    }
}
