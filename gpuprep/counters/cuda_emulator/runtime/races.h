// Races: accesses that no barrier, __syncwarp, or fence with an atomic puts in order.
#pragma once

#include "requests.h"

namespace gp {

void prepare_races();    // once, when the buffers are known
void open_races(u32 worker_number);  // of this worker
void begin_block_races(u64 block);
void end_interval();                     // a barrier of the block; every warp's segment is ended too
void end_segment(Warp& warp, u32 mask);  // a synchronisation of these lanes
void check_races(Warp& warp, const Request& request);

}  // namespace gp
