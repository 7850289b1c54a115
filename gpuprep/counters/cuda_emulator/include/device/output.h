// What a kernel can say or ask of the machine: printf, assert, traps and clocks.
#pragma once

#include "qualifiers.h"

namespace gp_internal {
__attribute__((format(printf, 1, 2))) GP_INTERNAL int print(const char* format, ...) {
  __builtin_va_list arguments;
  __builtin_va_start(arguments, format);
  const int n_arguments = gp_vprintf(format, arguments);
  __builtin_va_end(arguments);
  return n_arguments;
}
}  // namespace gp_internal

// A macro, because g++ turns a call of a function named printf into one of puts or putchar where it can.
#define printf(...) (gp_internal::print(__VA_ARGS__))

// An include of assert.h changes nothing: NDEBUG counts where the file begins.
#ifdef NDEBUG
#define assert(condition) (static_cast<void>(0))
#else
#define assert(condition)                                                                                             \
  (static_cast<bool>(condition) ? static_cast<void>(0) : gp_assert_failed(#condition, __FILE__, __LINE__))
#endif

GP_INLINE void __trap() { gp_trap(); }

using clock_t = long;
GP_INLINE clock_t clock() { return static_cast<clock_t>(gp_clock()); }
GP_INLINE long long clock64() { return static_cast<long long>(gp_clock()); }
GP_INLINE unsigned long long __globaltimer() { return gp_clock(); }
// There is no time to let pass: whoever waits for another thread is resumed after it anyway.
GP_INLINE void __nanosleep(unsigned) { gp_clock(); }
