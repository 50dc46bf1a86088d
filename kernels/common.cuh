// What all kernels share: indices, 16-bit floats, reductions in a fixed order.
//
// No system headers anywhere in this folder: the run-time compiler has none. Kernels use plain CUDA
// C++ (threads, shared memory, barriers, warp shuffles, integer atomics) and no float atomics, so
// that the same inputs give the same bits in every run. Parameters are pointers, int, unsigned,
// unsigned long long and float.
#pragma once

typedef unsigned long long u64;

constexpr unsigned FULL_WARP = 0xffffffffu;
constexpr int WARP_SIZE = 32;
constexpr int MAX_WARPS = 32;

// SHARED_MEMORY(type, name): `name` points to the launch's dynamic shared memory.
#ifdef VIEWMAKER_EMULATOR
#define SHARED_MEMORY(type, name) type* name = reinterpret_cast<type*>(::emulator::current->dynamic_shared)
#else
#define SHARED_MEMORY(type, name)                     \
    extern __shared__ float4 viewmaker_shared[];      \
    type* name = reinterpret_cast<type*>(viewmaker_shared)
#endif

// The number of this thread in a one-dimensional grid, and the number of threads in that grid: a
// thread computes the elements thread_number(), thread_number() + thread_count(), …
__device__ __forceinline__ u64 thread_number() { return u64(blockIdx.x) * blockDim.x + threadIdx.x; }
__device__ __forceinline__ u64 thread_count() { return u64(gridDim.x) * blockDim.x; }

// This thread's lane in its warp and its warp in a one-dimensional block.
__device__ __forceinline__ int lane_index() { return int(threadIdx.x) & (WARP_SIZE - 1); }
__device__ __forceinline__ int warp_index() { return int(threadIdx.x) / WARP_SIZE; }

__device__ __forceinline__ int ceil_div(int a, int b) { return (a + b - 1) / b; }

// bfloat16 as its 16 bits: the upper half of a float, rounded to nearest even. NaN stays NaN.
typedef unsigned short bf16;
__device__ __forceinline__ float bf16_to_float(bf16 x) { return __uint_as_float(unsigned(x) << 16); }
__device__ __forceinline__ bf16 float_to_bf16(float x) {
    unsigned bits = __float_as_uint(x);
    if ((bits & 0x7fffffffu) > 0x7f800000u) return bf16((bits >> 16) | 0x40u);
    return bf16((bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16);
}

struct Sum {
    __device__ __forceinline__ static float identity() { return 0.0f; }
    __device__ __forceinline__ static float combine(float a, float b) { return a + b; }
};

struct Max {
    __device__ __forceinline__ static float identity() { return -__uint_as_float(0x7f800000u); }
    __device__ __forceinline__ static float combine(float a, float b) { return fmaxf(a, b); }
};

// Combines the values of a warp's 32 lanes as a binary tree over lanes that differ in one bit, from
// the highest bit down. Every lane gets the same bits. All 32 lanes must call it.
template <typename R>
__device__ __forceinline__ float warp_reduce(float value) {
#pragma unroll
    for (int distance = WARP_SIZE / 2; distance > 0; distance /= 2) {
        value = R::combine(value, __shfl_xor_sync(FULL_WARP, value, distance));
    }
    return value;
}
__device__ __forceinline__ float warp_sum(float value) { return warp_reduce<Sum>(value); }
__device__ __forceinline__ float warp_max(float value) { return warp_reduce<Max>(value); }

// Combines the values of all threads of a one-dimensional block whose size is a multiple of 32: the
// tree of each warp, then the tree over warps. Every thread gets the same bits. All threads must
// call it; it may be called repeatedly.
template <typename R>
__device__ __forceinline__ float block_reduce(float value) {
    __shared__ float partial[MAX_WARPS];
    value = warp_reduce<R>(value);
    __syncthreads();  // the previous call's values have been read
    if (lane_index() == 0) partial[warp_index()] = value;
    __syncthreads();
    int warps = int(blockDim.x) / WARP_SIZE;
    return warp_reduce<R>(lane_index() < warps ? partial[lane_index()] : R::identity());
}
__device__ __forceinline__ float block_sum(float value) { return block_reduce<Sum>(value); }
__device__ __forceinline__ float block_max(float value) { return block_reduce<Max>(value); }
