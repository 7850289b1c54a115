#include "fibers.h"

#include <sys/mman.h>

namespace gp {

// Kernels keep little on their stacks; a GPU gives a thread 512 KiB at most, and 1 KiB unless asked.
constexpr u64 kStackBytes = 128 * 1024;
constexpr u64 kGuardBytes = 4096;
// Stacks start at different offsets, or the hot lines of all lanes would compete for the same sets of the cache.
constexpr u64 kColourStep = 320;
constexpr u64 kColours = 12;

u64 stacks_low, stacks_bytes;
void (*kernel_entry)(const void*);
const void* kernel_arguments;

static Stack* stack_records;
static u32 n_stacks_made, n_stacks_most;
static __thread Stack* free_stacks;
static __thread void* scheduler_stack;

extern "C" void gp_switch(void** save_here, void* go_there);
asm(R"(
.text
.globl gp_switch
.type gp_switch,@function
gp_switch:
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp, (%rdi)
  movq %rsi, %rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  ret
.size gp_switch,.-gp_switch
)");

void open_stacks(u32 n_stacks) {
  n_stacks_most = n_stacks;
  stacks_bytes = n_stacks * kStackBytes;
  stacks_low = reinterpret_cast<u64>(reserve(stacks_bytes));
  stack_records = static_cast<Stack*>(reserve(n_stacks * sizeof(Stack)));
}

Stack* take_stack() {
  if (Stack* stack = free_stacks) {
    free_stacks = stack->next_free;
    return stack;
  }
  u32 number = __atomic_fetch_add(&n_stacks_made, 1, __ATOMIC_RELAXED);
  if (number >= n_stacks_most) fail(State::out_of_memory);
  u64 low = stacks_low + number * kStackBytes;
  if (mprotect(reinterpret_cast<void*>(low), kGuardBytes, PROT_NONE) != 0) fail(State::out_of_memory);
  Stack* stack = &stack_records[number];
  stack->top = reinterpret_cast<void*>(low + kStackBytes - number % kColours * kColourStep);
  return stack;
}

void give_stack(Stack* stack) {
  stack->next_free = free_stacks;
  free_stacks = stack;
}

bool is_in_guard(u64 address) {
  u64 offset = address - stacks_low;
  return offset < stacks_bytes && offset % kStackBytes < kGuardBytes;
}

static void lane_main() {
  kernel_entry(kernel_arguments);
  current->state = LaneState::left;
  give_way();
  __builtin_trap();
}

void resume(Lane& lane) {
  if (lane.state == LaneState::unstarted) {
    lane.stack = take_stack();
    void** stack = static_cast<void**>(lane.stack->top);
    *--stack = nullptr;  // where a return address would be: the alignment of a call
    *--stack = reinterpret_cast<void*>(lane_main);
    stack -= 6;  // the registers that gp_switch restores; their values don't matter
    lane.saved_stack = stack;
    lane.state = LaneState::runnable;
  }
  Lane* previous = current;
  current = recent = &lane;
  gp_thread_index = lane.index;
  gp_switch(&scheduler_stack, lane.saved_stack);
  current = previous;
  if (lane.state == LaneState::left) {
    give_stack(lane.stack);
    lane.stack = nullptr;
  }
}

void give_way() {
  Lane& lane = *current;
  gp_switch(&lane.saved_stack, scheduler_stack);
}

}  // namespace gp
