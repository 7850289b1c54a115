// The kernel of naive.py.

extern "C" __global__ void sgemm_kernel(const float* a, const float* b, float* out, int M, int N, int K) {
    const int row = blockIdx.y * blockDim.y + threadIdx.y;
    const int col = blockIdx.x * blockDim.x + threadIdx.x;
    if (row >= M || col >= N) return;
    float sum = 0.0f;
    for (int k = 0; k < K; k++) sum += a[(size_t)row * K + k] * b[(size_t)k * N + col];
    out[(size_t)row * N + col] = sum;
}
