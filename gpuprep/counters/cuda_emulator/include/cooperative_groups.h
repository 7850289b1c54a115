// Cooperative groups: the block, and tiles of a warp.
#pragma once

#include "gpuprep_device.h"

namespace cooperative_groups {

namespace internal {
GP_INLINE unsigned rank_in_block() {
  return threadIdx.x + blockDim.x * (threadIdx.y + blockDim.y * threadIdx.z);
}
GP_INLINE unsigned block_extent() { return blockDim.x * blockDim.y * blockDim.z; }
GP_INLINE unsigned long long rank_of_block() {
  return blockIdx.x + static_cast<unsigned long long>(gridDim.x) * (blockIdx.y + gridDim.y * blockIdx.z);
}
GP_INLINE unsigned long long grid_extent() {
  return static_cast<unsigned long long>(gridDim.x) * gridDim.y * gridDim.z;
}
}  // namespace internal

class thread_block {
 public:
  GP_INLINE void sync() const { __syncthreads(); }
  GP_INLINE static unsigned thread_rank() { return internal::rank_in_block(); }
  GP_INLINE static unsigned num_threads() { return internal::block_extent(); }
  GP_INLINE static unsigned size() { return internal::block_extent(); }
  GP_INLINE static dim3 group_index() { return dim3(blockIdx.x, blockIdx.y, blockIdx.z); }
  GP_INLINE static dim3 thread_index() { return dim3(threadIdx.x, threadIdx.y, threadIdx.z); }
  GP_INLINE static dim3 dim_threads() { return dim3(blockDim.x, blockDim.y, blockDim.z); }
  GP_INLINE static dim3 group_dim() { return dim_threads(); }
};
GP_INLINE thread_block this_thread_block() { return thread_block(); }

class grid_group {
 public:
  // A launch by get_function is not cooperative: its blocks can't wait for one another.
  template <typename T = void>
  void sync() const {
    static_assert(sizeof(T*) == 0, "a grid-wide sync needs a cooperative launch: it runs on a GPU only");
  }
  GP_INLINE static unsigned long long thread_rank() {
    return internal::rank_of_block() * internal::block_extent() + internal::rank_in_block();
  }
  GP_INLINE static unsigned long long num_threads() { return internal::grid_extent() * internal::block_extent(); }
  GP_INLINE static unsigned long long size() { return num_threads(); }
  GP_INLINE static unsigned long long block_rank() { return internal::rank_of_block(); }
  GP_INLINE static unsigned long long num_blocks() { return internal::grid_extent(); }
  GP_INLINE static dim3 block_index() { return dim3(blockIdx.x, blockIdx.y, blockIdx.z); }
  GP_INLINE static dim3 dim_blocks() { return dim3(gridDim.x, gridDim.y, gridDim.z); }
  GP_INLINE static dim3 group_dim() { return dim_blocks(); }
};
GP_INLINE grid_group this_grid() { return grid_group(); }

// The n_lanes threads of a warp that follow one another and begin at a multiple of n_lanes.
template <unsigned n_lanes, typename Parent = void>
class thread_block_tile {
  static_assert(n_lanes >= 1 && n_lanes <= 32 && (n_lanes & (n_lanes - 1)) == 0,
                "a tile has 1, 2, 4, 8, 16 or 32 threads; larger ones run on a GPU only");

 public:
  GP_INLINE static unsigned lane_mask() {
    constexpr unsigned low = n_lanes == 32 ? 0xffffffffu : (1u << (n_lanes & 31u)) - 1u;
    return low << (gp_lane() & ~(n_lanes - 1u));
  }
  GP_INLINE void sync() const { __syncwarp(lane_mask()); }
  GP_INLINE static unsigned thread_rank() { return gp_lane() & (n_lanes - 1u); }
  GP_INLINE static constexpr unsigned num_threads() { return n_lanes; }
  GP_INLINE static constexpr unsigned size() { return n_lanes; }
  // Of the block's tiles, or of the parent's where that is a tile itself.
  GP_INLINE static unsigned meta_group_rank() { return parent_rank() / n_lanes; }
  GP_INLINE static unsigned meta_group_size() { return (parent_size() + n_lanes - 1u) / n_lanes; }

  template <typename T>
  GP_INLINE T shfl(T value, int rank) const {
    const auto operand = static_cast<unsigned>(rank);
    return gp_internal::shuffle(gp_internal::Shuffle::from_lane, lane_mask(), value, operand, width);
  }
  template <typename T>
  GP_INLINE T shfl_up(T value, unsigned distance) const {
    return gp_internal::shuffle(gp_internal::Shuffle::up, lane_mask(), value, distance, width);
  }
  template <typename T>
  GP_INLINE T shfl_down(T value, unsigned distance) const {
    return gp_internal::shuffle(gp_internal::Shuffle::down, lane_mask(), value, distance, width);
  }
  template <typename T>
  GP_INLINE T shfl_xor(T value, unsigned bits) const {
    return gp_internal::shuffle(gp_internal::Shuffle::exclusive_or, lane_mask(), value, bits, width);
  }
  GP_INLINE int any(int predicate) const { return __any_sync(lane_mask(), predicate); }
  GP_INLINE int all(int predicate) const { return __all_sync(lane_mask(), predicate); }
  GP_INLINE unsigned ballot(int predicate) const { return in_tile(__ballot_sync(lane_mask(), predicate)); }
  template <typename T>
  GP_INLINE unsigned match_any(T value) const {
    return in_tile(__match_any_sync(lane_mask(), value));
  }
  template <typename T>
  GP_INLINE unsigned match_all(T value, int& is_match) const {
    return in_tile(__match_all_sync(lane_mask(), value, &is_match));
  }

 private:
  static constexpr int width = n_lanes;
  GP_INLINE static unsigned in_tile(unsigned mask) { return (mask & lane_mask()) >> (gp_lane() & ~(n_lanes - 1u)); }
  GP_INLINE static unsigned parent_rank() {
    if constexpr (__is_same(Parent, void) || __is_same(Parent, thread_block))
      return internal::rank_in_block();
    else
      return Parent::thread_rank();
  }
  GP_INLINE static unsigned parent_size() {
    if constexpr (__is_same(Parent, void) || __is_same(Parent, thread_block))
      return internal::block_extent();
    else
      return Parent::size();
  }
};

template <unsigned n_lanes, typename Parent>
GP_INLINE thread_block_tile<n_lanes, Parent> tiled_partition(const Parent&) {
  return thread_block_tile<n_lanes, Parent>();
}

template <typename Group>
GP_INLINE void sync(const Group& group) {
  group.sync();
}
template <typename Group>
GP_INLINE auto thread_rank(const Group& group) {
  return group.thread_rank();
}
template <typename Group>
GP_INLINE auto group_size(const Group& group) {
  return group.size();
}

}  // namespace cooperative_groups
