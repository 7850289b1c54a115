# expect: PROVISIONAL
# expect-gpu: TOO_SLOW
# Tiles in shared memory, one of each, filled a half at a time: right, and slow.

from pathlib import Path

import numpy as np
import torch

from gpuprep.cuda import RawModule

_module = RawModule(code=Path(__file__).with_suffix(".cu").read_text(encoding="utf-8"))


def matmul(a, b):
    (M, K), N = a.shape, b.shape[1]
    out = torch.empty((M, N), dtype=a.dtype, device=a.device)
    grid = (-(-N // 256), -(-M // 128))
    sizes = (np.int32(M), np.int32(N), np.int32(K))
    _module.get_function("hgemm_kernel")(grid, (256,), (a, b, out, *sizes))
    return out
