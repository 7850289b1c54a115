// What Python writes for a launch and reads after it: one shared file, mapped by both sides.
//
// The Python half is layout.py; a field changed here is changed there.
#pragma once

#include <stdint.h>

namespace gp {

using u8 = uint8_t;
using u16 = uint16_t;
using u32 = uint32_t;
using u64 = uint64_t;
using i64 = int64_t;

constexpr u32 kMagic = 0x67707031;

// A buffer lies in the middle of its slot: an index that is wrong by billions, either way, still names the buffer.
constexpr u64 kArenaBase = 1ull << 44;
constexpr unsigned kSlotShift = 36;
constexpr u64 kSlotMiddle = 1ull << (kSlotShift - 1);
constexpr unsigned kMaxSlots = 128;
constexpr u32 kNone = 0xffffffffu;

struct BufferSpec {
  u64 file_offset;     // of the storage, a whole number of pages
  u64 n_bytes;         // of the storage
  u64 low, high;       // in bytes from the storage's start: what the kernel's tensor spans
  u64 valid_offset;    // one byte an element of [low, high), 0 where that is a gap; 0 if there are no gaps
  u64 written_offset;  // one byte a byte of the storage, set to 1 by stores
  u32 element_bytes;
  u32 storage;  // buffers that are views of one storage share this number
};

struct ObjectSpec {  // a __device__ or __constant__ variable
  u64 address;
  u64 n_bytes;
  u32 is_constant;
  u32 reserved;
};

struct LoopSpec {  // a loop of the kernel's machine code: first traced block, last instruction
  u32 header, end;
};

struct FunctionSpec {
  u32 entry, end;  // first traced block, one past the last instruction
};

struct LaunchSpec {
  u32 magic;
  u32 kernel;
  u32 grid[3];
  u32 block[3];
  u32 n_threads;
  u32 is_reversed;
  u32 dynamic_shared_bytes;
  u32 static_shared_bytes;
  u32 n_buffers, n_objects, n_loops, n_functions;
  u32 has_globals;  // their values come from an earlier launch
  u32 reserved;
  u64 time_limit_us;
  u64 arguments_offset, buffers_offset, objects_offset, loops_offset, functions_offset;
  u64 globals_offset;  // bytes of the objects, one after the other: loaded before, stored after
  u64 file_bytes;
  u64 result_offset;
};

enum class Kind : u32 {
  none,
  out_of_bounds,
  race,
  misaligned,
  bad_sync,
  uninitialised,
  assert_failed,
  deadlock,
  stack_overflow,
  division_by_zero,
  endless_loop,
  trap,
  crash,
};

enum class Severity : u32 { error, warning, note };

// What exactly happened: messages.py has a sentence for each.
enum class Detail : u32 {
  none,
  global,            // an access beside a buffer; also null and stray pointers
  shared,            // beyond the block's shared memory
  static_index,      // an index beyond the declared size of an array
  constant_store,    // a store to constant memory
  alignment,
  barrier_sites,     // two barriers at once
  barrier_left,      // a thread returned without the barrier
  collective_self,   // the calling lane is not in the mask
  collective_left,   // the mask names a lane that returned
  collective_other,  // a lane of the mask is at another call, or has another mask
  collective_never,  // a lane of the mask waits elsewhere for good
  caller_says,       // the text says it
  race_blocks,
  race_warps,
  race_lanes,
};

struct Place {
  u64 site;  // return address of the traced call; 0 unknown
  u32 block[3];
  u32 thread[3];
};

constexpr unsigned kFindingText = 192;

struct FindingRecord {
  Kind kind;
  Severity severity;
  Detail detail;
  u32 n_bytes;
  Place here;
  Place other;  // race: the access before; barrier: a thread that waits elsewhere
  u64 address;  // as the kernel sees it
  i64 index;    // in elements, or the index used
  u32 buffer;   // slot, or kNone
  u32 is_store;
  u32 other_is_store;
  u32 lanes;  // lanes at fault, or a mask of lanes
  char text[kFindingText];
};

struct SiteRecord {
  u32 site;
  u32 kind;  // Access
  u64 requests, lanes, bytes, sectors, wavefronts, least_wavefronts;
};

constexpr unsigned kMaxFindings = 64;
constexpr unsigned kMaxSites = 2048;
constexpr unsigned kOutputBytes = 64 * 1024;

enum class State : u32 { never_ran, done, stopped, out_of_memory, bad_request };

struct Totals {
  u64 bytes_loaded, bytes_stored, sectors_loaded, sectors_stored;
  u64 load_requests, store_requests;
  u64 shared_requests, shared_wavefronts, bank_conflicts;
  u64 atomics, barriers, mma, mma_flops, blocks, threads;
};

struct LaunchResult {
  State state;
  u32 n_findings;
  u32 n_sites;
  u32 n_output;  // bytes of `output` that were written
  u32 output_is_cut;
  u32 stop_signal;
  u64 nanoseconds;
  Totals totals;
  FindingRecord findings[kMaxFindings];
  SiteRecord sites[kMaxSites];
  char output[kOutputBytes];
};

}  // namespace gp
