// The kernel of shared_tile.py.

constexpr int TILE = 32;

extern "C" __global__ void sgemm_kernel(const float* a, const float* b, float* out, int M, int N, int K) {
    __shared__ float a_tile[TILE][TILE];
    __shared__ float b_tile[TILE][TILE];
    const int tx = threadIdx.x, ty = threadIdx.y;
    const int row = blockIdx.y * TILE + ty, col = blockIdx.x * TILE + tx;
    float sum = 0.0f;
    for (int k_start = 0; k_start < K; k_start += TILE) {
        a_tile[ty][tx] = row < M && k_start + tx < K ? a[(size_t)row * K + k_start + tx] : 0.0f;
        b_tile[ty][tx] = k_start + ty < K && col < N ? b[(size_t)(k_start + ty) * N + col] : 0.0f;
        __syncthreads();
        for (int k = 0; k < TILE; k++) sum += a_tile[ty][k] * b_tile[k][tx];
        __syncthreads();
    }
    if (row < M && col < N) out[(size_t)row * N + col] = sum;
}
