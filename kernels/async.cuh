// Copies from global to shared memory that are under way while a thread computes: no register holds them.
#pragma once
#include "common.cuh"

// Sends for 16 bytes, or for zeros where they are not `there`: then `from` is not read. Both places lie at a
// multiple of 16 bytes. Needs compute capability 8.0.
// Source: NVIDIA, PTX ISA, "cp.async".
__device__ __forceinline__ void copy_piece(void* to, const void* from, bool there) {
#if defined(VIEWMAKER_EMULATOR)
    if (reinterpret_cast<u64>(to) % 16 != 0 || (there && reinterpret_cast<u64>(from) % 16 != 0)) {
        ::emulator::current->fail("thread %u copies a piece at no multiple of 16", threadIdx.x);
    }
    // A card may write from now on until the thread has waited: who still reads there, or already, gets no
    // number.
    *static_cast<uint4*>(to) = make_uint4(~0u, ~0u, ~0u, ~0u);
    ::emulator::current->copies().push_back({to, there ? from : nullptr});
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
    for (auto copy : ::emulator::current->copies()) {
        uint4 none = {0, 0, 0, 0};
        *static_cast<uint4*>(copy.to) = copy.from ? *static_cast<const uint4*>(copy.from) : none;
    }
    ::emulator::current->copies().clear();
#elif __CUDA_ARCH__ >= 800
    asm volatile("cp.async.wait_all;" ::: "memory");
#else
    __trap();
#endif
}
