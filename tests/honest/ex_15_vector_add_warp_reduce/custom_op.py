# expect: PROVISIONAL
# expect-gpu: PASSED|TOO_SLOW
# add is the operator itself, made by the decorator that infers the schema; the grids are those of another author.

from pathlib import Path

import torch

from gpuprep.cuda import RawModule

_kernels = RawModule(code=Path(__file__).with_suffix(".cu").read_text(encoding="utf-8"))


@torch.library.custom_op("gpuprep_ex15::add", mutates_args=())
def add(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    out = torch.empty(x.shape, dtype=x.dtype, device=x.device)
    n_blocks = min(max(x.numel() // 2048, 1), 8192)
    _kernels.get_function("add_kernel")((n_blocks,), (512,), (x, y, out, x.numel()))
    return out


@add.register_fake
def _(x, y):
    return x.new_empty(x.shape)


def total(x):
    partials = x.new_empty(1024)
    n_blocks = min(max(x.numel() // 8192, 1), 1024)
    kernel = _kernels.get_function("partial_sums_kernel")
    kernel((n_blocks,), (512,), (x, partials, x.numel()))
    kernel((1,), (1024,), (partials, partials[:1], n_blocks))
    return partials[0].clone()
