// What CUDA C++ has and C++ does not, in terms of runtime.h: the part of the language that kernels
// here may use. Behind all system headers, because it defines words that they use themselves.
#pragma once

#define __global__
#define __device__
#define __host__
#define __constant__ static
#define __shared__ static thread_local
#define __forceinline__ inline
#define __noinline__ __attribute__((noinline))
#define __align__(n) __attribute__((aligned(n)))
#define __launch_bounds__(...)

#define threadIdx (::emulator::current->thread_index)
#define blockIdx (::emulator::current->block_index)
#define blockDim (::emulator::current->block_dim)
#define gridDim (::emulator::current->grid_dim)
constexpr int warpSize = 32;

#define VIEWMAKER_VECTOR2(type, name)                          \
    struct alignas(2 * sizeof(type)) name {                    \
        type x, y;                                             \
    };                                                         \
    static inline name make_##name(type x, type y) { return {x, y}; }
#define VIEWMAKER_VECTOR4(type, name)                          \
    struct alignas(16) name {                                  \
        type x, y, z, w;                                       \
    };                                                         \
    static inline name make_##name(type x, type y, type z, type w) { return {x, y, z, w}; }
VIEWMAKER_VECTOR2(float, float2)
VIEWMAKER_VECTOR2(int, int2)
VIEWMAKER_VECTOR2(unsigned, uint2)
VIEWMAKER_VECTOR4(float, float4)
VIEWMAKER_VECTOR4(int, int4)
VIEWMAKER_VECTOR4(unsigned, uint4)

// Barriers and warp operations. The default arguments are the caller's place in the source.
static inline void __syncthreads(const char* file = __builtin_FILE(), int line = __builtin_LINE()) {
    emulator::current->sync_block(file, line);
}
static inline void __syncwarp(unsigned mask = ~0u, const char* file = __builtin_FILE(), int line = __builtin_LINE()) {
    emulator::current->collective(emulator::Collective::Sync, mask, 0, 0, 32, file, line);
}
static inline unsigned __ballot_sync(unsigned mask, int vote, const char* file = __builtin_FILE(),
                                     int line = __builtin_LINE()) {
    return static_cast<unsigned>(
        emulator::current->collective(emulator::Collective::Ballot, mask, vote != 0, 0, 32, file, line));
}
static inline int __any_sync(unsigned mask, int vote, const char* file = __builtin_FILE(), int line = __builtin_LINE()) {
    return __ballot_sync(mask, vote, file, line) != 0;
}
static inline int __all_sync(unsigned mask, int vote, const char* file = __builtin_FILE(), int line = __builtin_LINE()) {
    return __ballot_sync(mask, !vote, file, line) == 0;
}

template <typename T>
static inline T viewmaker_shuffle(emulator::Collective kind, unsigned mask, T value, unsigned operand, int width,
                                  const char* file, int line) {
    static_assert(sizeof(T) == 4 || sizeof(T) == 8, "shuffles move 4 or 8 bytes");
    uint64_t bits = 0;
    memcpy(&bits, &value, sizeof(T));
    bits = emulator::current->collective(kind, mask, bits, operand, static_cast<unsigned>(width), file, line);
    memcpy(&value, &bits, sizeof(T));
    return value;
}
#define VIEWMAKER_SHUFFLE(name, kind, type)                                                                   \
    template <typename T>                                                                                     \
    static inline T name(unsigned mask, T value, type operand, int width = 32,                                \
                         const char* file = __builtin_FILE(), int line = __builtin_LINE()) {                  \
        return viewmaker_shuffle(emulator::Collective::kind, mask, value, static_cast<unsigned>(operand),     \
                                 width, file, line);                                                          \
    }
VIEWMAKER_SHUFFLE(__shfl_sync, Index, int)
VIEWMAKER_SHUFFLE(__shfl_up_sync, Up, unsigned)
VIEWMAKER_SHUFFLE(__shfl_down_sync, Down, unsigned)
VIEWMAKER_SHUFFLE(__shfl_xor_sync, Xor, int)

static inline void __threadfence() { __atomic_thread_fence(__ATOMIC_SEQ_CST); }
static inline void __threadfence_block() { __atomic_thread_fence(__ATOMIC_SEQ_CST); }

// Integer atomics only: sums of floats in an order that nobody knows would not be reproducible.
static inline int atomicAdd(int* to, int value) { return __atomic_fetch_add(to, value, __ATOMIC_RELAXED); }
static inline unsigned atomicAdd(unsigned* to, unsigned value) {
    return __atomic_fetch_add(to, value, __ATOMIC_RELAXED);
}
static inline unsigned atomicOr(unsigned* to, unsigned value) {
    return __atomic_fetch_or(to, value, __ATOMIC_RELAXED);
}

template <typename T>
static inline T __ldg(const T* from) { return *from; }

// Arithmetic. The C library declares some of these names itself and does not export them.
#define __expf(x) expf(x)
#define __logf(x) logf(x)
#define __log2f(x) log2f(x)
#define __powf(x, y) powf(x, y)
#define __sinf(x) sinf(x)
#define __cosf(x) cosf(x)
static inline float rsqrtf(float x) { return 1.0f / sqrtf(x); }
static inline float __frcp_rn(float x) { return 1.0f / x; }
static inline float __fsqrt_rn(float x) { return sqrtf(x); }
static inline float __fadd_rn(float a, float b) { return a + b; }
// Never part of a fused operation; through memory, where the compiler fuses.
#if defined(VIEWMAKER_CONTRACTED)
static inline float __fmul_rn(float a, float b) {
    volatile float product = a * b;
    return product;
}
#else
static inline float __fmul_rn(float a, float b) { return a * b; }
#endif
static inline float __fmaf_rn(float a, float b, float c) { return fmaf(a, b, c); }
static inline float __fdividef(float a, float b) { return a / b; }
static inline float __saturatef(float x) { return x > 0.0f ? (x < 1.0f ? x : 1.0f) : 0.0f; }
static inline unsigned __umulhi(unsigned a, unsigned b) {
    return static_cast<unsigned>((static_cast<uint64_t>(a) * b) >> 32);
}
static inline int __popc(unsigned x) { return __builtin_popcount(x); }
static inline int __ffs(int x) { return __builtin_ffs(x); }
static inline int __clz(int x) { return x == 0 ? 32 : __builtin_clz(static_cast<unsigned>(x)); }
template <typename To, typename From>
static inline To viewmaker_bits(From from) {
    static_assert(sizeof(To) == sizeof(From), "reinterprets bits");
    To to;
    memcpy(&to, &from, sizeof(To));
    return to;
}
static inline unsigned __float_as_uint(float x) { return viewmaker_bits<unsigned>(x); }
static inline int __float_as_int(float x) { return viewmaker_bits<int>(x); }
static inline float __uint_as_float(unsigned x) { return viewmaker_bits<float>(x); }
static inline float __int_as_float(int x) { return viewmaker_bits<float>(x); }
static inline int min(int a, int b) { return b < a ? b : a; }
static inline int max(int a, int b) { return a < b ? b : a; }
static inline unsigned min(unsigned a, unsigned b) { return b < a ? b : a; }
static inline unsigned max(unsigned a, unsigned b) { return a < b ? b : a; }
static inline unsigned long long min(unsigned long long a, unsigned long long b) { return b < a ? b : a; }
static inline unsigned long long max(unsigned long long a, unsigned long long b) { return a < b ? b : a; }
static inline float min(float a, float b) { return fminf(a, b); }
static inline float max(float a, float b) { return fmaxf(a, b); }

