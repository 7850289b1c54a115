# expect: SKIPPED
# expect-gpu: PASSED|PROVISIONAL|TOO_SLOW
# CUDA C++ by way of CuPy, on torch's stream, each thread a few elements far apart.

import cupy
import torch

_SOURCE = r"""
#include <cuda_fp16.h>

template <typename T>
__device__ void add(const T* x, const T* y, T* out, long long n) {
    long long step = (long long)gridDim.x * blockDim.x;
    for (long long i = (long long)blockIdx.x * blockDim.x + threadIdx.x; i < n; i += step) {
        out[i] = x[i] + y[i];
    }
}

extern "C" __global__ void add_float32(const float* x, const float* y, float* out, long long n) {
    add(x, y, out, n);
}

extern "C" __global__ void add_float16(const __half* x, const __half* y, __half* out, long long n) {
    add(x, y, out, n);
}
"""
_module = cupy.RawModule(code=_SOURCE)
_kernels = {torch.float32: _module.get_function("add_float32"), torch.float16: _module.get_function("add_float16")}


def add(x, y):
    out = torch.empty_like(x)
    n_elements = x.numel()
    n_blocks = min(-(-n_elements // 1024), 2**20)
    with cupy.cuda.ExternalStream(torch.cuda.current_stream().cuda_stream):
        _kernels[x.dtype]((n_blocks,), (256,), (x.data_ptr(), y.data_ptr(), out.data_ptr(), cupy.int64(n_elements)))
    return out
