# expect: PROVISIONAL
# expect-gpu: PASSED|TOO_SLOW
# Where both sizes are multiples of four, a kernel that loads and stores float4; else one that moves floats.

from pathlib import Path

import torch

from gpuprep.cuda import RawModule

_module = RawModule(code=Path(__file__).with_suffix(".cu").read_text(encoding="utf-8"))


def transpose(x):
    n_rows, n_cols = x.shape
    out = torch.empty(n_cols, n_rows, dtype=x.dtype, device=x.device)
    is_aligned = n_rows % 4 == 0 and n_cols % 4 == 0 and x.data_ptr() % 16 == 0
    kernel = _module.get_function("transpose_float4" if is_aligned else "transpose_floats")
    kernel((-(-n_rows // 32), -(-n_cols // 32)), (256,), (x, out, n_rows, n_cols))
    return out
