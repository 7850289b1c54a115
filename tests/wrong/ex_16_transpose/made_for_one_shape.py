# expect: WRONG_VALUES
# The grid covers 1024×1024, the size that its author tried.

from pathlib import Path

import torch

from gpuprep.cuda import RawModule

_module = RawModule(code=Path(__file__).with_suffix(".cu").read_text(encoding="utf-8"))


def transpose(x):
    m, n = x.shape
    out = torch.empty((n, m), dtype=x.dtype, device=x.device)
    grid = (16, 16)
    _module.get_function("transpose_kernel")(grid, (64, 4), (x, out, m, n))
    return out
