// Asynchronous copies to shared memory, two stages deep.
#include <cuda_pipeline.h>

extern "C" __global__ void pipeline(const float4* x, float4* out, int n_stages) {
  __shared__ float4 stages[2][64];
  const int i = threadIdx.x;
  __pipeline_memcpy_async(&stages[0][i], &x[i], sizeof(float4));
  __pipeline_commit();
  for (int stage = 0; stage < n_stages; ++stage) {
    if (stage + 1 < n_stages) {
      __pipeline_memcpy_async(&stages[(stage + 1) % 2][i], &x[(stage + 1) * 64 + i], sizeof(float4), i == 0 ? 8 : 0);
    }
    __pipeline_commit();
    __pipeline_wait_prior(1);
    __syncthreads();
    out[stage * 64 + i] = stages[stage % 2][63 - i];
    __syncthreads();
  }
}
