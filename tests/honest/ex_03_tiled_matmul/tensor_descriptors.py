# expect: PROVISIONAL
# expect-gpu: PASSED|TOO_SLOW
# Tiles by tensor descriptors, which a card's copy engine fetches, wherever rows are aligned as it demands; plain
# pointers elsewhere.

import torch
import triton
import triton.language as tl


@triton.jit
def _descriptor_kernel(
    a_ptr,
    b_ptr,
    out_ptr,
    M,
    N,
    K,
    a_row_stride,
    b_row_stride,
    out_row_stride,
    BLOCK_M: tl.constexpr,
    BLOCK_N: tl.constexpr,
    BLOCK_K: tl.constexpr,
):
    a_tiles = tl.make_tensor_descriptor(a_ptr, [M, K], [a_row_stride, 1], [BLOCK_M, BLOCK_K])
    b_tiles = tl.make_tensor_descriptor(b_ptr, [K, N], [b_row_stride, 1], [BLOCK_K, BLOCK_N])
    out_tiles = tl.make_tensor_descriptor(out_ptr, [M, N], [out_row_stride, 1], [BLOCK_M, BLOCK_N])
    row, col = tl.program_id(axis=0) * BLOCK_M, tl.program_id(axis=1) * BLOCK_N
    sums = tl.zeros((BLOCK_M, BLOCK_N), dtype=tl.float32)
    for start in range(0, K, BLOCK_K):
        sums = tl.dot(a_tiles.load([row, start]), b_tiles.load([start, col]), sums, input_precision="ieee")
    out_tiles.store([row, col], sums.to(out_ptr.dtype.element_ty))


@triton.jit
def _pointer_kernel(
    a_ptr,
    b_ptr,
    out_ptr,
    M,
    N,
    K,
    a_row_stride,
    a_col_stride,
    b_row_stride,
    out_row_stride,
    BLOCK_M: tl.constexpr,
    BLOCK_N: tl.constexpr,
    BLOCK_K: tl.constexpr,
):
    rows = (tl.program_id(axis=0) * BLOCK_M + tl.arange(0, BLOCK_M)).to(tl.int64)
    cols = (tl.program_id(axis=1) * BLOCK_N + tl.arange(0, BLOCK_N)).to(tl.int64)
    sums = tl.zeros((BLOCK_M, BLOCK_N), dtype=tl.float32)
    for start in range(0, K, BLOCK_K):
        ks = start + tl.arange(0, BLOCK_K)
        a_places = rows[:, None] * a_row_stride + ks[None, :] * a_col_stride
        b_places = ks[:, None] * b_row_stride + cols[None, :]
        a = tl.load(a_ptr + a_places, mask=(rows[:, None] < M) & (ks[None, :] < K), other=0.0)
        b = tl.load(b_ptr + b_places, mask=(ks[:, None] < K) & (cols[None, :] < N), other=0.0)
        sums = tl.dot(a, b, sums, input_precision="ieee")
    places = rows[:, None] * out_row_stride + cols[None, :]
    tl.store(out_ptr + places, sums, mask=(rows[:, None] < M) & (cols[None, :] < N))


def _is_aligned(tensor):
    return tensor.stride(1) == 1 and tensor.data_ptr() % 16 == 0 and tensor.stride(0) * tensor.element_size() % 16 == 0


def _workspace(size, _alignment, _stream):
    """Where descriptors are kept on a card."""
    return torch.empty(size, dtype=torch.int8, device="cuda")


def matmul(a, b):
    (M, K), N = a.shape, b.shape[1]
    out = torch.empty((M, N), dtype=a.dtype, device=a.device)
    grid, tiles = (triton.cdiv(M, 64), triton.cdiv(N, 64)), {"BLOCK_M": 64, "BLOCK_N": 64, "BLOCK_K": 32}
    if all(map(_is_aligned, (a, b, out))):
        if a.is_cuda:
            triton.set_allocator(_workspace)
        _descriptor_kernel[grid](a, b, out, M, N, K, a.stride(0), b.stride(0), out.stride(0), **tiles)
    else:
        strides = a.stride(0), a.stride(1), b.stride(0), out.stride(0)
        _pointer_kernel[grid](a, b, out, M, N, K, *strides, **tiles)
    return out
