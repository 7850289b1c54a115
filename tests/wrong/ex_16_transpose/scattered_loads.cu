// expect: TOO_MUCH_WORK
// No tile: writes along the rows of out and reads down the columns of x, which looks harmless since loads are cached.

extern "C" __global__ void transpose_kernel(const float* x, float* out, int M, int N) {
    const int row = blockIdx.x * 64 + threadIdx.x;
    for (int k = threadIdx.y; k < 64; k += 4) {
        const int column = blockIdx.y * 64 + k;
        if (row < M && column < N) {
            out[(size_t)column * M + row] = x[(size_t)row * N + column];
        }
    }
}
