// expect: WRONG_VALUES
// Loads b as col_major, since BLAS would: each square of it is transposed.

#include <cuda_fp16.h>
#include <mma.h>

using namespace nvcuda;

constexpr int TILE_M = 128, TILE_N = 256, TILE_K = 32;
constexpr int A_LD = TILE_K + 8, B_LD = TILE_N + 8;

extern "C" __global__ void __launch_bounds__(256)
hgemm_kernel(const half* a, const half* b, half* out, int M, int N, int K) {
    __shared__ __align__(32) half a_tile[TILE_M][A_LD];
    __shared__ __align__(32) half b_tile[TILE_K][B_LD];
    __shared__ __align__(32) float squares[8][16][16];
    const int tid = threadIdx.x, warp = tid / 32, lane = tid % 32;
    const int first_row = blockIdx.y * TILE_M, first_col = blockIdx.x * TILE_N;
    const int warp_row = warp / 4 * 64, warp_col = warp % 4 * 64;
    wmma::fragment<wmma::accumulator, 16, 16, 16, float> sums[4][4];
    for (int i = 0; i < 16; i++) wmma::fill_fragment(sums[i / 4][i % 4], 0.0f);
    for (int k_start = 0; k_start < K; k_start += TILE_K) {
        for (int i = tid; i < TILE_M * TILE_K; i += 256) {
            const int row = first_row + i / TILE_K, k = k_start + i % TILE_K;
            a_tile[i / TILE_K][i % TILE_K] = row < M && k < K ? a[(size_t)row * K + k] : __float2half(0.0f);
        }
        for (int i = tid; i < TILE_K * TILE_N; i += 256) {
            const int k = k_start + i / TILE_N, col = first_col + i % TILE_N;
            b_tile[i / TILE_N][i % TILE_N] = k < K && col < N ? b[(size_t)k * N + col] : __float2half(0.0f);
        }
        __syncthreads();
        for (int k = 0; k < TILE_K; k += 16) {
            wmma::fragment<wmma::matrix_a, 16, 16, 16, half, wmma::row_major> a_squares[4];
            wmma::fragment<wmma::matrix_b, 16, 16, 16, half, wmma::col_major> b_square;
#pragma unroll
            for (int i = 0; i < 4; i++) wmma::load_matrix_sync(a_squares[i], &a_tile[warp_row + i * 16][k], A_LD);
#pragma unroll
            for (int j = 0; j < 4; j++) {
                wmma::load_matrix_sync(b_square, &b_tile[k][warp_col + j * 16], B_LD);
#pragma unroll
                for (int i = 0; i < 4; i++) wmma::mma_sync(sums[i][j], a_squares[i], b_square, sums[i][j]);
            }
        }
        __syncthreads();
    }
    float* square = &squares[warp][0][0];
#pragma unroll
    for (int i = 0; i < 16; i++) {
        wmma::store_matrix_sync(square, sums[i / 4][i % 4], 16, wmma::mem_row_major);
        __syncwarp();
        for (int q = lane; q < 256; q += 32) {
            const int row = first_row + warp_row + i / 4 * 16 + q / 16;
            const int col = first_col + warp_col + i % 4 * 16 + q % 16;
            if (row < M && col < N) out[(size_t)row * N + col] = __float2half(square[q]);
        }
        __syncwarp();
    }
}
