// How many floats come before the first multiple of 16.
__device__ long long head_of(const float* x, long long n_elements) {
    const long long n_head = (4 - (size_t)x / 4 % 4) % 4;
    return n_head < n_elements ? n_head : n_elements;
}

extern "C" __global__ void add_kernel(const float* __restrict__ x, const float* __restrict__ y,
                                      float* __restrict__ out, long long n_elements) {
    const long long step = (long long)gridDim.x * blockDim.x;
    const long long first = (long long)blockIdx.x * blockDim.x + threadIdx.x;
    if ((size_t)x % 16 != (size_t)y % 16 || (size_t)x % 16 != (size_t)out % 16) {
        for (long long i = first; i < n_elements; i += step) {
            out[i] = x[i] + y[i];
        }
        return;
    }
    const long long n_head = head_of(x, n_elements);
    const long long n_vectors = (n_elements - n_head) / 4;
    for (long long i = first; i < n_vectors; i += step) {
        float4 a = __ldg(reinterpret_cast<const float4*>(x + n_head) + i);
        const float4 b = __ldg(reinterpret_cast<const float4*>(y + n_head) + i);
        a.x += b.x;
        a.y += b.y;
        a.z += b.z;
        a.w += b.w;
        reinterpret_cast<float4*>(out + n_head)[i] = a;
    }
    const long long n_left = n_elements - 4 * n_vectors;
    if (first < n_left) {
        const long long i = first < n_head ? first : first + 4 * n_vectors;
        out[i] = x[i] + y[i];
    }
}

extern "C" __global__ void total_kernel(const float* x, float* out, long long n_elements) {
    const long long step = (long long)gridDim.x * blockDim.x;
    const long long first = (long long)blockIdx.x * blockDim.x + threadIdx.x;
    const long long n_head = head_of(x, n_elements);
    const long long n_vectors = (n_elements - n_head) / 4;
    float4 sums = make_float4(0.0f, 0.0f, 0.0f, 0.0f);
    for (long long i = first; i < n_vectors; i += step) {
        const float4 v = reinterpret_cast<const float4*>(x + n_head)[i];
        sums.x += v.x;
        sums.y += v.y;
        sums.z += v.z;
        sums.w += v.w;
    }
    const long long n_left = n_elements - 4 * n_vectors;
    if (first < n_left) {
        sums.x += x[first < n_head ? first : first + 4 * n_vectors];
    }
    float sum = (sums.x + sums.y) + (sums.z + sums.w);
    for (int lane_bit = 16; lane_bit > 0; lane_bit >>= 1) {
        sum += __shfl_xor_sync(0xffffffffu, sum, lane_bit);
    }
    if (threadIdx.x % 32 == 0) {
        atomicAdd(out, sum);
    }
}
