// Sums, scalings and blends of whole spans. One thread computes the elements thread_number(),
// thread_number() + thread_count(), … of `n`.
#include "common.cuh"

// out = value
extern "C" __global__ void fill(float* out, float value, u64 n) {
    for (u64 i = thread_number(); i < n; i += thread_count()) out[i] = value;
}

// out = a + b; `out` may be `a` or `b`.
extern "C" __global__ void add(const float* a, const float* b, float* out, u64 n) {
    for (u64 i = thread_number(); i < n; i += thread_count()) out[i] = a[i] + b[i];
}

// out += a
extern "C" __global__ void accumulate(const float* a, float* out, u64 n) {
    for (u64 i = thread_number(); i < n; i += thread_count()) out[i] += a[i];
}

// out = factor · a; `out` may be `a`.
extern "C" __global__ void scale(const float* a, float factor, float* out, u64 n) {
    for (u64 i = thread_number(); i < n; i += thread_count()) out[i] = factor * a[i];
}

// out = s · a + (1 − s) · b with s = strength[0]; `out` may be `a` or `b`.
extern "C" __global__ void blend(const float* a, const float* b, const float* strength, float* out, u64 n) {
    float s = strength[0];
    for (u64 i = thread_number(); i < n; i += thread_count()) out[i] = s * a[i] + (1.0f - s) * b[i];
}

// out = strength[0] · a; `out` may be `a`.
extern "C" __global__ void weaken(const float* a, const float* strength, float* out, u64 n) {
    float s = strength[0];
    for (u64 i = thread_number(); i < n; i += thread_count()) out[i] = s * a[i];
}
