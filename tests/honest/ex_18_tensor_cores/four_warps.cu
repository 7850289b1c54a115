// The kernel of four_warps.py.

#include <cuda_fp16.h>
#include <mma.h>

using namespace nvcuda;

constexpr int TILE = 64, TILE_K = 32;
constexpr int WARP_TILE = 32;
constexpr int N_THREADS = 128;
constexpr int LD = TILE_K + 8;
constexpr int OUT_LD = WARP_TILE + 4;

extern "C" __global__ void __launch_bounds__(N_THREADS)
hgemm_kernel(const half* a, const half* b, half* out, int M, int N, int K) {
    __shared__ __align__(128) half a_tile[TILE][LD];
    __shared__ __align__(128) half b_tile[TILE][LD];  // A column of b in each row.
    __shared__ __align__(128) float sums_of[4][WARP_TILE][OUT_LD];
    const int lane = threadIdx.x, warp = threadIdx.z * 2 + threadIdx.y, tid = warp * 32 + lane;
    const int first_row = blockIdx.y * TILE, first_col = blockIdx.x * TILE;
    const int warp_row = threadIdx.z * WARP_TILE, warp_col = threadIdx.y * WARP_TILE;

    wmma::fragment<wmma::accumulator, 16, 16, 16, float> sums[2][2];
    for (auto& row : sums) {
        for (auto& square : row) wmma::fill_fragment(square, 0.0f);
    }
    const int n_steps = (K + TILE_K - 1) / TILE_K;
    for (int step = 0; step < n_steps; step++) {
        // A warp brings a row of a, then half a row of b: 32 neighbours each.
        const int a_k = step * TILE_K + lane;
        for (int i = warp; i < TILE; i += 4) {
            const int row = first_row + i;
            half value = __float2half(0.0f);
            if (row < M && a_k < K) value = a[(size_t)row * K + a_k];
            a_tile[i][lane] = value;
        }
        for (int i = tid; i < TILE_K * TILE; i += N_THREADS) {
            const int k = step * TILE_K + i / TILE, col = first_col + i % TILE;
            half value = __float2half(0.0f);
            if (k < K && col < N) value = b[(size_t)k * N + col];
            b_tile[i % TILE][i / TILE] = value;
        }
        __syncthreads();
#pragma unroll
        for (int k = 0; k < TILE_K; k += 16) {
            wmma::fragment<wmma::matrix_a, 16, 16, 16, half, wmma::row_major> a_squares[2];
            wmma::fragment<wmma::matrix_b, 16, 16, 16, half, wmma::col_major> b_squares[2];
#pragma unroll
            for (int i = 0; i < 2; i++) {
                wmma::load_matrix_sync(a_squares[i], &a_tile[warp_row + i * 16][k], LD);
                wmma::load_matrix_sync(b_squares[i], &b_tile[warp_col + i * 16][k], LD);
            }
#pragma unroll
            for (int i = 0; i < 2; i++) {
#pragma unroll
                for (int j = 0; j < 2; j++) wmma::mma_sync(sums[i][j], a_squares[i], b_squares[j], sums[i][j]);
            }
        }
        __syncthreads();
    }

    // A place of its own for each warp's sums, all of them at once: nobody else has to be waited for.
#pragma unroll
    for (int i = 0; i < 2; i++) {
#pragma unroll
        for (int j = 0; j < 2; j++) {
            wmma::store_matrix_sync(&sums_of[warp][i * 16][j * 16], sums[i][j], OUT_LD, wmma::mem_row_major);
        }
    }
    __syncwarp();
    const int col = first_col + warp_col + lane;
    for (int i = 0; i < WARP_TILE; i++) {
        const int row = first_row + warp_row + i;
        if (row < M && col < N) out[(size_t)row * N + col] = __float2half(sums_of[warp][i][lane]);
    }
}
