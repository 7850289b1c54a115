// ex_18 Tensor cores: the kernel. The task stands in the .py beside this file.

#include <cuda_fp16.h>
#include <cuda_pipeline.h>
#include <mma.h>

using namespace nvcuda;

// BEGIN SOLUTION
// A block of 8 warps computes 128×256 outputs, a warp 64×64 of them: 16 squares, whose sums fill half of its registers.
constexpr int TILE_M = 128, TILE_N = 256, TILE_K = 64;
constexpr int WARP_TILE = 64, N_SQUARES = WARP_TILE / 16, N_SLICES = TILE_K / 16;
constexpr int N_THREADS = TILE_M / WARP_TILE * (TILE_N / WARP_TILE) * 32;
// Tiles in shared memory: one in use, two on their way.
constexpr int N_STAGES = 3;
// Rows of 64 or 256 halves would all start in the same bank. 16 more bytes a row move each row by four banks, so that
// the eight rows which the hardware reads at a time meet all 32, and every row still starts at a multiple of 16 bytes.
constexpr int A_LD = TILE_K + 8, B_LD = TILE_N + 8;
constexpr int STAGE = TILE_M * A_LD + TILE_K * B_LD;
// A copy moves 8 halves a thread: so many rows of each tile for all threads together.
constexpr int A_ROWS = N_THREADS * 8 / TILE_K, B_ROWS = N_THREADS * 8 / TILE_N;
constexpr int OUT_LD = 20;

// Eight neighbours in a row, the first n_inside of them from the matrix and zeros for the rest: they are part of sums.
template <bool IS_ALIGNED>
__device__ __forceinline__ void copy_8(half* target, const half* source, int n_inside) {
    if (IS_ALIGNED) {
        // From device memory to shared memory past the registers, while the thread goes on. Rows are multiples of 8
        // long, so that all eight are inside or none; the last argument says how many bytes to fill with zeros instead.
        __pipeline_memcpy_async(target, source, 16, n_inside > 0 ? 0 : 16);
    } else {
#pragma unroll
        for (int i = 0; i < 8; i++) target[i] = i < n_inside ? source[i] : __float2half(0.0f);
    }
}

template <bool IS_ALIGNED>
__device__ __forceinline__ void hgemm(const half* a, const half* b, half* out, int M, int N, int K) {
    // More than 48 KiB can't be declared with its size: the launch says how much it is.
    extern __shared__ __align__(128) half tiles[];
    const int tid = threadIdx.x, warp = tid / 32, lane = tid % 32;
    const int first_row = blockIdx.y * TILE_M, first_col = blockIdx.x * TILE_N;
    const int warp_row = warp / (TILE_N / WARP_TILE) * WARP_TILE;
    const int warp_col = warp % (TILE_N / WARP_TILE) * WARP_TILE;

    // Where this thread's first copy of the tiles to come is. 64 bits: rows and columns fit an int, a product need not.
    const int a_row = tid * 8 / TILE_K, a_k = tid * 8 % TILE_K;
    const int b_k = tid * 8 / TILE_N, b_col = tid * 8 % TILE_N;
    const half* a_source = a + (size_t)(first_row + a_row) * K + a_k;
    const half* b_source = b + (size_t)b_k * N + first_col + b_col;
    // A quarter of one step's tiles. Past the end of K it brings zeros, so that nobody has to ask where the end is.
    auto fetch = [&](int step, int quarter) {
        half* a_tile = tiles + step % N_STAGES * STAGE;
        half* b_tile = a_tile + TILE_M * A_LD;
        const int k_start = step * TILE_K;
#pragma unroll
        for (int i = quarter * TILE_M / N_SLICES; i < (quarter + 1) * TILE_M / N_SLICES; i += A_ROWS) {
            const int n_inside = first_row + a_row + i < M ? K - k_start - a_k : 0;
            copy_8<IS_ALIGNED>(a_tile + (a_row + i) * A_LD + a_k, a_source + (size_t)i * K, n_inside);
        }
#pragma unroll
        for (int i = quarter * TILE_K / N_SLICES; i < (quarter + 1) * TILE_K / N_SLICES; i += B_ROWS) {
            const int n_inside = k_start + b_k + i < K ? N - first_col - b_col : 0;
            copy_8<IS_ALIGNED>(b_tile + (b_k + i) * B_LD + b_col, b_source + (size_t)i * N, n_inside);
        }
    };
    // Closes the group of a step's copies, and goes on to the next. Two additions here save each copy a multiplication.
    auto commit = [&] {
        __pipeline_commit();
        a_source += TILE_K;
        b_source += (size_t)TILE_K * N;
    };

    // Operands of the tensor cores, one 16×16 square each, spread over the registers of the warp's 32 threads in a way
    // that only the hardware knows. Two sets: one is multiplied while the other is loaded.
    wmma::fragment<wmma::matrix_a, 16, 16, 16, half, wmma::row_major> a_squares[2][N_SQUARES];
    wmma::fragment<wmma::matrix_b, 16, 16, 16, half, wmma::row_major> b_squares[2][N_SQUARES];
    auto load = [&](int step, int slice) {
        const half* a_tile = tiles + step % N_STAGES * STAGE + warp_row * A_LD + slice * 16;
        const half* b_tile = tiles + step % N_STAGES * STAGE + TILE_M * A_LD + slice * 16 * B_LD + warp_col;
#pragma unroll
        for (int i = 0; i < N_SQUARES; i++) {
            wmma::load_matrix_sync(a_squares[slice % 2][i], a_tile + i * 16 * A_LD, A_LD);
            wmma::load_matrix_sync(b_squares[slice % 2][i], b_tile + i * 16, B_LD);
        }
    };
    wmma::fragment<wmma::accumulator, 16, 16, 16, float> sums[N_SQUARES][N_SQUARES];
#pragma unroll
    for (int i = 0; i < N_SQUARES * N_SQUARES; i++) wmma::fill_fragment(sums[i / N_SQUARES][i % N_SQUARES], 0.0f);

    // __pipeline_wait_prior(n) waits for all groups but the newest n, and for those of this thread alone. The barrier
    // after it makes the tiles everybody's.
    for (int step = 0; step < N_STAGES - 1; step++) {
#pragma unroll
        for (int quarter = 0; quarter < N_SLICES; quarter++) fetch(step, quarter);
        commit();
    }
    __pipeline_wait_prior(N_STAGES - 2);
    __syncthreads();
    load(0, 0);
    for (int step = 0; step * TILE_K < K; step++) {
#pragma unroll
        for (int slice = 0; slice < N_SLICES; slice++) {
            // Always one slice ahead, also from the last slice of one tile to the first of the next.
            if (slice == N_SLICES - 1) {
                __pipeline_wait_prior(N_STAGES - 3);
                // Everybody has loaded the last of this step's tiles, too: what is fetched next may take their place.
                __syncthreads();
            }
            load(step + (slice + 1) / N_SLICES, (slice + 1) % N_SLICES);
            // A quarter of the copies with each slice: all at once, the tensor cores would wait for their addresses.
            fetch(step + N_STAGES - 1, slice);
#pragma unroll
            for (int i = 0; i < N_SQUARES; i++) {
#pragma unroll
                for (int j = 0; j < N_SQUARES; j++) {
                    wmma::mma_sync(sums[i][j], a_squares[slice % 2][i], b_squares[slice % 2][j], sums[i][j]);
                }
            }
        }
        commit();
    }

    // Which thread holds which sum is not ours to know, so they go through shared memory, a square at a time for each
    // warp, and are rounded on the way out: once, after the last addition.
    __pipeline_wait_prior(0);
    __syncthreads();
    float* square = reinterpret_cast<float*>(tiles) + warp * 16 * OUT_LD;
    const int lane_row = lane / 2, lane_col = lane % 2 * 8;
#pragma unroll
    for (int i = 0; i < N_SQUARES * N_SQUARES; i++) {
        wmma::store_matrix_sync(square, sums[i / N_SQUARES][i % N_SQUARES], OUT_LD, wmma::mem_row_major);
        __syncwarp();
        __align__(16) half eight[8];
#pragma unroll
        for (int q = 0; q < 8; q++) eight[q] = __float2half(square[lane_row * OUT_LD + lane_col + q]);
        const int row = first_row + warp_row + i / N_SQUARES * 16 + lane_row;
        const int col = first_col + warp_col + i % N_SQUARES * 16 + lane_col;
        half* target = out + (size_t)row * N + col;
        if (IS_ALIGNED && row < M && col < N) *reinterpret_cast<float4*>(target) = *reinterpret_cast<float4*>(eight);
#pragma unroll
        for (int q = 0; q < 8; q++) {
            if (!IS_ALIGNED && row < M && col + q < N) target[q] = eight[q];
        }
        // The next square takes the place of this one: all lanes must have read it.
        __syncwarp();
    }
}

// END SOLUTION
// out [M, N] = a [M, K] · b [K, N], all three row by row.
// BEGIN PROMPT
// extern "C" __global__ void hgemm_kernel(const half* a, const half* b, half* out, int M, int N, int K) {
//     // TODO 1: let a warp compute a square of 16×16 outputs: fragments, a loop along K, a sum in float32.
//     // TODO 2: none of the three sizes need be a multiple of 16, and a fragment is always loaded whole.
//     // TODO 3: round the sums to half, once, and store those that exist.
//     // TODO 4: bring tiles to shared memory that several warps use, and give each warp several squares.
//     // TODO 5: keep the tensor cores busy: copy the tiles to come while these are multiplied.
// }
// END PROMPT
// BEGIN SOLUTION
extern "C" __global__ void __launch_bounds__(N_THREADS)
hgemm_kernel(const half* a, const half* b, half* out, int M, int N, int K) {
    // 16 bytes are copied from multiples of 16 only. All threads take the same branch, so it costs nothing.
    if ((K | N) % 8 == 0 && ((size_t)a | (size_t)b | (size_t)out) % 16 == 0) {
        hgemm<true>(a, b, out, M, N, K);
    } else {
        hgemm<false>(a, b, out, M, N, K);
    }
}
// END SOLUTION
