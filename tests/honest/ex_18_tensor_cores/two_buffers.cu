// The kernel of two_buffers.py.

#include <cuda_fp16.h>
#include <mma.h>

using namespace nvcuda;

constexpr int TILE_M = 128, TILE_N = 128, TILE_K = 32;
constexpr int N_THREADS = 256;
constexpr int A_LD = TILE_K + 8, B_LD = TILE_N + 8;
// A warp has 64×32 outputs: squares in four rows and two columns.
constexpr int WARP_M = 64, WARP_N = 32, N_ROWS = WARP_M / 16, N_COLS = WARP_N / 16;
// Eight halves a thread: rows of each tile at once, and how often.
constexpr int A_ROWS = N_THREADS * 8 / TILE_K, A_FETCHES = TILE_M / A_ROWS;
constexpr int B_ROWS = N_THREADS * 8 / TILE_N, B_FETCHES = TILE_K / B_ROWS;

struct __align__(16) Eight {
    half values[8];
};

__device__ __forceinline__ Eight load_8(
    const half* matrix, int row, int col, int n_rows, int n_cols, bool is_aligned) {
    Eight eight;
    const half* source = matrix + (size_t)row * n_cols + col;
    if (is_aligned && row < n_rows && col < n_cols) {
        eight = *reinterpret_cast<const Eight*>(source);
    } else {
#pragma unroll
        for (int i = 0; i < 8; i++) {
            eight.values[i] = row < n_rows && col + i < n_cols ? source[i] : __float2half(0.0f);
        }
    }
    return eight;
}

extern "C" __global__ void __launch_bounds__(N_THREADS)
hgemm_kernel(const half* a, const half* b, half* out, int M, int N, int K) {
    __shared__ __align__(128) half a_tile[2][TILE_M][A_LD];
    __shared__ __align__(128) half b_tile[2][TILE_K][B_LD];
    const bool is_aligned = K % 8 == 0 && N % 8 == 0 && ((size_t)a | (size_t)b | (size_t)out) % 16 == 0;
    const int tid = threadIdx.x, warp = tid / 32, lane = tid % 32;
    const int first_row = blockIdx.y * TILE_M, first_col = blockIdx.x * TILE_N;
    const int warp_row = warp % 2 * WARP_M, warp_col = warp / 2 * WARP_N;
    const int a_row = tid * 8 / TILE_K, a_k = tid * 8 % TILE_K;
    const int b_k = tid * 8 / TILE_N, b_col = tid * 8 % TILE_N;

    Eight a_next[A_FETCHES], b_next[B_FETCHES];
    auto fetch = [&](int k_start) {
#pragma unroll
        for (int i = 0; i < A_FETCHES; i++) {
            a_next[i] = load_8(a, first_row + a_row + i * A_ROWS, k_start + a_k, M, K, is_aligned);
        }
#pragma unroll
        for (int i = 0; i < B_FETCHES; i++) {
            b_next[i] = load_8(b, k_start + b_k + i * B_ROWS, first_col + b_col, K, N, is_aligned);
        }
    };
    auto put_into = [&](int buffer) {
#pragma unroll
        for (int i = 0; i < A_FETCHES; i++) {
            *reinterpret_cast<Eight*>(&a_tile[buffer][a_row + i * A_ROWS][a_k]) = a_next[i];
        }
#pragma unroll
        for (int i = 0; i < B_FETCHES; i++) {
            *reinterpret_cast<Eight*>(&b_tile[buffer][b_k + i * B_ROWS][b_col]) = b_next[i];
        }
    };

    wmma::fragment<wmma::accumulator, 16, 16, 16, float> sums[N_ROWS][N_COLS];
#pragma unroll
    for (int i = 0; i < N_ROWS * N_COLS; i++) wmma::fill_fragment(sums[i / N_COLS][i % N_COLS], 0.0f);
    fetch(0);
    put_into(0);
    __syncthreads();
    int buffer = 0;
    for (int k_next = TILE_K; k_next < K + TILE_K; k_next += TILE_K) {
        if (k_next < K) fetch(k_next);
#pragma unroll
        for (int k = 0; k < TILE_K; k += 16) {
            wmma::fragment<wmma::matrix_b, 16, 16, 16, half, wmma::row_major> b_squares[N_COLS];
#pragma unroll
            for (int j = 0; j < N_COLS; j++) {
                wmma::load_matrix_sync(b_squares[j], &b_tile[buffer][k][warp_col + j * 16], B_LD);
            }
#pragma unroll
            for (int i = 0; i < N_ROWS; i++) {
                wmma::fragment<wmma::matrix_a, 16, 16, 16, half, wmma::row_major> a_square;
                wmma::load_matrix_sync(a_square, &a_tile[buffer][warp_row + i * 16][k], A_LD);
#pragma unroll
                for (int j = 0; j < N_COLS; j++) wmma::mma_sync(sums[i][j], a_square, b_squares[j], sums[i][j]);
            }
        }
        buffer ^= 1;
        if (k_next < K) put_into(buffer);
        __syncthreads();
    }

    // Nobody reads the tiles any more: their memory takes the sums, a row of squares at a time for each warp.
    float* strip = reinterpret_cast<float*>(&a_tile[0][0][0]) + warp * 16 * WARP_N;
#pragma unroll
    for (int i = 0; i < N_ROWS; i++) {
#pragma unroll
        for (int j = 0; j < N_COLS; j++) {
            wmma::store_matrix_sync(strip + j * 16, sums[i][j], WARP_N, wmma::mem_row_major);
        }
        __syncwarp();
#pragma unroll
        for (int first = lane * 8; first < 16 * WARP_N; first += 32 * 8) {
            Eight eight;
#pragma unroll
            for (int q = 0; q < 8; q++) eight.values[q] = __float2half(strip[first + q]);
            const int row = first_row + warp_row + i * 16 + first / WARP_N;
            const int col = first_col + warp_col + first % WARP_N;
            half* target = out + (size_t)row * N + col;
            if (row < M && is_aligned && col < N) *reinterpret_cast<Eight*>(target) = eight;
#pragma unroll
            for (int q = 0; q < 8; q++) {
                if (row < M && !is_aligned && col + q < N) target[q] = eight.values[q];
            }
        }
        __syncwarp();
    }
}
