// bfloat16: operators, intrinsics and conversions.
#include <cuda_bf16.h>

extern "C" __global__ void arithmetic(const __nv_bfloat16* x, const __nv_bfloat16* y, const __nv_bfloat16* z,
                                      __nv_bfloat16* out, int n) {
  const int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i >= n) return;
  const __nv_bfloat16 a = x[i], b = y[i], c = z[i];
  __nv_bfloat16* row = out + i * 12;
  row[0] = a + b;
  row[1] = a - b;
  row[2] = a * b;
  row[3] = a / b;
  row[4] = __hfma(a, b, c);
  row[5] = hsqrt(__habs(a));
  row[6] = __hmax(a, b);
  row[7] = __hmin(a, b);
  row[8] = -a;
  __nv_bfloat16 sum = a;
  sum += b;
  sum *= c;
  row[9] = sum;
  row[10] = hrint(a);
  row[11] = __hadd_sat(a, b);
}

extern "C" __global__ void pairs(const __nv_bfloat162* x, const __nv_bfloat162* y, __nv_bfloat162* out, int n) {
  const int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i >= n) return;
  const __nv_bfloat162 a = x[i], b = y[i];
  __nv_bfloat162* row = out + i * 8;
  row[0] = a + b;
  row[1] = __hfma2(a, b, a);
  row[2] = __lowhigh2highlow(a);
  row[3] = __floats2bfloat162_rn(__low2float(a) + 1.0f, __high2float(b));
  row[4] = __halves2bfloat162(a.y, b.x);
  row[5] = __hmul2(a, __float2bfloat162_rn(2.0f));
  row[6] = __float22bfloat162_rn(__bfloat1622float2(b));
  row[7] = __low2bfloat162(a);
}

extern "C" __global__ void comparisons(const __nv_bfloat16* x, const __nv_bfloat16* y, int* out, int n) {
  const int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i >= n) return;
  const __nv_bfloat16 a = x[i], b = y[i];
  out[i] = (a < b) | (a <= b) << 1 | (a > b) << 2 | (a >= b) << 3 | (a == b) << 4 | (a != b) << 5 | __hisnan(a) << 6 |
           __hltu(a, b) << 7 | __hne(a, b) << 8;
}

extern "C" __global__ void from_float(const float* x, unsigned short* out, int n) {
  const int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i >= n) return;
  const float a = x[i];
  unsigned short* row = out + i * 5;
  row[0] = __bfloat16_as_ushort(__float2bfloat16(a));
  row[1] = __bfloat16_as_ushort(__float2bfloat16_rz(a));
  row[2] = __bfloat16_as_ushort(__float2bfloat16_ru(a));
  row[3] = __bfloat16_as_ushort(__float2bfloat16_rd(a));
  row[4] = __bfloat16_as_ushort(__double2bfloat16(static_cast<double>(a) * 1.0000001));
}

extern "C" __global__ void to_float(const __nv_bfloat16* x, float* out, int* whole, int n) {
  const int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i >= n) return;
  const __nv_bfloat16 a = x[i];
  out[i] = a;
  whole[i] = __bfloat162int_rn(a);
}

extern "C" __global__ void from_integer(const int* x, __nv_bfloat16* out, int n) {
  const int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i < n) out[i] = __int2bfloat16_rn(x[i]);
}

// A shared array, a shuffle, an atomic, a cached load: each with the type itself.
extern "C" __global__ void __launch_bounds__(32) moved(const __nv_bfloat16* x, __nv_bfloat16* out) {
  __shared__ __nv_bfloat16 tile[32];
  __shared__ __nv_bfloat162 sums[1];
  const int i = threadIdx.x;
  if (i == 0) sums[0] = __nv_bfloat162(__nv_bfloat16(0.0f), __nv_bfloat16(0.0f));
  tile[i] = __ldg(x + i);
  __syncthreads();
  atomicAdd(&sums[0], __nv_bfloat162(__nv_bfloat16(1.0f), tile[i]));
  __syncthreads();
  out[i] = __shfl_xor_sync(0xffffffffu, tile[i], 1) + sums[0].x;
  if (i == 0) {
    out[32] = sums[0].y;
    __nv_bfloat16 literal = 3;
    literal = 2.5f;
    out[33] = literal;
    out[34] = __nv_bfloat16(7u) + __nv_bfloat16(0.5);
  }
}
