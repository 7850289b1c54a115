// expect: COMPILE_FAILED
// A semicolon is missing: the compiler's message has to name the learner's own line.

__device__ float warp_sum(float value) {
    for (int distance = 16; distance > 0; distance /= 2) {
        value += __shfl_down_sync(0xffffffffu, value, distance);
    }
    return value;
}

__device__ float block_sum(float value) {
    __shared__ float warp_sums[32];
    value = warp_sum(value);
    if (threadIdx.x % 32 == 0) {
        warp_sums[threadIdx.x / 32] = value;
    }
    __syncthreads();
    if (threadIdx.x < 32) {
        value = warp_sum(threadIdx.x < blockDim.x / 32 ? warp_sums[threadIdx.x] : 0.0f);
    }
    return value;
}

// This thread's part of the sum.
__device__ float share_of(const float* x, long long n_elements) {
    const long long n_threads = (long long)gridDim.x * blockDim.x;
    const long long thread = (long long)blockIdx.x * blockDim.x + threadIdx.x;
    const long long to_aligned = (16 - (size_t)x % 16) / 4 % 4;
    const long long n_head = to_aligned < n_elements ? to_aligned : n_elements;
    const long long n_vectors = (n_elements - n_head) / 4;
    const long long n_done = n_head + 4 * n_vectors;
    float sum = 0.0f;
    for (long long i = thread; i < n_vectors; i += n_threads) {
        const float4 v = ((const float4*)(x + n_head))[i];
        sum += (v.x + v.y) + (v.z + v.w);
    }
    if (thread < n_head) {
        sum += x[thread];
    }
    if (n_done + thread < n_elements) {
        sum += x[n_done + thread];
    }
    return sum;
}

extern "C" __global__ void add_kernel(const float* x, const float* y, float* out, long long n_elements) {
    const long long n_threads = (long long)gridDim.x * blockDim.x;
    const long long thread = (long long)blockIdx.x * blockDim.x + threadIdx.x;
    const bool is_aligned = ((size_t)x | (size_t)y | (size_t)out) % 16 == 0;
    const long long n_vectors = is_aligned ? n_elements / 4 : 0
    for (long long i = thread; i < n_vectors; i += n_threads) {
        const float4 a = ((const float4*)x)[i];
        const float4 b = ((const float4*)y)[i];
        ((float4*)out)[i] = make_float4(a.x + b.x, a.y + b.y, a.z + b.z, a.w + b.w);
    }
    for (long long i = 4 * n_vectors + thread; i < n_elements; i += n_threads) {
        out[i] = x[i] + y[i];
    }
}

extern "C" __global__ void partial_sums_kernel(const float* x, float* sums, long long n_elements) {
    const float sum = block_sum(share_of(x, n_elements));
    if (threadIdx.x == 0) {
        sums[blockIdx.x] = sum;
    }
}
