// Mathematical functions, single and double precision.
#pragma once

#include "integer.h"
#include "qualifiers.h"

// In the library: f for float, no suffix for double, and the latter's name for a float as well.
#define GP_FUNCTION_1(NAME)                                                                                           \
  extern "C" float NAME##f(float) noexcept;                                                                           \
  extern "C" double NAME(double) noexcept;                                                                            \
  GP_INLINE float NAME(float x) { return NAME##f(x); }
#define GP_FUNCTION_2(NAME)                                                                                           \
  extern "C" float NAME##f(float, float) noexcept;                                                                    \
  extern "C" double NAME(double, double) noexcept;                                                                    \
  GP_INLINE float NAME(float x, float y) { return NAME##f(x, y); }
#define GP_FUNCTION_OF_INTEGER(NAME, INTEGER)                                                                         \
  extern "C" float NAME##f(float, INTEGER) noexcept;                                                                  \
  extern "C" double NAME(double, INTEGER) noexcept;                                                                   \
  GP_INLINE float NAME(float x, INTEGER n) { return NAME##f(x, n); }
#define GP_FUNCTION_TO_INTEGER(NAME, INTEGER)                                                                         \
  extern "C" INTEGER NAME##f(float) noexcept;                                                                         \
  extern "C" INTEGER NAME(double) noexcept;                                                                           \
  GP_INLINE INTEGER NAME(float x) { return NAME##f(x); }

GP_FUNCTION_1(acos)
GP_FUNCTION_1(acosh)
GP_FUNCTION_1(asin)
GP_FUNCTION_1(asinh)
GP_FUNCTION_1(atan)
GP_FUNCTION_1(atanh)
GP_FUNCTION_1(cbrt)
GP_FUNCTION_1(ceil)
GP_FUNCTION_1(cos)
GP_FUNCTION_1(cosh)
GP_FUNCTION_1(erf)
GP_FUNCTION_1(erfc)
GP_FUNCTION_1(exp)
GP_FUNCTION_1(exp10)
GP_FUNCTION_1(exp2)
GP_FUNCTION_1(expm1)
GP_FUNCTION_1(fabs)
GP_FUNCTION_1(floor)
GP_FUNCTION_1(lgamma)
GP_FUNCTION_1(log)
GP_FUNCTION_1(log10)
GP_FUNCTION_1(log1p)
GP_FUNCTION_1(log2)
GP_FUNCTION_1(logb)
GP_FUNCTION_1(nearbyint)
GP_FUNCTION_1(rint)
GP_FUNCTION_1(round)
GP_FUNCTION_1(sin)
GP_FUNCTION_1(sinh)
GP_FUNCTION_1(sqrt)
GP_FUNCTION_1(tan)
GP_FUNCTION_1(tanh)
GP_FUNCTION_1(tgamma)
GP_FUNCTION_1(trunc)
GP_FUNCTION_2(atan2)
GP_FUNCTION_2(copysign)
GP_FUNCTION_2(fdim)
GP_FUNCTION_2(fmax)
GP_FUNCTION_2(fmin)
GP_FUNCTION_2(fmod)
GP_FUNCTION_2(hypot)
GP_FUNCTION_2(nextafter)
GP_FUNCTION_2(pow)
GP_FUNCTION_2(remainder)
GP_FUNCTION_OF_INTEGER(ldexp, int)
GP_FUNCTION_OF_INTEGER(scalbln, long)
GP_FUNCTION_OF_INTEGER(scalbn, int)
GP_FUNCTION_TO_INTEGER(ilogb, int)
GP_FUNCTION_TO_INTEGER(llrint, long long)
GP_FUNCTION_TO_INTEGER(llround, long long)
GP_FUNCTION_TO_INTEGER(lrint, long)
GP_FUNCTION_TO_INTEGER(lround, long)

#undef GP_FUNCTION_1
#undef GP_FUNCTION_2
#undef GP_FUNCTION_OF_INTEGER
#undef GP_FUNCTION_TO_INTEGER

extern "C" float fmaf(float, float, float) noexcept;
extern "C" double fma(double, double, double) noexcept;
GP_INLINE float fma(float x, float y, float z) { return fmaf(x, y, z); }

GP_INLINE float pow(float x, int n) { return powf(x, static_cast<float>(n)); }
GP_INLINE double pow(double x, int n) { return pow(x, static_cast<double>(n)); }
GP_INLINE float powif(float x, int n) { return powf(x, static_cast<float>(n)); }
GP_INLINE double powi(double x, int n) { return pow(x, static_cast<double>(n)); }

GP_INLINE float abs(float x) { return __builtin_fabsf(x); }
GP_INLINE double abs(double x) { return __builtin_fabs(x); }
GP_INLINE float max(float x, float y) { return fmaxf(x, y); }
GP_INLINE float min(float x, float y) { return fminf(x, y); }
GP_INLINE double max(double x, double y) { return fmax(x, y); }
GP_INLINE double min(double x, double y) { return fmin(x, y); }
GP_INLINE double max(float x, double y) { return fmax(static_cast<double>(x), y); }
GP_INLINE double max(double x, float y) { return fmax(x, static_cast<double>(y)); }
GP_INLINE double min(float x, double y) { return fmin(static_cast<double>(x), y); }
GP_INLINE double min(double x, float y) { return fmin(x, static_cast<double>(y)); }

#define GP_CLASSIFICATION(T)                                                                                          \
  GP_INLINE constexpr bool isnan(T x) { return __builtin_isnan(x); }                                                  \
  GP_INLINE constexpr bool isinf(T x) { return __builtin_isinf(x); }                                                  \
  GP_INLINE constexpr bool isfinite(T x) { return __builtin_isfinite(x); }                                            \
  GP_INLINE constexpr bool signbit(T x) { return __builtin_signbit(x); }
GP_CLASSIFICATION(float)
GP_CLASSIFICATION(double)
#undef GP_CLASSIFICATION
GP_INLINE float nanf(const char*) { return __builtin_nanf(""); }
GP_INLINE double nan(const char*) { return __builtin_nan(""); }

// Two results: the second is stored by the kernel's own line, so that the store is seen.
#define GP_TWO_RESULTS(T, F)                                                                                          \
  GP_INLINE void sincos##F(T x, T* sine, T* cosine) {                                                                 \
    *sine = sin##F(x);                                                                                                \
    *cosine = cos##F(x);                                                                                              \
  }                                                                                                                   \
  GP_INLINE T modf##F(T x, T* whole) {                                                                                \
    const T integral = trunc##F(x);                                                                                   \
    *whole = integral;                                                                                                \
    return copysign##F(isinf(x) ? T(0) : x - integral, x);                                                            \
  }                                                                                                                   \
  GP_INLINE T frexp##F(T x, int* exponent) {                                                                          \
    const bool is_scaled = x != T(0) && isfinite(x);                                                                  \
    const int power = is_scaled ? ilogb##F(x) + 1 : 0;                                                                \
    *exponent = power;                                                                                                \
    return scalbn##F(x, -power);                                                                                      \
  }
GP_TWO_RESULTS(float, f)
GP_TWO_RESULTS(double, )
#undef GP_TWO_RESULTS

// CUDA's own additions. A single-precision one is worked out in double and rounded once.
#define GP_BY_DOUBLE_1(NAME, EXPRESSION)                                                                              \
  GP_ARITHMETIC double NAME(double x) { return EXPRESSION; }                                                          \
  GP_ARITHMETIC float NAME##f(float x) { return static_cast<float>(NAME(static_cast<double>(x))); }                   \
  GP_INLINE float NAME(float x) { return NAME##f(x); }
#define GP_BY_DOUBLE_2(NAME, EXPRESSION)                                                                              \
  GP_ARITHMETIC double NAME(double x, double y) { return EXPRESSION; }                                                \
  GP_ARITHMETIC float NAME##f(float x, float y) {                                                                     \
    return static_cast<float>(NAME(static_cast<double>(x), static_cast<double>(y)));                                  \
  }

namespace gp_internal {
constexpr double pi = 3.141592653589793;
constexpr double sqrt_half = 0.7071067811865476;
constexpr double sqrt_pi = 1.772453850905516;

// Whole periods and the quadrants' exact zeros are taken off before pi comes in.
GP_ARITHMETIC double sine_of_pi_times(double x) {
  double r = __builtin_fmod(x, 2.0);
  if (r > 1.0) r -= 2.0;
  if (r < -1.0) r += 2.0;
  if (r > 0.5) r = 1.0 - r;
  if (r < -0.5) r = -1.0 - r;
  return __builtin_sin(pi * r);
}
GP_ARITHMETIC double cosine_of_pi_times(double x) {
  const double r = __builtin_fabs(__builtin_fmod(x, 2.0));
  return sine_of_pi_times(0.5 - r);
}

// The inverse of erf by Halley's iteration on erfc, which keeps its precision in the tail.
GP_ARITHMETIC double inverse_complementary_error(double y) {
  if (!(y >= 0.0 && y <= 2.0)) return __builtin_nan("");
  if (y == 0.0) return __builtin_inf();
  if (y == 2.0) return -__builtin_inf();
  const double tail = y < 1.0 ? y : 2.0 - y;
  const double t = __builtin_sqrt(-2.0 * __builtin_log(tail / 2.0));
  double x = sqrt_half * (t - (2.30753 + t * 0.27061) / (1.0 + t * (0.99229 + t * 0.04481)));
  for (int i = 0; i < 4; ++i) {
    const double error = __builtin_erfc(x) - tail;
    const double step = error * sqrt_pi / 2.0 * __builtin_exp(x * x);
    x += step / (1.0 - x * step);
  }
  return y < 1.0 ? x : -x;
}
GP_ARITHMETIC double inverse_error(double x) {
  // 1 - x would lose what is small; there two terms of the series are exact.
  if (__builtin_fabs(x) < 1e-4) return sqrt_pi / 2.0 * (x + pi / 12.0 * x * x * x);
  return inverse_complementary_error(1.0 - x);
}
}  // namespace gp_internal

GP_BY_DOUBLE_1(rsqrt, 1.0 / __builtin_sqrt(x))
GP_BY_DOUBLE_1(rcbrt, 1.0 / __builtin_cbrt(x))
GP_BY_DOUBLE_1(sinpi, gp_internal::sine_of_pi_times(x))
GP_BY_DOUBLE_1(cospi, gp_internal::cosine_of_pi_times(x))
GP_BY_DOUBLE_1(erfcinv, gp_internal::inverse_complementary_error(x))
GP_BY_DOUBLE_1(erfinv, gp_internal::inverse_error(x))
GP_BY_DOUBLE_1(erfcx, __builtin_exp(x * x) * __builtin_erfc(x))
GP_BY_DOUBLE_1(normcdf, 0.5 * __builtin_erfc(-x * gp_internal::sqrt_half))
GP_BY_DOUBLE_1(normcdfinv, -gp_internal::inverse_complementary_error(2.0 * x) / gp_internal::sqrt_half)
GP_BY_DOUBLE_2(rhypot, 1.0 / __builtin_hypot(x, y))

#undef GP_BY_DOUBLE_1
#undef GP_BY_DOUBLE_2

GP_INLINE void sincospif(float x, float* sine, float* cosine) {
  *sine = sinpif(x);
  *cosine = cospif(x);
}
GP_INLINE void sincospi(double x, double* sine, double* cosine) {
  *sine = sinpi(x);
  *cosine = cospi(x);
}

GP_ARITHMETIC double norm3d(double x, double y, double z) { return __builtin_sqrt(x * x + y * y + z * z); }
GP_ARITHMETIC double norm4d(double x, double y, double z, double w) {
  return __builtin_sqrt(x * x + y * y + z * z + w * w);
}
GP_INLINE double rnorm3d(double x, double y, double z) { return 1.0 / norm3d(x, y, z); }
GP_INLINE double rnorm4d(double x, double y, double z, double w) { return 1.0 / norm4d(x, y, z, w); }
GP_INLINE float norm3df(float x, float y, float z) { return static_cast<float>(norm3d(x, y, z)); }
GP_INLINE float norm4df(float x, float y, float z, float w) { return static_cast<float>(norm4d(x, y, z, w)); }
GP_INLINE float rnorm3df(float x, float y, float z) { return static_cast<float>(rnorm3d(x, y, z)); }
GP_INLINE float rnorm4df(float x, float y, float z, float w) { return static_cast<float>(rnorm4d(x, y, z, w)); }
