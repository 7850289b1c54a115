"""What host code may use: where an operation is allowed, so is what autograd makes of it."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from gpuprep.allowed_ops import ARITHMETIC, HOST_OPS

ALLOWED = HOST_OPS | ARITHMETIC
PLACES = torch.tensor([0, 2, 1, 1])
CALLS: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "slice": lambda x: x[1:3],
    "every other": lambda x: x[::2, 1:],
    "row": lambda x: x[1],
    "rows by number": lambda x: x[PLACES],
    "windows": lambda x: x.unfold(0, 2, 1),
    "chunk": lambda x: x.chunk(2)[1],
    "index_select": lambda x: x.index_select(0, PLACES),
    "gather": lambda x: x.gather(0, PLACES[:, None].expand(4, 5)),
    "repeat_interleave": lambda x: x.repeat_interleave(2, 0),
    "sort": lambda x: x.sort(-1).values,
    "product": lambda x: x.prod(-1),
    "magnitude": lambda x: x.abs(),
    "tanh": lambda x: x.tanh(),
    "clamp": lambda x: x.clamp(0.2, 0.6),
    "part that is written": lambda x: torch.zeros(8, 5).index_put((PLACES,), x, accumulate=True),
}


PACKED: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "or": lambda word: word.bitwise_or_(word << 4),
    "operators": lambda word: operator.ior(word, operator.iand(word.clone(), 15)),
    "shift": lambda word: operator.ilshift(word, 4),
    "parts": lambda word: word.split([3, 13])[1],
    "round": lambda word: (word / 7).round_().clamp_min_(-8.0).nan_to_num_(),
}


class Seen(TorchDispatchMode):
    """Keeps the names of what is dispatched."""

    def __init__(self) -> None:
        super().__init__()
        self.names: set[str] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.names.add(".".join(str(func).split(".")[:2]))
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_backward_of_what_is_allowed_is_allowed(call: Callable[[torch.Tensor], torch.Tensor]) -> None:
    """Whoever slices a tensor has not called `slice_backward`."""
    x = torch.rand(4, 5).requires_grad_()
    with Seen() as forward:
        out = call(x)
    gradient = torch.rand(out.shape)
    with Seen() as backward:
        torch.autograd.grad(out, x, gradient)
    assert forward.names <= ALLOWED
    assert backward.names
    assert backward.names <= ALLOWED


@pytest.mark.parametrize("call", PACKED.values(), ids=PACKED)
def test_what_is_allowed_is_allowed_in_place(call: Callable[[torch.Tensor], torch.Tensor]) -> None:
    """`a |= b` is no more than `a | b`."""
    with Seen() as seen:
        call(torch.arange(16, dtype=torch.int32))
    assert seen.names
    assert seen.names <= ALLOWED
