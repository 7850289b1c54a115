// Eight lanes take 32 columns of a row with a float4 each, so a warp has four rows. In rows of 33 words, row r and
// column 4q + i lie in bank r + 4q + i, which differs from lane to lane for each i, in both directions.
extern "C" __global__ void __launch_bounds__(256) transpose_float4(const float* x, float* out, int n_rows, int n_cols) {
    __shared__ float tile[32][33];
    const int line = threadIdx.x / 8, four = threadIdx.x % 8 * 4;
    const int row = blockIdx.x * 32, col = blockIdx.y * 32;
    if (row + line < n_rows && col + four < n_cols) {
        const float4 v = *reinterpret_cast<const float4*>(x + (size_t)(row + line) * n_cols + col + four);
        tile[line][four] = v.x;
        tile[line][four + 1] = v.y;
        tile[line][four + 2] = v.z;
        tile[line][four + 3] = v.w;
    }
    __syncthreads();
    if (col + line < n_cols && row + four < n_rows) {
        const float4 v =
            make_float4(tile[four][line], tile[four + 1][line], tile[four + 2][line], tile[four + 3][line]);
        *reinterpret_cast<float4*>(out + (size_t)(col + line) * n_rows + row + four) = v;
    }
}

extern "C" __global__ void transpose_floats(const float* x, float* out, int n_rows, int n_cols) {
    __shared__ float tile[32][33];
    const int lane = threadIdx.x % 32;
    const int row = blockIdx.x * 32, col = blockIdx.y * 32;
    for (int k = threadIdx.x / 32; k < 32; k += 8) {
        if (row + k < n_rows && col + lane < n_cols) {
            tile[k][lane] = x[(size_t)(row + k) * n_cols + col + lane];
        }
    }
    __syncthreads();
    for (int k = threadIdx.x / 32; k < 32; k += 8) {
        if (col + k < n_cols && row + lane < n_rows) {
            out[(size_t)(col + k) * n_rows + row + lane] = tile[lane][k];
        }
    }
}
