// The arithmetic of wmma, out of the counters' sight.
#pragma once

#include "narrow_float.h"
#include "qualifiers.h"

namespace gp_internal {
// Line `line` of an operand, out of what the 32 lanes hold: each four pairs, of lines lane/4 and lane/4 + 8. A line
// lies along memory, or across it where the operand is transposed.
template <typename Format>
GP_INTERNAL void wmma_line(Format format, const gp_lane_value* lanes, bool is_transposed, unsigned line,
                           float (&elements)[16]) {
  for (unsigned position = 0; position < 16; ++position) {
    const unsigned outer = is_transposed ? position : line, inner = is_transposed ? line : position;
    const unsigned lane = outer % 8 * 4 + inner % 8 / 2, index = outer / 8 * 4 + inner / 8 * 2 + inner % 2;
    unsigned short bits;
    __builtin_memcpy(&bits, lanes[lane].bytes + index * sizeof bits, sizeof bits);
    elements[position] = widen_inline(format, bits);
  }
}

// What a lane needs of the operands for its eight elements of the product: two rows of a, four columns of b.
struct WmmaLines {
  float rows[2][16];
  float columns[4][16];
};

template <typename Format>
GP_INTERNAL void take_rows(Format format, const gp_lane_value* lanes_a, bool is_row_major, WmmaLines& lines) {
  for (unsigned i = 0; i < 2; ++i) wmma_line(format, lanes_a, !is_row_major, gp_lane() / 4 + i * 8, lines.rows[i]);
}
template <typename Format>
GP_INTERNAL void take_columns(Format format, const gp_lane_value* lanes_b, bool is_row_major, WmmaLines& lines) {
  for (unsigned i = 0; i < 4; ++i)
    wmma_line(format, lanes_b, is_row_major, gp_lane() % 4 * 2 + i % 2 + i / 2 * 8, lines.columns[i]);
}

// Saturation clamps to the finite values of the accumulator's type.
template <typename T>
constexpr float wmma_largest = 65504.0f;
template <>
constexpr float wmma_largest<float> = 0x1.fffffep127f;

template <typename TC, typename TD>
GP_INTERNAL void wmma_multiply(const WmmaLines& lines, const TC (&c)[8], TD (&d)[8], bool is_saturated) {
  constexpr float largest = wmma_largest<TD>;
  for (unsigned i = 0; i < 8; ++i) {
    const auto& row = lines.rows[i / 2 % 2];
    const auto& column = lines.columns[i % 2 + i / 4 * 2];
    float sum = static_cast<float>(c[i]);
    for (unsigned k = 0; k < 16; ++k) sum += row[k] * column[k];
    if (is_saturated) sum = __builtin_isnan(sum) ? 0.0f : sum > largest ? largest : sum < -largest ? -largest : sum;
    d[i] = TD(sum);
  }
}

// What the documentation asks of a matrix in memory; null where it is kept.
GP_INTERNAL const char* wmma_fault(const void* memory, unsigned long n_line_bytes) {
  if (reinterpret_cast<unsigned long>(memory) % 32) return "the address of a wmma matrix is a multiple of 32 bytes";
  if (n_line_bytes % 16) return "the leading dimension of a wmma matrix is a multiple of 16 bytes";
  return nullptr;
}
}  // namespace gp_internal
