// Executes CUDA kernels on the processor, for tests.
//
// A block's threads are fibers of one operating-system thread. A fiber runs until it waits at a
// barrier or for its warp; the last one to arrive lets the others go on. A kernel that never waits
// needs one fiber and runs like a loop. Blocks are independent: several system threads take them
// from one counter.
//
// What a card would leave undefined is an error here where finding it is cheap: barriers that not
// all threads reach, threads at different barriers, lanes that shuffle from a lane that takes no
// part. Dynamic shared memory starts as NaN.
#pragma once

#include <math.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#include <mutex>
#include <type_traits>
#include <utility>
#include <vector>

namespace emulator {

// Enough for a kernel's locals and the C library below it; pages are only used when touched.
constexpr size_t STACK_BYTES = 128 * 1024;
constexpr unsigned WARP = 32;

struct Index {
    unsigned x, y, z;
};

// What the Rust side passes; same layout as `Shape` in emulator/library.rs.
struct Launch {
    unsigned grid[3];
    unsigned block[3];
    unsigned shared_bytes;
    // What the pointers among the arguments lead to.
    const Range* ranges;
    uint64_t range_count;
};

enum class State : uint8_t { Unstarted, Running, AtBlock, AtWarp, Done };
enum class Collective : uint8_t { Sync, Index, Up, Down, Xor, Ballot };

struct Fiber {
    Context context;
    bool started;
    unsigned char* stack;
    // Stacks that begin at the same place of a page would share a few lines of the cache.
    size_t skew;
};

struct Thread {
    Index index;
    State state;
    Fiber* fiber;
    const char* file;
    int line;
    // The warp operation it takes part in.
    Collective kind;
    unsigned mask, operand, width;
    uint64_t value, result;
};

// Sixteen bytes that a thread has sent for; null for zeros.
struct Copy {
    void* to;
    const void* from;
};

class Worker;
// Not of the faster "initial-exec" kind: that would move the library's whole thread-local storage,
// and with it __shared__ arrays, into the little room that a loaded library may have there.
static __thread Worker* current;

class Worker {
  public:
    Index thread_index, block_index, block_dim, grid_dim;
    float* dynamic_shared = nullptr;
    char error[512];

    void prepare(const Launch& launch, void (*kernel)(void**), void** values) {
        invoke = kernel;
        arguments = values;
        grid_dim = {launch.grid[0], launch.grid[1], launch.grid[2]};
        block_dim = {launch.block[0], launch.block[1], launch.block[2]};
        count = block_dim.x * block_dim.y * block_dim.z;
        threads.resize(count);
        pending.resize(count);
        for (unsigned t = 0; t < count; ++t) {
            threads[t].index = {t % block_dim.x, t / block_dim.x % block_dim.y, t / block_dim.x / block_dim.y};
        }
        unsigned warps = (count + WARP - 1) / WARP;
        live.resize(warps);
        waiting.resize(warps);
        shared.resize((launch.shared_bytes + 15) / 16);
        dynamic_shared = reinterpret_cast<float*>(shared.data());
        checks.begin_launch(launch.ranges, launch.range_count, count, dynamic_shared, launch.shared_bytes);
    }

    // Executes one block; false when it cannot finish, with the reason in `error`.
    bool run_block(uint64_t block) {
        block_index.x = static_cast<unsigned>(block % grid_dim.x);
        block_index.y = static_cast<unsigned>(block / grid_dim.x % grid_dim.y);
        block_index.z = static_cast<unsigned>(block / grid_dim.x / grid_dim.y);
        reset();
        while (!failed) {
            if (next_ready < ready.size()) {
                yield(scheduler);
            } else if (started < count) {
                enter(idle_fiber());
            } else if (finished == count) {
                inside = false;
                return true;
            } else if (!release_any()) {
                describe_deadlock();
            }
        }
        inside = false;
        // Whatever was on the abandoned stacks is forgotten.
        idle.clear();
        for (Fiber* fiber : fibers) {
            fiber->started = false;
            idle.push_back(fiber);
        }
        return false;
    }

    void sync_block(const char* file, int line) {
        Thread& self = threads[running];
        self.file = file;
        self.line = line;
        self.mask = 0;
        self.state = State::AtBlock;
        ++at_block;
        if (started == count && at_block + finished == count && release_block(running)) return;
        yield(self.fiber->context);
    }

    uint64_t collective(Collective kind, unsigned mask, uint64_t value, unsigned operand,
                        unsigned width, const char* file, int line) {
        Thread& self = threads[running];
        self.file = file;
        self.line = line;
        self.kind = kind;
        self.mask = mask;
        self.value = value;
        self.operand = operand;
        self.width = width;
        if (!(mask >> (running % WARP) & 1)) {
            fail("thread %u calls a warp operation at %s:%d with a mask without itself", running, file, line);
        }
        if (width == 0 || width > WARP || (width & (width - 1)) != 0) {
            fail("thread %u shuffles at %s:%d with width %u", running, file, line, width);
        }
        self.state = State::AtWarp;
        waiting[running / WARP] |= 1u << (running % WARP);
        if (!release_warp(running, running)) yield(self.fiber->context);
        return self.result;
    }

    [[noreturn]] void fail(const char* format, ...) __attribute__((format(printf, 2, 3))) {
        va_list values;
        va_start(values, format);
        report(format, values);
        va_end(values);
        leave();
    }

    void work_as(Fiber* self) {
        for (;;) {
            while (started < count) {
                unsigned t = started++;
                threads[t].fiber = self;
                threads[t].state = State::Running;
                running = t;
                thread_index = threads[t].index;
                inside = true;
                invoke(arguments);
                if (!pending[t].empty()) fail("thread %u leaves with copies under way", t);
                // The kernel may have waited; then another thread was `running` in between.
                threads[t].state = State::Done;
                live[t / WARP] &= ~(1u << (t % WARP));
                ++finished;
            }
            idle.push_back(self);
            yield(self->context);
        }
    }

    // What the running thread has sent for and not waited for.
    std::vector<Copy>& copies() { return pending[running]; }

    // For hooks: whether a kernel is running, and as which thread.
    VIEWMAKER_UNCHECKED bool in_kernel() const { return inside; }
    VIEWMAKER_UNCHECKED unsigned thread() const { return running; }

    Fiber* entering = nullptr;
    Checks checks;

  private:
    void (*invoke)(void**) = nullptr;
    void** arguments = nullptr;
    unsigned count = 0, started = 0, finished = 0, at_block = 0, running = 0;
    bool failed = false, inside = false;
    size_t next_ready = 0;
    std::vector<Thread> threads;
    std::vector<std::vector<Copy>> pending;
    std::vector<unsigned> ready, live, waiting;
    std::vector<Fiber*> fibers, idle;
    struct alignas(16) Unit { unsigned char bytes[16]; };
    std::vector<Unit> shared;
    Context scheduler;

    void reset() {
        started = finished = at_block = 0;
        failed = false;
        checks.begin_block();
        ready.clear();
        next_ready = 0;
        for (Thread& thread : threads) thread.state = State::Unstarted;
        for (std::vector<Copy>& copies : pending) copies.clear();
        for (unsigned w = 0; w < live.size(); ++w) {
            unsigned lanes = count - w * WARP;
            live[w] = lanes >= WARP ? ~0u : (1u << lanes) - 1;
            waiting[w] = 0;
        }
        if (!shared.empty()) memset(static_cast<void*>(shared.data()), 0xFF, shared.size() * sizeof(Unit));
    }

    Fiber* idle_fiber() {
        if (idle.empty()) {
            Fiber* fiber = new Fiber();
            void* stack = mmap(nullptr, STACK_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
            fiber->stack = static_cast<unsigned char*>(stack);
            if (stack == MAP_FAILED) {
                delete fiber;
                report_plain("no memory for the stacks of a block's threads");
                return nullptr;
            }
            fiber->skew = fibers.size() % 64 * 704;
            fibers.push_back(fiber);
            return fiber;
        }
        Fiber* fiber = idle.back();
        idle.pop_back();
        return fiber;
    }

    // Suspends the caller for the next thread that can go on, or for the scheduler.
    void yield(Context& from) {
        if (next_ready == ready.size()) {
            exchange(from, scheduler);
            return;
        }
        unsigned t = ready[next_ready++];
        if (next_ready == ready.size()) {
            ready.clear();
            next_ready = 0;
        }
        running = t;
        thread_index = threads[t].index;
        exchange(from, threads[t].fiber->context);
    }

    // Gives the block up from inside a fiber.
    [[noreturn]] void leave() {
        Context abandoned;
        exchange(abandoned, scheduler);
        __builtin_unreachable();
    }

    void enter(Fiber* fiber);

    // Lets a block whose threads all wait at one barrier go on; `but` is running already.
    bool release_block(unsigned but) {
        const Thread* first = nullptr;
        for (const Thread& thread : threads) {
            if (thread.state == State::Done) continue;
            if (!first) first = &thread;
            if (thread.line != first->line || strcmp(thread.file, first->file) != 0) return false;
        }
        for (unsigned t = 0; t < count; ++t) {
            if (threads[t].state == State::AtBlock && t != but) ready.push_back(t);
        }
        if (but < count) threads[but].state = State::Running;
        at_block = 0;
        checks.block_barrier();
        return true;
    }

    // Performs the warp operation that thread `t` waits for if everybody is there.
    bool release_warp(unsigned t, unsigned but) {
        unsigned warp = t / WARP, first = warp * WARP;
        const Thread& leader = threads[t];
        unsigned members = leader.mask & live[warp];
        if ((members & ~waiting[warp]) != 0) return false;
        unsigned votes = 0;
        for (unsigned lane = 0; lane < WARP; ++lane) {
            if (!(members >> lane & 1)) continue;
            const Thread& other = threads[first + lane];
            if (other.mask != leader.mask || other.kind != leader.kind) return false;
            if (other.value) votes |= 1u << lane;
        }
        for (unsigned lane = 0; lane < WARP; ++lane) {
            if (!(members >> lane & 1)) continue;
            Thread& thread = threads[first + lane];
            if (thread.kind == Collective::Ballot) {
                thread.result = votes;
            } else if (thread.kind != Collective::Sync) {
                unsigned source = source_lane(thread, lane);
                if (!(members >> source & 1)) {
                    report_plain("thread %u shuffles at %s:%d from lane %u, which takes no part", first + lane,
                                 thread.file, thread.line, source);
                    if (but < count) leave();
                    return true;
                }
                thread.result = threads[first + source].value;
            }
        }
        waiting[warp] &= ~members;
        if (leader.kind == Collective::Sync) checks.warp_barrier(warp, members);
        for (unsigned lane = 0; lane < WARP; ++lane) {
            if (!(members >> lane & 1)) continue;
            threads[first + lane].state = State::Running;
            if (first + lane != but) ready.push_back(first + lane);
        }
        return true;
    }

    static unsigned source_lane(const Thread& thread, unsigned lane) {
        unsigned start = lane & ~(thread.width - 1), end = start + thread.width;
        switch (thread.kind) {
            case Collective::Index: return start + (thread.operand & (thread.width - 1));
            case Collective::Up: return lane < start + thread.operand ? lane : lane - thread.operand;
            case Collective::Down: return lane + thread.operand >= end ? lane : lane + thread.operand;
            default: return (lane ^ thread.operand) >= end ? lane : lane ^ thread.operand;
        }
    }

    // After threads have left: what waited for them alone can go on.
    bool release_any() {
        bool any = false;
        for (unsigned t = 0; t < count && !failed; ++t) {
            if (threads[t].state == State::AtWarp && release_warp(t, count)) any = true;
        }
        if (any || failed) return true;
        return at_block + finished == count && release_block(count);
    }

    void describe_deadlock() {
        const Thread* first = nullptr;
        unsigned first_index = 0;
        for (unsigned t = 0; t < count; ++t) {
            const Thread& thread = threads[t];
            if (thread.state == State::Done) continue;
            if (!first) {
                first = &thread;
                first_index = t;
                continue;
            }
            if (thread.state != first->state || thread.line != first->line || thread.mask != first->mask) {
                report_plain("not all threads reach a barrier: thread %u waits %s at %s:%d, thread %u %s at %s:%d",
                             first_index, place(*first), first->file, first->line, t, place(thread), thread.file,
                             thread.line);
                return;
            }
        }
        report_plain("not all threads reach a barrier: thread %u waits %s at %s:%d for threads that never come",
                     first_index, place(*first), first->file, first->line);
    }

    static const char* place(const Thread& thread) {
        return thread.state == State::AtBlock ? "for its block" : "for its warp";
    }

    void report(const char* format, va_list values) {
        int used = snprintf(error, sizeof error, "block (%u, %u, %u): ", block_index.x, block_index.y, block_index.z);
        vsnprintf(error + used, sizeof error - static_cast<size_t>(used), format, values);
        failed = true;
    }

    void report_plain(const char* format, ...) __attribute__((format(printf, 2, 3))) {
        va_list values;
        va_start(values, format);
        report(format, values);
        va_end(values);
    }
};

static void fiber_start() {
    Worker* worker = current;
    worker->work_as(worker->entering);
}

inline void Worker::enter(Fiber* fiber) {
    if (!fiber) return;
    if (!fiber->started) {
        fiber->started = true;
        entering = fiber;
        begin(fiber->context, fiber->stack, STACK_BYTES - fiber->skew, fiber_start);
    }
    exchange(scheduler, fiber->context);
}

static void find_shared_memory();

// Workers keep their stacks between launches.
struct Pool {
    std::mutex lock;
    std::vector<Worker*> workers;
};

static Pool& pool() {
    static Pool* shared = new Pool();
    return *shared;
}

// Executes blocks until the counter `next` has passed the grid; 1 and a message on failure.
static int run(const Launch* launch, void (*kernel)(void**), void** arguments, uint64_t* next, char* message,
               size_t room) {
    Worker* worker = nullptr;
    {
        std::lock_guard<std::mutex> guard(pool().lock);
        if (!pool().workers.empty()) {
            worker = pool().workers.back();
            pool().workers.pop_back();
        }
    }
    if (!worker) worker = new Worker();
    current = worker;
    find_shared_memory();
    worker->prepare(*launch, kernel, arguments);
    uint64_t blocks = static_cast<uint64_t>(launch->grid[0]) * launch->grid[1] * launch->grid[2];
    int failed = 0;
    for (;;) {
        uint64_t block = __atomic_fetch_add(next, 1, __ATOMIC_RELAXED);
        if (block >= blocks) break;
        if (!worker->run_block(block)) {
            snprintf(message, room, "%s", worker->error);
            __atomic_store_n(next, blocks, __ATOMIC_RELAXED);
            failed = 1;
            break;
        }
    }
    current = nullptr;
    std::lock_guard<std::mutex> guard(pool().lock);
    pool().workers.push_back(worker);
    return failed;
}

// One letter per parameter, as `Argument::letter` in launch.rs writes them.
template <typename T>
constexpr char letter() {
    static_assert(std::is_pointer<T>::value || std::is_same<T, int>::value || std::is_same<T, unsigned>::value ||
                      std::is_same<T, float>::value || std::is_same<T, unsigned long long>::value,
                  "kernel parameters are pointers, int, unsigned, unsigned long long or float");
    return std::is_pointer<T>::value ? 'p' : std::is_same<T, int>::value ? 'i' : std::is_same<T, unsigned>::value ? 'u'
           : std::is_same<T, float>::value                                ? 'f'
                                                                          : 'l';
}

template <auto F>
struct Kernel;

template <typename... A, void (*F)(A...)>
struct Kernel<F> {
    static const char* signature() {
        static const char letters[] = {letter<A>()..., 0};
        return letters;
    }
    static void invoke(void** values) { call(values, std::index_sequence_for<A...>{}); }
    template <size_t... I>
    static void call(void** values, std::index_sequence<I...>) {
        (void)values;
        F(*static_cast<A*>(values[I])...);
    }
};

}  // namespace emulator

// Written once for every kernel, behind the source.
#define EMULATED_KERNEL(name)                                                                                 \
    extern "C" const char* emulated_signature_##name() { return emulator::Kernel<&name>::signature(); }       \
    extern "C" int emulated_launch_##name(const emulator::Launch* launch, void** arguments, uint64_t* next,   \
                                          char* message, size_t room) {                                       \
        return emulator::run(launch, emulator::Kernel<&name>::invoke, arguments, next, message, room);        \
    }
