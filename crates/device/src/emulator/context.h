// Switching stacks. Before runtime.h; language.h comes last.
#pragma once

#include <setjmp.h>
#include <string.h>
#include <ucontext.h>

#define VIEWMAKER_EMULATOR 1

namespace emulator {

// A suspended stack. On x86-64 six registers and a jump; elsewhere what the C library has, which is
// several times slower.
#if defined(__x86_64__)
struct Context {
    void* stack_pointer;
};
extern "C" __attribute__((visibility("hidden"))) void viewmaker_exchange(void** from, void* to);
asm(R"(
    .text
    .p2align 4
    .hidden viewmaker_exchange
    .globl viewmaker_exchange
    .type viewmaker_exchange, @function
viewmaker_exchange:
    pushq %rbp
    pushq %rbx
    pushq %r12
    pushq %r13
    pushq %r14
    pushq %r15
    movq %rsp, (%rdi)
    movq %rsi, %rsp
    popq %r15
    popq %r14
    popq %r13
    popq %r12
    popq %rbx
    popq %rbp
    popq %rcx
    jmpq *%rcx
    .size viewmaker_exchange, . - viewmaker_exchange
)");

// Goes on at `to`; returns when somebody goes on at `from`.
static inline void exchange(Context& from, Context& to) { viewmaker_exchange(&from.stack_pointer, to.stack_pointer); }

// Makes `context` begin with `entry` at the upper end of a stack, where a call would have left it:
// the return address above six registers, and no way back.
static inline void begin(Context& context, void* stack, size_t bytes, void (*entry)()) {
    void** top = static_cast<void**>(stack) + bytes / sizeof(void*);
    memset(top - 8, 0, 8 * sizeof(void*));
    top[-2] = reinterpret_cast<void*>(entry);
    context.stack_pointer = top - 8;
}
#else
struct Context {
    ucontext_t start;
    jmp_buf resume;
    bool started;
};

static __attribute__((noinline)) void exchange(Context& from, Context& to) {
    from.started = true;
    if (_setjmp(from.resume) != 0) return;
    if (to.started) _longjmp(to.resume, 1);
    setcontext(&to.start);
}

static inline void begin(Context& context, void* stack, size_t bytes, void (*entry)()) {
    context.started = false;
    getcontext(&context.start);
    context.start.uc_stack.ss_sp = stack;
    context.start.uc_stack.ss_size = bytes;
    context.start.uc_link = nullptr;
    makecontext(&context.start, entry, 0);
}
#endif

}  // namespace emulator
