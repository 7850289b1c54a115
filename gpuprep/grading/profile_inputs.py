"""A timed case's arguments without their values: at those sizes a kernel is compiled for, not run on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from gpuprep.grader import Draw

if TYPE_CHECKING:
    import torch


class BlankDraw(Draw):
    """Makes tensors that have a shape, strides and a dtype, and no memory."""

    def __init__(self) -> None:
        super().__init__(0)

    def integers(self, low: int, high: int, *shape: int, dtype: str = "int32") -> torch.Tensor:  # noqa: ARG002
        """Integers nobody drew."""
        import torch

        return self.place(torch.empty(shape, dtype=getattr(torch, dtype), device="meta"))

    def permutation(self, n: int) -> torch.Tensor:
        """An order nobody drew."""
        import torch

        return torch.empty(n, dtype=torch.int64, device="meta")

    def _values(self, shape: tuple[int, ...], distribution: str, dtype: str) -> torch.Tensor:  # noqa: ARG002
        import torch

        return torch.empty(shape, device="meta")


def blanked(value: Any) -> Any:
    """An argument as the compiling worker takes it: for a tensor its shape, strides and dtype."""
    import torch

    if isinstance(value, torch.Tensor):
        dtype = str(value.dtype).removeprefix("torch.")
        return {"blank": list(value.shape), "strides": list(value.stride()), "dtype": dtype}
    if isinstance(value, Mapping):
        return {str(name): blanked(item) for name, item in value.items()}
    return [blanked(item) for item in value] if isinstance(value, list | tuple) else value
