# expect: OUT_OF_BOUNDS|WRONG_VALUES
# Leaves out masks wherever the tile divides the sizes, and lets the tuner's pruning find such a tile; but its key names
# no size, so what was found for the first call is used for all others.

import torch
import triton
import triton.language as tl


def _dividing(configs, named_args, **_):
    fitting = [
        config
        for config in configs
        if all(named_args[size] % config.kwargs[f"BLOCK_{size}"] == 0 for size in ("M", "N", "K"))
    ]
    return fitting or [MASKED]


def _config(block_m, block_n, block_k, is_masked):
    tiles = {"BLOCK_M": block_m, "BLOCK_N": block_n, "BLOCK_K": block_k, "IS_MASKED": is_masked}
    return triton.Config(tiles, num_warps=4, num_stages=3)


MASKED = _config(64, 64, 32, is_masked=True)


@triton.autotune(
    configs=[_config(64, 64, 32, is_masked=False), _config(64, 64, 64, is_masked=False)],
    key=[],
    prune_configs_by={"early_config_prune": _dividing},
)
@triton.jit
def _linear_gelu_kernel(
    x_ptr, w_ptr, b_ptr, out_ptr, M, N, K, x_row_stride, w_row_stride, out_row_stride,
    BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr, BLOCK_K: tl.constexpr,
    IS_MASKED: tl.constexpr,
):  # fmt: skip
    rows = (tl.program_id(axis=0) * BLOCK_M + tl.arange(0, BLOCK_M)).to(tl.int64)
    cols = (tl.program_id(axis=1) * BLOCK_N + tl.arange(0, BLOCK_N)).to(tl.int64)
    bias = tl.load(b_ptr + cols, mask=cols < N, other=0.0).to(tl.float32)
    h = tl.zeros((BLOCK_M, BLOCK_N), dtype=tl.float32)
    for k_start in range(0, K, BLOCK_K):
        ks = k_start + tl.arange(0, BLOCK_K)
        x_ptrs = x_ptr + rows[:, None] * x_row_stride + ks[None, :]
        w_ptrs = w_ptr + cols[None, :] * w_row_stride + ks[:, None]
        if IS_MASKED:
            x = tl.load(x_ptrs, mask=(rows[:, None] < M) & (ks[None, :] < K), other=0.0)
            w = tl.load(w_ptrs, mask=(cols[None, :] < N) & (ks[:, None] < K), other=0.0)
        else:
            x = tl.load(x_ptrs)
            w = tl.load(w_ptrs)
        h = tl.dot(x, w, h, input_precision="ieee")
    h += bias[None, :]
    out = 0.5 * h * (1.0 + tl.erf(h * 0.7071067811865476))
    out_ptrs = out_ptr + rows[:, None] * out_row_stride + cols[None, :]
    tl.store(out_ptrs, out, mask=(rows[:, None] < M) & (cols[None, :] < N))


def linear_gelu(x, w, b):
    (M, K), N = x.shape, w.shape[0]
    out = torch.empty((M, N), dtype=x.dtype, device=x.device)
    grid = lambda meta: (triton.cdiv(M, meta["BLOCK_M"]), triton.cdiv(N, meta["BLOCK_N"]))
    _linear_gelu_kernel[grid](x, w, b, out, M, N, K, x.stride(0), w.stride(0), out.stride(0))
    return out
