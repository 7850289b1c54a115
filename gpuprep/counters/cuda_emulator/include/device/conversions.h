// Conversions between integers and floating point with a stated rounding, and reinterpreted bits.
#pragma once

#include "fast_math.h"
#include "qualifiers.h"

namespace gp_internal {
template <Rounding rounding>
GP_ARITHMETIC double whole(double x) {
  if (rounding == Rounding::nearest) return __builtin_rint(x);
  if (rounding == Rounding::to_zero) return __builtin_trunc(x);
  return rounding == Rounding::up ? __builtin_ceil(x) : __builtin_floor(x);
}

// Out of range becomes the nearest that fits. Not a number becomes 0; the top bit alone where 64 bits are involved.
template <typename Integer, Rounding rounding, typename Float>
GP_ARITHMETIC Integer to_integer(Float x) {
  constexpr bool is_signed = Integer(-1) < Integer(0);
  constexpr int n_bits = 8 * sizeof(Integer);
  constexpr auto top_bit = static_cast<Integer>(1ull << (n_bits - 1));
  if (__builtin_isnan(x)) return sizeof(Integer) == 8 || sizeof(Float) == 8 ? top_bit : Integer(0);
  const double y = whole<rounding>(static_cast<double>(x));
  const double end = is_signed ? __builtin_ldexp(1.0, n_bits - 1) : __builtin_ldexp(1.0, n_bits);
  if (y >= end) return static_cast<Integer>(is_signed ? ~top_bit : Integer(-1));
  if (y < (is_signed ? -end : 0.0)) return is_signed ? top_bit : Integer(0);
  return static_cast<Integer>(y);
}

// To nearest the language's own conversion is right; for a direction, a long double holds 64 bits and their difference.
template <Rounding rounding, typename Integer>
GP_ARITHMETIC float to_float(Integer x) {
  const float nearest = static_cast<float>(x);
  if (rounding == Rounding::nearest) return nearest;
  const long double difference = static_cast<long double>(x) - static_cast<long double>(nearest);
  return directed(nearest, static_cast<double>(difference), rounding);
}
template <Rounding rounding>
GP_ARITHMETIC float to_float(double x) {
  const auto nearest = static_cast<float>(x);
  // Overflow rounds back to the largest finite value where the direction points there.
  constexpr float largest = 0x1.fffffep127f;
  if (__builtin_isinf(nearest) && !__builtin_isinf(x)) {
    const bool is_kept = rounding == Rounding::nearest || (rounding == Rounding::up && x > 0.0) ||
                         (rounding == Rounding::down && x < 0.0);
    return is_kept ? nearest : __builtin_copysignf(largest, nearest);
  }
  return rounding == Rounding::nearest ? nearest : directed(nearest, x - nearest, rounding);
}
}  // namespace gp_internal

#define GP_CONVERSIONS(SUFFIX, ROUNDING)                                                                              \
  GP_TO_INTEGER(__float2int_##SUFFIX, float, int, ROUNDING)                                                           \
  GP_TO_INTEGER(__float2uint_##SUFFIX, float, unsigned, ROUNDING)                                                     \
  GP_TO_INTEGER(__float2ll_##SUFFIX, float, long long, ROUNDING)                                                      \
  GP_TO_INTEGER(__float2ull_##SUFFIX, float, unsigned long long, ROUNDING)                                            \
  GP_TO_INTEGER(__double2int_##SUFFIX, double, int, ROUNDING)                                                         \
  GP_TO_INTEGER(__double2uint_##SUFFIX, double, unsigned, ROUNDING)                                                   \
  GP_TO_INTEGER(__double2ll_##SUFFIX, double, long long, ROUNDING)                                                    \
  GP_TO_INTEGER(__double2ull_##SUFFIX, double, unsigned long long, ROUNDING)                                          \
  GP_TO_FLOAT(__int2float_##SUFFIX, int, ROUNDING)                                                                    \
  GP_TO_FLOAT(__uint2float_##SUFFIX, unsigned, ROUNDING)                                                              \
  GP_TO_FLOAT(__ll2float_##SUFFIX, long long, ROUNDING)                                                               \
  GP_TO_FLOAT(__ull2float_##SUFFIX, unsigned long long, ROUNDING)                                                     \
  GP_TO_FLOAT(__double2float_##SUFFIX, double, ROUNDING)
#define GP_TO_INTEGER(NAME, T, INTEGER, ROUNDING)                                                                     \
  GP_INLINE INTEGER NAME(T x) { return gp_internal::to_integer<INTEGER, gp_internal::Rounding::ROUNDING>(x); }
#define GP_TO_FLOAT(NAME, T, ROUNDING)                                                                                \
  GP_INLINE float NAME(T x) { return gp_internal::to_float<gp_internal::Rounding::ROUNDING>(x); }
GP_CONVERSIONS(rn, nearest)
GP_CONVERSIONS(rz, to_zero)
GP_CONVERSIONS(ru, up)
GP_CONVERSIONS(rd, down)
#undef GP_CONVERSIONS
#undef GP_TO_INTEGER
#undef GP_TO_FLOAT

GP_INLINE double __int2double_rn(int x) { return x; }
GP_INLINE double __uint2double_rn(unsigned x) { return x; }
GP_INLINE double __ll2double_rn(long long x) { return static_cast<double>(x); }
GP_INLINE double __ull2double_rn(unsigned long long x) { return static_cast<double>(x); }

GP_INLINE constexpr int __float_as_int(float x) { return __builtin_bit_cast(int, x); }
GP_INLINE constexpr unsigned __float_as_uint(float x) { return __builtin_bit_cast(unsigned, x); }
GP_INLINE constexpr float __int_as_float(int x) { return __builtin_bit_cast(float, x); }
GP_INLINE constexpr float __uint_as_float(unsigned x) { return __builtin_bit_cast(float, x); }
GP_INLINE constexpr long long __double_as_longlong(double x) { return __builtin_bit_cast(long long, x); }
GP_INLINE constexpr double __longlong_as_double(long long x) { return __builtin_bit_cast(double, x); }
GP_INLINE constexpr int __double2hiint(double x) { return static_cast<int>(__double_as_longlong(x) >> 32); }
GP_INLINE constexpr int __double2loint(double x) { return static_cast<int>(__double_as_longlong(x)); }
GP_INLINE constexpr double __hiloint2double(int high, int low) {
  return __longlong_as_double((static_cast<long long>(high) << 32) | static_cast<unsigned>(low));
}
