// expect: TOO_MUCH_WORK
// Goes through a tile, and stores with threadIdx.x down a column of out again: the tile is there and does nothing.

constexpr int TILE = 64;
constexpr int BLOCK_ROWS = 4;

extern "C" __global__ void transpose_kernel(const float* x, float* out, int M, int N) {
    __shared__ float tile[TILE][TILE + 1];
    const int first_row = blockIdx.x * TILE;
    const int first_column = blockIdx.y * TILE;
    for (int k = threadIdx.y; k < TILE; k += BLOCK_ROWS) {
        const int row = first_row + k, column = first_column + threadIdx.x;
        if (row < M && column < N) {
            tile[k][threadIdx.x] = x[(size_t)row * N + column];
        }
    }
    __syncthreads();
    for (int k = threadIdx.y; k < TILE; k += BLOCK_ROWS) {
        const int out_row = first_column + threadIdx.x, out_column = first_row + k;
        if (out_row < N && out_column < M) {
            out[(size_t)out_row * M + out_column] = tile[k][threadIdx.x];
        }
    }
}
