// Atomic operations, by all threads of several blocks.
extern "C" __global__ void integers(int* counts, unsigned* words, unsigned long long* wide) {
  const int i = blockIdx.x * blockDim.x + threadIdx.x;
  atomicAdd(&counts[0], i);
  atomicSub(&counts[1], 2);
  atomicMin(&counts[2], -i);
  atomicMax(&counts[3], i);
  atomicAdd(&words[0], 3u);
  atomicInc(&words[1], 9u);
  atomicDec(&words[2], 9u);
  atomicAnd(&words[3], ~(1u << (i % 8)));
  atomicOr(&words[4], 1u << (i % 32));
  atomicXor(&words[5], static_cast<unsigned>(i));
  atomicExch(&words[6], 7u);
  atomicAdd(&wide[0], 1ull << 33);
  atomicMax(&wide[1], static_cast<unsigned long long>(i) << 40);
  // An addition made of compare and swap.
  unsigned long long seen = atomicAdd(&wide[2], 0ull), expected;
  do {
    expected = seen;
    seen = atomicCAS(&wide[2], expected, expected + 5);
  } while (seen != expected);
  __shared__ unsigned in_block;
  if (threadIdx.x == 0) in_block = 0;
  __syncthreads();
  atomicAdd_block(&in_block, 1u);
  __syncthreads();
  if (threadIdx.x == 0) atomicAdd_system(&words[7], in_block);
}

extern "C" __global__ void floats(float* single, double* twice) {
  atomicAdd(&single[0], 0.5f);
  atomicAdd(&twice[0], 0.25);
  if (threadIdx.x == 0) {
    const float old = atomicExch(&single[1], 2.0f);
    __threadfence();
    atomicAdd(&single[2], old);
  }
}
