// ex_16 Coalesced transpose: the kernel. The task stands in the .py beside this file.

// BEGIN SOLUTION
constexpr int TILE = 64;
constexpr int BLOCK_ROWS = 4;

// END SOLUTION
// out [N, M] = the transpose of x [M, N], both row by row.
extern "C" __global__ void transpose_kernel(const float* x, float* out, int M, int N) {
    // BEGIN PROMPT
    // // TODO 1: find the tile of x that belongs to this block, and where it goes in out.
    // // TODO 2: bring the tile to shared memory, a warp along a row of x.
    // // TODO 3: write it to out, a warp along a row of out.
    // // TODO 4: neither M nor N need be a multiple of the tile.
    // END PROMPT
    // BEGIN SOLUTION
    // Word w of shared memory lies in bank w % 32. In rows of 64 words, a column would lie in one bank from top to
    // bottom, and a warp that reads down the column would wait 32 times. One word more a row, which nobody uses, shifts
    // each row by one bank: down a column, 32 lanes now meet 32 banks. Along a row they did anyway.
    __shared__ float tile[TILE][TILE + 1];

    // The tile's corner in x. In out, the same tile starts at row first_column and column first_row.
    const int first_row = blockIdx.x * TILE;
    const int first_column = blockIdx.y * TILE;

    // threadIdx.x numbers neighbouring lanes, so it has to run along memory: along a row of x here. A thread takes
    // every fourth row, 16 loads that don't wait for each other. Many loads under way are what keeps the memory busy,
    // and the unrolled loop lets the compiler issue several before it needs the first.
    const int column = first_column + threadIdx.x;
#pragma unroll
    for (int k = 0; k < TILE; k += BLOCK_ROWS) {
        const int row = first_row + threadIdx.y + k;
        if (row < M && column < N) {
            // 64 bits before the multiplication: rows and columns fit an int, their product need not.
            tile[threadIdx.y + k][threadIdx.x] = x[(size_t)row * N + column];
        }
    }

    // What a thread is about to write, others have loaded. All threads of the block get here, also those that had
    // nothing to load: a barrier inside the `if` above would wait for them forever.
    __syncthreads();

    // threadIdx.x runs along a row of out now, and so down a column of the tile. M and N have changed places, so this
    // side needs a guard of its own.
    const int out_column = first_row + threadIdx.x;
#pragma unroll
    for (int k = 0; k < TILE; k += BLOCK_ROWS) {
        const int out_row = first_column + threadIdx.y + k;
        if (out_row < N && out_column < M) {
            out[(size_t)out_row * M + out_column] = tile[threadIdx.x][threadIdx.y + k];
        }
    }
    // END SOLUTION
}
