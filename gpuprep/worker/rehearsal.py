"""One call in the interpreter before the first fork, so that no check pays for what a first call imports."""

from __future__ import annotations

from typing import Any

import torch
import triton
import triton.language as tl

from gpuprep.worker.running import Runner

BLOCK = 16


@triton.jit  # type: ignore[untyped-decorator]
def _rehearsal_kernel(x_ptr: Any, out_ptr: Any, n: Any, BLOCK: tl.constexpr) -> None:  # noqa: N803  as in kernels
    rows = tl.arange(0, BLOCK)
    offsets = rows[:, None] * BLOCK + rows[None, :]
    x = tl.load(x_ptr + offsets, mask=offsets < n, other=0.0)
    total = tl.sum(tl.exp(x - tl.max(x, axis=1)[:, None]), axis=1)
    for _ in range(tl.cdiv(n, BLOCK * BLOCK)):
        x += tl.where(x > 0, tl.dot(x, x), total[:, None])
    tl.store(out_ptr + offsets, x.to(tl.float32), mask=offsets < n)
    tl.atomic_add(out_ptr + rows, total)


def rehearse() -> None:
    """Call a kernel that uses a little of everything, counted, the way a learner's function is called."""
    runner = Runner("cpu")
    if not runner.can_count:
        # The worker says why; that is not the template's business.
        return
    runner.path, runner.function = __file__, _rehearsed
    answer = runner.call([torch.ones(BLOCK, BLOCK)])
    assert answer["status"] == "returned", answer  # noqa: S101  else warm workers differ from cold ones


def _rehearsed(x: torch.Tensor) -> torch.Tensor:
    out = torch.empty_like(x)
    _rehearsal_kernel[(1,)](x, out, x.numel(), BLOCK=BLOCK)
    return out
