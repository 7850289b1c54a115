// expect: MISALIGNED
// Loads float4 from every row. They start at multiples of 16 only where N is a multiple of four and x starts at one.

constexpr int TILE = 64;
constexpr int BLOCK_ROWS = 4;

extern "C" __global__ void transpose_kernel(const float* x, float* out, int M, int N) {
    __shared__ float tile[TILE][TILE + 1];
    const int first_row = blockIdx.x * TILE;
    const int first_column = blockIdx.y * TILE;
    const int thread = threadIdx.y * TILE + threadIdx.x;
    for (int item = thread; item < TILE * TILE / 4; item += TILE * BLOCK_ROWS) {
        // Eight lanes to 32 columns, four rows a warp: the padding keeps all 32 banks apart.
        const int k = item / 8 % TILE, q = item / 8 / TILE * 32 + item % 8 * 4;
        const int row = first_row + k, column = first_column + q;
        if (row < M && column + 3 < N) {
            const float4 v = *(const float4*)&x[(size_t)row * N + column];
            tile[k][q] = v.x;
            tile[k][q + 1] = v.y;
            tile[k][q + 2] = v.z;
            tile[k][q + 3] = v.w;
        } else {
            for (int i = 0; row < M && column + i < N; ++i) {
                tile[k][q + i] = x[(size_t)row * N + column + i];
            }
        }
    }
    __syncthreads();
    for (int k = threadIdx.y; k < TILE; k += BLOCK_ROWS) {
        const int out_row = first_column + k, out_column = first_row + threadIdx.x;
        if (out_row < N && out_column < M) {
            out[(size_t)out_row * M + out_column] = tile[threadIdx.x][k];
        }
    }
}
