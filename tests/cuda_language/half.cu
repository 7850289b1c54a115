// Half precision: operators, intrinsics and conversions.
#include <cuda_fp16.h>

extern "C" __global__ void arithmetic(const __half* x, const __half* y, const __half* z, __half* out,
                                      int n) {
  const int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i >= n) return;
  const __half a = x[i], b = y[i], c = z[i];
  __half* row = out + i * 12;
  row[0] = a + b;
  row[1] = a - b;
  row[2] = a * b;
  row[3] = a / b;
  row[4] = __hfma(a, b, c);
  row[5] = hsqrt(__habs(a));
  row[6] = __hmax(a, b);
  row[7] = __hmin(a, b);
  row[8] = -a;
  __half sum = a;
  sum += b;
  sum *= c;
  row[9] = sum;
  row[10] = hrint(a);
  row[11] = __hadd_sat(a, b);
}

extern "C" __global__ void pairs(const __half2* x, const __half2* y, __half2* out, int n) {
  const int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i >= n) return;
  const __half2 a = x[i], b = y[i];
  __half2* row = out + i * 8;
  row[0] = a + b;
  row[1] = __hfma2(a, b, a);
  row[2] = __lowhigh2highlow(a);
  row[3] = __floats2half2_rn(__low2float(a) + 1.0f, __high2float(b));
  row[4] = __halves2half2(a.y, b.x);
  row[5] = __hmul2(a, __float2half2_rn(2.0f));
  row[6] = __float22half2_rn(__half22float2(b));
  row[7] = __low2half2(a);
}

extern "C" __global__ void comparisons(const __half* x, const __half* y, int* out, int n) {
  const int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i >= n) return;
  const __half a = x[i], b = y[i];
  out[i] = (a < b) | (a <= b) << 1 | (a > b) << 2 | (a >= b) << 3 | (a == b) << 4 | (a != b) << 5 | __hisnan(a) << 6 |
           __hltu(a, b) << 7 | __hne(a, b) << 8;
}

extern "C" __global__ void from_float(const float* x, unsigned short* out, int n) {
  const int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i >= n) return;
  const float a = x[i];
  unsigned short* row = out + i * 5;
  row[0] = __half_as_ushort(__float2half(a));
  row[1] = __half_as_ushort(__float2half_rz(a));
  row[2] = __half_as_ushort(__float2half_ru(a));
  row[3] = __half_as_ushort(__float2half_rd(a));
  row[4] = __half_as_ushort(__double2half(static_cast<double>(a) * 1.0000001));
}

extern "C" __global__ void to_float(const __half* x, float* out, int* whole, int n) {
  const int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i >= n) return;
  const __half a = x[i];
  out[i] = a;
  whole[i] = __half2int_rn(a);
}

extern "C" __global__ void from_integer(const int* x, __half* out, int n) {
  const int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i < n) out[i] = __int2half_rn(x[i]);
}

// A shared array, a shuffle, an atomic, a cached load: each with the type itself.
extern "C" __global__ void __launch_bounds__(32) moved(const __half* x, __half* out) {
  __shared__ __half tile[32];
  __shared__ __half2 sums[1];
  const int i = threadIdx.x;
  if (i == 0) sums[0] = __half2(__half(0.0f), __half(0.0f));
  tile[i] = __ldg(x + i);
  __syncthreads();
  atomicAdd(&sums[0], __half2(__half(1.0f), tile[i]));
  __syncthreads();
  out[i] = __shfl_xor_sync(0xffffffffu, tile[i], 1) + sums[0].x;
  if (i == 0) {
    out[32] = sums[0].y;
    __half literal = 3;
    literal = 2.5f;
    out[33] = literal;
    out[34] = __half(7u) + __half(0.5);
  }
}
