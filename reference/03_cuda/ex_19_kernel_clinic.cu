// ex_19 Kernel clinic: the ward. Six kernels, one disease each, in the order in which a check shows them.
//
// A chart says what the kernel computes, what is wrong with it, and what its launch in the .py looks like. Everything
// that the chart doesn't complain about is healthy: cure the disease, keep the idea. All arrays are dense float32.

#define WARP 32
#define BLOCK 256         // threads of blur, normalise and prefix_sums
#define SERIES_BLOCK 128  // threads of smooth: one for each series
#define SAMPLES 32        // samples in one of its series
#define WARPS 8           // warps of a block of column_sums


// Bed 1: blur ---------------------------------------------------------------------------------------------------------
// Computes   out[i] = (x[i − 1] + x[i] + x[i + 1]) / 3, where what lies beyond either end of x counts as 0.
// Launch     a thread an element, BLOCK threads a block.
// Complaint  where BLOCK doesn't divide n the last element is wrong, and now and then the whole program dies. Under the
//            emulator: OUT_OF_BOUNDS.
extern "C" __global__ void blur_kernel(const float* x, float* out, int n) {
    // The block's own elements, and one neighbour on each side.
    __shared__ float tile[BLOCK + 2];
    const int thread = threadIdx.x;
    const int i = blockIdx.x * BLOCK + thread;
    // BEGIN PROMPT
    // tile[thread + 1] = x[i];
    // END PROMPT
    // BEGIN SOLUTION
    // The grid is rounded up, so the last block has threads past n: the guard of a store doesn't guard the load before
    // it. A thread without an element can't just leave either: it is needed at the barrier, and its place in the tile
    // is the zero that out[n - 1] adds. (The nearest index that exists would put x[n - 1] there: in bounds, and wrong.)
    tile[thread + 1] = i < n ? x[i] : 0.0f;
    // END SOLUTION
    if (thread == 0) {
        tile[0] = i > 0 ? x[i - 1] : 0.0f;
    }
    if (thread == BLOCK - 1) {
        tile[BLOCK + 1] = i + 1 < n ? x[i + 1] : 0.0f;
    }
    __syncthreads();
    if (i < n) {
        out[i] = (tile[thread] + tile[thread + 1] + tile[thread + 2]) / 3.0f;
    }
}


// Bed 2: normalise ----------------------------------------------------------------------------------------------------
// Computes   out[row, col] = x[row, col] / Σ |x[row, k]| over all k: a tree adds up the row.
// Launch     a block of BLOCK threads a row.
// Complaint  hangs on some cards, gives right results on others. Under the emulator: BAD_SYNC.
extern "C" __global__ void normalise_kernel(const float* x, float* out, int n_cols) {
    __shared__ float sums[BLOCK];
    const int thread = threadIdx.x;
    const float* row = x + (size_t)blockIdx.x * n_cols;
    float* out_row = out + (size_t)blockIdx.x * n_cols;
    float sum = 0.0f;
    for (int col = thread; col < n_cols; col += BLOCK) {
        sum += fabsf(row[col]);
    }
    sums[thread] = sum;
    __syncthreads();
    for (int half = BLOCK / 2; half > 0; half /= 2) {
        // BEGIN PROMPT
        // if (thread < half) {
        //     sums[thread] += sums[thread + half];
        //     __syncthreads();
        // }
        // END PROMPT
        // BEGIN SOLUTION
        if (thread < half) {
            sums[thread] += sums[thread + half];
        }
        // Every thread of the block has to come to the same barrier, the idle ones too: it is what tells each of them
        // that this level of the tree is done. Without it the next level reads sums that are not there yet.
        __syncthreads();
        // END SOLUTION
    }
    __syncthreads();
    for (int col = thread; col < n_cols; col += BLOCK) {
        out_row[col] = row[col] / sums[0];
    }
}


// Bed 3: prefix_sums --------------------------------------------------------------------------------------------------
// Computes   out[i] = x[c] + x[c + 1] + … + x[i], where c is the first element of i's chunk of BLOCK elements.
// Launch     a thread an element, BLOCK threads a block.
// Complaint  another result in every run, although there is a barrier in every step. Under the emulator: RACE.
extern "C" __global__ void prefix_sums_kernel(const float* x, float* out, int n) {
    __shared__ float sums[BLOCK];
    const int thread = threadIdx.x;
    const int i = blockIdx.x * BLOCK + thread;
    sums[thread] = i < n ? x[i] : 0.0f;
    // After each step sums[thread] covers twice as many elements: 1, 2, 4, …, up to itself.
    for (int reach = 1; reach < BLOCK; reach *= 2) {
        // BEGIN PROMPT
        // __syncthreads();
        // if (thread >= reach) {
        //     sums[thread] += sums[thread - reach];
        // }
        // END PROMPT
        // BEGIN SOLUTION
        // Two barriers a step: the first one before we read what others wrote in the last step, the second one before
        // we overwrite what others may still have to read in this one. Between them the value waits in a register.
        __syncthreads();
        const float before = thread >= reach ? sums[thread - reach] : 0.0f;
        __syncthreads();
        sums[thread] += before;
        // END SOLUTION
    }
    if (i < n) {
        out[i] = sums[thread];
    }
}


// Bed 4: smooth -------------------------------------------------------------------------------------------------------
// Computes   out[s, k] = decay·out[s, k − 1] + (1 − decay)·x[s, k] in each series s of SAMPLES samples, from 0 on.
// Launch     a thread a series, SERIES_BLOCK threads a block. The samples go through shared memory, so that the global
//            accesses are coalesced, although each thread works its way along a row.
// Complaint  global memory looks perfect, the kernel is slow all the same. Under the emulator: 32-way bank conflicts.
extern "C" __global__ void smooth_kernel(const float* x, float* out, float decay, int n_series) {
    // BEGIN PROMPT
    // __shared__ float tile[SERIES_BLOCK][SAMPLES];
    // END PROMPT
    // BEGIN SOLUTION
    // Bank = (word address) mod 32. In rows of 32 words sample k of every series lies in the same bank, and a warp that
    // reads it takes 32 turns. One word of padding a row moves each row on by one bank: then rows don't collide, and
    // samples of one row, as the copies read and write them, still don't either. Turning the tile round ([SAMPLES]
    // [SERIES_BLOCK]) would only move the conflict to the copies.
    __shared__ float tile[SERIES_BLOCK][SAMPLES + 1];
    // END SOLUTION
    const int thread = threadIdx.x;
    const int first = blockIdx.x * SERIES_BLOCK;
    const int n_here = min(n_series - first, SERIES_BLOCK) * SAMPLES;
    const size_t start = (size_t)first * SAMPLES;
    for (int i = thread; i < n_here; i += SERIES_BLOCK) {
        tile[i / SAMPLES][i % SAMPLES] = x[start + i];
    }
    __syncthreads();
    if (first + thread < n_series) {
        float average = 0.0f;
        for (int k = 0; k < SAMPLES; ++k) {
            tile[thread][k] = average = decay * average + (1.0f - decay) * tile[thread][k];
        }
    }
    __syncthreads();
    for (int i = thread; i < n_here; i += SERIES_BLOCK) {
        out[start + i] = tile[i / SAMPLES][i % SAMPLES];
    }
}


// Bed 5: column_sums --------------------------------------------------------------------------------------------------
// Computes   out[col] = x[0, col] + x[1, col] + … over all rows.
// Launch     a block of WARP × WARPS threads for every WARP columns; threadIdx.x is the lane, threadIdx.y the warp.
// Complaint  an elegant shuffle reduction, at a fraction of the bandwidth. Under the emulator: 32 sectors a load.
extern "C" __global__ void column_sums_kernel(const float* x, float* out, int n_rows, int n_cols) {
    // BEGIN PROMPT
    // // A warp takes a column: its lanes share out the rows, and a shuffle adds up what they have.
    // const int lane = threadIdx.x;
    // const int first = blockIdx.x * WARP;
    // for (int col = first + threadIdx.y; col < min(first + WARP, n_cols); col += WARPS) {
    //     float sum = 0.0f;
    //     for (int row = lane; row < n_rows; row += WARP) {
    //         sum += x[(size_t)row * n_cols + col];
    //     }
    //     for (int distance = WARP / 2; distance > 0; distance /= 2) {
    //         sum += __shfl_down_sync(0xffffffff, sum, distance);
    //     }
    //     if (lane == 0) {
    //         out[col] = sum;
    //     }
    // }
    // END PROMPT
    // BEGIN SOLUTION
    // A lane takes a column, and the warps share out the rows. Neighbouring lanes then read neighbouring addresses: a
    // row's 32 values are 4 sectors, all of which are used. The shuffle is gone, because no two lanes hold parts of the
    // same sum any more; what the warps have is added up once, through shared memory.
    __shared__ float partial[WARPS][WARP];
    const int lane = threadIdx.x;
    const int warp = threadIdx.y;
    const int col = blockIdx.x * WARP + lane;
    float sum = 0.0f;
    if (col < n_cols) {
        for (int row = warp; row < n_rows; row += WARPS) {
            sum += x[(size_t)row * n_cols + col];
        }
    }
    partial[warp][lane] = sum;
    __syncthreads();
    if (warp == 0 && col < n_cols) {
        for (int other = 1; other < WARPS; ++other) {
            sum += partial[other][lane];
        }
        out[col] = sum;
    }
    // END SOLUTION
}


// Bed 6: matvec -------------------------------------------------------------------------------------------------------
// Computes   out[row] = Σ a[row, col]·v[col], n_cols at most 12288.
// Launch     a warp a row; how many warps a block and how much shared memory is for the .py to say, and may be changed.
// Complaint  every access is coalesced, no bank conflicts, and the card is idle most of the time. Your calculator says
//            why: how many of its blocks fit an SM, and how many warps is that?
extern "C" __global__ void matvec_kernel(const float* a, const float* v, float* out, int n_rows, int n_cols) {
    // BEGIN PROMPT
    // // All of v, for the warps of the block to share.
    // extern __shared__ float staged[];
    // for (int col = threadIdx.x; col < n_cols; col += blockDim.x) {
    //     staged[col] = v[col];
    // }
    // __syncthreads();
    // END PROMPT
    const int lane = threadIdx.x % WARP;
    const int row = blockIdx.x * (blockDim.x / WARP) + threadIdx.x / WARP;
    if (row >= n_rows) {
        return;
    }
    float sum = 0.0f;
    for (int col = lane; col < n_cols; col += WARP) {
        // BEGIN PROMPT
        // sum += a[(size_t)row * n_cols + col] * staged[col];
        // END PROMPT
        // BEGIN SOLUTION
        // Straight from v: 48 KiB that every warp of the card reads stay in L1 and L2 by themselves. Held in shared
        // memory they cost each block 48 KiB of its SM, 4 blocks of 2 warps are all that fit, and 8 warps have too few
        // loads under way to keep device memory busy. (Other cures: many more warps to share one copy of v, or v in
        // pieces of a few KiB.)
        sum += a[(size_t)row * n_cols + col] * v[col];
        // END SOLUTION
    }
    for (int distance = WARP / 2; distance > 0; distance /= 2) {
        sum += __shfl_down_sync(0xffffffff, sum, distance);
    }
    if (lane == 0) {
        out[row] = sum;
    }
}
