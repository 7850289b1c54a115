// The kernel of straight_from_memory.py.

#include <cuda_fp16.h>
#include <mma.h>

using namespace nvcuda;

extern "C" __global__ void hgemm_kernel(const half* a, const half* b, half* out, int M, int N, int K) {
    __shared__ __align__(32) float square[16][16];
    const int first_row = blockIdx.y * 16, first_col = blockIdx.x * 16;
    wmma::fragment<wmma::accumulator, 16, 16, 16, float> sum;
    wmma::fragment<wmma::matrix_a, 16, 16, 16, half, wmma::row_major> a_fragment;
    wmma::fragment<wmma::matrix_b, 16, 16, 16, half, wmma::row_major> b_fragment;
    wmma::fill_fragment(sum, 0.0f);
    for (int k_start = 0; k_start < K; k_start += 16) {
        wmma::load_matrix_sync(a_fragment, a + (size_t)first_row * K + k_start, K);
        wmma::load_matrix_sync(b_fragment, b + (size_t)k_start * N + first_col, N);
        wmma::mma_sync(sum, a_fragment, b_fragment, sum);
    }
    wmma::store_matrix_sync(&square[0][0], sum, 16, wmma::mem_row_major);
    __syncwarp();
    for (int i = threadIdx.x; i < 256; i += 32) {
        const int row = first_row + i / 16, col = first_col + i % 16;
        if (row < M && col < N) out[(size_t)row * N + col] = __float2half(square[i / 16][i % 16]);
    }
}
