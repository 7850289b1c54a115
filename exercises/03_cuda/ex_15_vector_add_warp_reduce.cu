// ex_15 Vectorised add, warp reduce: the kernels. The task stands in the .py beside this file.

// out[i] = x[i] + y[i]. Any grid of one-dimensional blocks.
extern "C" __global__ void add_kernel(const float* x, const float* y, float* out, long long n_elements) {
    // TODO 1: let all threads of the grid share the elements, whatever n_elements is.
    // TODO 2: move 16 bytes at a time where the addresses allow it.
}

// sums[b] = the sum of the elements that block b took. Any grid of blocks of whole warps.
extern "C" __global__ void partial_sums_kernel(const float* x, float* sums, long long n_elements) {
    // TODO 3: let every thread add up its share of x, loading 16 bytes at a time; x may start at any float.
    // TODO 4: add up the threads' sums: within each warp by shuffles, then over the warps of the block.
}
