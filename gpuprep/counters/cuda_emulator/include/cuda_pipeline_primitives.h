// Copies from global to shared memory that a thread starts, groups and waits for.
#pragma once

#include "gpuprep_device.h"

namespace gp_internal {
// What is not copied is zero. Parts of odd size go in words, as the hardware's zero-fill is no store of the kernel.
GP_INLINE void copy_async(void* shared, const void* global, size_t n_bytes, size_t n_zero_bytes) {
  constexpr size_t word = sizeof(unsigned);
  if (n_zero_bytes == 0) return gp_async_copy(shared, global, static_cast<unsigned>(n_bytes));
  auto* target = static_cast<unsigned char*>(shared);
  const auto* source = static_cast<const unsigned char*>(global);
  const size_t n_copied = n_bytes - n_zero_bytes;
  for (size_t i = 0; i < n_copied; i += word) gp_async_copy(target + i, source + i, word);
  for (size_t i = n_copied; i < n_bytes; i += word) *reinterpret_cast<unsigned*>(target + i) = 0;
}
}  // namespace gp_internal

GP_INLINE void __pipeline_memcpy_async(void* shared, const void* global, size_t n_bytes, size_t n_zero_bytes = 0) {
  assert(n_bytes == 4 || n_bytes == 8 || n_bytes == 16);
  assert(n_zero_bytes <= n_bytes && n_zero_bytes % 4 == 0);
  gp_internal::copy_async(shared, global, n_bytes, n_zero_bytes);
}
GP_INLINE void __pipeline_commit() { gp_async_commit(); }
GP_INLINE void __pipeline_wait_prior(size_t n_groups) { gp_async_wait(static_cast<unsigned>(n_groups)); }
