// Fibers: a CUDA thread runs on a stack of its own, and gives way at barriers, collectives and full traces.
#pragma once

#include "state.h"

namespace gp {

// A stack is taken when a lane starts and given back when it returns: a kernel that never waits runs on one hot stack.
void open_stacks(u32 n_stacks);
Stack* take_stack();
void give_stack(Stack* stack);

void resume(Lane& lane);  // until the lane gives way
void give_way();          // of the current lane, to whoever resumed it

// The address of the current lane's kernel call; run by each lane as it starts.
extern void (*kernel_entry)(const void* arguments);
extern const void* kernel_arguments;

// Which stack's guard page an address lies in; null if none.
bool is_in_guard(u64 address);

}  // namespace gp
