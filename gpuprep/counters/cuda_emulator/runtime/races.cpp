#include "races.h"

#include <initializer_list>

#include "faults.h"
#include "ordering.h"
#include "shadow.h"

namespace gp {

constexpr u32 kMostSegments = 1 << 26;  // of one worker
constexpr u32 kWorkerShift = 26;

// What every check needs of the running warp; made once a request.
struct Now {
  u32 segment, warp, block;
  u32 block_first, interval_first;
  bool is_shared;
  bool is_store;
  bool is_volatile;
  bool is_swap;  // compare-and-swap
  u64 address;
  u32 n_bytes;
  u32 lanes;
};

struct RaceState {
  Table<Segment> segments;  // by number, less the worker's first
  u32 first, next;
  u32 block, block_first, interval_first;
  Shadow shared;
};

static __thread RaceState state;
static Table<Segment>* segments_of_worker;  // all workers' tables: a conflict may be with another one's block
static Shadow storage_shadows[kMaxSlots];
static Shadow object_shadow;
static u64 objects_low;
static u32 lock_word;
static u64 guess_sites[1 << 16];  // a bit a site: loads that a compare-and-swap of the same lane checks

void prepare_races() {
  segments_of_worker = static_cast<Table<Segment>*>(reserve((kNone >> kWorkerShift) * sizeof(Table<Segment>)));
  for (u32 i = 0; i < n_slots; i++) {
    Shadow& shadow = storage_shadows[slots[i].storage];
    if (!shadow.writes.first) open_shadow(shadow, slots[i].n_bytes, 2);
  }
  if (launch->n_objects) {
    const ObjectSpec& last = objects[launch->n_objects - 1];
    objects_low = objects[0].address & ~15ull;
    open_shadow(object_shadow, last.address + last.n_bytes - objects_low, 2);
  }
  open_ordering();
}

void open_races(u32 worker_number) {
  state.segments.open(kMostSegments);
  segments_of_worker[worker_number] = state.segments;
  state.first = worker_number << kWorkerShift;
  state.next = state.first + 1;  // no record is 0
  open_shadow(state.shared, shared_limit[0], 2);
}

void begin_block_races(u64 block) {
  if (state.next - state.first > kMostSegments - (1 << 20)) fail(State::out_of_memory);
  state.block = u32(block);
  state.block_first = state.interval_first = state.next;
  begin_block_ordering();
}

void end_interval() { state.interval_first = state.next; }

static u32 segment_now(Warp& warp) {
  if (warp.segment) return warp.segment;
  u32 offset = state.next - state.first;
  if (offset >= kMostSegments) fail(State::out_of_memory);
  state.segments[offset] = Segment{state.block, warp.previous_segment, warp.sync_mask, u16(warp.number)};
  warp.sync_mask = 0;
  return warp.segment = state.next++;
}

void end_segment(Warp& warp, u32 mask) {
  // Two synchronisations of half a warp each are not one of the whole.
  if (!warp.segment && warp.sync_mask && mask && mask != ~0u) segment_now(warp);
  if (mask == ~0u) warp.previous_segment = 0;
  else if (warp.segment) warp.previous_segment = warp.segment;
  warp.segment = 0;
  warp.sync_mask |= mask;
}

const Segment& segment_at(u32 number) {
  return segments_of_worker[number >> kWorkerShift].items[number & (kMostSegments - 1)];
}

// ---- Findings -----------------------------------------------------------------------------------------------------

static Place place_of_lane(Record record, u32 lane) {
  const Segment& segment = segment_at(segment_of(record));
  u32 thread = segment.warp * 32u + lane;
  const u32 *grid = launch->grid, *block = launch->block;
  return Place{site_of(record),
               {segment.block % grid[0], segment.block / grid[0] % grid[1], segment.block / grid[0] / grid[1]},
               {thread % block[0], thread / block[0] % block[1], thread / block[0] / block[1]}};
}

static __attribute__((noinline)) void report_race(const Now& now, Record before, bool before_is_store, Record mine,
                                                  Detail detail, Severity severity) {
  FindingRecord finding = blank_finding(Kind::race, detail, severity);
  // Of several lanes the first is known: the next one stands for the others, lest a thread seem to race with itself.
  bool is_first = detail == Detail::race_lanes && lane_of(before) == lane_of(mine);
  finding.here = place_of_lane(mine, lane_of(mine) + (is_first && (mine & kLanes)));
  finding.other = place_of_lane(before, lane_of(before) + (is_first && !(mine & kLanes)));
  finding.is_store = now.is_store;
  finding.other_is_store = before_is_store;
  finding.n_bytes = now.n_bytes;
  finding.lanes = now.lanes;
  describe_address(finding, now.address);
  keep(finding);
}

static __attribute__((noinline)) void report_uninitialised(const Now& now, Record mine) {
  FindingRecord finding = blank_finding(Kind::uninitialised, Detail::shared, Severity::error);
  finding.here = place_of_lane(mine, lane_of(mine));
  finding.n_bytes = now.n_bytes;
  finding.lanes = now.lanes;
  describe_address(finding, now.address);
  keep(finding);
}

static u64 name_of_place(u64 address, bool is_shared);

#include "race_cells.h"

// ---- Requests -----------------------------------------------------------------------------------------------------

static Shadow& shadow_of(u64 address, bool is_shared, u64& base) {
  if (is_shared) {
    base = shared_low;
    return state.shared;
  }
  u64 slot = (address - kArenaBase) >> kSlotShift;
  if (slot < n_slots) {
    base = slots[slot].start;
    return storage_shadows[slots[slot].storage];
  }
  base = objects_low;
  return object_shadow;
}

// The same place has one name, whichever view of a storage leads to it.
static u64 name_of_place(u64 address, bool is_shared) {
  u64 base;
  const Shadow& shadow = shadow_of(address, is_shared, base);
  u64 region = is_shared ? 0x1000 + (state.first >> kWorkerShift) : u64(&shadow - storage_shadows) & 0xfff;
  return (region + 1) << 44 | (address - base);
}

static void note_strong(Warp& warp, const Request& request, bool is_release, bool is_acquire) {
  bool is_shared = tag_is_shared(request.tag);
  bool is_wide = tag_access(request.tag) != kAtomic || tag_scope(request.tag) > 0;
  u32 segment = segment_now(warp);
  for (u32 i = 0; i < request.n;) {
    u64 address = request.address[i];
    u32 lanes = 0;
    for (; i < request.n && request.address[i] == address; i++) lanes |= 1u << request.lane[i];
    StrongAccess access{name_of_place(address, is_shared), state.block, warp.number, segment, lanes,
                        state.interval_first, is_wide};
    if (is_release) note_release(access);
    if (is_acquire) note_acquire(access);
  }
}

// Loads of one cell a lane, all in one memory: what nearly every request is.
template <bool kIsShared>
static void read_lanes(Now& now, const Request& request, Shadow& shadow, u64 base, Record base_record) {
  const Record* writes = shadow.writes.first;
  Record* reads = shadow.reads.first;
  u32 shift = shadow.shift, block_first = now.block_first, interval_first = now.interval_first;
  bool has_writes = kIsShared || shadow.has_writes, has_atomics = shadow.has_atomics;
  shadow.has_reads = true;
  for (u32 i = 0; i < request.n;) {
    u64 address = request.address[i];
    u32 next = i + 1;
    while (next < request.n && request.address[next] == address) next++;
    Record mine = base_record | u64(request.lane[i]) << kLaneShift | (next > i + 1 ? kLanes : 0);
    i = next;
    u64 cell = (address - base) >> shift;
    bool is_slow = has_atomics;
    if (has_writes) {
      Record write = writes[cell];
      u32 segment = segment_of(write);
      bool is_settled = segment < interval_first && segment >= block_first && (write & kSecond) != kOfBlocks;
      is_slow |= !is_settled && (kIsShared || write);
    }
    if (GP_UNLIKELY(is_slow)) {
      now.address = address;
      read_cell(now, shadow, cell, mine);
      continue;
    }
    Record read = reads[cell];
    u32 segment = segment_of(read);
    bool is_old = segment < interval_first && (kIsShared || segment >= block_first) && (read & kSecond) != kOfBlocks;
    if (read == 0 || is_old) reads[cell] = mine;
    else if (!speaks_for_all(now, read)) remember_read(now, shadow.reads, cell, mine);
  }
}

static void check_lanes(Now& now, const Request& request, Record base_record) {
  u32 log2 = tag_width_log2(request.tag);
  bool is_atomic = tag_access(request.tag) == kAtomic;
  u64 base = 0;
  if (!now.is_store && (now.is_shared || request.is_run || request.is_equal)) {
    Shadow& whole = shadow_of(request.address[0], now.is_shared, base);
    if (log2 <= whole.shift) {
      if (GP_UNLIKELY(log2 < whole.shift)) refine(whole, log2);
      if (now.is_shared) read_lanes<true>(now, request, whole, base, base_record);
      else read_lanes<false>(now, request, whole, base, base_record);
      return;
    }
  }
  Shadow* shadow = nullptr;
  u64 shadow_slot = ~0ull;
  for (u32 i = 0; i < request.n;) {
    u64 address = request.address[i];
    u32 next = i + 1;
    u32 flags = 0;
    if (!now.is_store) {
      while (next < request.n && request.address[next] == address) next++;
      if (next > i + 1) flags = kLanes;
    }
    u64 slot = address >> kSlotShift;
    if (slot != shadow_slot) {
      shadow = &shadow_of(address, now.is_shared, base);
      shadow_slot = slot;
      if (GP_UNLIKELY(log2 < shadow->shift)) refine(*shadow, log2);
      if (is_atomic) shadow->has_atomics = true;
      else if (now.is_store) shadow->has_writes = true;
      else shadow->has_reads = true;
    }
    now.address = address;
    u64 cell = (address - base) >> shadow->shift;
    u64 last = (address - base + now.n_bytes - 1) >> shadow->shift;
    Record mine = base_record | u64(request.lane[i]) << kLaneShift | flags;
    u32 value = u32(request.value[i]) ^ u32(request.value[i] >> 32) * 0x9e3779b1u;
    for (; cell <= last; cell++) {
      if (is_atomic) update_cell(now, *shadow, cell, mine);
      else if (now.is_store) write_cell(now, *shadow, cell, mine, value);
      else read_cell(now, *shadow, cell, mine);
    }
    i = next;
  }
}

static void check_unlocked(Warp& warp, const Request& request) {
  Access access = tag_access(request.tag);
  if (access == kFence) {
    note_fence(state.next, tag_scope(request.tag) > 0);
    end_segment(warp, 0);
    return;
  }
  bool is_strong = tag_is_strong(request.tag);
  bool is_store = access != kLoad && access != kAsyncLoad;
  // What is acquired counts from here on; what is released is what came before.
  if (is_strong && (access == kAtomic || access == kLoad)) note_strong(warp, request, false, true);
  u32 segment = segment_now(warp);
  Now now{segment, warp.number, state.block, state.block_first, state.interval_first, tag_is_shared(request.tag),
          is_store, is_strong && access != kAtomic, tag_is_swap(request.tag), 0, 1u << tag_width_log2(request.tag), request.n};
  bool is_narrow = access == kAtomic && tag_scope(request.tag) == 0 && !now.is_shared;
  u32 flags = (is_strong ? kStrong : 0) | (is_narrow ? kNarrow : 0);
  check_lanes(now, request, make_record(segment, request.site, 0, flags));
  if (is_strong && (access == kAtomic || access == kStore)) note_strong(warp, request, true, false);
}

void check_races(Warp& warp, const Request& request) {
  if (tag_access(request.tag) == kMma) return;
  bool is_alone = launch->n_threads == 1 || (tag_is_shared(request.tag) && !tag_is_strong(request.tag));
  if (!is_alone) {
    while (__atomic_exchange_n(&lock_word, 1, __ATOMIC_ACQUIRE)) __builtin_ia32_pause();
  }
  check_unlocked(warp, request);
  if (!is_alone) __atomic_store_n(&lock_word, 0, __ATOMIC_RELEASE);
}

}  // namespace gp
