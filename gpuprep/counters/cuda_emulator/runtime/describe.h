// Makes the table of entry.h from the kernels of a program.
//
// Included before a learner's code, whose macros could break it; the table itself, which comes after, has but names that
// no kernel's file may define. It needs no header of the host's, which would bring in names that no GPU has.
#pragma once

#include "entry.h"

namespace gp_describing {

template <class T>
struct plain {
  using type = T;
  static constexpr bool is_const = false;
};
template <class T>
struct plain<const T> {
  using type = T;
  static constexpr bool is_const = true;
};

template <class T>
struct target_of {
  static constexpr bool is_pointer = false;
};
template <class T>
struct target_of<T*> {
  static constexpr bool is_pointer = true;
  using type = T;
};

template <class T>
constexpr unsigned bytes_of = sizeof(T);
template <>
inline constexpr unsigned bytes_of<void> = 0;
template <>
inline constexpr unsigned bytes_of<const void> = 0;

template <class T>
constexpr char scalar_kind = __is_enum(T) ? 'i' : 's';
#define GP_KIND(type, letter) \
  template <> \
  inline constexpr char scalar_kind<type> = letter;
GP_KIND(bool, 'u')
GP_KIND(char, 'i')
GP_KIND(signed char, 'i')
GP_KIND(short, 'i')
GP_KIND(int, 'i')
GP_KIND(long, 'i')
GP_KIND(long long, 'i')
GP_KIND(unsigned char, 'u')
GP_KIND(unsigned short, 'u')
GP_KIND(unsigned, 'u')
GP_KIND(unsigned long, 'u')
GP_KIND(unsigned long long, 'u')
GP_KIND(float, 'f')
GP_KIND(double, 'f')
#undef GP_KIND

template <class T>
constexpr gp_parameter parameter(unsigned offset) {
  using type = typename plain<T>::type;
  if constexpr (target_of<type>::is_pointer) {
    using target = typename target_of<type>::type;
    return {'p', sizeof(T), offset, bytes_of<target>, plain<target>::is_const};
  } else {
    return {scalar_kind<type>, sizeof(T), offset, 0, 0};
  }
}

template <class F>
struct signature;

template <class... P>
struct signature<void (*)(P...)> {
  struct layout {
    gp_parameter parameters[sizeof...(P) + 1];
    unsigned n_parameters, n_bytes;
  };

  static constexpr layout lay_out() {
    layout made{};
    ((made.n_bytes = (made.n_bytes + alignof(P) - 1) / alignof(P) * alignof(P),
      made.parameters[made.n_parameters++] = parameter<P>(made.n_bytes), made.n_bytes += sizeof(P)),
     ...);
    return made;
  }
};

template <class F>
inline constexpr auto laid_out = signature<F>::lay_out();

template <unsigned... I>
struct numbers {};

template <auto kernel, class F>
struct caller;

template <auto kernel, class... P>
struct caller<kernel, void (*)(P...)> {
  template <unsigned... I>
  GP_UNTRACKED static void spread(const char* bytes, numbers<I...>) {
    kernel(*reinterpret_cast<const P*>(bytes + laid_out<void (*)(P...)>.parameters[I].offset)...);
  }
  GP_UNTRACKED static void call(const void* arguments) {
    spread(static_cast<const char*>(arguments), numbers<__integer_pack(sizeof...(P))...>());
  }
};

template <auto kernel>
constexpr gp_kernel gp_entry(const char* name) {
  using F = decltype(kernel);
  return {name, laid_out<F>.n_parameters, laid_out<F>.n_bytes, laid_out<F>.parameters, caller<kernel, F>::call};
}

}  // namespace gp_describing
