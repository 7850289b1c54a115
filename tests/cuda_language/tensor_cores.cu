// wmma: one tile a warp, both layouts of each operand, three kinds of arithmetic.
#include <mma.h>

using namespace nvcuda;

template <typename T, typename Accumulator, typename LayoutA, typename LayoutB>
__device__ void multiply(const T* a, const T* b, const Accumulator* c, Accumulator* d, int ldm, wmma::layout_t layout) {
  wmma::fragment<wmma::matrix_a, 16, 16, 16, T, LayoutA> a_tile;
  wmma::fragment<wmma::matrix_b, 16, 16, 16, T, LayoutB> b_tile;
  wmma::fragment<wmma::accumulator, 16, 16, 16, Accumulator> sums;
  wmma::load_matrix_sync(a_tile, a, ldm);
  wmma::load_matrix_sync(b_tile, b, ldm);
  wmma::load_matrix_sync(sums, c, ldm, layout);
  wmma::mma_sync(sums, a_tile, b_tile, sums);
  for (int i = 0; i < sums.num_elements; ++i) sums.x[i] = sums.x[i] + sums.x[i];
  wmma::store_matrix_sync(d, sums, ldm, layout);
}

#define KERNELS(NAME, T, ACCUMULATOR)                                                                                 \
  extern "C" __global__ void NAME##_rr(const T* a, const T* b, const ACCUMULATOR* c, ACCUMULATOR* d, int ldm) {        \
    multiply<T, ACCUMULATOR, wmma::row_major, wmma::row_major>(a, b, c, d, ldm, wmma::mem_row_major);                  \
  }                                                                                                                   \
  extern "C" __global__ void NAME##_rc(const T* a, const T* b, const ACCUMULATOR* c, ACCUMULATOR* d, int ldm) {        \
    multiply<T, ACCUMULATOR, wmma::row_major, wmma::col_major>(a, b, c, d, ldm, wmma::mem_col_major);                  \
  }                                                                                                                   \
  extern "C" __global__ void NAME##_cr(const T* a, const T* b, const ACCUMULATOR* c, ACCUMULATOR* d, int ldm) {        \
    multiply<T, ACCUMULATOR, wmma::col_major, wmma::row_major>(a, b, c, d, ldm, wmma::mem_row_major);                  \
  }                                                                                                                   \
  extern "C" __global__ void NAME##_cc(const T* a, const T* b, const ACCUMULATOR* c, ACCUMULATOR* d, int ldm) {        \
    multiply<T, ACCUMULATOR, wmma::col_major, wmma::col_major>(a, b, c, d, ldm, wmma::mem_col_major);                  \
  }
KERNELS(half_float, half, float)
KERNELS(half_half, half, half)
KERNELS(bfloat16_float, __nv_bfloat16, float)

extern "C" __global__ void filled(float* d) {
  wmma::fragment<wmma::accumulator, 16, 16, 16, float> sums;
  wmma::fill_fragment(sums, 1.5f);
  wmma::store_matrix_sync(d, sums, 16, wmma::mem_row_major);
}

extern "C" __global__ void misaligned(const half* a, float* d) {
  wmma::fragment<wmma::matrix_a, 16, 16, 16, half, wmma::row_major> tile;
  wmma::load_matrix_sync(tile, a + 8, 16);
  d[threadIdx.x] = static_cast<float>(tile.x[0]);
}
