// Integer intrinsics.
#pragma once

#include "qualifiers.h"
#include "vector_types.h"

GP_INLINE int __popc(unsigned x) { return __builtin_popcount(x); }
GP_INLINE int __popcll(unsigned long long x) { return __builtin_popcountll(x); }
GP_INLINE int __ffs(int x) { return __builtin_ffs(x); }
GP_INLINE int __ffsll(long long x) { return __builtin_ffsll(x); }

// The builtins leave zero undefined; a GPU counts all bits.
GP_ARITHMETIC int __clz(int x) { return x == 0 ? 32 : __builtin_clz(static_cast<unsigned>(x)); }
GP_ARITHMETIC int __clzll(long long x) { return x == 0 ? 64 : __builtin_clzll(static_cast<unsigned long long>(x)); }

GP_ARITHMETIC unsigned __brev(unsigned x) {
  x = ((x >> 1) & 0x55555555u) | ((x & 0x55555555u) << 1);
  x = ((x >> 2) & 0x33333333u) | ((x & 0x33333333u) << 2);
  x = ((x >> 4) & 0x0f0f0f0fu) | ((x & 0x0f0f0f0fu) << 4);
  return __builtin_bswap32(x);
}
GP_ARITHMETIC unsigned long long __brevll(unsigned long long x) {
  return (static_cast<unsigned long long>(__brev(static_cast<unsigned>(x))) << 32) |
         __brev(static_cast<unsigned>(x >> 32));
}

// Four bytes picked from the eight of y:x; bit 3 of a selector repeats the picked byte's sign instead.
GP_ARITHMETIC unsigned __byte_perm(unsigned x, unsigned y, unsigned selectors) {
  const unsigned long long bytes = (static_cast<unsigned long long>(y) << 32) | x;
  unsigned picked = 0;
  for (unsigned i = 0; i < 4; ++i) {
    const unsigned selector = (selectors >> (4 * i)) & 0xfu;
    unsigned byte = static_cast<unsigned>(bytes >> (8 * (selector & 7u))) & 0xffu;
    if (selector & 8u) byte = (byte & 0x80u) ? 0xffu : 0u;
    picked |= byte << (8 * i);
  }
  return picked;
}

GP_INLINE int __mulhi(int x, int y) { return static_cast<int>((static_cast<long long>(x) * y) >> 32); }
GP_INLINE unsigned __umulhi(unsigned x, unsigned y) {
  return static_cast<unsigned>((static_cast<unsigned long long>(x) * y) >> 32);
}
GP_INLINE long long __mul64hi(long long x, long long y) {
  return static_cast<long long>((static_cast<__int128>(x) * y) >> 64);
}
GP_INLINE unsigned long long __umul64hi(unsigned long long x, unsigned long long y) {
  return static_cast<unsigned long long>((static_cast<unsigned __int128>(x) * y) >> 64);
}
// The product of the low 24 bits, of which the low 32 bits are kept.
GP_INLINE int __mul24(int x, int y) {
  const int low_x = static_cast<int>(static_cast<unsigned>(x) << 8) >> 8;
  const int low_y = static_cast<int>(static_cast<unsigned>(y) << 8) >> 8;
  return static_cast<int>(static_cast<long long>(low_x) * low_y);
}
GP_INLINE unsigned __umul24(unsigned x, unsigned y) { return (x & 0xffffffu) * (y & 0xffffffu); }

// Averages that can't overflow, and the sum of |x - y| and z.
GP_INLINE int __hadd(int x, int y) { return static_cast<int>((static_cast<long long>(x) + y) >> 1); }
GP_INLINE int __rhadd(int x, int y) { return static_cast<int>((static_cast<long long>(x) + y + 1) >> 1); }
GP_INLINE unsigned __uhadd(unsigned x, unsigned y) {
  return static_cast<unsigned>((static_cast<unsigned long long>(x) + y) >> 1);
}
GP_INLINE unsigned __urhadd(unsigned x, unsigned y) {
  return static_cast<unsigned>((static_cast<unsigned long long>(x) + y + 1) >> 1);
}
GP_ARITHMETIC unsigned __sad(int x, int y, unsigned z) {
  const long long difference = static_cast<long long>(x) - y;
  return static_cast<unsigned>(difference < 0 ? -difference : difference) + z;
}
GP_ARITHMETIC unsigned __usad(unsigned x, unsigned y, unsigned z) { return (x > y ? x - y : y - x) + z; }

// Shifts of the 64-bit value high:low. The plain forms take the distance modulo 32, the others stop at 32.
namespace gp_internal {
GP_ARITHMETIC unsigned funnel(unsigned low, unsigned high, unsigned right_distance) {
  const unsigned long long value = (static_cast<unsigned long long>(high) << 32) | low;
  return static_cast<unsigned>(value >> right_distance);
}
}  // namespace gp_internal
GP_INLINE unsigned __funnelshift_l(unsigned low, unsigned high, unsigned distance) {
  return gp_internal::funnel(low, high, 32 - (distance & 31u));
}
GP_INLINE unsigned __funnelshift_lc(unsigned low, unsigned high, unsigned distance) {
  return gp_internal::funnel(low, high, 32 - (distance < 32u ? distance : 32u));
}
GP_INLINE unsigned __funnelshift_r(unsigned low, unsigned high, unsigned distance) {
  return gp_internal::funnel(low, high, distance & 31u);
}
GP_INLINE unsigned __funnelshift_rc(unsigned low, unsigned high, unsigned distance) {
  return gp_internal::funnel(low, high, distance < 32u ? distance : 32u);
}

// Dot products of packed bytes, added to c. __dp2a takes 16-bit parts of a, and the low or high two bytes of b.
namespace gp_internal {
template <typename Part>
constexpr int part(unsigned packed, unsigned index) {
  return static_cast<Part>(packed >> (8 * sizeof(Part) * index));
}
template <typename PartA, typename PartB>
constexpr unsigned packed_dot(unsigned a, unsigned b, unsigned c, unsigned first_of_b) {
  for (unsigned i = 0; i < 4 / sizeof(PartA); ++i)
    c += static_cast<unsigned>(part<PartA>(a, i) * part<PartB>(b, first_of_b + i));
  return c;
}
}  // namespace gp_internal

#define GP_PACKED_DOT(NAME, A, B, FIRST_OF_B)                                                                         \
  GP_ARITHMETIC int NAME(int a, int b, int c) {                                                                       \
    return static_cast<int>(gp_internal::packed_dot<signed A, signed B>(                                              \
        static_cast<unsigned>(a), static_cast<unsigned>(b), static_cast<unsigned>(c), FIRST_OF_B));                   \
  }                                                                                                                   \
  GP_ARITHMETIC unsigned NAME(unsigned a, unsigned b, unsigned c) {                                                   \
    return gp_internal::packed_dot<unsigned A, unsigned B>(a, b, c, FIRST_OF_B);                                      \
  }
GP_PACKED_DOT(__dp4a, char, char, 0)
GP_PACKED_DOT(__dp2a_lo, short, char, 0)
GP_PACKED_DOT(__dp2a_hi, short, char, 2)
#undef GP_PACKED_DOT

GP_INLINE int __dp4a(char4 a, char4 b, int c) { return c + a.x * b.x + a.y * b.y + a.z * b.z + a.w * b.w; }
GP_INLINE unsigned __dp4a(uchar4 a, uchar4 b, unsigned c) {
  return c + static_cast<unsigned>(a.x * b.x + a.y * b.y + a.z * b.z + a.w * b.w);
}

#define GP_LEAST_AND_MOST(T)                                                                                          \
  GP_INLINE constexpr T min(T x, T y) { return y < x ? y : x; }                                                       \
  GP_INLINE constexpr T max(T x, T y) { return x < y ? y : x; }
GP_LEAST_AND_MOST(int)
GP_LEAST_AND_MOST(unsigned)
GP_LEAST_AND_MOST(long)
GP_LEAST_AND_MOST(unsigned long)
GP_LEAST_AND_MOST(long long)
GP_LEAST_AND_MOST(unsigned long long)
#undef GP_LEAST_AND_MOST

// A signed argument beside an unsigned one is taken as unsigned, as in the language's own arithmetic.
#define GP_MIXED_SIGNS(SIGNED, UNSIGNED)                                                                              \
  GP_INLINE constexpr UNSIGNED min(SIGNED x, UNSIGNED y) { return min(static_cast<UNSIGNED>(x), y); }                 \
  GP_INLINE constexpr UNSIGNED min(UNSIGNED x, SIGNED y) { return min(x, static_cast<UNSIGNED>(y)); }                 \
  GP_INLINE constexpr UNSIGNED max(SIGNED x, UNSIGNED y) { return max(static_cast<UNSIGNED>(x), y); }                 \
  GP_INLINE constexpr UNSIGNED max(UNSIGNED x, SIGNED y) { return max(x, static_cast<UNSIGNED>(y)); }
GP_MIXED_SIGNS(int, unsigned)
GP_MIXED_SIGNS(long, unsigned long)
GP_MIXED_SIGNS(long long, unsigned long long)
#undef GP_MIXED_SIGNS

GP_INLINE unsigned umin(unsigned x, unsigned y) { return min(x, y); }
GP_INLINE unsigned umax(unsigned x, unsigned y) { return max(x, y); }
GP_INLINE long long llmin(long long x, long long y) { return min(x, y); }
GP_INLINE long long llmax(long long x, long long y) { return max(x, y); }
GP_INLINE unsigned long long ullmin(unsigned long long x, unsigned long long y) { return min(x, y); }
GP_INLINE unsigned long long ullmax(unsigned long long x, unsigned long long y) { return max(x, y); }

GP_INLINE int abs(int x) { return __builtin_abs(x); }
GP_INLINE long abs(long x) { return __builtin_labs(x); }
GP_INLINE long long abs(long long x) { return __builtin_llabs(x); }
GP_INLINE long labs(long x) { return __builtin_labs(x); }
GP_INLINE long long llabs(long long x) { return __builtin_llabs(x); }
