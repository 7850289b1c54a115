// ex_17 SGEMM ladder: the kernel. The task stands in the .py beside this file.

// BEGIN SOLUTION
// Rung by rung, what waits for what, with the share of cuBLAS that each rung reached on an H200 at 4096³:
//   naive          .11  every product waits for two loads from a cache
//   shared tile    .17  one load from device memory serves 32 threads, yet every product still waits for shared memory
//   register tile  .56  16 loads from shared memory serve 64 products
//   vector loads   .85  the same in a quarter of the instructions, while the next tile is already on its way
constexpr int TILE = 128;       // outputs along each side of a block's tile
constexpr int TILE_K = 16;      // how much of K is in shared memory at a time
constexpr int N_THREADS = 256;  // 16 × 16, each with 8 × 8 outputs
constexpr int HALF = TILE / 2;

// What a thread brings of a, and of b, for every tile: so many float4.
constexpr int N_FETCHES = TILE * TILE_K / 4 / N_THREADS;

// a's tile lies on its side, k first: the rows that a thread needs for one k are neighbours then, and one instruction
// loads four of them. A warp that turns 16 rows × 2 float4 stores two runs of 16 words at a time, four rows of the tile
// apart. Unpadded, both would lie in the same 16 banks; four unused words a row keep them apart, and rows aligned.
using TileA = float[TILE_K][TILE + 4];
using TileB = float[TILE_K][TILE];

// Four neighbours in a row of a matrix. What lies outside becomes part of sums, so zeros have to stand in for it.
template <bool IS_ALIGNED>
__device__ __forceinline__ float4 load_4(const float* matrix, int row, int col, int n_rows, int n_cols) {
    float4 four = make_float4(0.0f, 0.0f, 0.0f, 0.0f);
    // 64 bits before the multiplication: rows and columns fit an int, their product need not.
    const float* source = matrix + (size_t)row * n_cols + col;
    if (row >= n_rows) return four;
    if (IS_ALIGNED) {
        // Rows are multiples of 4 long: the first of the four is inside exactly when all are.
        if (col < n_cols) four = *reinterpret_cast<const float4*>(source);
    } else {
        if (col + 0 < n_cols) four.x = source[0];
        if (col + 1 < n_cols) four.y = source[1];
        if (col + 2 < n_cols) four.z = source[2];
        if (col + 3 < n_cols) four.w = source[3];
    }
    return four;
}

// A template parameter is known at compile time: the loop over aligned rows holds no trace of the scalar loads.
template <bool IS_ALIGNED>
__device__ __forceinline__ void sgemm(
    TileA* a_tile, TileB* b_tile, const float* a, const float* b, float* out, int M, int N, int K) {
    const int tid = threadIdx.x;
    const int first_row = blockIdx.y * TILE;
    const int first_col = blockIdx.x * TILE;
    // Which float4 this thread brings: of a 2 in a row (a whole sector of 32 bytes), of b a warp's 32 in a row.
    const int a_row = tid / 2, a_k = tid % 2 * 4;
    const int b_k = tid / 32, b_col = tid % 32 * 4;
    // Which outputs it computes: a 4 × 4 square in each quarter of the tile. In one 8 × 8 square, neighbouring lanes
    // would read shared memory 32 bytes apart, and meet in the same banks.
    const int out_row = tid / 16 * 4;
    const int out_col = tid % 16 * 4;

    float4 a_next[N_FETCHES], b_next[N_FETCHES];
    auto fetch = [&](int k_start) {
#pragma unroll
        for (int i = 0; i < N_FETCHES; i++) {
            a_next[i] = load_4<IS_ALIGNED>(a, first_row + a_row, k_start + a_k + i * 8, M, K);
            b_next[i] = load_4<IS_ALIGNED>(b, k_start + b_k + i * 8, first_col + b_col, K, N);
        }
    };
    auto put_into = [&](int buffer) {
#pragma unroll
        for (int i = 0; i < N_FETCHES; i++) {
            const int k = a_k + i * 8;
            a_tile[buffer][k + 0][a_row] = a_next[i].x;
            a_tile[buffer][k + 1][a_row] = a_next[i].y;
            a_tile[buffer][k + 2][a_row] = a_next[i].z;
            a_tile[buffer][k + 3][a_row] = a_next[i].w;
            *reinterpret_cast<float4*>(&b_tile[buffer][b_k + i * 8][b_col]) = b_next[i];
        }
    };

    // 64 sums in registers from the first step to the last. An array stays in registers only where every index is known
    // at compile time, so all loops over it are unrolled.
    float sums[8][8] = {};
    fetch(0);
    put_into(0);
    __syncthreads();
    for (int k_start = 0, buffer = 0; k_start < K; k_start += TILE_K, buffer ^= 1) {
        // These loads take hundreds of cycles. Nothing needs them before put_into, and 1024 products stand in between.
        const bool has_next = k_start + TILE_K < K;
        if (has_next) fetch(k_start + TILE_K);
#pragma unroll
        for (int k = 0; k < TILE_K; k++) {
            float a_8[8], b_8[8];
#pragma unroll
            for (int half = 0; half < 2; half++) {
                const float* a_4 = &a_tile[buffer][k][out_row + half * HALF];
                const float* b_4 = &b_tile[buffer][k][out_col + half * HALF];
                *reinterpret_cast<float4*>(&a_8[half * 4]) = *reinterpret_cast<const float4*>(a_4);
                *reinterpret_cast<float4*>(&b_8[half * 4]) = *reinterpret_cast<const float4*>(b_4);
            }
#pragma unroll
            for (int i = 0; i < 8; i++) {
#pragma unroll
                for (int j = 0; j < 8; j++) sums[i][j] += a_8[i] * b_8[j];
            }
        }
        if (has_next) put_into(buffer ^ 1);
        // One barrier does for two things: the next tile is complete, and nobody reads this one any more.
        __syncthreads();
    }

#pragma unroll
    for (int i = 0; i < 8; i++) {
        const int row = first_row + out_row + i % 4 + i / 4 * HALF;
#pragma unroll
        for (int j = 0; j < 8; j += 4) {
            const int col = first_col + out_col + j / 4 * HALF;
            float* target = out + (size_t)row * N + col;
            if (IS_ALIGNED && row < M && col < N) {
                *reinterpret_cast<float4*>(target) = *reinterpret_cast<float4*>(&sums[i][j]);
            }
#pragma unroll
            for (int q = 0; q < 4; q++) {
                if (!IS_ALIGNED && row < M && col + q < N) target[q] = sums[i][j + q];
            }
        }
    }
}

// END SOLUTION
// out [M, N] = a [M, K] · b [K, N], all three row by row.
// BEGIN PROMPT
// extern "C" __global__ void sgemm_kernel(const float* a, const float* b, float* out, int M, int N, int K) {
//     // Climb from rung to rung: each one replaces the one before, and `gpuprep check` says how far it takes you.
//     // TODO 1, naive: one thread, one output. Correct for every M, N and K?
//     // TODO 2, shared tile: a block brings a tile of a and one of b into shared memory, and all its threads use them.
//     // TODO 3, register tile: a thread computes many outputs, from values that it keeps in registers.
//     // TODO 4, vector loads: 16 bytes an instruction, and the next tile under way while this one is multiplied.
// }
// END PROMPT
// BEGIN SOLUTION
// Two blocks to a multiprocessor: while one waits at its barrier, the other computes. 128 registers a thread allow it.
extern "C" __global__ void __launch_bounds__(N_THREADS, 2)
sgemm_kernel(const float* a, const float* b, float* out, int M, int N, int K) {
    // Two of each: while one tile is multiplied, the next is stored to the other.
    __shared__ __align__(16) TileA a_tile[2];
    __shared__ __align__(16) TileB b_tile[2];
    // A float4 is loaded from multiples of 16 bytes only: not from rows of 5 floats, nor from a view that starts inside
    // its storage. All threads take the same branch, so it costs nothing.
    if ((K | N) % 4 == 0 && ((size_t)a | (size_t)b | (size_t)out) % 16 == 0) {
        sgemm<true>(a_tile, b_tile, a, b, out, M, N, K);
    } else {
        sgemm<false>(a_tile, b_tile, a, b, out, M, N, K);
    }
}
// END SOLUTION
