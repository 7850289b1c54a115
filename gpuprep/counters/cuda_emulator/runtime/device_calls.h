// Waiting: what a lane that calls a barrier or a collective leaves for the block's loop to resolve.
#pragma once

#include "state.h"

namespace gp {

void note_stored_value(Lane& lane);
void make_room(Lane& lane);
void trace(Lane& lane, u64 site, u64 address, u32 tag);

}  // namespace gp
