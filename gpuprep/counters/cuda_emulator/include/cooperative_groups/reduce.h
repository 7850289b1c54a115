// Reductions over a tile.
#pragma once

#include "../cooperative_groups.h"

namespace cooperative_groups {

#define GP_FUNCTOR(NAME, EXPRESSION)                                                                                  \
  template <typename T>                                                                                               \
  struct NAME {                                                                                                       \
    GP_INLINE T operator()(T x, T y) const { return static_cast<T>(EXPRESSION); }                                     \
  };
GP_FUNCTOR(plus, x + y)
GP_FUNCTOR(less, y < x ? y : x)
GP_FUNCTOR(greater, x < y ? y : x)
GP_FUNCTOR(bit_and, x& y)
GP_FUNCTOR(bit_or, x | y)
GP_FUNCTOR(bit_xor, x ^ y)
#undef GP_FUNCTOR

template <unsigned n_lanes, typename Parent, typename T, typename Operation>
GP_INLINE T reduce(const thread_block_tile<n_lanes, Parent>& tile, T value, Operation operation) {
  return gp_internal::reduce(tile.lane_mask(), value, operation);
}

}  // namespace cooperative_groups
