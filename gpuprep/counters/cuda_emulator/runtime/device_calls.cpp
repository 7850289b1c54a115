// The calls of device_interface.h that a kernel makes.

#include "device_calls.h"

#include <stdio.h>
#include <string.h>

#include "faults.h"
#include "fibers.h"
#include "positions.h"

using namespace gp;

#define GP_CALL_SITE reinterpret_cast<u64>(__builtin_return_address(0))

extern "C" {

__thread gp_dim3 gp_thread_index, gp_block_index, gp_block_size, gp_grid_size;

int gp_barrier(int kind, int predicate) {
  Lane& lane = *current;
  note_stored_value(lane);
  lane.call_kind = kind;
  lane.predicate = predicate;
  lane.site = GP_CALL_SITE;
  lane.state = LaneState::at_barrier;
  give_way();
  return lane.predicate;
}

const gp_lane_value* gp_warp_collective(int kind, unsigned mask, const void* mine, unsigned n_bytes) {
  Lane& lane = *current;
  note_stored_value(lane);
  lane.call_kind = kind;
  lane.mask = mask;
  lane.call_bytes = n_bytes < sizeof lane.value ? n_bytes : sizeof lane.value;
  lane.site = GP_CALL_SITE;
  if (lane.call_bytes) memcpy(&lane.value, mine, lane.call_bytes);
  if (!(mask >> lane.number & 1)) {
    FindingRecord finding = blank_finding(Kind::bad_sync, Detail::collective_self, Severity::error);
    finding.here = place_of(lane, lane.site);
    finding.lanes = mask;
    finding.index = kind;
    stop(finding);
  }
  lane.state = LaneState::at_collective;
  give_way();
  return reinterpret_cast<const gp_lane_value*>(lane.site);
}

unsigned gp_lane() { return current->number; }

unsigned gp_active_mask() {
  const Lane* first = current - current->number;
  u32 mask = 0;
  for (u32 i = 0; i < 32 && first[i].trace; i++) {  // the lane behind a block's last has no trace
    if (first[i].state != LaneState::left) mask |= 1u << i;
  }
  return mask;
}

void gp_atomic(const volatile void* pointer, unsigned n_bytes, int scope) {
  Lane& lane = *current;
  u64 site = GP_CALL_SITE, address = reinterpret_cast<u64>(pointer);
  note_stored_value(lane);
  bool is_shared = address - shared_low < shared_limit[0];
  if (is_shared && address + n_bytes > shared_low + shared_limit[0]) out_of_bounds(address, n_bytes, true, site);
  if (!is_shared && !is_in_global_memory(address, n_bytes, true, site)) return;
  if (address & (n_bytes - 1)) misaligned(address, n_bytes, true, site);
  trace(lane, site, address, tag_of(__builtin_ctz(n_bytes), kAtomic, is_shared ? kShared : kGlobal, 1, u32(scope)));
}

void gp_fence(int scope) { trace(*current, GP_CALL_SITE, 0, tag_of(0, kFence, kGlobal, 1, u32(scope))); }

void gp_mma(unsigned m, unsigned n, unsigned k) {
  trace(*current, GP_CALL_SITE, 2ull * m * n * k, tag_of(0, kMma, kGlobal));
}

static bool is_wholly_shared(u64 address, u32 n_bytes) {
  return address - shared_low < shared_limit[0] && address + n_bytes <= shared_low + shared_limit[0];
}

void gp_async_copy(void* shared, const void* global, unsigned n_bytes) {
  Lane& lane = *current;
  u64 site = GP_CALL_SITE, to = reinterpret_cast<u64>(shared), from = reinterpret_cast<u64>(global);
  u32 log2 = __builtin_ctz(n_bytes);
  note_stored_value(lane);
  if (!is_wholly_shared(to, n_bytes)) out_of_bounds(to, n_bytes, true, site);
  if (to & (n_bytes - 1)) misaligned(to, n_bytes, true, site);
  is_in_global_memory(from, n_bytes, false, site);
  if (from & (n_bytes - 1)) misaligned(from, n_bytes, false, site);
  trace(lane, site, from, tag_of(log2, kAsyncLoad, kGlobal));
  if (lane.n_async == lane.async_capacity) {
    u32 capacity = lane.async_capacity ? 2 * lane.async_capacity : 64;
    AsyncCopy* larger = static_cast<AsyncCopy*>(reserve(capacity * sizeof(AsyncCopy)));
    if (lane.n_async) memcpy(larger, lane.async, lane.n_async * sizeof(AsyncCopy));
    lane.async = larger;
    lane.async_capacity = capacity;
  }
  lane.async[lane.n_async++] = AsyncCopy{shared, global, n_bytes, lane.async_group, site};
}

void gp_async_commit() { current->async_group++; }

void gp_async_wait(unsigned n_prior) {
  Lane& lane = *current;
  note_stored_value(lane);
  u32 done = 0;
  while (done < lane.n_async && lane.async[done].group + n_prior < lane.async_group) {
    AsyncCopy& copy = lane.async[done++];
    memcpy(copy.to, copy.from, copy.n_bytes);
    trace(lane, copy.key, reinterpret_cast<u64>(copy.to), tag_of(__builtin_ctz(copy.n_bytes), kAsyncStore, kShared));
    lane.pending_store = lane.cursor - 1;
    note_stored_value(lane);
  }
  if (done == 0) return;
  lane.n_async -= done;
  memmove(lane.async, lane.async + done, lane.n_async * sizeof(AsyncCopy));
}

void gp_assert_failed(const char* what, const char*, unsigned line) {
  FindingRecord finding = blank_finding(Kind::assert_failed, Detail::none, Severity::error);
  finding.here = place_of(*current, GP_CALL_SITE);
  finding.index = line;
  strncpy(finding.text, what, kFindingText - 1);
  stop(finding);
}

void gp_trap() {
  FindingRecord finding = blank_finding(Kind::trap, Detail::none, Severity::error);
  finding.here = place_of(*current, GP_CALL_SITE);
  stop(finding);
}

void gp_bad_sync(const char* what) {
  FindingRecord finding = blank_finding(Kind::bad_sync, Detail::caller_says, Severity::error);
  finding.here = place_of(*current, GP_CALL_SITE);
  strncpy(finding.text, what, kFindingText - 1);
  keep(finding);
}

int gp_vprintf(const char* format, va_list arguments) {
  char line[1024];
  int n = vsnprintf(line, sizeof line, format, arguments);
  if (n > 0) append_output(line, n < int(sizeof line) ? u32(n) : u32(sizeof line - 1));
  return n;
}

unsigned long long gp_clock() {
  Lane& lane = *current;
  return lane.clock += 1 + u64(lane.cursor - lane.head);
}

}  // extern "C"
