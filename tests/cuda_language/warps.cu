// Shuffles, votes, matches and reductions.
template <typename T>
__device__ void shuffles(const T* x, T* out, int operand, int width) {
  const int i = threadIdx.x;
  const T mine = x[i];
  out[i] = __shfl_sync(0xffffffffu, mine, operand, width);
  out[32 + i] = __shfl_up_sync(0xffffffffu, mine, operand, width);
  out[64 + i] = __shfl_down_sync(0xffffffffu, mine, operand, width);
  out[96 + i] = __shfl_xor_sync(0xffffffffu, mine, operand, width);
}

extern "C" __global__ void shuffle_int(const int* x, int* out, int operand, int width) {
  shuffles(x, out, operand, width);
}
extern "C" __global__ void shuffle_double(const double* x, double* out, int operand, int width) {
  shuffles(x, out, operand, width);
}

extern "C" __global__ void votes(const unsigned* x, unsigned* out) {
  const unsigned lane = threadIdx.x % 32;
  const unsigned mine = x[threadIdx.x];
  unsigned* row = out + threadIdx.x * 16;
  const unsigned all = 0xffffffffu;
  row[0] = __ballot_sync(all, mine % 3 == 0);
  row[1] = __any_sync(all, mine == 5);
  row[2] = __all_sync(all, mine < 100);
  row[3] = __match_any_sync(all, mine % 4);
  int is_match;
  row[4] = __match_all_sync(all, mine, &is_match);
  row[5] = is_match;
  row[6] = __reduce_add_sync(all, mine);
  row[7] = __reduce_max_sync(all, mine);
  row[8] = __reduce_min_sync(all, static_cast<int>(mine) - 10);
  row[9] = __reduce_xor_sync(all, mine);
  row[10] = __reduce_or_sync(all, 1u << lane);
  row[11] = __activemask();
  // Half a warp by itself.
  if (lane < 16) {
    row[12] = __ballot_sync(0xffffu, mine % 2);
    row[13] = __reduce_add_sync(0xffffu, mine);
    __syncwarp(0xffffu);
  }
  row[14] = warpSize;
  row[15] = __syncthreads_count(mine % 3 == 0) + 1000 * (__syncthreads_or(mine == 5) != 0) +
            2000 * (__syncthreads_and(mine < 100) != 0);
}

// A tree over half a warp reads past its mask and throws that away.
extern "C" __global__ void tail(const float* x, float* out) {
  if (threadIdx.x >= 16) return;
  float sum = x[threadIdx.x];
  for (int offset = 8; offset > 0; offset /= 2) sum += __shfl_down_sync(0xffffu, sum, offset);
  if (threadIdx.x == 0) out[0] = sum;
}

extern "C" __global__ void outside(const float* x, float* out) {
  if (threadIdx.x < 16) out[threadIdx.x] = __shfl_sync(0xffffu, x[threadIdx.x], 20);
}
