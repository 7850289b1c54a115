// The kernels of large_blocks.py.

#define WARP 32
#define BLOCK 256
#define SERIES_BLOCK 128
#define SAMPLES 32
#define WARPS 8

extern "C" __global__ void blur_kernel(const float* x, float* out, int n) {
    __shared__ float tile[BLOCK + 2];
    const int thread = threadIdx.x;
    const int i = blockIdx.x * BLOCK + thread;
    tile[thread + 1] = i < n ? x[i] : 0.0f;
    if (thread == 0) {
        tile[0] = i > 0 ? x[i - 1] : 0.0f;
    }
    if (thread == BLOCK - 1) {
        tile[BLOCK + 1] = i + 1 < n ? x[i + 1] : 0.0f;
    }
    __syncthreads();
    if (i < n) {
        out[i] = (tile[thread] + tile[thread + 1] + tile[thread + 2]) / 3.0f;
    }
}

extern "C" __global__ void normalise_kernel(const float* x, float* out, int n_cols) {
    __shared__ float sums[BLOCK];
    const int thread = threadIdx.x;
    const float* row = x + (size_t)blockIdx.x * n_cols;
    float* out_row = out + (size_t)blockIdx.x * n_cols;
    float sum = 0.0f;
    for (int col = thread; col < n_cols; col += BLOCK) {
        sum += fabsf(row[col]);
    }
    sums[thread] = sum;
    __syncthreads();
    for (int half = BLOCK / 2; half > 0; half /= 2) {
        if (thread < half) {
            sums[thread] += sums[thread + half];
        }
        __syncthreads();
    }
    __syncthreads();
    for (int col = thread; col < n_cols; col += BLOCK) {
        out_row[col] = row[col] / sums[0];
    }
}

extern "C" __global__ void prefix_sums_kernel(const float* x, float* out, int n) {
    __shared__ float sums[2][BLOCK];
    const int thread = threadIdx.x;
    const int i = blockIdx.x * BLOCK + thread;
    int from = 0;
    sums[from][thread] = i < n ? x[i] : 0.0f;
    for (int reach = 1; reach < BLOCK; reach *= 2) {
        __syncthreads();
        sums[1 - from][thread] = sums[from][thread] + (thread >= reach ? sums[from][thread - reach] : 0.0f);
        from = 1 - from;
    }
    if (i < n) {
        out[i] = sums[from][thread];
    }
}

extern "C" __global__ void smooth_kernel(const float* x, float* out, float decay, int n_series) {
    __shared__ float tile[SERIES_BLOCK][SAMPLES + 1];
    const int thread = threadIdx.x;
    const int first = blockIdx.x * SERIES_BLOCK;
    const int n_here = min(n_series - first, SERIES_BLOCK) * SAMPLES;
    const size_t start = (size_t)first * SAMPLES;
    for (int i = thread; i < n_here; i += SERIES_BLOCK) {
        tile[i / SAMPLES][i % SAMPLES] = x[start + i];
    }
    __syncthreads();
    if (first + thread < n_series) {
        float average = 0.0f;
        for (int k = 0; k < SAMPLES; ++k) {
            tile[thread][k] = average = decay * average + (1.0f - decay) * tile[thread][k];
        }
    }
    __syncthreads();
    for (int i = thread; i < n_here; i += SERIES_BLOCK) {
        out[start + i] = tile[i / SAMPLES][i % SAMPLES];
    }
}

extern "C" __global__ void column_sums_kernel(const float* x, float* out, int n_rows, int n_cols) {
    const int col = blockIdx.x * WARP + threadIdx.x;
    if (col < n_cols) {
        float sum = 0.0f;
        for (int row = threadIdx.y; row < n_rows; row += WARPS) {
            sum += x[(size_t)row * n_cols + col];
        }
        atomicAdd(&out[col], sum);
    }
}

extern "C" __global__ void matvec_kernel(const float* a, const float* v, float* out, int n_rows, int n_cols) {
    extern __shared__ float staged[];
    for (int col = threadIdx.x; col < n_cols; col += blockDim.x) {
        staged[col] = v[col];
    }
    __syncthreads();
    const int lane = threadIdx.x % WARP;
    const int row = blockIdx.x * (blockDim.x / WARP) + threadIdx.x / WARP;
    if (row >= n_rows) {
        return;
    }
    float sum = 0.0f;
    for (int col = lane; col < n_cols; col += WARP) {
        sum += a[(size_t)row * n_cols + col] * staged[col];
    }
    for (int distance = WARP / 2; distance > 0; distance /= 2) {
        sum += __shfl_down_sync(0xffffffff, sum, distance);
    }
    if (lane == 0) {
        out[row] = sum;
    }
}
