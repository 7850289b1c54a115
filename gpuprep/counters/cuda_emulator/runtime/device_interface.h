// The calls by which the device language (include/) reaches the emulator's runtime.
//
// Everything here is defined by the runtime. The call site of each function is the return address inside it,
// so a wrapper that a kernel calls must be always_inline: the line reported is then the learner's.
#pragma once

#include <stdarg.h>

// For internals that touch memory themselves and must not be counted as the kernel's accesses.
#define GP_UNTRACKED __attribute__((no_sanitize("thread"), no_sanitize_coverage))

extern "C" {

struct gp_lane_value {
  unsigned char bytes[16];
};

struct gp_dim3 {
  unsigned x, y, z;
};

// A block's geometry: read by threadIdx, blockIdx, blockDim and gridDim. Constant for a kernel, so that reading it is
// no access of the kernel's memory; the runtime itself sets it.
#ifdef GP_RUNTIME
#define GP_SET_BY_RUNTIME
#else
#define GP_SET_BY_RUNTIME const
#endif
extern __thread GP_SET_BY_RUNTIME gp_dim3 gp_thread_index, gp_block_index;
extern __thread GP_SET_BY_RUNTIME gp_dim3 gp_block_size, gp_grid_size;

// Barrier of the block. kind: 0 __syncthreads, 1 _count, 2 _and, 3 _or; returns the result.
int gp_barrier(int kind, int predicate);

// A warp collective: every lane in `mask` arrives with `n_bytes` (at most 16) at `mine`. Returns 32 values, valid for
// the lanes in `mask` until the lane's next collective.
// kind: 0 __syncwarp, 1 shuffle, 2 vote, 3 match, 4 reduce, 5 wmma (it names the call in messages).
const gp_lane_value* gp_warp_collective(int kind, unsigned mask, const void* mine, unsigned n_bytes);

unsigned gp_active_mask();  // lanes of the warp that have not returned
unsigned gp_lane();         // 0…31

// Checks bounds and alignment, counts one atomic access and orders it for the race detector; the caller then performs
// the operation untracked. scope: 0 block, 1 device, 2 system;
// 4 more for a compare-and-swap.
void gp_atomic(const volatile void* address, unsigned n_bytes, int scope);
void gp_fence(int scope);  // 0 __threadfence_block, 1 __threadfence, 2 __threadfence_system

// __pipeline_memcpy_async: a global load and a shared store; visible to the lane after gp_async_wait.
void gp_async_copy(void* shared, const void* global, unsigned n_bytes);
void gp_async_commit();
void gp_async_wait(unsigned n_prior);

void gp_mma(unsigned m, unsigned n, unsigned k);  // one warp-wide multiply-accumulate, counted once a warp

void gp_assert_failed(const char* what, const char* file, unsigned line);
void gp_trap();
// An error that the caller has seen, such as a shuffle that reads a lane outside the mask; the kernel goes on.
void gp_bad_sync(const char* what);
int gp_vprintf(const char* format, va_list arguments);  // device printf: into the launch's output, bounded
unsigned long long gp_clock();                          // a deterministic counter, not a time

}  // extern "C"
