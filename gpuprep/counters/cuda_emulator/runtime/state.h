// The running block: lanes, warps, and the worker (an operating-system thread) that runs them.
#pragma once

#define GP_RUNTIME
#include "device_interface.h"
#include "layout.h"

#define GP_LIKELY(x) __builtin_expect(!!(x), 1)
#define GP_UNLIKELY(x) __builtin_expect(!!(x), 0)

namespace gp {

// ---- What a lane traces -------------------------------------------------------------------------------------------
// A key says where in the program an access is: the return address of the hook below, the position above (positions.h).
// The second word says what is accessed: the address below, a tag above. Stores keep a third word: the value.

enum Access : u32 { kLoad, kStore, kAtomic, kFence, kAsyncLoad, kAsyncStore, kMma };
enum Space : u32 { kGlobal, kShared };

constexpr unsigned kTraceEntries = 128;
// An odd number of cache lines, so that the same entry of 32 lanes does not fall into one set of the cache.
constexpr unsigned kTraceWords = 3 * kTraceEntries + 8;
constexpr unsigned kAddressBits = 48;
constexpr u64 kAddressMask = (1ull << kAddressBits) - 1;

// tag: bits 0-2 log2 of the width, 3-5 access, 6 shared, 7 volatile or atomic, 8-9 scope, 10 compare-and-swap
constexpr u32 tag_of(u32 width_log2, u32 access, u32 space, u32 is_strong = 0, u32 scope = 0) {
  return width_log2 | access << 3 | space << 6 | is_strong << 7 | scope << 8;
}
inline u32 tag_width_log2(u32 tag) { return tag & 7; }
inline Access tag_access(u32 tag) { return Access(tag >> 3 & 7); }
inline bool tag_is_shared(u32 tag) { return tag >> 6 & 1; }
inline bool tag_is_strong(u32 tag) { return tag >> 7 & 1; }
inline u32 tag_scope(u32 tag) { return tag >> 8 & 3; }
inline bool tag_is_swap(u32 tag) { return tag >> 10 & 1; }

// ---- Lanes --------------------------------------------------------------------------------------------------------

enum class LaneState : u8 { unstarted, runnable, at_barrier, at_collective, left };

struct Stack {
  void* top;
  Stack* next_free;
};

struct Frame {
  u64 stack_pointer;
  u32 last_block, loop_end, function_end, function_entry, position;
};

constexpr unsigned kMaxFrames = 64;

struct AsyncCopy {
  void* to;
  const void* from;
  u32 n_bytes;
  u32 group;
  u64 key;
};

struct Lane {
  // Used by the hooks, so they come first.
  u64* cursor;  // where the next key goes
  u64* end;
  u64 stack_pointer;  // of the function that the lane is in, as its hooks see it
  u32 last_block;     // return address of the last basic block's hook
  u32 loop_end;       // last instruction of the innermost loop, or of the function
  u32 position;       // node of the position tree
  u32 n_frames;
  u64* pending_store;  // key of the last store, whose value is read before the next one
  u32 n_pending;       // where that is a copy in several pieces: how many; else 0

  u64* trace;
  u64* head;  // first key that no request has taken
  void* saved_stack;
  Stack* stack;
  Frame* frames;  // of the callers, outermost first
  u32 function_entry, function_end;

  gp_dim3 index;
  u32 thread;  // in the block
  u32 number;  // in the warp
  u32 warp;
  LaneState state;

  // At a barrier or a collective.
  int call_kind;
  int predicate;
  u32 mask;
  u32 call_bytes;
  u64 site;
  gp_lane_value value;

  AsyncCopy* async;
  u32 n_async, async_capacity, async_group;
  u64 clock;
};

struct Warp {
  Lane* lanes;
  u32 number;
  u32 n_lanes;
  u32 left;  // lanes that returned
  u32 segment;  // of the race detector; 0 until the next access needs one
  u32 previous_segment;
  u32 sync_mask;  // lanes ordered by the synchronisation that ended the last segment
  gp_lane_value exchanged[2][32];
  u8 exchange_side;
};

struct Slot {
  u64 low;       // address of the extent's first byte
  u64 limit[5];  // by log2 of the width: one past the largest valid offset from `low`; 0 where there are gaps
  u64 start;     // address of the storage
  u64 n_bytes;
  u64 high;
  const u8* valid;
  u8* written;
  u32 element_bytes;
  u32 storage;
};

struct Worker;

extern LaunchSpec* launch;
extern LaunchResult* result;
extern u8* file;
extern Slot slots[kMaxSlots];
extern u32 n_slots;
extern ObjectSpec* objects;
extern u64 stacks_low, stacks_bytes;

// The lane that runs on this operating-system thread, and its worker.
extern __thread Lane* current;
extern __thread Lane* recent;  // the same, until another one runs
extern __thread Worker* worker;
// Shared memory is this thread's thread-local storage.
extern __thread u64 shared_low;
extern __thread u64 shared_limit[5];

void* reserve(u64 n_bytes);  // zeroed pages that cost nothing until they are touched

// A vector without destructors or exceptions: its memory is reserved once, at its largest.
template <class T>
struct Table {
  T* items;
  u32 size;
  u32 capacity;
  void open(u32 most) {
    items = static_cast<T*>(reserve(u64(most) * sizeof(T)));
    capacity = most;
  }
  T& operator[](u32 index) { return items[index]; }
  bool is_full() const { return size == capacity; }
};

[[noreturn]] void fail(State state);

}  // namespace gp
