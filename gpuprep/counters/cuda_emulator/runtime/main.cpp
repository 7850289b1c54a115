// The program that a compiled kernel becomes: it maps the launch's file, runs the blocks, and writes the result back.

#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "blocks.h"
#include "entry.h"
#include "faults.h"
#include "fibers.h"
#include "positions.h"
#include "races.h"
#include "requests.h"

extern "C" __thread unsigned char gp_dynamic_shared[];

namespace gp {

LaunchSpec* launch;
LaunchResult* result;
u8* file;
pthread_t workers[64];

void* reserve(u64 n_bytes) {
  if (n_bytes == 0) n_bytes = 1;
  void* memory = mmap(nullptr, n_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (memory == MAP_FAILED) fail(State::out_of_memory);
  return memory;
}

static bool map_file(int descriptor) {
  struct stat status;
  if (fstat(descriptor, &status) != 0) return false;
  void* whole = mmap(nullptr, u64(status.st_size), PROT_READ | PROT_WRITE, MAP_SHARED, descriptor, 0);
  if (whole == MAP_FAILED) return false;
  file = static_cast<u8*>(whole);
  launch = reinterpret_cast<LaunchSpec*>(file);
  if (launch->magic != kMagic || launch->file_bytes > u64(status.st_size)) return false;
  result = reinterpret_cast<LaunchResult*>(file + launch->result_offset);
  return true;
}

static bool map_buffers(int descriptor) {
  const BufferSpec* specs = reinterpret_cast<const BufferSpec*>(file + launch->buffers_offset);
  if (launch->n_buffers > kMaxSlots) return false;
  n_slots = launch->n_buffers;
  for (u32 i = 0; i < n_slots; i++) {
    const BufferSpec& spec = specs[i];
    Slot& slot = slots[i];
    slot.start = kArenaBase + (u64(i) << kSlotShift) + kSlotMiddle;
    slot.n_bytes = spec.n_bytes;
    slot.low = slot.start + spec.low;
    slot.high = slot.start + spec.high;
    slot.valid = spec.valid_offset ? file + spec.valid_offset : nullptr;
    slot.written = file + spec.written_offset;
    slot.element_bytes = spec.element_bytes;
    slot.storage = spec.storage;
    u64 span = spec.high - spec.low;
    for (u32 log2 = 0; log2 < 5; log2++) {
      u64 width = 1ull << log2;
      slot.limit[log2] = slot.valid || span < width ? 0 : span - width + 1;
    }
    if (spec.n_bytes == 0) continue;
    void* wanted = reinterpret_cast<void*>(slot.start);
    void* got = mmap(wanted, spec.n_bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED_NOREPLACE, descriptor,
                     i64(spec.file_offset));
    if (got != wanted) return false;
  }
  return true;
}

static void move_globals(bool is_loading) {
  u8* image = file + launch->globals_offset;
  for (u32 i = 0; i < launch->n_objects; i++) {
    void* object = reinterpret_cast<void*>(objects[i].address);
    if (is_loading) memcpy(object, image, objects[i].n_bytes);
    else memcpy(image, object, objects[i].n_bytes);
    image += objects[i].n_bytes;
  }
}

static void* work(void* argument) {
  u64 number = reinterpret_cast<u64>(argument);
  open_signal_stack();
  shared_low = reinterpret_cast<u64>(gp_dynamic_shared) - launch->static_shared_bytes;
  u64 n_shared = u64(launch->static_shared_bytes) + launch->dynamic_shared_bytes;
  for (u32 log2 = 0; log2 < 5; log2++) {
    u64 width = 1ull << log2;
    shared_limit[log2] = n_shared < width ? 0 : n_shared - width + 1;
  }
  open_counts();
  open_positions();
  open_races(u32(number));
  open_block();
  u64 n_blocks = u64(launch->grid[0]) * launch->grid[1] * launch->grid[2];
  for (u64 i = number; i < n_blocks; i += launch->n_threads) run_block(launch->is_reversed ? n_blocks - 1 - i : i);
  return nullptr;
}

}  // namespace gp

using namespace gp;

static pthread_mutex_t adding = PTHREAD_MUTEX_INITIALIZER;

static void* work_and_add(void* argument) {
  work(argument);
  recent = current;  // no lane runs here any more
  pthread_mutex_lock(&adding);
  add_counts();
  pthread_mutex_unlock(&adding);
  return nullptr;
}

static int describe() {
  for (u32 i = 0; i < gp_n_kernels; i++) {
    const gp_kernel& kernel = gp_kernels[i];
    printf("%s\t%u\t", kernel.name, kernel.argument_bytes);
    for (u32 k = 0; k < kernel.n_parameters; k++) {
      const gp_parameter& p = kernel.parameters[k];
      printf("%c,%u,%u,%u,%u;", p.kind, p.n_bytes, p.offset, p.element_bytes, p.is_const);
    }
    printf("\n");
  }
  return 0;
}

int main(int n_arguments, char** arguments) {
  if (n_arguments == 2 && strcmp(arguments[1], "describe") == 0) return describe();
  if (n_arguments != 3) return 2;
  // Whoever asked for the launch may be ended at any time: nothing must be left of it.
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  int parent = atoi(arguments[2]);  // 0 where nobody waits, as under a debugger
  if (parent != 0 && getppid() != parent) return 3;
  int descriptor = atoi(arguments[1]);
  if (!map_file(descriptor)) return 4;
  catch_signals();
  objects = reinterpret_cast<ObjectSpec*>(file + launch->objects_offset);
  if (!map_buffers(descriptor) || launch->kernel >= gp_n_kernels) finish(State::bad_request);
  if (launch->has_globals) move_globals(true);
  kernel_entry = gp_kernels[launch->kernel].call;
  kernel_arguments = file + launch->arguments_offset;
  u32 n_threads = launch->n_threads;
  open_stacks(n_threads * launch->block[0] * launch->block[1] * launch->block[2]);
  prepare_races();
  start_time_limit();
  for (u64 i = 0; i < n_threads; i++) workers[i] = pthread_self();
  for (u64 i = 1; i < n_threads; i++) {
    if (pthread_create(&workers[i], nullptr, work_and_add, reinterpret_cast<void*>(i)) != 0) finish(State::out_of_memory);
  }
  work_and_add(nullptr);
  for (u64 i = 1; i < n_threads; i++) pthread_join(workers[i], nullptr);
  move_globals(false);
  finish(State::done);
}
