// Blocks: all lanes of a block, run until they have returned.
#pragma once

#include "state.h"

namespace gp {

void open_block();            // memory for the lanes of this worker
void run_block(u64 number);   // in the grid's order, x fastest

}  // namespace gp
