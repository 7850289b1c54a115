// The few names of namespace std that the GPU's compiler knows by itself.
#pragma once

#include "qualifiers.h"

namespace std {
using size_t = ::size_t;
using ptrdiff_t = ::ptrdiff_t;
using nullptr_t = decltype(nullptr);

// The compiler makes these from a braced list; the layout is its own.
template <typename T>
class initializer_list {
 public:
  using value_type = T;
  using const_reference = const T&;
  using size_type = size_t;
  using iterator = const T*;
  using const_iterator = const T*;
  constexpr initializer_list() noexcept : first_(nullptr), n_(0) {}
  constexpr size_t size() const noexcept { return n_; }
  constexpr const T* begin() const noexcept { return first_; }
  constexpr const T* end() const noexcept { return first_ + n_; }

 private:
  constexpr initializer_list(const T* first, size_t n) : first_(first), n_(n) {}
  const T* first_;
  size_t n_;
};
}  // namespace std

namespace gp_internal {
template <typename T>
struct referred {
  using type = T;
};
template <typename T>
struct referred<T&> {
  using type = T;
};
template <typename T>
struct referred<T&&> {
  using type = T;
};
}  // namespace gp_internal

namespace std {
template <typename T>
GP_INLINE constexpr typename gp_internal::referred<T>::type&& move(T&& x) noexcept {
  return static_cast<typename gp_internal::referred<T>::type&&>(x);
}
template <typename T>
GP_INLINE constexpr T&& forward(typename gp_internal::referred<T>::type& x) noexcept {
  return static_cast<T&&>(x);
}
template <typename T>
GP_INLINE constexpr T&& forward(typename gp_internal::referred<T>::type&& x) noexcept {
  return static_cast<T&&>(x);
}
}  // namespace std
