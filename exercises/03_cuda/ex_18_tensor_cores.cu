// ex_18 Tensor cores: the kernel. The task stands in the .py beside this file.

#include <cuda_fp16.h>
#include <cuda_pipeline.h>
#include <mma.h>

using namespace nvcuda;

// out [M, N] = a [M, K] · b [K, N], all three row by row.
extern "C" __global__ void hgemm_kernel(const half* a, const half* b, half* out, int M, int N, int K) {
    // TODO 1: let a warp compute a square of 16×16 outputs: fragments, a loop along K, a sum in float32.
    // TODO 2: none of the three sizes need be a multiple of 16, and a fragment is always loaded whole.
    // TODO 3: round the sums to half, once, and store those that exist.
    // TODO 4: bring tiles to shared memory that several warps use, and give each warp several squares.
    // TODO 5: keep the tensor cores busy: copy the tiles to come while these are multiplied.
}
