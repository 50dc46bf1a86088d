// Copies from global to shared memory that are under way while a thread computes: no register holds them.
#pragma once
#include "common.cuh"

#if defined(VIEWMAKER_EMULATOR)
// Pieces that a thread has sent for. They stay where they are until it waits for them, as late as a card may
// bring them: a kernel that reads them too early fails its tests.
struct Pending {
    static constexpr int MOST = 64;
    int count;
    void* to[MOST];
    const void* from[MOST];  // null for zeros
};

__device__ __forceinline__ Pending& pending_copies() {
    constexpr int THREADS = 256;
    __shared__ Pending of[THREADS];
    if (threadIdx.x >= THREADS) ::emulator::current->fail("thread %u has no room for copies", threadIdx.x);
    return of[threadIdx.x];
}
#endif

// Sends for 16 bytes, or for zeros where they are not `there`: then `from` is not read. Both places lie at a
// multiple of 16 bytes. Needs compute capability 8.0.
// Source: NVIDIA, PTX ISA, "cp.async".
__device__ __forceinline__ void copy_piece(void* to, const void* from, bool there) {
#if defined(VIEWMAKER_EMULATOR)
    if (reinterpret_cast<u64>(to) % 16 != 0 || (there && reinterpret_cast<u64>(from) % 16 != 0)) {
        ::emulator::current->fail("thread %u copies a piece at no multiple of 16", threadIdx.x);
    }
    Pending& all = pending_copies();
    if (all.count == Pending::MOST) ::emulator::current->fail("thread %u sends for too many pieces", threadIdx.x);
    all.to[all.count] = to;
    all.from[all.count++] = there ? from : nullptr;
#elif __CUDA_ARCH__ >= 800
    unsigned at = unsigned(__cvta_generic_to_shared(to));
    unsigned bytes = there ? 16u : 0u;
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(at), "l"(from), "r"(bytes) : "memory");
#else
    // Launchers refuse older cards.
    (void)to;
    (void)from;
    (void)there;
    __trap();
#endif
}

// Waits for the pieces that this thread has sent for. Other threads see them behind a barrier of the block.
__device__ __forceinline__ void wait_for_copies() {
#if defined(VIEWMAKER_EMULATOR)
    Pending& all = pending_copies();
    for (int i = 0; i < all.count; ++i) {
        uint4 none = {0, 0, 0, 0};
        *static_cast<uint4*>(all.to[i]) = all.from[i] ? *static_cast<const uint4*>(all.from[i]) : none;
    }
    all.count = 0;
#elif __CUDA_ARCH__ >= 800
    asm volatile("cp.async.wait_all;" ::: "memory");
#else
    __trap();
#endif
}
