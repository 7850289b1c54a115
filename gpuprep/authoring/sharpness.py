"""Proves that a grader's tolerance is neither too tight nor too wide.

Honest results pass, in any order of their sums; zeros, the input itself and the next lower precision fail.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gpuprep.grader import Draw, Grader
from gpuprep.grading.judge import judge
from gpuprep.grading.loading import case_seed
from gpuprep.model import Case

if TYPE_CHECKING:
    import torch

SEEDS = (11, 23, 47)
LOWER_MANTISSA_BITS = {"float64": 23, "float32": 10, "float16": 7, "bfloat16": 4}
"""Mantissa of the next lower precision a solution could hide in: float32, TF32, bfloat16, half of bfloat16's own."""


@dataclass(frozen=True)
class Sharpness:
    """What the tolerance lets through, in units of the allowed error (1 is the limit).

    `honest` is the worst of torch's own results over seeds and orders; the others are the worst seen over all cases of
    a dtype, so that each cheat must fail somewhere.
    """

    dtype: str
    honest: float
    lower_precision: float
    zeros: float
    identity: float | None
    """None where no input has the output's shape."""

    @property
    def is_sharp(self) -> bool:
        """Honest results have room, cheats have none."""
        cheats = [self.lower_precision, self.zeros, *([] if self.identity is None else [self.identity])]
        return self.honest <= 1.0 and all(cheat > 1.0 for cheat in cheats)


def sharpness(grader: Grader, *, seeds: Sequence[int] = SEEDS) -> tuple[Sharpness, ...]:
    """One Sharpness for each dtype of the grader's cases that run on a CPU."""
    worst: dict[str, dict[str, float]] = {}
    for seed in seeds:
        for case in grader.cases(random.Random(seed)):  # noqa: S311  sizes, not secrets
            if "cpu" in case.devices:
                _try_case(grader, case, seed, worst.setdefault(case.get("dtype", "float32"), {}))
    return tuple(
        Sharpness(dtype, found["honest"], found["lower_precision"], found["zeros"], found.get("identity"))
        for dtype, found in sorted(worst.items())
    )


def _try_case(grader: Grader, case: Case, seed: int, worst: dict[str, float]) -> None:
    import torch

    draw = Draw(case_seed(seed, case))
    args = grader.inputs(case, draw)
    expected, model = grader.oracle(case, *args), grader.error_model(case)

    def note(kind: str, outputs: Sequence[torch.Tensor]) -> None:
        error = max(judge(want, got, model).worst for want, got in zip(expected, outputs, strict=True))
        worst[kind] = max(worst.get(kind, 0.0), error)

    size = grader.reduction_size(case)
    orders = [None, draw.permutation(size), torch.arange(size).flip(0)] if size else [None]
    for order in orders:
        note("honest", grader.honest(case, *args, order=order))
    lowered = [lower(arg) if isinstance(arg, torch.Tensor) else arg for arg in args]
    honest = grader.honest(case, *args)
    note("lower_precision", grader.honest(case, *lowered))
    note("zeros", [torch.zeros_like(output) for output in honest])
    for arg in args:
        if isinstance(arg, torch.Tensor) and arg.numel() > 1 and all(arg.shape == output.shape for output in honest):
            note("identity", [arg.to(output.dtype) for output in honest])


def lower(tensor: torch.Tensor) -> torch.Tensor:
    """The same tensor with its values rounded to the mantissa of the next lower precision."""
    import torch

    if not tensor.dtype.is_floating_point:
        return tensor
    bits = LOWER_MANTISSA_BITS[str(tensor.dtype).removeprefix("torch.")]
    mantissa, exponent = torch.frexp(tensor.double())
    # frexp's mantissa lies in [½, 1): one bit more than the hidden-bit count.
    step = 2.0 ** (bits + 1)
    return torch.ldexp((mantissa * step).round() / step, exponent).to(tensor.dtype)
