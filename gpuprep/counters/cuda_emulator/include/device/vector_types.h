// Built-in vector types, aligned as on a GPU: an access to a float4 is one access of 16 bytes.
#pragma once

#include "qualifiers.h"

#define GP_VECTORS(NAME, T, ALIGN_1, ALIGN_2, ALIGN_4)                                                                \
  struct __attribute__((aligned(ALIGN_1))) NAME##1 {                                                                  \
    T x;                                                                                                              \
  };                                                                                                                  \
  struct __attribute__((aligned(ALIGN_2))) NAME##2 {                                                                  \
    T x, y;                                                                                                           \
  };                                                                                                                  \
  struct __attribute__((aligned(ALIGN_1))) NAME##3 {                                                                  \
    T x, y, z;                                                                                                        \
  };                                                                                                                  \
  struct __attribute__((aligned(ALIGN_4))) NAME##4 {                                                                  \
    T x, y, z, w;                                                                                                     \
  };                                                                                                                  \
  GP_INLINE constexpr NAME##1 make_##NAME##1(T x) {                                                                   \
    return NAME##1{x};                                                                                                \
  }                                                                                                                   \
  GP_INLINE constexpr NAME##2 make_##NAME##2(T x, T y) {                                                              \
    return NAME##2{x, y};                                                                                             \
  }                                                                                                                   \
  GP_INLINE constexpr NAME##3 make_##NAME##3(T x, T y, T z) {                                                         \
    return NAME##3{x, y, z};                                                                                          \
  }                                                                                                                   \
  GP_INLINE constexpr NAME##4 make_##NAME##4(T x, T y, T z, T w) {                                                    \
    return NAME##4{x, y, z, w};                                                                                       \
  }

GP_VECTORS(char, signed char, 1, 2, 4)
GP_VECTORS(uchar, unsigned char, 1, 2, 4)
GP_VECTORS(short, short, 2, 4, 8)
GP_VECTORS(ushort, unsigned short, 2, 4, 8)
GP_VECTORS(int, int, 4, 8, 16)
GP_VECTORS(uint, unsigned, 4, 8, 16)
GP_VECTORS(long, long, 8, 16, 16)
GP_VECTORS(ulong, unsigned long, 8, 16, 16)
GP_VECTORS(longlong, long long, 8, 16, 16)
GP_VECTORS(ulonglong, unsigned long long, 8, 16, 16)
GP_VECTORS(float, float, 4, 8, 16)
GP_VECTORS(double, double, 8, 16, 16)

#undef GP_VECTORS

// CUDA 13 names the alignment of four 8-byte elements in the type.
#define GP_WIDE_VECTOR(NAME, T, ALIGN)                                                                                \
  struct __attribute__((aligned(ALIGN))) NAME##4_##ALIGN##a {                                                         \
    T x, y, z, w;                                                                                                     \
  };                                                                                                                  \
  GP_INLINE constexpr NAME##4_##ALIGN##a make_##NAME##4_##ALIGN##a(T x, T y, T z, T w) {                              \
    return NAME##4_##ALIGN##a{x, y, z, w};                                                                            \
  }

GP_WIDE_VECTOR(long, long, 16)
GP_WIDE_VECTOR(long, long, 32)
GP_WIDE_VECTOR(ulong, unsigned long, 16)
GP_WIDE_VECTOR(ulong, unsigned long, 32)
GP_WIDE_VECTOR(longlong, long long, 16)
GP_WIDE_VECTOR(longlong, long long, 32)
GP_WIDE_VECTOR(ulonglong, unsigned long long, 16)
GP_WIDE_VECTOR(ulonglong, unsigned long long, 32)
GP_WIDE_VECTOR(double, double, 16)
GP_WIDE_VECTOR(double, double, 32)

#undef GP_WIDE_VECTOR

struct dim3 {
  unsigned x, y, z;
  constexpr dim3(unsigned x_extent = 1, unsigned y_extent = 1, unsigned z_extent = 1)
      : x(x_extent), y(y_extent), z(z_extent) {}
  constexpr dim3(uint3 extents) : x(extents.x), y(extents.y), z(extents.z) {}
  constexpr operator uint3() const { return uint3{x, y, z}; }
};
