// The kernel of column_threads.py.

constexpr int TILE_M = 128, TILE_N = 64, TILE_K = 16;
constexpr int N_THREADS = 128;
constexpr int N_ROW_THREADS = 16, N_COL_THREADS = N_THREADS / N_ROW_THREADS;
// Pairs in a row of each tile, rows that all threads bring at once, and how often they do.
constexpr int A_PAIRS = TILE_K / 2, A_ROWS = N_THREADS / A_PAIRS, A_FETCHES = TILE_M / A_ROWS;
constexpr int B_PAIRS = TILE_N / 2, B_ROWS = N_THREADS / B_PAIRS, B_FETCHES = TILE_K / B_ROWS;
// A warp that turns 4 rows × 8 pairs of a: two rows of the tile must lie four banks apart for its stores not to meet.
constexpr int A_LD = TILE_M + 2;

__device__ float2 load_pair(const float* matrix, int row, int col, int n_rows, int n_cols, bool is_aligned) {
    float2 pair = make_float2(0.0f, 0.0f);
    if (row >= n_rows || col >= n_cols) return pair;
    const float* source = matrix + (size_t)row * n_cols + col;
    if (is_aligned) return *reinterpret_cast<const float2*>(source);
    pair.x = source[0];
    if (col + 1 < n_cols) pair.y = source[1];
    return pair;
}

extern "C" __global__ void __launch_bounds__(N_THREADS)
sgemm_kernel(const float* a, const float* b, float* out, int M, int N, int K) {
    __shared__ __align__(16) float a_tile[2][TILE_K][A_LD];
    __shared__ __align__(16) float b_tile[2][TILE_K][TILE_N];
    const bool is_aligned = K % 2 == 0 && N % 2 == 0 && ((size_t)a | (size_t)b | (size_t)out) % 8 == 0;
    const int tid = threadIdx.x;
    const int first_row = blockIdx.x * TILE_M, first_col = blockIdx.y * TILE_N;
    const int a_row = tid / A_PAIRS, a_k = tid % A_PAIRS * 2;
    const int b_k = tid / B_PAIRS, b_col = tid % B_PAIRS * 2;
    const int out_row = tid % N_ROW_THREADS * 2, out_col = tid / N_ROW_THREADS * 2;

    float2 a_next[A_FETCHES], b_next[B_FETCHES];
    float sums[4][4][2][2] = {};
    int buffer = 0;
    // One step more than there are tiles: in each, the tile that came last is multiplied while the next one comes.
    for (int k_start = 0; k_start < K + TILE_K; k_start += TILE_K) {
        const bool has_next = k_start < K;
        if (has_next) {
#pragma unroll
            for (int i = 0; i < A_FETCHES; i++) {
                a_next[i] = load_pair(a, first_row + a_row + i * A_ROWS, k_start + a_k, M, K, is_aligned);
            }
#pragma unroll
            for (int i = 0; i < B_FETCHES; i++) {
                b_next[i] = load_pair(b, k_start + b_k + i * B_ROWS, first_col + b_col, K, N, is_aligned);
            }
        }
        if (k_start > 0) {
#pragma unroll
            for (int k = 0; k < TILE_K; k++) {
                float2 a_pairs[4], b_pairs[4];
#pragma unroll
                for (int i = 0; i < 4; i++) {
                    const int row = out_row + i * N_ROW_THREADS * 2, col = out_col + i * N_COL_THREADS * 2;
                    a_pairs[i] = *reinterpret_cast<const float2*>(&a_tile[buffer][k][row]);
                    b_pairs[i] = *reinterpret_cast<const float2*>(&b_tile[buffer][k][col]);
                }
#pragma unroll
                for (int j = 0; j < 4; j++) {
#pragma unroll
                    for (int i = 0; i < 4; i++) {
                        sums[i][j][0][0] = fmaf(a_pairs[i].x, b_pairs[j].x, sums[i][j][0][0]);
                        sums[i][j][0][1] = fmaf(a_pairs[i].x, b_pairs[j].y, sums[i][j][0][1]);
                        sums[i][j][1][0] = fmaf(a_pairs[i].y, b_pairs[j].x, sums[i][j][1][0]);
                        sums[i][j][1][1] = fmaf(a_pairs[i].y, b_pairs[j].y, sums[i][j][1][1]);
                    }
                }
            }
        }
        buffer ^= 1;
        if (has_next) {
#pragma unroll
            for (int i = 0; i < A_FETCHES; i++) {
                a_tile[buffer][a_k][a_row + i * A_ROWS] = a_next[i].x;
                a_tile[buffer][a_k + 1][a_row + i * A_ROWS] = a_next[i].y;
            }
#pragma unroll
            for (int i = 0; i < B_FETCHES; i++) {
                *reinterpret_cast<float2*>(&b_tile[buffer][b_k + i * B_ROWS][b_col]) = b_next[i];
            }
        }
        __syncthreads();
    }

#pragma unroll
    for (int i = 0; i < 8; i++) {
        const int row = first_row + out_row + i / 2 * N_ROW_THREADS * 2 + i % 2;
        if (row >= M) continue;
#pragma unroll
        for (int j = 0; j < 4; j++) {
            const int col = first_col + out_col + j * N_COL_THREADS * 2;
            const float* pair = sums[i / 2][j][i % 2];
            float* target = out + (size_t)row * N + col;
            if (is_aligned) {
                if (col < N) *reinterpret_cast<float2*>(target) = make_float2(pair[0], pair[1]);
            } else {
                if (col < N) target[0] = pair[0];
                if (col + 1 < N) target[1] = pair[1];
            }
        }
    }
}
