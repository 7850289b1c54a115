// expect: PASSED
// Another cure for each bed: no tile, shuffles, rotated rows, atomics in shared memory, v in pieces.

#define WARP 32
#define BLOCK 256
#define SERIES_BLOCK 128
#define SAMPLES 32
#define WARPS 8

extern "C" __global__ void blur_kernel(const float* x, float* out, int n) {
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= n) {
        return;
    }
    const float left = i > 0 ? x[i - 1] : 0.0f;
    const float right = i + 1 < n ? x[i + 1] : 0.0f;
    out[i] = (left + x[i] + right) / 3.0f;
}

extern "C" __global__ void normalise_kernel(const float* x, float* out, int n_cols) {
    __shared__ float sums[BLOCK / WARP];
    const int lane = threadIdx.x % WARP;
    const size_t start = (size_t)blockIdx.x * n_cols;
    float sum = 0.0f;
    for (int col = threadIdx.x; col < n_cols; col += BLOCK) {
        sum += fabsf(x[start + col]);
    }
    for (int distance = WARP / 2; distance > 0; distance /= 2) {
        sum += __shfl_xor_sync(0xffffffff, sum, distance);
    }
    if (lane == 0) {
        sums[threadIdx.x / WARP] = sum;
    }
    __syncthreads();
    sum = 0.0f;
    for (int warp = 0; warp < BLOCK / WARP; ++warp) {
        sum += sums[warp];
    }
    for (int col = threadIdx.x; col < n_cols; col += BLOCK) {
        out[start + col] = x[start + col] / sum;
    }
}

extern "C" __global__ void prefix_sums_kernel(const float* x, float* out, int n) {
    __shared__ float sums[BLOCK / WARP];
    const int lane = threadIdx.x % WARP;
    const int warp = threadIdx.x / WARP;
    const int i = blockIdx.x * BLOCK + threadIdx.x;
    float sum = i < n ? x[i] : 0.0f;
    for (int reach = 1; reach < WARP; reach *= 2) {
        const float before = __shfl_up_sync(0xffffffff, sum, reach);
        sum += lane >= reach ? before : 0.0f;
    }
    if (lane == WARP - 1) {
        sums[warp] = sum;
    }
    __syncthreads();
    for (int other = 0; other < warp; ++other) {
        sum += sums[other];
    }
    if (i < n) {
        out[i] = sum;
    }
}

extern "C" __global__ void smooth_kernel(const float* x, float* out, float decay, int n_series) {
    __shared__ float tile[SERIES_BLOCK][SAMPLES];
    const int thread = threadIdx.x;
    const int first = blockIdx.x * SERIES_BLOCK;
    const int n_here = min(n_series - first, SERIES_BLOCK) * SAMPLES;
    const size_t start = (size_t)first * SAMPLES;
    for (int i = thread; i < n_here; i += SERIES_BLOCK) {
        tile[i / SAMPLES][(i + i / SAMPLES) % SAMPLES] = x[start + i];
    }
    __syncthreads();
    if (first + thread < n_series) {
        float average = 0.0f;
        for (int k = 0; k < SAMPLES; ++k) {
            float& sample = tile[thread][(k + thread) % SAMPLES];
            sample = average = decay * average + (1.0f - decay) * sample;
        }
    }
    __syncthreads();
    for (int i = thread; i < n_here; i += SERIES_BLOCK) {
        out[start + i] = tile[i / SAMPLES][(i + i / SAMPLES) % SAMPLES];
    }
}

extern "C" __global__ void column_sums_kernel(const float* x, float* out, int n_rows, int n_cols) {
    __shared__ float sums[WARP];
    const int col = blockIdx.x * WARP + threadIdx.x;
    if (threadIdx.y == 0) {
        sums[threadIdx.x] = 0.0f;
    }
    __syncthreads();
    if (col < n_cols) {
        float sum = 0.0f;
        for (int row = threadIdx.y; row < n_rows; row += WARPS) {
            sum += x[(size_t)row * n_cols + col];
        }
        atomicAdd(&sums[threadIdx.x], sum);
    }
    __syncthreads();
    if (threadIdx.y == 0 && col < n_cols) {
        out[col] = sums[threadIdx.x];
    }
}

extern "C" __global__ void matvec_kernel(const float* a, const float* v, float* out, int n_rows, int n_cols) {
    __shared__ float piece[BLOCK];
    const int lane = threadIdx.x % WARP;
    const int row = blockIdx.x * (blockDim.x / WARP) + threadIdx.x / WARP;
    float sum = 0.0f;
    for (int start = 0; start < n_cols; start += BLOCK) {
        const int n_here = min(n_cols - start, BLOCK);
        __syncthreads();
        if (threadIdx.x < n_here) {
            piece[threadIdx.x] = v[start + threadIdx.x];
        }
        __syncthreads();
        for (int k = lane; row < n_rows && k < n_here; k += WARP) {
            sum += a[(size_t)row * n_cols + start + k] * piece[k];
        }
    }
    for (int distance = WARP / 2; distance > 0; distance /= 2) {
        sum += __shfl_down_sync(0xffffffff, sum, distance);
    }
    if (lane == 0 && row < n_rows) {
        out[row] = sum;
    }
}
