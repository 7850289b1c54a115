// Intrinsics of single precision: arithmetic with a stated rounding, and the fast approximations.
//
// An approximation is the accurate function here: what a GPU's adds is noise that differs by architecture.
#pragma once

#include "math.h"
#include "qualifiers.h"

namespace gp_internal {
enum class Rounding { nearest, to_zero, up, down };

// Moves a result rounded to nearest by one unit where the direction asks for it. `error` has the sign of
// exact - nearest.
GP_ARITHMETIC float directed(float nearest, double error, Rounding rounding) {
  if (error == 0.0 || !__builtin_isfinite(error)) return nearest;
  const bool is_above = error < 0.0;
  if (rounding == Rounding::to_zero) {
    const bool is_away = nearest > 0.0f ? is_above : !is_above;
    return is_away ? __builtin_nextafterf(nearest, 0.0f) : nearest;
  }
  if (rounding == Rounding::up && !is_above) return __builtin_nextafterf(nearest, __builtin_inff());
  if (rounding == Rounding::down && is_above) return __builtin_nextafterf(nearest, -__builtin_inff());
  return nearest;
}

// The error of a sum, exactly (Knuth's two-sum).
GP_ARITHMETIC double error_of_sum(double x, double y) {
  const double sum = x + y;
  const double part_of_y = sum - x;
  return (x - (sum - part_of_y)) + (y - part_of_y);
}

// In double a product of two floats is exact, and so is r·y in x - r·y; the sign of the difference holds.
GP_ARITHMETIC float rounded_sum(float x, float y, Rounding rounding) {
  const double sum = static_cast<double>(x) + y;
  const float nearest = x + y;
  const double error = sum - nearest;
  return directed(nearest, error != 0.0 ? error : error_of_sum(x, y), rounding);
}
GP_ARITHMETIC float rounded_product(float x, float y, Rounding rounding) {
  const float nearest = x * y;
  return directed(nearest, static_cast<double>(x) * y - nearest, rounding);
}
GP_ARITHMETIC float rounded_quotient(float x, float y, Rounding rounding) {
  const float nearest = x / y;
  const double remainder = x - static_cast<double>(nearest) * y;
  return directed(nearest, y < 0.0f ? -remainder : remainder, rounding);
}
GP_ARITHMETIC float rounded_root(float x, Rounding rounding) {
  const float nearest = __builtin_sqrtf(x);
  return directed(nearest, x - static_cast<double>(nearest) * nearest, rounding);
}
GP_ARITHMETIC float rounded_fma(float x, float y, float z, Rounding rounding) {
  const double product = static_cast<double>(x) * y;
  const double sum = product + z;
  const float nearest = __builtin_fmaf(x, y, z);
  const double error = sum - nearest;
  return directed(nearest, error != 0.0 ? error : error_of_sum(product, z), rounding);
}
}  // namespace gp_internal

#define GP_ROUNDED(SUFFIX, ROUNDING)                                                                                  \
  GP_INLINE float __fadd_##SUFFIX(float x, float y) {                                                                 \
    return gp_internal::rounded_sum(x, y, gp_internal::Rounding::ROUNDING);                                           \
  }                                                                                                                   \
  GP_INLINE float __fsub_##SUFFIX(float x, float y) {                                                                 \
    return gp_internal::rounded_sum(x, -y, gp_internal::Rounding::ROUNDING);                                          \
  }                                                                                                                   \
  GP_INLINE float __fmul_##SUFFIX(float x, float y) {                                                                 \
    return gp_internal::rounded_product(x, y, gp_internal::Rounding::ROUNDING);                                       \
  }                                                                                                                   \
  GP_INLINE float __fdiv_##SUFFIX(float x, float y) {                                                                 \
    return gp_internal::rounded_quotient(x, y, gp_internal::Rounding::ROUNDING);                                      \
  }                                                                                                                   \
  GP_INLINE float __frcp_##SUFFIX(float x) {                                                                          \
    return gp_internal::rounded_quotient(1.0f, x, gp_internal::Rounding::ROUNDING);                                   \
  }                                                                                                                   \
  GP_INLINE float __fsqrt_##SUFFIX(float x) {                                                                         \
    return gp_internal::rounded_root(x, gp_internal::Rounding::ROUNDING);                                             \
  }                                                                                                                   \
  GP_INLINE float __fmaf_##SUFFIX(float x, float y, float z) {                                                        \
    return gp_internal::rounded_fma(x, y, z, gp_internal::Rounding::ROUNDING);                                        \
  }                                                                                                                   \
  GP_INLINE float __fmaf_ieee_##SUFFIX(float x, float y, float z) { return __fmaf_##SUFFIX(x, y, z); }
GP_ROUNDED(rz, to_zero)
GP_ROUNDED(ru, up)
GP_ROUNDED(rd, down)
#undef GP_ROUNDED

GP_INLINE float __fadd_rn(float x, float y) { return x + y; }
GP_INLINE float __fsub_rn(float x, float y) { return x - y; }
GP_INLINE float __fmul_rn(float x, float y) { return x * y; }
GP_INLINE float __fdiv_rn(float x, float y) { return x / y; }
GP_INLINE float __frcp_rn(float x) { return 1.0f / x; }
GP_INLINE float __fsqrt_rn(float x) { return __builtin_sqrtf(x); }
GP_INLINE float __frsqrt_rn(float x) { return rsqrtf(x); }
GP_INLINE float __fmaf_rn(float x, float y, float z) { return fmaf(x, y, z); }
GP_INLINE float __fmaf_ieee_rn(float x, float y, float z) { return fmaf(x, y, z); }
GP_INLINE double __dadd_rn(double x, double y) { return x + y; }
GP_INLINE double __dsub_rn(double x, double y) { return x - y; }
GP_INLINE double __dmul_rn(double x, double y) { return x * y; }
GP_INLINE double __ddiv_rn(double x, double y) { return x / y; }
GP_INLINE double __drcp_rn(double x) { return 1.0 / x; }
GP_INLINE double __dsqrt_rn(double x) { return __builtin_sqrt(x); }
GP_INLINE double __fma_rn(double x, double y, double z) { return fma(x, y, z); }

GP_INLINE float __sinf(float x) { return sinf(x); }
GP_INLINE float __cosf(float x) { return cosf(x); }
GP_INLINE float __tanf(float x) { return tanf(x); }
GP_INLINE float __expf(float x) { return expf(x); }
GP_INLINE float __exp10f(float x) { return exp10f(x); }
GP_INLINE float __logf(float x) { return logf(x); }
GP_INLINE float __log2f(float x) { return log2f(x); }
GP_INLINE float __log10f(float x) { return log10f(x); }
GP_INLINE float __powf(float x, float y) { return powf(x, y); }
GP_INLINE void __sincosf(float x, float* sine, float* cosine) { sincosf(x, sine, cosine); }

// The one approximation that is wrong in a documented way: the reciprocal of a divisor this large is flushed to zero.
GP_ARITHMETIC float __fdividef(float x, float y) {
  constexpr float largest_with_reciprocal = 0x1p126f;
  const float size = __builtin_fabsf(y);
  if (size > largest_with_reciprocal && __builtin_isfinite(y)) return __builtin_isinf(x) ? __builtin_nanf("") : 0.0f;
  return x / y;
}
GP_INLINE float fdividef(float x, float y) { return x / y; }

// Clamped to [0, 1]; not a number becomes 0.
GP_ARITHMETIC float __saturatef(float x) { return x > 0.0f ? (x < 1.0f ? x : 1.0f) : 0.0f; }
