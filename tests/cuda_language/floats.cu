// Arithmetic and conversions with a stated rounding, and the mathematical functions.
#define ROUNDINGS(FUNCTION) FUNCTION(rn, 0) FUNCTION(rz, 1) FUNCTION(ru, 2) FUNCTION(rd, 3)

extern "C" __global__ void rounded(const float* x, const float* y, const float* z, float* out, int n) {
  const int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i >= n) return;
  const float a = x[i], b = y[i], c = z[i];
  float* row = out + i * 24;
#define STORE(SUFFIX, K)                       \
  row[6 * K] = __fadd_##SUFFIX(a, b);          \
  row[6 * K + 1] = __fsub_##SUFFIX(a, b);      \
  row[6 * K + 2] = __fmul_##SUFFIX(a, b);      \
  row[6 * K + 3] = __fdiv_##SUFFIX(a, b);      \
  row[6 * K + 4] = __fsqrt_##SUFFIX(fabsf(a)); \
  row[6 * K + 5] = __fmaf_##SUFFIX(a, b, c);
  ROUNDINGS(STORE)
#undef STORE
}

extern "C" __global__ void to_integers(const float* x, long long* out, int n) {
  const int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i >= n) return;
  const float a = x[i];
  const double d = a;
  long long* row = out + i * 24;
#define STORE(SUFFIX, K)                                             \
  row[6 * K] = __float2int_##SUFFIX(a);                              \
  row[6 * K + 1] = __float2uint_##SUFFIX(a);                         \
  row[6 * K + 2] = __float2ll_##SUFFIX(a);                           \
  row[6 * K + 3] = static_cast<long long>(__float2ull_##SUFFIX(a));  \
  row[6 * K + 4] = __double2int_##SUFFIX(d);                         \
  row[6 * K + 5] = static_cast<long long>(__double2ull_##SUFFIX(d));
  ROUNDINGS(STORE)
#undef STORE
}

extern "C" __global__ void from_integers(const long long* x, float* out, int n) {
  const int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i >= n) return;
  const long long a = x[i];
  float* row = out + i * 20;
#define STORE(SUFFIX, K)                                                        \
  row[5 * K] = __int2float_##SUFFIX(static_cast<int>(a));                       \
  row[5 * K + 1] = __uint2float_##SUFFIX(static_cast<unsigned>(a));             \
  row[5 * K + 2] = __ll2float_##SUFFIX(a);                                      \
  row[5 * K + 3] = __ull2float_##SUFFIX(static_cast<unsigned long long>(a));    \
  row[5 * K + 4] = __double2float_##SUFFIX(static_cast<double>(a) / 3.0);
  ROUNDINGS(STORE)
#undef STORE
}

extern "C" __global__ void functions(const float* x, const float* y, float* out, int n) {
  const int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i >= n) return;
  const float a = x[i], b = y[i];
  float* row = out + i * 40;
  row[0] = sinf(a);
  row[1] = cosf(a);
  row[2] = __sinf(a);
  row[3] = expf(a);
  row[4] = __expf(a);
  row[5] = logf(b);
  row[6] = __log2f(b);
  row[7] = powf(b, a);
  row[8] = __powf(b, a);
  row[9] = rsqrtf(b);
  row[10] = sqrtf(b);
  row[11] = tanhf(a);
  row[12] = erff(a);
  row[13] = exp10f(a);
  row[14] = exp2f(a);
  row[15] = cbrtf(b);
  row[16] = rcbrtf(b);
  row[17] = sinpif(a);
  row[18] = cospif(a);
  row[19] = normcdff(a);
  row[20] = erfinvf(a / 8.0f);
  row[21] = hypotf(a, b);
  row[22] = norm3df(a, b, 2.0f);
  row[23] = __fdividef(a, b);
  row[24] = __saturatef(a);
  row[25] = fmaf(a, b, 0.5f);
  row[26] = fmaxf(a, b);
  row[27] = fmodf(a, b);
  row[28] = atan2f(a, b);
  row[29] = roundf(a);
  row[30] = rintf(a);
  row[31] = truncf(a);
  row[32] = ldexpf(a, 3);
  row[33] = copysignf(b, a);
  float sine, cosine, whole;
  int exponent;
  sincosf(a, &sine, &cosine);
  row[34] = sine + cosine;
  row[35] = modff(a, &whole) + 16.0f * whole;
  row[36] = frexpf(a, &exponent) + 16.0f * static_cast<float>(exponent);
  row[37] = static_cast<float>(sin(static_cast<double>(a))) + sin(a);
  row[38] = max(a, b) - min(a, b) + abs(a);
  row[39] = static_cast<float>(isnan(a / 0.0f * 0.0f) && isinf(1.0f / 0.0f) && isfinite(a) && !signbit(b));
}
