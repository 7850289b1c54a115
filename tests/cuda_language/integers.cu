// Integer intrinsics, one column of `out` each.
constexpr int kColumns = 36;

extern "C" __global__ void integers(const unsigned* x, const unsigned* y, const unsigned* z, unsigned long long* out,
                                    int n) {
  const int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i >= n) return;
  const unsigned a = x[i], b = y[i], c = z[i];
  const int sa = static_cast<int>(a), sb = static_cast<int>(b), sc = static_cast<int>(c);
  const unsigned long long wide_a = static_cast<unsigned long long>(a) << 32 | b;
  const unsigned long long wide_b = static_cast<unsigned long long>(c) << 32 | a;
  unsigned long long* row = out + i * kColumns;
  row[0] = __popc(a);
  row[1] = __clz(sa);
  row[2] = __ffs(sa);
  row[3] = __brev(a);
  row[4] = __byte_perm(a, b, c);
  row[5] = static_cast<unsigned>(__mulhi(sa, sb));
  row[6] = __umulhi(a, b);
  row[7] = static_cast<unsigned>(__mul24(sa, sb));
  row[8] = __umul24(a, b);
  row[9] = static_cast<unsigned>(__dp4a(sa, sb, sc));
  row[10] = __dp4a(a, b, c);
  row[11] = __funnelshift_l(a, b, c);
  row[12] = __funnelshift_r(a, b, c);
  row[13] = __funnelshift_lc(a, b, c & 63u);
  row[14] = __funnelshift_rc(a, b, c & 63u);
  row[15] = __sad(sa, sb, c);
  row[16] = __usad(a, b, c);
  row[17] = static_cast<unsigned>(__hadd(sa, sb));
  row[18] = static_cast<unsigned>(__rhadd(sa, sb));
  row[19] = __uhadd(a, b);
  row[20] = __urhadd(a, b);
  row[21] = __popcll(wide_a);
  row[22] = __clzll(static_cast<long long>(wide_a));
  row[23] = __ffsll(static_cast<long long>(wide_a));
  row[24] = __brevll(wide_a);
  row[25] = __umul64hi(wide_a, wide_b);
  row[26] = static_cast<unsigned long long>(
      __mul64hi(static_cast<long long>(wide_a), static_cast<long long>(wide_b)));
  row[27] = static_cast<unsigned>(min(sa, sb));
  row[28] = max(a, b);
  row[29] = max(sa, b);
  row[30] = static_cast<unsigned>(__dp2a_lo(sa, sb, sc));
  row[31] = __dp2a_hi(a, b, c);
  row[32] = static_cast<unsigned>(abs(sa / 2));
  row[33] = min(wide_a, wide_b);
  row[34] = static_cast<unsigned>(__float_as_int(__int_as_float(sa & 0x7f7fffff)));
  row[35] = static_cast<unsigned long long>(__double_as_longlong(__hiloint2double(sa & 0x7fefffff, sb)));
}
