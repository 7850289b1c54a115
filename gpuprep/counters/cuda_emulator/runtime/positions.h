// Where in the program's loops and calls a lane is: what tells one iteration's access from the next one's.
//
// A position is a node of a tree: the path from the root names every loop that was gone round, how often, and every call
// that was entered. The tree is shared by all lanes of a worker, so that equal nodes mean equal positions, and a lane
// that takes the way another took before finds it remembered.
//
// Order: of two lanes, the one goes first that a GPU's reconvergence would let catch up: the lower iteration of the same
// loop; a lane inside a loop before one behind it; the deeper call before the rest of its caller.
#pragma once

#include "state.h"

namespace gp {

void open_positions();         // of this worker
void forget_positions();       // when the tree has grown large: only between blocks
void start_position(Lane& lane);
void enter_block(Lane& lane, u32 block, u64 stack_pointer);  // off the fast path of the basic-block hook
void change_frame(Lane& lane, u64 stack_pointer);            // a hook sees another stack pointer than the last one did

// Whether the access at (site, position) comes before the other one. Equal keys must not be asked.
bool is_before(u32 site, u32 position, u32 other_site, u32 other_position);

}  // namespace gp
