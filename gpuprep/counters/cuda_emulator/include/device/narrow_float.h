// Encoding and decoding of 16-bit floating point: half precision and bfloat16.
#pragma once

#include "atomics.h"
#include "conversions.h"
#include "qualifiers.h"
#include "vector_types.h"
#include "warp.h"

namespace gp_internal {
template <int n_fraction_bits, int least_exponent>
struct Format {
  static constexpr int fraction_bits = n_fraction_bits;
  static constexpr int exponent_of_least_normal = least_exponent;
  static constexpr unsigned infinity = 0x7fffu >> n_fraction_bits << n_fraction_bits;
};
using HalfFormat = Format<10, -14>;
using Bfloat16Format = Format<7, -126>;
constexpr unsigned short canonical_nan = 0x7fff;

// From double, with one rounding whatever the direction.
template <typename F, Rounding rounding = Rounding::nearest>
GP_ARITHMETIC unsigned short narrow(double x) {
  const auto bits = __builtin_bit_cast(unsigned long long, x);
  const auto sign = static_cast<unsigned short>(bits >> 48 & 0x8000u);
  if (__builtin_isnan(x)) return canonical_nan;
  if (__builtin_isinf(x)) return sign | F::infinity;
  int exponent = static_cast<int>(bits >> 52 & 0x7ffu) - 1023;
  unsigned long long significand = bits & 0xfffffffffffffull;
  if (exponent == -1023)
    exponent = -1022;
  else
    significand |= 1ull << 52;
  const bool is_subnormal = exponent < F::exponent_of_least_normal;
  int shift = 52 - F::fraction_bits + (is_subnormal ? F::exponent_of_least_normal - exponent : 0);
  if (shift > 62) shift = 62;
  unsigned long long kept = significand >> shift;
  const unsigned long long rest = significand & ((1ull << shift) - 1), half = 1ull << (shift - 1);
  bool is_up = false;
  if (rounding == Rounding::nearest) is_up = rest > half || (rest == half && (kept & 1u));
  if (rounding == Rounding::up) is_up = rest && !sign;
  if (rounding == Rounding::down) is_up = rest && sign;
  kept += is_up;
  if (!is_subnormal) {
    const auto steps = static_cast<unsigned long long>(exponent - F::exponent_of_least_normal);
    kept += steps << F::fraction_bits;
  }
  if (kept < F::infinity) return sign | static_cast<unsigned short>(kept);
  const bool is_kept_finite = rounding == Rounding::to_zero || (rounding == Rounding::up && sign) ||
                              (rounding == Rounding::down && !sign);
  return sign | static_cast<unsigned short>(is_kept_finite ? F::infinity - 1u : F::infinity);
}

GP_INLINE float widen_inline(HalfFormat, unsigned short bits) {
  const unsigned size = static_cast<unsigned>(bits & 0x7fffu) << 13;
  const unsigned sign = static_cast<unsigned>(bits & 0x8000u) << 16;
  // Shifted in place, the exponent lacks the difference of the biases; the product also makes subnormals normal.
  float value = __uint_as_float(size) * 0x1p112f;
  if ((bits & 0x7c00u) == 0x7c00u) value = __uint_as_float(size | 0x7f800000u);
  return __uint_as_float(__float_as_uint(value) | sign);
}
GP_INLINE float widen_inline(Bfloat16Format, unsigned short bits) {
  return __uint_as_float(static_cast<unsigned>(bits) << 16);
}
template <typename Format>
GP_ARITHMETIC float widen(Format format, unsigned short bits) {
  return widen_inline(format, bits);
}

// Made odd where bits are lost, so that the rounding that follows sees that there was something.
GP_ARITHMETIC double sum_to_odd(double x, double y) {
  const double sum = x + y;
  const double error = error_of_sum(x, y);
  const auto bits = __builtin_bit_cast(long long, sum);
  if (error == 0.0 || !__builtin_isfinite(error) || (bits & 1)) return sum;
  return __builtin_bit_cast(double, bits + ((error > 0.0) == (sum > 0.0) ? 1 : -1));
}
// [0, 1] and [0, ∞) after the rounding come to the same as before it.
GP_ARITHMETIC double saturated(double x) { return x > 0.0 ? (x < 1.0 ? x : 1.0) : 0.0; }
GP_ARITHMETIC double rectified(double x) { return x > 0.0 || __builtin_isnan(x) ? x : 0.0; }

template <typename Integer>
GP_ARITHMETIC double integer_to_odd(Integer x) {
  const auto size = static_cast<unsigned long long>(x < 0 ? -static_cast<__int128>(x) : static_cast<__int128>(x));
  constexpr unsigned n_lost_bits = 11;
  const unsigned long long lost = size & ((1ull << n_lost_bits) - 1);
  const unsigned long long odd = size >> 53 ? (size - lost) | (lost ? 1ull << n_lost_bits : 0ull) : size;
  return x < 0 ? -static_cast<double>(odd) : static_cast<double>(odd);
}

// Rounds to a 16-bit type: each of them specialises it.
template <typename T>
struct FromDouble;
}  // namespace gp_internal

// The functions whose names name the type: T and its pair T2 are called NAME and NAME_2 in them.
#define GP_NAMED_CONVERSIONS(T, T2, NAME, NAME_2)                                                                     \
  GP_INLINE T __float2##NAME(float x) { return T(x); }                                                                \
  GP_INLINE T __double2##NAME(double x) { return T(x); }                                                              \
  GP_INLINE float __##NAME##2float(T x) { return static_cast<float>(x); }                                             \
  GP_INLINE T2 __float2##NAME_2##_rn(float x) { return T2(T(x), T(x)); }                                              \
  GP_INLINE T2 __floats2##NAME_2##_rn(float low, float high) { return T2(T(low), T(high)); }                          \
  GP_INLINE T2 __float22##NAME_2##_rn(float2 x) { return T2(T(x.x), T(x.y)); }                                        \
  GP_INLINE float2 __##NAME_2##2float2(T2 x) { return float2{static_cast<float>(x.x), static_cast<float>(x.y)}; }     \
  GP_INLINE T __low2##NAME(T2 x) { return x.x; }                                                                      \
  GP_INLINE T __high2##NAME(T2 x) { return x.y; }                                                                     \
  GP_INLINE T2 __low2##NAME_2(T2 x) { return T2(x.x, x.x); }                                                          \
  GP_INLINE T2 __high2##NAME_2(T2 x) { return T2(x.y, x.y); }                                                         \
  GP_INLINE T2 __lows2##NAME_2(T2 x, T2 y) { return T2(x.x, y.x); }                                                   \
  GP_INLINE T2 __highs2##NAME_2(T2 x, T2 y) { return T2(x.y, y.y); }                                                  \
  GP_INLINE T2 __##NAME##2##NAME_2(T x) { return T2(x, x); }                                                          \
  GP_INLINE T2 __halves2##NAME_2(T low, T high) { return T2(low, high); }                                             \
  GP_INLINE T2 make_##NAME_2(T low, T high) { return T2(low, high); }                                                 \
  GP_INLINE unsigned short __##NAME##_as_ushort(T x) { return gp_internal::bits_of(x); }                              \
  GP_INLINE short __##NAME##_as_short(T x) { return static_cast<short>(gp_internal::bits_of(x)); }                    \
  GP_INLINE T __ushort_as_##NAME(unsigned short bits) { return __builtin_bit_cast(T, bits); }                         \
  GP_INLINE T __short_as_##NAME(short bits) { return __builtin_bit_cast(T, bits); }                                   \
  GP_NAMED_ROUNDINGS(T, NAME, rn, nearest)                                                                            \
  GP_NAMED_ROUNDINGS(T, NAME, rz, to_zero)                                                                            \
  GP_NAMED_ROUNDINGS(T, NAME, ru, up)                                                                                 \
  GP_NAMED_ROUNDINGS(T, NAME, rd, down)

#define GP_NAMED_ROUNDINGS(T, NAME, SUFFIX, ROUNDING)                                                                 \
  GP_INLINE T __float2##NAME##_##SUFFIX(float x) {                                                                    \
    return gp_internal::FromDouble<T>::rounded<gp_internal::Rounding::ROUNDING>(static_cast<double>(x));              \
  }                                                                                                                   \
  GP_NAMED_INTEGER(T, NAME, short, short, SUFFIX, ROUNDING)                                                           \
  GP_NAMED_INTEGER(T, NAME, unsigned short, ushort, SUFFIX, ROUNDING)                                                 \
  GP_NAMED_INTEGER(T, NAME, int, int, SUFFIX, ROUNDING)                                                               \
  GP_NAMED_INTEGER(T, NAME, unsigned, uint, SUFFIX, ROUNDING)                                                         \
  GP_NAMED_INTEGER(T, NAME, long long, ll, SUFFIX, ROUNDING)                                                          \
  GP_NAMED_INTEGER(T, NAME, unsigned long long, ull, SUFFIX, ROUNDING)

#define GP_NAMED_INTEGER(T, NAME, INTEGER, SHORT_NAME, SUFFIX, ROUNDING)                                              \
  GP_INLINE T __##SHORT_NAME##2##NAME##_##SUFFIX(INTEGER x) {                                                         \
    return gp_internal::FromDouble<T>::rounded<gp_internal::Rounding::ROUNDING>(gp_internal::integer_to_odd(x));      \
  }                                                                                                                   \
  GP_INLINE INTEGER __##NAME##2##SHORT_NAME##_##SUFFIX(T x) {                                                         \
    return gp_internal::to_integer<INTEGER, gp_internal::Rounding::ROUNDING>(static_cast<float>(x));                  \
  }
