// Looks at every access of a kernel to memory that threads share. Between context.h and runtime.h.
//
// With VIEWMAKER_CHECKED the compiler calls a function before each access (-fsanitize=thread) and
// where a pointer is misaligned, an index leaves its array or an integer overflows
// (-fsanitize=alignment,bounds,...). Those functions are in checks_hooks.h; no sanitizer's library is
// linked. This file is the bookkeeping behind them: for each word of four bytes the last writer and
// some readers, and whether a barrier lies between two accesses of which one writes.
//
// What counts as order: a barrier of the block; between lanes of one warp, __syncwarp. Shuffles and
// votes move values and order nothing else. Between blocks of a launch nothing does.
#pragma once

#include <stdint.h>

#include <algorithm>
#include <vector>

namespace emulator {

// Words that an argument of a kernel leads to, and the whole allocation with the fences around it; same
// layout as `Range` in emulator/library.rs.
struct Range {
    uint64_t start, end;
    uint64_t fence_start, fence_end;
};

#if defined(VIEWMAKER_CHECKED)

// For what the hooks call: it must not call them again.
#define VIEWMAKER_UNCHECKED __attribute__((no_sanitize("thread", "undefined")))

enum class Use : uint8_t { Read, Write, Atomic };

// One access. Eras count blocks and their barriers, so that one number tells what lies between two.
struct Access {
    uint32_t era;
    uint32_t place;  // in the code, relative to the library
    uint32_t clock;  // of the thread among its warp's barriers
    uint16_t thread;
    uint8_t bytes;  // one bit for each byte of the word
    Use use;
};

// A word's last write and some of the reads since then. Forgotten reads can hide a race, never invent one.
struct Cell {
    Access write;
    Access reads[3];
};

// What is wrong with an access.
struct Finding {
    enum Kind { None, Race, OtherBlock, Unwritten, OutOfRange } kind;
    Access other;
    const char* memory;
    uint64_t offset;
};

class Checks {
  public:
    void begin_launch(const Range* list, uint64_t count, unsigned threads, const void* dynamic, uint64_t bytes) {
        first_range = list;
        range_count = count;
        lowest = ~0ull;
        highest = 0;
        for (uint64_t i = 0; i < count; ++i) {
            lowest = std::min(lowest, list[i].fence_start);
            highest = std::max(highest, list[i].fence_end);
        }
        std::vector<Range> ranges(list, list + count);
        std::sort(ranges.begin(), ranges.end(), [](const Range& a, const Range& b) { return a.start < b.start; });
        areas.clear();
        for (const Range& range : ranges) {
            if (range.start == range.end) continue;
            if (!areas.empty() && range.start <= areas.back().end) {
                areas.back().end = std::max(areas.back().end, range.end);
            } else {
                areas.push_back({range.start, range.end, {}, nullptr});
            }
        }
        for (Area& area : areas) area.clear();
        first_area = areas.data();
        last_area = first_area;
        end_of_areas = first_area + areas.size();
        place_area(dynamic_shared, reinterpret_cast<uint64_t>(dynamic), bytes);
        clocks.resize(static_cast<size_t>((threads + LANES - 1) / LANES) * LANES * LANES);
        seen = clocks.data();
        // Eras go on from launch to launch, so that what is left of an earlier one is old.
        if (era > 1u << 31) {
            era = 1;
            static_shared.clear();
            dynamic_shared.clear();
        }
    }

    // Where this thread of the system keeps the library's __shared__ arrays, and which eight bytes
    // there are the emulator's.
    void set_static_shared(uint64_t start, uint64_t bytes, uint64_t own) {
        place_area(static_shared, start, bytes);
        not_shared = own;
    }

    void begin_block() {
        first_of_block = ++era;
        std::fill(clocks.begin(), clocks.end(), 0u);
        for (size_t thread = 0; thread < clocks.size() / LANES; ++thread) clocks[thread * LANES + thread % LANES] = 1;
    }

    void block_barrier() { ++era; }

    // Lanes of a warp whose bits are set in `members` have met.
    void warp_barrier(unsigned warp, unsigned members) {
        uint32_t* table = &seen[static_cast<size_t>(warp) * LANES * LANES];
        for (unsigned lane = 0; lane < LANES; ++lane) {
            uint32_t latest = 0;
            for (unsigned m = 0; m < LANES; ++m) {
                if (members >> m & 1) latest = std::max(latest, table[m * LANES + lane]);
            }
            for (unsigned m = 0; m < LANES; ++m) {
                if (members >> m & 1) table[m * LANES + lane] = latest;
            }
        }
        for (unsigned m = 0; m < LANES; ++m) {
            if (members >> m & 1) ++table[m * LANES + m];
        }
    }

    // Notes an access of `thread`; what is wrong with it.
    VIEWMAKER_UNCHECKED Finding access(uint64_t address, unsigned bytes, Use use, unsigned thread, uint32_t place) {
        if (static_shared.holds(address)) {
            if (address / 8 == not_shared / 8) return {};
            return look(static_shared, true, "__shared__ memory", address, bytes, use, thread, place);
        }
        if (dynamic_shared.holds(address)) {
            return look(dynamic_shared, true, "dynamic shared memory", address, bytes, use, thread, place);
        }
        // A stack, or the emulator's own.
        if (address < lowest || address >= highest) return {};
        if (Area* area = argument(address)) {
            if (address + bytes <= area->end) return look(*area, false, "an argument", address, bytes, use, thread, place);
        }
        for (const Range* at = first_range; at != first_range + range_count; ++at) {
            const Range& range = *at;
            if (address >= range.fence_start && address < range.fence_end) {
                return {Finding::OutOfRange, {}, "an argument", address - range.start};
            }
        }
        return {};
    }

  private:
    static constexpr unsigned LANES = 32;

    struct Area {
        uint64_t start, end;
        std::vector<Cell> memory;
        Cell* cells;
        VIEWMAKER_UNCHECKED bool holds(uint64_t address) const { return address >= start && address < end; }
        void clear() {
            memory.assign((end + 3) / 4 - start / 4, Cell());
            cells = memory.data();
        }
    };

    // Hooks read plain pointers: the functions of a vector would call them again.
    const Range* first_range = nullptr;
    uint64_t range_count = 0;
    std::vector<Area> areas;
    Area *first_area = nullptr, *last_area = nullptr, *end_of_areas = nullptr;
    Area dynamic_shared = {0, 0, {}, nullptr}, static_shared = {0, 0, {}, nullptr};
    uint64_t not_shared = 0, lowest = 0, highest = 0;
    Access conflict = {};
    uint32_t era = 1, first_of_block = 1;
    // For each thread the clocks of its warp's lanes that it knows of.
    std::vector<uint32_t> clocks;
    uint32_t* seen = nullptr;

    static void place_area(Area& area, uint64_t start, uint64_t bytes) {
        if (area.start == start && area.end == start + bytes) return;
        area.start = start;
        area.end = start + bytes;
        area.clear();
    }

    VIEWMAKER_UNCHECKED Area* argument(uint64_t address) {
        if (last_area != end_of_areas && last_area->holds(address)) return last_area;
        for (Area* area = first_area; area != end_of_areas; ++area) {
            if (area->holds(address)) return last_area = area;
        }
        return nullptr;
    }

    VIEWMAKER_UNCHECKED Finding look(Area& area, bool shared, const char* memory, uint64_t address, unsigned bytes,
                                     Use use, unsigned thread, uint32_t place) {
        uint32_t clock = seen[static_cast<size_t>(thread) * LANES + thread % LANES];
        for (uint64_t word = address / 4; word <= (address + bytes - 1) / 4; ++word) {
            uint64_t from = address > 4 * word ? address : 4 * word;
            uint64_t end = address + bytes, to = end < 4 * word + 4 ? end : 4 * word + 4;
            uint8_t mask = static_cast<uint8_t>(((1u << (to - from)) - 1) << (from - 4 * word));
            Cell& cell = area.cells[word - area.start / 4];
            Access now = {era, place, clock, static_cast<uint16_t>(thread), mask, use};
            Finding::Kind kind = note(cell, shared, now);
            if (kind != Finding::None) return {kind, conflict, memory, from - area.start};
        }
        return {};
    }

    VIEWMAKER_UNCHECKED Finding::Kind note(Cell& cell, bool shared, const Access& now) {
        if (now.use == Use::Read) {
            if (shared && cell.write.era < first_of_block) return Finding::Unwritten;
            Finding::Kind kind = clash(cell.write, now, shared);
            if (kind == Finding::None) keep_read(cell, now);
            return kind;
        }
        Finding::Kind kind = clash(cell.write, now, shared);
        for (const Access& read : cell.reads) {
            if (kind == Finding::None) kind = clash(read, now, shared);
        }
        bool joins = cell.write.era == now.era && cell.write.thread == now.thread && cell.write.clock == now.clock;
        uint8_t before = joins ? cell.write.bytes : 0;
        cell.write = now;
        cell.write.bytes |= before;
        return kind;
    }

    VIEWMAKER_UNCHECKED Finding::Kind clash(const Access& before, const Access& now, bool shared) {
        if (before.era == 0 || (before.bytes & now.bytes) == 0) return Finding::None;
        if (before.use == Use::Atomic && now.use == Use::Atomic) return Finding::None;
        if (before.era < first_of_block) {
            if (shared) return Finding::None;
            conflict = before;
            return Finding::OtherBlock;
        }
        if (before.era < era || before.thread == now.thread) return Finding::None;
        bool one_warp = before.thread / LANES == now.thread / LANES;
        if (one_warp && before.clock <= seen[static_cast<size_t>(now.thread) * LANES + before.thread % LANES]) {
            return Finding::None;
        }
        conflict = before;
        return Finding::Race;
    }

    // In place of an older read of the same thread, or of one that no write of this block can meet any more.
    VIEWMAKER_UNCHECKED void keep_read(Cell& cell, const Access& now) {
        Access* oldest = &cell.reads[0];
        for (Access& read : cell.reads) {
            if (read.thread == now.thread && read.era == now.era && read.bytes == now.bytes) {
                read = now;
                return;
            }
            if (read.era < oldest->era) oldest = &read;
        }
        // Readers of several warps are worth more than several of one.
        if (oldest->era == now.era) {
            for (Access& read : cell.reads) {
                if (read.thread / LANES == now.thread / LANES) oldest = &read;
            }
        }
        *oldest = now;
    }
};

#else

#define VIEWMAKER_UNCHECKED

// Nothing is looked at.
class Checks {
  public:
    void begin_launch(const Range*, uint64_t, unsigned, const void*, uint64_t) {}
    void begin_block() {}
    void block_barrier() {}
    void warp_barrier(unsigned, unsigned) {}
};

#endif

}  // namespace emulator
