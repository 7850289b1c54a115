// expect: TOO_MUCH_WORK
// No tile: reads along the rows of x and writes down the columns of out, 32 sectors a request.

extern "C" __global__ void transpose_kernel(const float* x, float* out, int M, int N) {
    const int column = blockIdx.y * 64 + threadIdx.x;
    for (int k = threadIdx.y; k < 64; k += 4) {
        const int row = blockIdx.x * 64 + k;
        if (row < M && column < N) {
            out[(size_t)column * M + row] = x[(size_t)row * N + column];
        }
    }
}
