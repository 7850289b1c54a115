// Warp matrix multiply-accumulate: nvcuda::wmma for 16×16×16.
#pragma once

#include "cuda_bf16.h"
#include "cuda_fp16.h"

#include "device/wmma_multiply.h"

namespace nvcuda {
namespace wmma {

struct row_major;
struct col_major;
struct matrix_a;
struct matrix_b;
struct accumulator;
enum layout_t { mem_row_major, mem_col_major };

namespace internal {
template <typename T, int n_elements>
struct Elements {
  using element_type = T;
  using storage_element_type = T;
  static constexpr int num_elements = n_elements;
  static constexpr int num_storage_elements = n_elements;
  T x[n_elements];
};
}  // namespace internal

template <typename Use, int m, int n, int k, typename T, typename Layout = void>
class fragment {
  static_assert(m < 0,
                "the emulator's wmma is 16x16x16, of half or bfloat16 into float, or of half into half: "
                "the others run on a GPU only");
};

// As on a GPU since sm_70, a thread holds every half of an operand twice.
template <typename Layout>
class fragment<matrix_a, 16, 16, 16, __half, Layout> : public internal::Elements<__half, 16> {};
template <typename Layout>
class fragment<matrix_b, 16, 16, 16, __half, Layout> : public internal::Elements<__half, 16> {};
template <typename Layout>
class fragment<matrix_a, 16, 16, 16, __nv_bfloat16, Layout> : public internal::Elements<__nv_bfloat16, 8> {};
template <typename Layout>
class fragment<matrix_b, 16, 16, 16, __nv_bfloat16, Layout> : public internal::Elements<__nv_bfloat16, 8> {};
template <>
class fragment<accumulator, 16, 16, 16, float> : public internal::Elements<float, 8> {};
template <>
class fragment<accumulator, 16, 16, 16, __half> : public internal::Elements<__half, 8> {};

namespace internal {
template <typename Layout>
constexpr bool is_row_major = false;
template <>
constexpr bool is_row_major<row_major> = true;

using gp_internal::collective_wmma;
constexpr unsigned all_lanes = 0xffffffffu;

// Every function of wmma is for the whole warp: whoever is missing is found here.
GP_INLINE void converge() { gp_warp_collective(collective_wmma, all_lanes, nullptr, 0); }

template <typename T>
GP_INLINE void check_operand(const T* memory, unsigned ldm) {
  if (const char* fault = gp_internal::wmma_fault(memory, ldm * sizeof(T))) gp_assert_failed(fault, "", 0);
}

// An access of the kernel's memory as wide as the hardware's.
template <typename Value, typename T>
GP_INLINE Value load_as(const T* memory) {
  return *reinterpret_cast<const typename gp_internal::Bits<sizeof(Value)>::Word*>(memory);
}
template <typename Value, typename T>
GP_INLINE void store_as(T* memory, Value value) {
  *reinterpret_cast<typename gp_internal::Bits<sizeof(Value)>::Word*>(memory) = value;
}

// Four loads of a pair: 8 rows of 16 bytes each, whatever the layout. With the layout's lines across instead of along,
// the hardware does the same and transposes in registers.
template <typename Use, typename T, typename Layout>
GP_INLINE void load_operand(fragment<Use, 16, 16, 16, T, Layout>& target, const T* memory, unsigned ldm) {
  const unsigned lane = gp_lane();
  const T* first = memory + lane / 4 * ldm + lane % 4 * 2;
  const unsigned words[4] = {load_as<unsigned>(first), load_as<unsigned>(first + 8), load_as<unsigned>(first + 8 * ldm),
                             load_as<unsigned>(first + 8 * ldm + 8)};
  for (int i = 0; i < target.num_elements; i += 8)
    __builtin_memcpy(static_cast<void*>(target.x + i), words, sizeof words);
}

template <typename T>
using PairWord = typename gp_internal::Bits<2 * sizeof(T)>::Value;
template <typename T>
using Word = typename gp_internal::Bits<sizeof(T)>::Value;

// An accumulator's pairs lie along a row: one access a pair in row order, one an element in column order.
template <typename T>
GP_INLINE void load_accumulator(T (&x)[8], const T* memory, unsigned ldm, layout_t layout) {
  const unsigned row = gp_lane() / 4, column = gp_lane() % 4 * 2;
  for (unsigned pair = 0; pair < 4; ++pair) {
    const unsigned i = row + pair % 2 * 8, j = column + pair / 2 * 8;
    if (layout == mem_row_major) {
      const auto word = load_as<PairWord<T>>(memory + i * ldm + j);
      __builtin_memcpy(static_cast<void*>(x + 2 * pair), &word, sizeof word);
    } else {
      x[2 * pair] = __builtin_bit_cast(T, load_as<Word<T>>(memory + j * ldm + i));
      x[2 * pair + 1] = __builtin_bit_cast(T, load_as<Word<T>>(memory + (j + 1) * ldm + i));
    }
  }
}
template <typename T>
GP_INLINE void store_accumulator(T* memory, const T (&x)[8], unsigned ldm, layout_t layout) {
  const unsigned row = gp_lane() / 4, column = gp_lane() % 4 * 2;
  for (unsigned pair = 0; pair < 4; ++pair) {
    const unsigned i = row + pair % 2 * 8, j = column + pair / 2 * 8;
    if (layout == mem_row_major) {
      PairWord<T> word;
      __builtin_memcpy(&word, static_cast<const void*>(x + 2 * pair), sizeof word);
      store_as(memory + i * ldm + j, word);
    } else {
      store_as(memory + j * ldm + i, __builtin_bit_cast(Word<T>, x[2 * pair]));
      store_as(memory + (j + 1) * ldm + i, __builtin_bit_cast(Word<T>, x[2 * pair + 1]));
    }
  }
}
}  // namespace internal

template <typename Use, int m, int n, int k, typename T, typename Layout, typename Value>
GP_INLINE void fill_fragment(fragment<Use, m, n, k, T, Layout>& target, const Value& value) {
  const T filling = value;
  for (int i = 0; i < target.num_elements; ++i) target.x[i] = filling;
}

template <typename Use, typename T, typename Layout>
GP_INLINE void load_matrix_sync(fragment<Use, 16, 16, 16, T, Layout>& target, const T* memory, unsigned ldm) {
  internal::converge();
  internal::check_operand(memory, ldm);
  internal::load_operand(target, memory, ldm);
}
template <typename T>
GP_INLINE void load_matrix_sync(fragment<accumulator, 16, 16, 16, T>& target, const T* memory, unsigned ldm,
                                layout_t layout) {
  internal::converge();
  internal::check_operand(memory, ldm);
  internal::load_accumulator(target.x, memory, ldm, layout);
}
template <typename T>
GP_INLINE void store_matrix_sync(T* memory, const fragment<accumulator, 16, 16, 16, T>& source, unsigned ldm,
                                 layout_t layout) {
  internal::converge();
  internal::check_operand(memory, ldm);
  internal::store_accumulator(memory, source.x, ldm, layout);
}

// d = a·b + c. What the lanes hold is exchanged in two collectives, one an operand.
template <typename TD, typename T, typename LayoutA, typename LayoutB, typename TC>
GP_INLINE void mma_sync(fragment<accumulator, 16, 16, 16, TD>& d, const fragment<matrix_a, 16, 16, 16, T, LayoutA>& a,
                        const fragment<matrix_b, 16, 16, 16, T, LayoutB>& b,
                        const fragment<accumulator, 16, 16, 16, TC>& c, bool satf = false) {
  static_assert(sizeof(T[8]) == sizeof(gp_lane_value), "an operand is 16 bytes a lane");
  static_assert(!(__is_same(T, __nv_bfloat16) && __is_same(TD, __half)), "bfloat16 accumulates in float");
  const decltype(gp_internal::format_of(T())) format;
  gp_internal::WmmaLines lines;
  gp_internal::take_rows(format, gp_warp_collective(internal::collective_wmma, internal::all_lanes, a.x, 16),
                         internal::is_row_major<LayoutA>, lines);
  gp_internal::take_columns(format, gp_warp_collective(internal::collective_wmma, internal::all_lanes, b.x, 16),
                            internal::is_row_major<LayoutB>, lines);
  gp_mma(16, 16, 16);
  gp_internal::wmma_multiply(lines, c.x, d.x, satf);
}

}  // namespace wmma
}  // namespace nvcuda
