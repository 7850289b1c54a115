// Atomic operations: reported to the runtime, which counts and orders them, then done out of its sight.
#pragma once

#include "math.h"
#include "qualifiers.h"

namespace gp_internal {
enum Scope { scope_block, scope_device, scope_system };
constexpr int compare_and_swap = 4;  // beside a scope

// The word that holds a value, and the same where it lies in memory under another type.
template <size_t n_bytes>
struct Bits;
template <>
struct Bits<2> {
  using Value = unsigned short;
  using Word = unsigned short __attribute__((may_alias));
};
template <>
struct Bits<4> {
  using Value = unsigned;
  using Word = unsigned __attribute__((may_alias));
};
template <>
struct Bits<8> {
  using Value = unsigned long long;
  using Word = unsigned long long __attribute__((may_alias));
};

struct Add {
  template <typename T>
  GP_INLINE static T apply(T old, T operand) {
    return static_cast<T>(old + operand);
  }
};
// Wraps without being undefined, as the hardware's addition does.
template <>
GP_INLINE int Add::apply(int old, int operand) {
  return static_cast<int>(static_cast<unsigned>(old) + static_cast<unsigned>(operand));
}
struct Subtract {
  template <typename T>
  GP_INLINE static T apply(T old, T operand) {
    return static_cast<T>(static_cast<unsigned>(old) - static_cast<unsigned>(operand));
  }
};
struct Exchange {
  template <typename T>
  GP_INLINE static T apply(T, T operand) {
    return operand;
  }
};
struct Minimum {
  template <typename T>
  GP_INLINE static T apply(T old, T operand) {
    return operand < old ? operand : old;
  }
};
struct Maximum {
  template <typename T>
  GP_INLINE static T apply(T old, T operand) {
    return old < operand ? operand : old;
  }
};
struct And {
  template <typename T>
  GP_INLINE static T apply(T old, T operand) {
    return old & operand;
  }
};
struct Or {
  template <typename T>
  GP_INLINE static T apply(T old, T operand) {
    return old | operand;
  }
};
struct Xor {
  template <typename T>
  GP_INLINE static T apply(T old, T operand) {
    return old ^ operand;
  }
};
struct Increment {
  GP_INLINE static unsigned apply(unsigned old, unsigned last) { return old >= last ? 0u : old + 1u; }
};
struct Decrement {
  GP_INLINE static unsigned apply(unsigned old, unsigned last) { return old == 0u || old > last ? last : old - 1u; }
};

// Blocks may run on several threads of the machine, so that the operation must be atomic there too.
template <typename Operation, typename T>
GP_INTERNAL T replace(T* address, T operand) {
  using Value = typename Bits<sizeof(T)>::Value;
  auto* word = reinterpret_cast<typename Bits<sizeof(T)>::Word*>(address);
  Value seen = __atomic_load_n(word, __ATOMIC_RELAXED);
  for (;;) {
    const T old = __builtin_bit_cast(T, seen);
    const auto next = __builtin_bit_cast(Value, Operation::apply(old, operand));
    if (__atomic_compare_exchange_n(word, &seen, next, true, __ATOMIC_SEQ_CST, __ATOMIC_RELAXED)) return old;
  }
}

template <typename T>
GP_INTERNAL T replace_if(T* address, T expected, T replacement) {
  using Value = typename Bits<sizeof(T)>::Value;
  auto* word = reinterpret_cast<typename Bits<sizeof(T)>::Word*>(address);
  auto seen = __builtin_bit_cast(Value, expected);
  __atomic_compare_exchange_n(word, &seen, __builtin_bit_cast(Value, replacement), false, __ATOMIC_SEQ_CST,
                              __ATOMIC_SEQ_CST);
  return __builtin_bit_cast(T, seen);
}
}  // namespace gp_internal

#define GP_ATOMIC_IN(NAME, T, OPERATION, SCOPE)                                                                       \
  GP_INLINE T NAME(T* address, T operand) {                                                                           \
    gp_atomic(address, sizeof(T), gp_internal::SCOPE);                                                                \
    return gp_internal::replace<gp_internal::OPERATION>(address, operand);                                            \
  }
#define GP_ATOMIC(NAME, T, OPERATION)                                                                                 \
  GP_ATOMIC_IN(NAME, T, OPERATION, scope_device)                                                                      \
  GP_ATOMIC_IN(NAME##_block, T, OPERATION, scope_block)                                                               \
  GP_ATOMIC_IN(NAME##_system, T, OPERATION, scope_system)
#define GP_ATOMIC_CAS_IN(NAME, T, SCOPE)                                                                              \
  GP_INLINE T NAME(T* address, T expected, T replacement) {                                                           \
    gp_atomic(address, sizeof(T), gp_internal::SCOPE | gp_internal::compare_and_swap);                                \
    return gp_internal::replace_if(address, expected, replacement);                                                   \
  }
#define GP_ATOMIC_CAS(T)                                                                                              \
  GP_ATOMIC_CAS_IN(atomicCAS, T, scope_device)                                                                        \
  GP_ATOMIC_CAS_IN(atomicCAS_block, T, scope_block)                                                                   \
  GP_ATOMIC_CAS_IN(atomicCAS_system, T, scope_system)

GP_ATOMIC(atomicAdd, int, Add)
GP_ATOMIC(atomicAdd, unsigned, Add)
GP_ATOMIC(atomicAdd, unsigned long long, Add)
GP_ATOMIC(atomicAdd, float, Add)
GP_ATOMIC(atomicAdd, double, Add)
GP_ATOMIC(atomicSub, int, Subtract)
GP_ATOMIC(atomicSub, unsigned, Subtract)
GP_ATOMIC(atomicExch, int, Exchange)
GP_ATOMIC(atomicExch, unsigned, Exchange)
GP_ATOMIC(atomicExch, unsigned long long, Exchange)
GP_ATOMIC(atomicExch, float, Exchange)
GP_ATOMIC(atomicInc, unsigned, Increment)
GP_ATOMIC(atomicDec, unsigned, Decrement)
GP_ATOMIC(atomicMin, int, Minimum)
GP_ATOMIC(atomicMin, unsigned, Minimum)
GP_ATOMIC(atomicMin, long long, Minimum)
GP_ATOMIC(atomicMin, unsigned long long, Minimum)
GP_ATOMIC(atomicMax, int, Maximum)
GP_ATOMIC(atomicMax, unsigned, Maximum)
GP_ATOMIC(atomicMax, long long, Maximum)
GP_ATOMIC(atomicMax, unsigned long long, Maximum)
GP_ATOMIC(atomicAnd, int, And)
GP_ATOMIC(atomicAnd, unsigned, And)
GP_ATOMIC(atomicAnd, unsigned long long, And)
GP_ATOMIC(atomicOr, int, Or)
GP_ATOMIC(atomicOr, unsigned, Or)
GP_ATOMIC(atomicOr, unsigned long long, Or)
GP_ATOMIC(atomicXor, int, Xor)
GP_ATOMIC(atomicXor, unsigned, Xor)
GP_ATOMIC(atomicXor, unsigned long long, Xor)
GP_ATOMIC_CAS(int)
GP_ATOMIC_CAS(unsigned)
GP_ATOMIC_CAS(unsigned long long)
GP_ATOMIC_CAS(unsigned short)

#undef GP_ATOMIC_CAS
#undef GP_ATOMIC_CAS_IN
