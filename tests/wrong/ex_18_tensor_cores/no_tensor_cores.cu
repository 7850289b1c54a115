// The kernel of no_tensor_cores.py.

#include <cuda_fp16.h>

constexpr int TILE = 64, TILE_K = 16;

extern "C" __global__ void hgemm_kernel(const half* a, const half* b, half* out, int M, int N, int K) {
    __shared__ float a_tile[TILE_K][TILE + 2];
    __shared__ float b_tile[TILE_K][TILE];
    const int tid = threadIdx.x, tx = tid % 16, ty = tid / 16;
    const int first_row = blockIdx.y * TILE, first_col = blockIdx.x * TILE;
    float sums[4][4] = {};
    for (int k_start = 0; k_start < K; k_start += TILE_K) {
        for (int i = tid; i < TILE * TILE_K; i += 256) {
            const int row = first_row + i / TILE_K, k = k_start + i % TILE_K;
            a_tile[i % TILE_K][i / TILE_K] = row < M && k < K ? __half2float(a[(size_t)row * K + k]) : 0.0f;
        }
        for (int i = tid; i < TILE * TILE_K; i += 256) {
            const int k = k_start + i / TILE, col = first_col + i % TILE;
            b_tile[i / TILE][i % TILE] = k < K && col < N ? __half2float(b[(size_t)k * N + col]) : 0.0f;
        }
        __syncthreads();
        for (int k = 0; k < TILE_K; k++) {
#pragma unroll
            for (int i = 0; i < 4; i++) {
#pragma unroll
                for (int j = 0; j < 4; j++) sums[i][j] += a_tile[k][ty + i * 16] * b_tile[k][tx + j * 16];
            }
        }
        __syncthreads();
    }
#pragma unroll
    for (int i = 0; i < 4; i++) {
#pragma unroll
        for (int j = 0; j < 4; j++) {
            const int row = first_row + ty + i * 16, col = first_col + tx + j * 16;
            if (row < M && col < N) out[(size_t)row * N + col] = __float2half(sums[i][j]);
        }
    }
}
