// expect: PROVISIONAL
// expect-gpu: PASSED|TOO_SLOW
// With cooperative groups in place of bare shuffles, and two float4 under way at a time.

#include <cooperative_groups.h>

namespace cg = cooperative_groups;

__device__ float4 plus(float4 a, float4 b) {
    return make_float4(a.x + b.x, a.y + b.y, a.z + b.z, a.w + b.w);
}

extern "C" __global__ void __launch_bounds__(256)
add_kernel(const float* x, const float* y, float* out, long long n_elements) {
    const size_t n_threads = (size_t)gridDim.x * blockDim.x;
    const size_t thread = (size_t)blockIdx.x * blockDim.x + threadIdx.x;
    const size_t n = n_elements;
    const size_t n_vectors = ((size_t)x | (size_t)y | (size_t)out) & 15 ? 0 : n / 4;
    const float4* x4 = (const float4*)x;
    const float4* y4 = (const float4*)y;
    for (size_t i = thread; i < n_vectors; i += 2 * n_threads) {
        const size_t j = i + n_threads;
        const bool has_second = j < n_vectors;
        const float4 first = plus(x4[i], y4[i]);
        const float4 second = has_second ? plus(x4[j], y4[j]) : first;
        ((float4*)out)[i] = first;
        if (has_second) {
            ((float4*)out)[j] = second;
        }
    }
    for (size_t i = 4 * n_vectors + thread; i < n; i += n_threads) {
        out[i] = x[i] + y[i];
    }
}

extern "C" __global__ void partial_sums_kernel(const float* x, float* sums, long long n_elements) {
    __shared__ float warp_sums[32];
    const cg::thread_block block = cg::this_thread_block();
    const auto warp = cg::tiled_partition<32>(block);
    const long long n_threads = (long long)gridDim.x * blockDim.x;
    const long long thread = (long long)blockIdx.x * blockDim.x + threadIdx.x;
    const long long n_vectors = (size_t)x % 16 ? 0 : n_elements / 4;
    float sum = 0.0f;
    for (long long i = thread; i < n_vectors; i += n_threads) {
        const float4 v = ((const float4*)x)[i];
        sum += v.x + v.y + v.z + v.w;
    }
    for (long long i = 4 * n_vectors + thread; i < n_elements; i += n_threads) {
        sum += x[i];
    }
    for (int offset = warp.size() / 2; offset > 0; offset /= 2) {
        sum += warp.shfl_down(sum, offset);
    }
    if (warp.thread_rank() == 0) {
        warp_sums[threadIdx.x / 32] = sum;
    }
    block.sync();
    if (threadIdx.x == 0) {
        // A handful of sums: one thread adds them as fast as a warp would.
        for (int w = 1; w < blockDim.x / 32; ++w) {
            sum += warp_sums[w];
        }
        sums[blockIdx.x] = sum;
    }
}
