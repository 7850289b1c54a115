// Order between blocks and warps that no barrier makes: a fence, then an atomic (or volatile) store; an atomic (or
// volatile) load of the same place that comes after it.
#pragma once

#include "shadow.h"

namespace gp {

struct Segment {
  u32 block;
  u32 previous;   // segment of the warp in the same interval; 0 if none
  u32 sync_mask;  // lanes ordered between that one and this
  u16 warp;
};

const Segment& segment_at(u32 number);

// Going back from one segment of a warp to an earlier one: the lanes whose accesses there come before what the given
// lanes do now.
u32 lanes_before(u32 segment, u32 earlier, u32 lanes);

void open_ordering();  // once
void begin_block_ordering();  // of this worker
void note_fence(u32 next_segment, bool is_wide);

// A strong access to a place, by lanes of a warp of the block that this worker runs. Wide: for the whole device.
struct StrongAccess {
  u64 place;
  u32 block, warp, segment, lanes, interval_first;
  bool is_wide;
};
void note_release(const StrongAccess& access);
void note_acquire(const StrongAccess& access);

// Whether an access was handed over to this worker's block, so that what the lane does now comes after it.
struct Taker {
  u32 block, warp, segment, lane, interval_first;
};
bool is_handed_over(Record before, const Taker& to);
// The same of an atomic that released itself: the lane comes after an atomic on the same place that saw it.
bool is_taken_up(Record atomic, u64 place, const Taker& to);

}  // namespace gp
