// ex_16 Coalesced transpose: the kernel. The task stands in the .py beside this file.

// out [N, M] = the transpose of x [M, N], both row by row.
extern "C" __global__ void transpose_kernel(const float* x, float* out, int M, int N) {
    // TODO 1: find the tile of x that belongs to this block, and where it goes in out.
    // TODO 2: bring the tile to shared memory, a warp along a row of x.
    // TODO 3: write it to out, a warp along a row of out.
    // TODO 4: neither M nor N need be a multiple of the tile.
}
