// What the 32 threads of a warp do together: shuffles, votes, matches, reductions.
#pragma once

#include "integer.h"
#include "qualifiers.h"

namespace gp_internal {
// What a call is, in the runtime's messages.
enum Collective {
  collective_sync,
  collective_shuffle,
  collective_vote,
  collective_match,
  collective_reduce,
  collective_wmma
};

enum class Shuffle { from_lane, up, down, exclusive_or };

// The lane that this one reads from.
GP_INTERNAL unsigned source_lane(Shuffle kind, unsigned operand, unsigned width) {
  const unsigned lane = gp_lane();
  const unsigned first = lane & ~(width - 1u);
  const unsigned last = first | (width - 1u);
  operand &= 31u;
  switch (kind) {
    case Shuffle::up:
      return lane < first + operand ? lane : lane - operand;
    case Shuffle::down:
      return lane + operand > last ? lane : lane + operand;
    case Shuffle::exclusive_or:
      return (lane ^ operand) > last ? lane : lane ^ operand;
    default:
      return first | (operand & (width - 1u));
  }
}

// What a lane outside the mask holds is undefined: all bits set, which is not a number, so that using it shows.
template <typename T>
GP_INTERNAL T value_of_lane(const gp_lane_value* values, unsigned mask, unsigned lane) {
  T value;
  if ((mask >> lane) & 1u)
    __builtin_memcpy(static_cast<void*>(&value), values[lane].bytes, sizeof value);
  else
    __builtin_memset(static_cast<void*>(&value), 0xff, sizeof value);
  return value;
}

template <typename T>
GP_INLINE T shuffle(Shuffle kind, unsigned mask, T value, unsigned operand, int width) {
  static_assert(sizeof(T) <= sizeof(gp_lane_value), "a shuffle passes at most 16 bytes a lane");
  const gp_lane_value* values = gp_warp_collective(collective_shuffle, mask, &value, sizeof value);
  const unsigned source = source_lane(kind, operand, static_cast<unsigned>(width));
  // The tails of a tree of up or down shuffles read past the mask and are thrown away: only the forms that name a lane
  // are faulty there.
  constexpr const char* fault = "a shuffle reads a lane that its mask leaves out";
  const bool names_lane = kind == Shuffle::from_lane || kind == Shuffle::exclusive_or;
  if (names_lane && !((mask >> source) & 1u)) gp_bad_sync(fault);
  return value_of_lane<T>(values, mask, source);
}

GP_INTERNAL unsigned ballot_of(const gp_lane_value* values, unsigned mask) {
  unsigned ballot = 0;
  for (unsigned lane = 0; lane < 32; ++lane)
    if (((mask >> lane) & 1u) && values[lane].bytes[0]) ballot |= 1u << lane;
  return ballot;
}
GP_INLINE unsigned vote(unsigned mask, bool predicate) {
  const unsigned char mine = predicate;
  return ballot_of(gp_warp_collective(collective_vote, mask, &mine, sizeof mine), mask);
}

GP_INTERNAL unsigned lanes_with(const gp_lane_value* values, unsigned mask, unsigned long long wanted) {
  unsigned lanes = 0;
  for (unsigned lane = 0; lane < 32; ++lane) {
    unsigned long long bits;
    __builtin_memcpy(&bits, values[lane].bytes, sizeof bits);
    if (((mask >> lane) & 1u) && bits == wanted) lanes |= 1u << lane;
  }
  return lanes;
}
template <typename T>
GP_INLINE unsigned match(unsigned mask, T value) {
  static_assert(sizeof value <= sizeof(unsigned long long), "a match compares at most 8 bytes");
  unsigned long long bits = 0;
  __builtin_memcpy(&bits, &value, sizeof value);
  return lanes_with(gp_warp_collective(collective_match, mask, &bits, sizeof bits), mask, bits);
}

// Lanes are folded in ascending order: the same result on every lane, and in every run.
template <typename T, typename Operation>
GP_INTERNAL T folded(const gp_lane_value* values, unsigned mask, Operation operation) {
  T result{};
  bool is_first = true;
  for (unsigned lane = 0; lane < 32; ++lane) {
    if (!((mask >> lane) & 1u)) continue;
    const T value = value_of_lane<T>(values, mask, lane);
    result = is_first ? value : operation(result, value);
    is_first = false;
  }
  return result;
}
template <typename T, typename Operation>
GP_INLINE T reduce(unsigned mask, T value, Operation operation) {
  static_assert(sizeof(T) <= sizeof(gp_lane_value), "a reduction passes at most 16 bytes a lane");
  return folded<T>(gp_warp_collective(collective_reduce, mask, &value, sizeof value), mask, operation);
}
}  // namespace gp_internal

GP_INLINE void __syncwarp(unsigned mask = 0xffffffffu) {
  gp_warp_collective(gp_internal::collective_sync, mask, nullptr, 0);
}
GP_INLINE unsigned __activemask() { return gp_active_mask(); }

#define GP_SHUFFLES(T)                                                                                                \
  GP_INLINE T __shfl_sync(unsigned mask, T value, int lane, int width = 32) {                                         \
    return gp_internal::shuffle(gp_internal::Shuffle::from_lane, mask, value, static_cast<unsigned>(lane), width);    \
  }                                                                                                                   \
  GP_INLINE T __shfl_up_sync(unsigned mask, T value, unsigned distance, int width = 32) {                             \
    return gp_internal::shuffle(gp_internal::Shuffle::up, mask, value, distance, width);                              \
  }                                                                                                                   \
  GP_INLINE T __shfl_down_sync(unsigned mask, T value, unsigned distance, int width = 32) {                           \
    return gp_internal::shuffle(gp_internal::Shuffle::down, mask, value, distance, width);                            \
  }                                                                                                                   \
  GP_INLINE T __shfl_xor_sync(unsigned mask, T value, int bits, int width = 32) {                                     \
    return gp_internal::shuffle(gp_internal::Shuffle::exclusive_or, mask, value, static_cast<unsigned>(bits), width); \
  }
GP_SHUFFLES(int)
GP_SHUFFLES(unsigned)
GP_SHUFFLES(long)
GP_SHUFFLES(unsigned long)
GP_SHUFFLES(long long)
GP_SHUFFLES(unsigned long long)
GP_SHUFFLES(float)
GP_SHUFFLES(double)

GP_INLINE unsigned __ballot_sync(unsigned mask, int predicate) { return gp_internal::vote(mask, predicate != 0); }
GP_INLINE int __any_sync(unsigned mask, int predicate) { return gp_internal::vote(mask, predicate != 0) != 0; }
GP_INLINE int __all_sync(unsigned mask, int predicate) { return gp_internal::vote(mask, predicate != 0) == mask; }
GP_INLINE int __uni_sync(unsigned mask, int predicate) {
  const unsigned ballot = gp_internal::vote(mask, predicate != 0);
  return ballot == mask || ballot == 0;
}

#define GP_MATCHES(T)                                                                                                 \
  GP_INLINE unsigned __match_any_sync(unsigned mask, T value) { return gp_internal::match(mask, value); }             \
  GP_INLINE unsigned __match_all_sync(unsigned mask, T value, int* is_match) {                                        \
    const bool is_equal = gp_internal::match(mask, value) == mask;                                                    \
    *is_match = is_equal;                                                                                             \
    return is_equal ? mask : 0u;                                                                                      \
  }
GP_MATCHES(int)
GP_MATCHES(unsigned)
GP_MATCHES(long)
GP_MATCHES(unsigned long)
GP_MATCHES(long long)
GP_MATCHES(unsigned long long)
GP_MATCHES(float)
GP_MATCHES(double)
#undef GP_MATCHES

#define GP_REDUCTION(NAME, T, EXPRESSION)                                                                             \
  GP_INLINE T NAME(unsigned mask, T value) {                                                                          \
    return gp_internal::reduce(                                                                                       \
        mask, value, [](T x, T y) __attribute__((always_inline)) { return static_cast<T>(EXPRESSION); });              \
  }
GP_REDUCTION(__reduce_add_sync, unsigned, x + y)
GP_REDUCTION(__reduce_add_sync, int, static_cast<unsigned>(x) + static_cast<unsigned>(y))
GP_REDUCTION(__reduce_min_sync, unsigned, x < y ? x : y)
GP_REDUCTION(__reduce_min_sync, int, x < y ? x : y)
GP_REDUCTION(__reduce_max_sync, unsigned, x < y ? y : x)
GP_REDUCTION(__reduce_max_sync, int, x < y ? y : x)
GP_REDUCTION(__reduce_and_sync, unsigned, x & y)
GP_REDUCTION(__reduce_or_sync, unsigned, x | y)
GP_REDUCTION(__reduce_xor_sync, unsigned, x ^ y)
#undef GP_REDUCTION
