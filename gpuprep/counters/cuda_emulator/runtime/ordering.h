// Order between blocks and warps that no barrier makes: a fence, then an atomic (or volatile) store; an atomic (or
// volatile) load of the same place that comes after it.
#pragma once

#include "state.h"

namespace gp {

struct Segment {
  u32 block;
  u32 previous;   // segment of the warp in the same interval; 0 if none
  u32 sync_mask;  // lanes ordered between that one and this
  u16 warp;
};

struct Handovers;

void open_ordering();  // once
void begin_block_ordering();  // of this worker
void note_fence(u32 next_segment);

// A strong access to a place, by a warp of the block that this worker runs.
void note_release(u64 place, u32 block, u32 warp, u32 interval_first);
void note_acquire(u64 place, u32 warp, u32 segment);

// Whether an access by (block, warp, segment) was handed over to this worker's block, so that its warp `to_warp` comes
// after it.
bool is_handed_over(u32 block, u32 warp, u32 segment, u32 to_warp, u32 interval_first);

}  // namespace gp
