// ex_15 Vectorised add, warp reduce: the kernels. The task stands in the .py beside this file.

// BEGIN SOLUTION
constexpr unsigned ALL_LANES = 0xffffffffu;
constexpr int WARP_SIZE = 32;

// Lane 0 gets the sum over its warp; what the other lanes get is of no use.
__device__ float warp_sum(float value) {
    // A shuffle reads another lane's register: no memory, no barrier. After the step with distance 16, lanes 0 to 15
    // hold sums of two, after that with 8, lanes 0 to 7 hold sums of four; five steps for 32 lanes.
    for (int distance = WARP_SIZE / 2; distance > 0; distance /= 2) {
        // The mask promises that all 32 lanes get here. A lane that has returned early, or sits in the other branch of
        // an if, would break that promise.
        value += __shfl_down_sync(ALL_LANES, value, distance);
    }
    return value;
}

// Thread 0 gets the sum over its block. All threads of the block must call this.
__device__ float block_sum(float value) {
    // Warps can't read each other's registers, so here, and only here, sums pass through shared memory: one a warp. A
    // block has at most 1024 threads, so at most 32 warps, and these fit one warp for the second round.
    __shared__ float warp_sums[WARP_SIZE];
    const int lane = threadIdx.x % WARP_SIZE;
    const int warp = threadIdx.x / WARP_SIZE;
    value = warp_sum(value);
    if (lane == 0) {
        warp_sums[warp] = value;
    }
    // Without it, the first warp would read sums that the others have yet to write.
    __syncthreads();
    if (warp == 0) {
        const int n_warps = blockDim.x / WARP_SIZE;
        value = warp_sum(lane < n_warps ? warp_sums[lane] : 0.0f);
    }
    return value;
}

// END SOLUTION
// out[i] = x[i] + y[i]. Any grid of one-dimensional blocks.
extern "C" __global__ void add_kernel(const float* x, const float* y, float* out, long long n_elements) {
    // BEGIN PROMPT
    // // TODO 1: let all threads of the grid share the elements, whatever n_elements is.
    // // TODO 2: move 16 bytes at a time where the addresses allow it.
    // END PROMPT
    // BEGIN SOLUTION
    // Grid-stride: thread i takes items i, i + n_threads, i + 2·n_threads, … Neighbouring lanes always have
    // neighbouring items, so accesses are coalesced, and any grid does for any n. 64 bits: 2³¹ floats are just 8 GiB.
    const long long n_threads = (long long)gridDim.x * blockDim.x;
    const long long thread = (long long)blockIdx.x * blockDim.x + threadIdx.x;

    // One float4 load moves 16 bytes a lane, 512 a warp: 16 sectors with one instruction, where four float loads take
    // four. The hardware does it at multiples of 16 only. All three pointers must be at one, or none of it works.
    const bool is_aligned = ((size_t)x | (size_t)y | (size_t)out) % sizeof(float4) == 0;
    const long long n_vectors = is_aligned ? n_elements / 4 : 0;
    const float4* x4 = (const float4*)x;
    const float4* y4 = (const float4*)y;
    float4* out4 = (float4*)out;
    for (long long i = thread; i < n_vectors; i += n_threads) {
        const float4 a = x4[i];
        const float4 b = y4[i];
        out4[i] = make_float4(a.x + b.x, a.y + b.y, a.z + b.z, a.w + b.w);
    }
    // What the vectors left: up to three elements, or all of them where a pointer was misaligned.
    for (long long i = 4 * n_vectors + thread; i < n_elements; i += n_threads) {
        out[i] = x[i] + y[i];
    }
    // END SOLUTION
}

// sums[b] = the sum of the elements that block b took. Any grid of blocks of whole warps.
extern "C" __global__ void partial_sums_kernel(const float* x, float* sums, long long n_elements) {
    // BEGIN PROMPT
    // // TODO 3: let every thread add up its share of x, loading 16 bytes at a time; x may start at any float.
    // // TODO 4: add up the threads' sums: within each warp by shuffles, then over the warps of the block.
    // END PROMPT
    // BEGIN SOLUTION
    const long long n_threads = (long long)gridDim.x * blockDim.x;
    const long long thread = (long long)blockIdx.x * blockDim.x + threadIdx.x;

    // With a single pointer, a misaligned start costs three elements at most: a head of single floats leads to the
    // first multiple of 16, and from there on everything is aligned.
    const long long to_aligned = (16 - (size_t)x % 16) / sizeof(float) % 4;
    const long long n_head = to_aligned < n_elements ? to_aligned : n_elements;
    const long long n_vectors = (n_elements - n_head) / 4;
    const float4* x4 = (const float4*)(x + n_head);

    // A thread without elements brings 0 and comes along: the shuffles need every lane.
    float sum = 0.0f;
    for (long long i = thread; i < n_vectors; i += n_threads) {
        const float4 v = x4[i];
        sum += (v.x + v.y) + (v.z + v.w);
    }
    const long long n_done = n_head + 4 * n_vectors;
    if (thread < n_head) {
        sum += x[thread];
    }
    if (n_done + thread < n_elements) {
        sum += x[n_done + thread];
    }

    sum = block_sum(sum);
    if (threadIdx.x == 0) {
        sums[blockIdx.x] = sum;
    }
    // END SOLUTION
}
