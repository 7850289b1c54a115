// The kernels of docs/emulator.md's table. cuda_ncu_table.py launches them, in the emulator and under ncu.

extern "C" __global__ void copy(const float* x, float* y, int n) {
  int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i < n) y[i] = x[i];
}

extern "C" __global__ void copy_stride_2(const float* x, float* y, int n) {
  int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (2 * i < n) y[2 * i] = x[2 * i];
}

extern "C" __global__ void copy_misaligned(const float* x, float* y, int n) {
  int i = blockIdx.x * blockDim.x + threadIdx.x + 1;
  if (i < n) y[i] = x[i];
}

extern "C" __global__ void copy_float4(const float4* x, float4* y, int n) {
  int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (4 * i < n) y[i] = x[i];
}

extern "C" __global__ void copy_bytes(const unsigned char* x, unsigned char* y, int n) {
  int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i < n) y[i] = x[i];
}

extern "C" __global__ void transpose_naive(const float* x, float* y, int width) {
  int column = blockIdx.x * 32 + threadIdx.x;
  int row = blockIdx.y * 32 + threadIdx.y;
  for (int k = 0; k < 32; k += 8) y[column * width + row + k] = x[(row + k) * width + column];
}

extern "C" __global__ void transpose_tile(const float* x, float* y, int width) {
  __shared__ float tile[32][32];
  int column = blockIdx.x * 32 + threadIdx.x;
  int row = blockIdx.y * 32 + threadIdx.y;
  for (int k = 0; k < 32; k += 8) tile[threadIdx.y + k][threadIdx.x] = x[(row + k) * width + column];
  __syncthreads();
  column = blockIdx.y * 32 + threadIdx.x;
  row = blockIdx.x * 32 + threadIdx.y;
  for (int k = 0; k < 32; k += 8) y[(row + k) * width + column] = tile[threadIdx.x][threadIdx.y + k];
}

extern "C" __global__ void transpose_padded(const float* x, float* y, int width) {
  __shared__ float tile[32][33];
  int column = blockIdx.x * 32 + threadIdx.x;
  int row = blockIdx.y * 32 + threadIdx.y;
  for (int k = 0; k < 32; k += 8) tile[threadIdx.y + k][threadIdx.x] = x[(row + k) * width + column];
  __syncthreads();
  column = blockIdx.y * 32 + threadIdx.x;
  row = blockIdx.x * 32 + threadIdx.y;
  for (int k = 0; k < 32; k += 8) y[(row + k) * width + column] = tile[threadIdx.x][threadIdx.y + k];
}

extern "C" __global__ void sgemm_naive(const float* a, const float* b, float* c, int n) {
  int column = blockIdx.x * 16 + threadIdx.x;
  int row = blockIdx.y * 16 + threadIdx.y;
  float sum = 0.0f;
  for (int k = 0; k < n; k++) sum += a[row * n + k] * b[k * n + column];
  c[row * n + column] = sum;
}

extern "C" __global__ void sgemm_tiled(const float* a, const float* b, float* c, int n) {
  __shared__ float a_tile[16][16];
  __shared__ float b_tile[16][16];
  int column = blockIdx.x * 16 + threadIdx.x;
  int row = blockIdx.y * 16 + threadIdx.y;
  float sum = 0.0f;
  for (int k = 0; k < n; k += 16) {
    a_tile[threadIdx.y][threadIdx.x] = a[row * n + k + threadIdx.x];
    b_tile[threadIdx.y][threadIdx.x] = b[(k + threadIdx.y) * n + column];
    __syncthreads();
    for (int j = 0; j < 16; j++) sum += a_tile[threadIdx.y][j] * b_tile[j][threadIdx.x];
    __syncthreads();
  }
  c[row * n + column] = sum;
}

extern "C" __global__ void sum_by_shuffles(const float* x, float* sums, int n) {
  __shared__ float partial[32];
  float sum = 0.0f;
  for (int i = blockIdx.x * blockDim.x + threadIdx.x; i < n; i += gridDim.x * blockDim.x) sum += x[i];
  for (int k = 16; k > 0; k /= 2) sum += __shfl_down_sync(0xffffffffu, sum, k);
  if (threadIdx.x % 32 == 0) partial[threadIdx.x / 32] = sum;
  __syncthreads();
  if (threadIdx.x < 32) {
    sum = threadIdx.x < blockDim.x / 32 ? partial[threadIdx.x] : 0.0f;
    for (int k = 16; k > 0; k /= 2) sum += __shfl_down_sync(0xffffffffu, sum, k);
    if (threadIdx.x == 0) sums[blockIdx.x] = sum;
  }
}

extern "C" __global__ void histogram(const unsigned* x, unsigned* bins, int n) {
  __shared__ unsigned mine[256];
  mine[threadIdx.x] = 0;
  __syncthreads();
  for (int i = blockIdx.x * blockDim.x + threadIdx.x; i < n; i += gridDim.x * blockDim.x) atomicAdd(&mine[x[i] % 256], 1u);
  __syncthreads();
  atomicAdd(&bins[threadIdx.x], mine[threadIdx.x]);
}

extern "C" __global__ void shared_stride(const float* x, float* y, int stride) {
  __shared__ float values[1024];
  for (int k = threadIdx.x; k < 1024; k += blockDim.x) values[k] = x[blockIdx.x * 1024 + k];
  __syncthreads();
  y[blockIdx.x * blockDim.x + threadIdx.x] = values[threadIdx.x * stride % 1024];
}

extern "C" __global__ void shared_float4(const float4* x, float4* y, int n) {
  __shared__ float4 values[256];
  int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (4 * i < n) values[threadIdx.x] = x[i];
  __syncthreads();
  if (4 * i < n) y[i] = values[255 - threadIdx.x];
}

// Where a compiler changes what the source says.

extern "C" __global__ void reads_again(const float* x, float* y, int n) {
  int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i + 1 < n) {
    y[i] = 2.0f * x[i];
    y[i] = y[i] + x[i];  // y could be x: without __restrict__ x[i] is read anew
  }
}

extern "C" __global__ void four_in_a_row(const float* __restrict__ x, float* __restrict__ y, int n) {
  int i = 4 * (blockIdx.x * blockDim.x + threadIdx.x);
  if (i < n) y[i / 4] = x[i] + x[i + 1] + x[i + 2] + x[i + 3];
}
