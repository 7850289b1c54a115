// What the compiler calls before each access and in each basic block of a kernel.

#include <string.h>

#include "device_calls.h"
#include "faults.h"
#include "fibers.h"
#include "positions.h"
#include "state.h"

namespace gp {

// Before and after kernels: the compiler's own start-up code calls the basic-block hook too.
static Lane nobody;
__thread Lane* current = &nobody;
__thread Lane* recent = &nobody;
__thread Worker* worker;
__thread u64 shared_low;
__thread u64 shared_limit[5];
Slot slots[kMaxSlots];
u32 n_slots;
ObjectSpec* objects;

static u64 value_at(u64 word) {
  const void* address = reinterpret_cast<const void*>(word & kAddressMask);
  u64 value = 0, more = 0;
  switch (tag_width_log2(word >> kAddressBits)) {
    case 0: return *static_cast<const u8*>(address);
    case 1: return *static_cast<const u16*>(address);
    case 2: return *static_cast<const u32*>(address);
    case 3: memcpy(&value, address, 8); return value;
    default: memcpy(&value, address, 8), memcpy(&more, static_cast<const char*>(address) + 8, 8);
  }
  return value ^ more * 0x9e3779b97f4a7c15ull;
}

// The lane's last store has happened by now: its value is what race detection compares.
void note_stored_value(Lane& lane) {
  u64* key = lane.pending_store;
  if (!key) return;
  u32 n = lane.n_pending ? lane.n_pending : 1;
  for (u32 i = 0; i < n; i++) key[i + 2 * kTraceEntries] = value_at(key[i + kTraceEntries]);
  lane.pending_store = nullptr;
  lane.n_pending = 0;
}

void make_room(Lane& lane) {
  note_stored_value(lane);
  give_way();
}

void trace(Lane& lane, u64 site, u64 address, u32 tag) {
  if (lane.cursor == lane.end) make_room(lane);
  lane.cursor[0] = site | u64(lane.position) << 32;
  lane.cursor[kTraceEntries] = address | u64(tag) << kAddressBits;
  lane.cursor++;
}

// Addresses that are neither in shared memory nor plainly inside a buffer.
// Returns true where the access is to be traced (as one of global memory).
static __attribute__((noinline)) bool is_traced_elsewhere(u64 address, u32 n_bytes, bool is_store, u64 site) {
  if (address - stacks_low < stacks_bytes) return false;  // a local array
  if (address - reinterpret_cast<u64>(&gp_block_size) < sizeof(gp_dim3)) return false;
  return is_in_global_memory(address, n_bytes, is_store, site);
}

template <u32 kLog2, Access kAccess, u32 kStrong>
static inline __attribute__((always_inline)) void on_access(u64 address, u64 site, u64 stack_pointer) {
  Lane& lane = *current;
  if (GP_UNLIKELY(lane.stack_pointer != stack_pointer)) change_frame(lane, stack_pointer);
  u32 tag;
  if (GP_LIKELY(address - shared_low < shared_limit[kLog2])) {
    tag = tag_of(kLog2, kAccess, kShared, kStrong);
  } else {
    u64 slot = (address - kArenaBase) >> kSlotShift;
    if (GP_UNLIKELY(slot >= n_slots || address - slots[slot].low >= slots[slot].limit[kLog2]) &&
        !is_traced_elsewhere(address, 1u << kLog2, kAccess == kStore, site)) {
      return;
    }
    tag = tag_of(kLog2, kAccess, kGlobal, kStrong);
  }
  if (GP_UNLIKELY(address & ((1u << kLog2) - 1))) misaligned(address, 1u << kLog2, kAccess == kStore, site);
  if (kAccess == kStore && lane.pending_store) note_stored_value(lane);
  // The hook for the source of a copy comes after that of its target: with room for both, the lane doesn't give way
  // between a store's hook and the store.
  if (GP_UNLIKELY(lane.cursor + (kAccess == kStore) >= lane.end)) make_room(lane);
  u64* cursor = lane.cursor;
  cursor[0] = site | u64(lane.position) << 32;
  cursor[kTraceEntries] = address | u64(tag) << kAddressBits;
  if (kAccess == kStore) lane.pending_store = cursor;
  lane.cursor = cursor + 1;
}

static inline __attribute__((always_inline)) void on_piece(u64 address, u32 log2, bool is_store, u64 site, u64 sp) {
  if (is_store) {
    if (log2 == 0) on_access<0, kStore, 0>(address, site, sp);
    else if (log2 == 1) on_access<1, kStore, 0>(address, site, sp);
    else on_access<2, kStore, 0>(address, site, sp);
  } else {
    if (log2 == 0) on_access<0, kLoad, 0>(address, site, sp);
    else if (log2 == 1) on_access<1, kLoad, 0>(address, site, sp);
    else on_access<2, kLoad, 0>(address, site, sp);
  }
}

// A struct that is copied whole: a GPU moves it in pieces no wider than its members, four bytes at most.
static void on_range(u64 address, u64 n_bytes, bool is_store, u64 site, u64 stack_pointer) {
  Lane& lane = *current;
  u32 log2 = __builtin_ctz(u32(n_bytes) | 4);
  u64 n = n_bytes >> log2;
  // The pieces' values are known after the last one: they must stand together in the trace, and so must the reads of
  // the same copy, whose hook comes between.
  bool is_together = is_store && 2 * n <= kTraceEntries;
  if (is_store) note_stored_value(lane);
  while (is_together && u64(lane.end - lane.cursor) < 2 * n) make_room(lane);
  u64* first = lane.cursor;
  for (u64 i = 0; i < n; i++) {
    on_piece(address + (i << log2), log2, is_store, site, stack_pointer);
    if (is_store) lane.pending_store = nullptr;
  }
  if (is_together && lane.cursor == first + n) {
    lane.pending_store = first;
    lane.n_pending = u32(n);
  }
}

}  // namespace gp

using namespace gp;

#define GP_SITE reinterpret_cast<u64>(__builtin_return_address(0))
#define GP_FRAME reinterpret_cast<u64>(__builtin_dwarf_cfa())
#define GP_HOOK(name, log2, access, strong) \
  extern "C" void __tsan_##name(void* address) { \
    on_access<log2, access, strong>(reinterpret_cast<u64>(address), GP_SITE, GP_FRAME); \
  }
#define GP_HOOKS(bytes, log2) \
  GP_HOOK(read##bytes, log2, kLoad, 0) \
  GP_HOOK(write##bytes, log2, kStore, 0) \
  GP_HOOK(volatile_read##bytes, log2, kLoad, 1) \
  GP_HOOK(volatile_write##bytes, log2, kStore, 1)

GP_HOOKS(1, 0)
GP_HOOKS(2, 1)
GP_HOOKS(4, 2)
GP_HOOKS(8, 3)
GP_HOOKS(16, 4)

extern "C" {

void __tsan_init() {}
void __tsan_func_entry(void*) {}
void __tsan_func_exit() {}

void __tsan_read_range(void* address, unsigned long n_bytes) {
  on_range(reinterpret_cast<u64>(address), n_bytes, false, GP_SITE, GP_FRAME);
}

void __tsan_write_range(void* address, unsigned long n_bytes) {
  on_range(reinterpret_cast<u64>(address), n_bytes, true, GP_SITE, GP_FRAME);
}

void __sanitizer_cov_trace_pc() {
  Lane& lane = *current;
  u32 block = u32(GP_SITE);
  if (GP_LIKELY(block > lane.last_block && block <= lane.loop_end && lane.stack_pointer == GP_FRAME)) {
    lane.last_block = block;
    return;
  }
  enter_block(lane, block, GP_FRAME);
}

// What copies of more than a few words become.
void* gp_cpy(void* to, const void* from, unsigned long n_bytes) {
  on_range(reinterpret_cast<u64>(from), n_bytes, false, GP_SITE, GP_FRAME);
  on_range(reinterpret_cast<u64>(to), n_bytes, true, GP_SITE, GP_FRAME);
  return memmove(to, from, n_bytes);
}
void* gp_move(void* to, const void* from, unsigned long n_bytes) {
  on_range(reinterpret_cast<u64>(from), n_bytes, false, GP_SITE, GP_FRAME);
  on_range(reinterpret_cast<u64>(to), n_bytes, true, GP_SITE, GP_FRAME);
  return memmove(to, from, n_bytes);
}
void* gp_set(void* to, int value, unsigned long n_bytes) {
  on_range(reinterpret_cast<u64>(to), n_bytes, true, GP_SITE, GP_FRAME);
  return memset(to, value, n_bytes);
}

struct gp_ubsan_location {
  const char* path;
  u32 line, column;
};
struct gp_ubsan_type {
  u16 kind, info;
  char name[1];
};
struct gp_ubsan_bounds {
  gp_ubsan_location location;
  const gp_ubsan_type* array_type;
  const gp_ubsan_type* index_type;
};

void __ubsan_handle_out_of_bounds(gp_ubsan_bounds* data, unsigned long index) {
  // info of an integer type: bit 0 signed, the rest log2 of its width in bits
  u32 n_bits = 1u << (data->index_type->info >> 1);
  i64 value = i64(index);
  if (n_bits < 64 && (data->index_type->info & 1)) value = i64(index << (64 - n_bits)) >> (64 - n_bits);
  static_index(value, data->array_type->name, GP_SITE);
}

}  // extern "C"
