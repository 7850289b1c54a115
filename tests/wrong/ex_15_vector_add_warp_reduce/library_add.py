# expect: BANNED_CALL
# The kernel is compiled and never launched: torch adds.

from pathlib import Path

import torch

from gpuprep.cuda import RawModule

_module = RawModule(code=Path(__file__).with_suffix(".cu").read_text(encoding="utf-8"))


_THREADS = 256


def _n_blocks(n_elements: int, per_thread: int, most: int) -> int:
    return max(1, min(most, -(-n_elements // (per_thread * _THREADS))))


def add(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    out = torch.empty_like(x)
    torch.add(x, y, out=out)
    return out


def total(x: torch.Tensor) -> torch.Tensor:
    n_partials = _n_blocks(x.numel(), per_thread=16, most=4096)
    partials = torch.empty(n_partials, dtype=torch.float32, device=x.device)
    out = torch.empty((), dtype=torch.float32, device=x.device)
    partial_sums = _module.get_function("partial_sums_kernel")
    partial_sums((n_partials,), (_THREADS,), (x, partials, x.numel()))
    partial_sums((1,), (_THREADS,), (partials, out, n_partials))
    return out


torch.library.define("gpuprep_ex15::add", "(Tensor x, Tensor y) -> Tensor")
torch.library.impl("gpuprep_ex15::add", ("cpu", "cuda"), add)


@torch.library.register_fake("gpuprep_ex15::add")
def _add_fake(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    return torch.empty_like(x)
