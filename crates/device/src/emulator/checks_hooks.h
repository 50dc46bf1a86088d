// What a compiler calls in place of the sanitizers' libraries. Between runtime.h and language.h; empty
// without VIEWMAKER_CHECKED. The names are the compiler's, for GCC and Clang alike.
#pragma once

#if defined(VIEWMAKER_CHECKED)

#include <dlfcn.h>
#include <link.h>

#define VIEWMAKER_HOOK extern "C" VIEWMAKER_UNCHECKED __attribute__((visibility("hidden")))

namespace emulator {

// Where this library lies, and its block of thread-local storage in the calling thread.
struct Whereabouts {
    uint64_t base, tls_start, tls_bytes;
};

static uint64_t base;

static int find_library(dl_phdr_info* info, size_t, void* out) {
    Whereabouts* where = static_cast<Whereabouts*>(out);
    if (info->dlpi_addr != where->base) return 0;
    for (int i = 0; i < info->dlpi_phnum; ++i) {
        if (info->dlpi_phdr[i].p_type != PT_TLS) continue;
        where->tls_start = reinterpret_cast<uint64_t>(info->dlpi_tls_data);
        where->tls_bytes = info->dlpi_phdr[i].p_memsz;
    }
    return 1;
}

// For the worker that `current` is from now on.
static void find_shared_memory() {
    Dl_info info;
    if (dladdr(reinterpret_cast<const void*>(&find_shared_memory), &info)) {
        base = reinterpret_cast<uint64_t>(info.dli_fbase);
    }
    Whereabouts where = {base, 0, 0};
    dl_iterate_phdr(find_library, &where);
    current->checks.set_static_shared(where.tls_start, where.tls_bytes, reinterpret_cast<uint64_t>(&current));
}

// "@+0x12ab" stands for a place in the library; the Rust side names file and line.
static void complain(const Finding& finding, Use use, unsigned bytes, uint64_t place) {
    static const char* const does[] = {"reads", "writes", "changes"};
    static const char* const did[] = {"read", "wrote", "changed"};
    const char* verb = does[static_cast<int>(use)];
    const char* other = did[static_cast<int>(finding.other.use)];
    unsigned thread = current->thread(), by = finding.other.thread;
    switch (finding.kind) {
        case Finding::Race:
            current->fail("a race: thread %u %s %u bytes at byte %ld of %s, @+0x%lx, and thread %u %s them, @+0x%x, "
                          "with no barrier in between",
                          thread, verb, bytes, static_cast<long>(finding.offset), finding.memory, place, by, other,
                          finding.other.place);
        case Finding::OtherBlock:
            current->fail("a race: thread %u %s %u bytes at byte %ld of %s, @+0x%lx, which another block %s, @+0x%x",
                          thread, verb, bytes, static_cast<long>(finding.offset), finding.memory, place, other,
                          finding.other.place);
        case Finding::Unwritten:
            current->fail("thread %u reads byte %ld of %s, @+0x%lx, which nobody has written in this block", thread,
                          static_cast<long>(finding.offset), finding.memory, place);
        case Finding::OutOfRange:
            current->fail("thread %u %s %u bytes out of range, @+0x%lx: %ld bytes from the start of a span", thread,
                          verb, bytes, place, static_cast<long>(finding.offset));
        case Finding::None: break;
    }
}

// `place` is a return address: one byte before it lies the access.
VIEWMAKER_UNCHECKED static inline void checked(void* address, unsigned bytes, Use use, void* place) {
    uint64_t at = reinterpret_cast<uint64_t>(address);
    if (!current || !current->in_kernel()) return;
    uint64_t offset = reinterpret_cast<uint64_t>(place) - 1 - base;
    Finding finding = current->checks.access(at, bytes, use, current->thread(), static_cast<uint32_t>(offset));
    if (finding.kind != Finding::None) complain(finding, use, bytes, offset);
}

}  // namespace emulator

#define VIEWMAKER_ACCESS(name, bytes, use) \
    VIEWMAKER_HOOK void __tsan_##name(void* p) { emulator::checked(p, bytes, emulator::Use::use, __builtin_return_address(0)); }
#define VIEWMAKER_ACCESSES(bytes)                        \
    VIEWMAKER_ACCESS(read##bytes, bytes, Read)           \
    VIEWMAKER_ACCESS(write##bytes, bytes, Write)         \
    VIEWMAKER_ACCESS(unaligned_read##bytes, bytes, Read) \
    VIEWMAKER_ACCESS(unaligned_write##bytes, bytes, Write)
VIEWMAKER_ACCESSES(1)
VIEWMAKER_ACCESSES(2)
VIEWMAKER_ACCESSES(4)
VIEWMAKER_ACCESSES(8)
VIEWMAKER_ACCESSES(16)
VIEWMAKER_HOOK void __tsan_read_range(void* p, size_t n) {
    emulator::checked(p, static_cast<unsigned>(n), emulator::Use::Read, __builtin_return_address(0));
}
VIEWMAKER_HOOK void __tsan_write_range(void* p, size_t n) {
    emulator::checked(p, static_cast<unsigned>(n), emulator::Use::Write, __builtin_return_address(0));
}
VIEWMAKER_HOOK void __tsan_init() {}
VIEWMAKER_HOOK void __tsan_func_entry(void*) {}
VIEWMAKER_HOOK void __tsan_func_exit() {}
VIEWMAKER_HOOK void __tsan_vptr_update(void**, void*) {}
VIEWMAKER_HOOK void __tsan_vptr_read(void**) {}

// Atomics: kernels', and the emulator's own, which `checked` lets pass.
#define VIEWMAKER_ATOMICS(bits, type)                                                                             \
    VIEWMAKER_HOOK type __tsan_atomic##bits##_fetch_add(volatile type* p, type v, int) {                          \
        emulator::checked(const_cast<type*>(p), bits / 8, emulator::Use::Atomic, __builtin_return_address(0));    \
        return __atomic_fetch_add(p, v, __ATOMIC_SEQ_CST);                                                        \
    }                                                                                                             \
    VIEWMAKER_HOOK type __tsan_atomic##bits##_fetch_or(volatile type* p, type v, int) {                           \
        emulator::checked(const_cast<type*>(p), bits / 8, emulator::Use::Atomic, __builtin_return_address(0));    \
        return __atomic_fetch_or(p, v, __ATOMIC_SEQ_CST);                                                         \
    }                                                                                                             \
    VIEWMAKER_HOOK type __tsan_atomic##bits##_load(const volatile type* p, int) {                                 \
        return __atomic_load_n(p, __ATOMIC_SEQ_CST);                                                              \
    }                                                                                                             \
    VIEWMAKER_HOOK void __tsan_atomic##bits##_store(volatile type* p, type v, int) {                              \
        __atomic_store_n(p, v, __ATOMIC_SEQ_CST);                                                                 \
    }
VIEWMAKER_ATOMICS(8, unsigned char)
VIEWMAKER_ATOMICS(32, unsigned)
VIEWMAKER_ATOMICS(64, uint64_t)
VIEWMAKER_HOOK void __tsan_atomic_thread_fence(int) { __atomic_thread_fence(__ATOMIC_SEQ_CST); }
VIEWMAKER_HOOK void* __tsan_memcpy(void* to, const void* from, size_t n) { return __builtin_memcpy(to, from, n); }
VIEWMAKER_HOOK void* __tsan_memmove(void* to, const void* from, size_t n) { return __builtin_memmove(to, from, n); }
VIEWMAKER_HOOK void* __tsan_memset(void* to, int value, size_t n) { return __builtin_memset(to, value, n); }

// Undefined behaviour. All descriptions begin with a place in the source.
namespace emulator {
struct Place {
    const char* file;
    unsigned line, column;
};
struct TypeMismatch {
    Place place;
    const void* type;
    unsigned char log_alignment;
    unsigned char kind;
};
static void undefined(const void* description, const char* what) {
    const Place* place = static_cast<const Place*>(description);
    if (current && current->in_kernel()) {
        current->fail("thread %u: %s at %s:%u", current->thread(), what, place->file, place->line);
    }
}
}  // namespace emulator
VIEWMAKER_HOOK void __ubsan_handle_type_mismatch_v1(const void* description, uint64_t address) {
    const emulator::TypeMismatch* mismatch = static_cast<const emulator::TypeMismatch*>(description);
    if (!emulator::current || !emulator::current->in_kernel()) return;
    emulator::current->fail("thread %u: an address that is no multiple of %u bytes (%u over) at %s:%u",
                            emulator::current->thread(), 1u << mismatch->log_alignment,
                            static_cast<unsigned>(address & ((1u << mismatch->log_alignment) - 1)),
                            mismatch->place.file, mismatch->place.line);
}
#define VIEWMAKER_UNDEFINED(name, what) \
    VIEWMAKER_HOOK void __ubsan_handle_##name(const void* description) { emulator::undefined(description, what); }
VIEWMAKER_UNDEFINED(out_of_bounds, "an index outside of its array")
VIEWMAKER_UNDEFINED(shift_out_of_bounds, "a shift by too many bits")
VIEWMAKER_UNDEFINED(add_overflow, "the overflow of a sum of integers")
VIEWMAKER_UNDEFINED(sub_overflow, "the overflow of a difference of integers")
VIEWMAKER_UNDEFINED(mul_overflow, "the overflow of a product of integers")
VIEWMAKER_UNDEFINED(negate_overflow, "the overflow of a sign")
VIEWMAKER_UNDEFINED(divrem_overflow, "a division by 0")

#else

namespace emulator {
static void find_shared_memory() {}
}  // namespace emulator

#endif
