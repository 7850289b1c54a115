// ex_17 SGEMM ladder: the kernel. The task stands in the .py beside this file.

// out [M, N] = a [M, K] · b [K, N], all three row by row.
extern "C" __global__ void sgemm_kernel(const float* a, const float* b, float* out, int M, int N, int K) {
    // Climb from rung to rung: each one replaces the one before, and `gpuprep check` says how far it takes you.
    // TODO 1, naive: one thread, one output. Correct for every M, N and K?
    // TODO 2, shared tile: a block brings a tile of a and one of b into shared memory, and all its threads use them.
    // TODO 3, register tile: a thread computes many outputs, from values that it keeps in registers.
    // TODO 4, vector loads: 16 bytes an instruction, and the next tile under way while this one is multiplied.
}
