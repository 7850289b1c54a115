// Loads and stores with a cache hint. A hint changes no value and no sector, so that each is the plain access.
#pragma once

#include "qualifiers.h"

namespace gp_internal {
template <typename T>
constexpr bool is_one_access = (sizeof(T) & (sizeof(T) - 1)) == 0 && sizeof(T) <= 16 && __is_trivially_copyable(T);
}

namespace gp_internal {
template <typename T>
struct identity {
  using type = T;
};
// Takes a parameter out of type deduction: __stcs(&x[i], 0) with float* x stores a float.
template <typename T>
using identity_t = typename identity<T>::type;
}  // namespace gp_internal

#define GP_LOAD(NAME)                                                                                                 \
  template <typename T>                                                                                               \
  GP_INLINE T NAME(const T* address) {                                                                                \
    static_assert(gp_internal::is_one_access<T>, #NAME " loads a built-in type of 1, 2, 4, 8 or 16 bytes");            \
    return *address;                                                                                                  \
  }
#define GP_STORE(NAME)                                                                                                \
  template <typename T>                                                                                               \
  GP_INLINE void NAME(T* address, gp_internal::identity_t<T> value) {                                                 \
    static_assert(gp_internal::is_one_access<T>, #NAME " stores a built-in type of 1, 2, 4, 8 or 16 bytes");           \
    *address = value;                                                                                                 \
  }

GP_LOAD(__ldg)
GP_LOAD(__ldca)
GP_LOAD(__ldcg)
GP_LOAD(__ldcs)
GP_LOAD(__ldcv)
GP_LOAD(__ldlu)
GP_STORE(__stcg)
GP_STORE(__stcs)
GP_STORE(__stwb)
GP_STORE(__stwt)

#undef GP_LOAD
#undef GP_STORE

// What the compiler does not make accesses of by itself, the runtime counts.
extern "C" void* memcpy(void* to, const void* from, size_t n_bytes) noexcept;
extern "C" void* memset(void* to, int value, size_t n_bytes) noexcept;
