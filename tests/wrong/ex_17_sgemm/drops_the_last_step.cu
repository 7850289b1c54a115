// expect: WRONG_VALUES
// Rounds the number of steps down: what is left of K after the last whole tile is never added.

constexpr int TILE = 128;
constexpr int TILE_K = 16;
constexpr int SIDE = 16;
constexpr int EACH = TILE / SIDE;

extern "C" __global__ void __launch_bounds__(256)
sgemm_kernel(const float* a, const float* b, float* out, int M, int N, int K) {
    __shared__ float a_tile[TILE_K][TILE + 2];
    __shared__ float b_tile[TILE_K][TILE];
    const int tid = threadIdx.x, tx = tid % SIDE, ty = tid / SIDE;
    const int first_row = blockIdx.y * TILE, first_col = blockIdx.x * TILE;
    float sums[EACH][EACH] = {};
    for (int k_start = 0; k_start + TILE_K <= K; k_start += TILE_K) {
        for (int i = tid; i < TILE * TILE_K; i += 256) {
            const int row = first_row + i / TILE_K, k = k_start + i % TILE_K;
            a_tile[i % TILE_K][i / TILE_K] = row < M && k < K ? a[(size_t)row * K + k] : 0.0f;
        }
        for (int i = tid; i < TILE * TILE_K; i += 256) {
            const int k = k_start + i / TILE, col = first_col + i % TILE;
            b_tile[i / TILE][i % TILE] = k < K && col < N ? b[(size_t)k * N + col] : 0.0f;
        }
        __syncthreads();
        for (int k = 0; k < TILE_K; k++) {
            float a_values[EACH], b_values[EACH];
#pragma unroll
            for (int i = 0; i < EACH; i++) {
                a_values[i] = a_tile[k][ty + i * SIDE];
                b_values[i] = b_tile[k][tx + i * SIDE];
            }
#pragma unroll
            for (int i = 0; i < EACH; i++) {
#pragma unroll
                for (int j = 0; j < EACH; j++) sums[i][j] += a_values[i] * b_values[j];
            }
        }
        __syncthreads();
    }
#pragma unroll
    for (int i = 0; i < EACH; i++) {
#pragma unroll
        for (int j = 0; j < EACH; j++) {
            const int row = first_row + ty + i * SIDE, col = first_col + tx + j * SIDE;
            if (row < M && col < N) out[(size_t)row * N + col] = sums[i][j];
        }
    }
}
