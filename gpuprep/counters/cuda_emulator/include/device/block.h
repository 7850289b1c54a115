// Where a thread stands in its block and grid, and how a block's threads wait for one another.
#pragma once

#include "qualifiers.h"
#include "vector_types.h"

// The runtime's variables under CUDA's names. They are const to a kernel: reading one is no access to memory, and
// assigning to one is a compile error, as on a GPU.
extern "C" {
extern __thread const uint3 threadIdx __asm__("gp_thread_index");
extern __thread const uint3 blockIdx __asm__("gp_block_index");
extern __thread const uint3 blockDim __asm__("gp_block_size");
extern __thread const uint3 gridDim __asm__("gp_grid_size");
}

namespace gp_internal {
// No constant expression: an array can't have warpSize elements on a GPU either.
GP_INLINE int warp_size() { return 32; }
}  // namespace gp_internal
#define warpSize (gp_internal::warp_size())

GP_INLINE void __syncthreads() { gp_barrier(0, 0); }
GP_INLINE int __syncthreads_count(int predicate) { return gp_barrier(1, predicate != 0); }
GP_INLINE int __syncthreads_and(int predicate) { return gp_barrier(2, predicate != 0); }
GP_INLINE int __syncthreads_or(int predicate) { return gp_barrier(3, predicate != 0); }

GP_INLINE void __threadfence_block() { gp_fence(0); }
GP_INLINE void __threadfence() { gp_fence(1); }
GP_INLINE void __threadfence_system() { gp_fence(2); }
