// What is neither arithmetic nor a warp's: qualifiers, templates, shared memory of both kinds, vector types, output.
#include <cuda_runtime.h>
#include <math_constants.h>

static_assert(sizeof(float3) == 12 && alignof(float3) == 4, "");
static_assert(sizeof(float4) == 16 && alignof(float4) == 16, "");
static_assert(sizeof(double2) == 16 && alignof(double2) == 16, "");
static_assert(sizeof(uchar4) == 4 && alignof(uchar4) == 4, "");
static_assert(sizeof(short3) == 6 && alignof(short3) == 2, "");
static_assert(sizeof(int2) == 8 && alignof(int2) == 8, "");
static_assert(sizeof(longlong3) == 24 && alignof(longlong3) == 8, "");
static_assert(sizeof(dim3) == 12, "");

__constant__ float weights[4] = {1.0f, 2.0f, 3.0f, 4.0f};
__constant__ const int offsets[2] = {10, 20};
__device__ int launches;
static constexpr __device__ int kFactor = 3;

struct __align__(8) Pair {
  float low, high;
  __host__ __device__ Pair operator+(const Pair& other) const { return Pair{low + other.low, high + other.high}; }
};

template <int kCount, typename Function>
__device__ __forceinline__ float summed(const float* __restrict__ x, Function&& function) {
  float sum = 0.0f;
#pragma unroll
  for (int i = 0; i < kCount; ++i) sum += function(x[i]);
  return sum;
}

__device__ __noinline__ float4 scaled(float4 v, float factor) {
  return make_float4(v.x * factor, v.y * factor, v.z * factor, v.w * factor);
}
__device__ float later(float x);

extern "C" __global__ void __launch_bounds__(64, 2) features(const float* x, float* out, Pair* pairs) {
  extern __shared__ float dynamic[];
  __shared__ alignas(16) float tile[8][9];
  __shared__ int n_seen;
  const int i = threadIdx.y * blockDim.x + threadIdx.x;
  if (i == 0) n_seen = 0;
  dynamic[i] = x[i];
  tile[i / 8][i % 8] = x[i];
  __syncthreads();
  const float bias = weights[i % 4];
  const auto shifted = [=](float value) { return value + bias; };
  out[i] = summed<4>(dynamic + i % 16, shifted) + tile[i % 8][i / 8] + static_cast<float>(offsets[i % 2] + kFactor);
  pairs[i] = pairs[i] + Pair{1.0f, later(2.0f)};
  if (i == 5) {
    printf("thread %d of %u: %.2f %s\n", i, blockDim.x * blockDim.y, out[i], "seen");
    atomicAdd(&launches, 1);
    out[64] = CUDART_PI_F + static_cast<float>(gridDim.x + blockIdx.x);
    out[65] = clock64() >= 0 ? 1.0f : 0.0f;
  }
  __builtin_assume(i < 64);
  assert(i < 64);
}

__device__ float later(float x) { return x + 1.0f; }

extern "C" __global__ void vectors(const float4* x, float4* out, int n) {
  const int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i < n) out[i] = scaled(x[i], 2.0f);
}

extern "C" __global__ void hinted(const float4* x, float4* out, int n) {
  const int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i < n) __stcs(out + i, __ldg(x + i));
}

__device__ unsigned long long factorial(unsigned n) { return n < 2 ? 1 : n * factorial(n - 1); }

extern "C" __global__ void recursive(unsigned long long* out) { out[threadIdx.x] = factorial(threadIdx.x); }

extern "C" __global__ void failing(const int* x) {
  assert(x[threadIdx.x] > 0);
}

template <typename T, int kScale>
__global__ void generic(const T* x, T* out) {
  out[threadIdx.x] = x[threadIdx.x] * kScale;
}
template __global__ void generic<float, 3>(const float*, float*);
