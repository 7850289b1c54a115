extern "C" __global__ void transpose_kernel(const float* x, float* out, long long m, long long n) {
    extern __shared__ float tile[];
    const long long tile_rows = (m + TILE - 1) / TILE;
    const long long n_tiles = tile_rows * ((n + TILE - 1) / TILE);
    for (long long t = blockIdx.x; t < n_tiles; t += gridDim.x) {
        const long long row = t % tile_rows * TILE, col = t / tile_rows * TILE;
        for (int k = threadIdx.y; k < TILE; k += 8) {
            if (row + k < m && col + threadIdx.x < n) {
                tile[k * (TILE + 1) + threadIdx.x] = x[(row + k) * n + col + threadIdx.x];
            }
        }
        __syncthreads();
        for (int k = threadIdx.y; k < TILE; k += 8) {
            if (col + k < n && row + threadIdx.x < m) {
                out[(col + k) * m + row + threadIdx.x] = tile[threadIdx.x * (TILE + 1) + k];
            }
        }
        // The next tile must not overwrite what others have yet to read.
        __syncthreads();
    }
}
