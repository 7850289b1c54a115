// expect: PROVISIONAL
// expect-gpu: PASSED|TOO_SLOW
// No padding: the column is XORed with the row, which spreads a column of the tile over all banks.

#define TILE 64

extern "C" __global__ void transpose_kernel(const float* __restrict__ x, float* __restrict__ out, int M, int N) {
    __shared__ float tile[TILE * TILE];
    const int tx = threadIdx.x;
    for (int ty = threadIdx.y; ty < TILE; ty += blockDim.y) {
        const long long row = (long long)blockIdx.x * TILE + ty, column = (long long)blockIdx.y * TILE + tx;
        tile[ty * TILE + (tx ^ ty)] = row < M && column < N ? x[row * N + column] : 0.0f;
    }
    __syncthreads();
    for (int ty = threadIdx.y; ty < TILE; ty += blockDim.y) {
        const long long row = (long long)blockIdx.y * TILE + ty, column = (long long)blockIdx.x * TILE + tx;
        if (row < N && column < M) {
            out[row * M + column] = tile[tx * TILE + (ty ^ tx)];
        }
    }
}
