"""`tl.reduce` with a function of one's own, by halves: as a card does it, and in a few steps.

Triton's interpreter calls such a function once an element, with the whole of the language behind each operation: a row
of 1024 takes it a second. A card combines in a tree, which a function has to put up with anyway.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np


def by_halves(original: Callable[..., Any]) -> Callable[..., Any]:
    """Stands in for the interpreter's `ReduceOps.generic_reduce`.

    Args:
        original: that, for axes that can't be halved.
    """

    def generic_reduce(reduction: Any, tensors: Any) -> Any:
        n_axes = np.ndim(tensors[0].handle.data)
        if reduction.axis is None:
            blocks = [tensor.handle.data.reshape(-1) for tensor in tensors]
        else:
            blocks = [np.moveaxis(tensor.handle.data, reduction.axis, 0) for tensor in tensors]
        size = blocks[0].shape[0]
        if size < 2 or size & (size - 1):
            return original(reduction, tensors)
        dtypes = [tensor.dtype for tensor in tensors]
        while blocks[0].shape[0] > 1:
            # Neighbours, so that their order stays what it was.
            pairs = [part for first in (0, 1) for part in _tensors(reduction, blocks, dtypes, first)]
            combined = reduction.combine_fn.fn(*pairs)
            combined = combined if isinstance(combined, tuple) else (combined,)
            blocks = [
                np.broadcast_to(_data(value), block[::2].shape) for value, block in zip(combined, blocks, strict=True)
            ]
        return [_packed(reduction, block[0], dtype, n_axes) for block, dtype in zip(blocks, dtypes, strict=True)]

    return generic_reduce


def _tensors(reduction: Any, blocks: list[Any], dtypes: list[Any], first: int) -> list[Any]:
    """Every second element of each block."""
    return [reduction.to_tensor(block[first::2], dtype) for block, dtype in zip(blocks, dtypes, strict=True)]


def _data(value: Any) -> Any:
    # Functions may return numbers of Python's, too.
    return value.handle.data if hasattr(value, "handle") else value


def _packed(reduction: Any, data: Any, dtype: Any, n_axes: int) -> Any:
    if reduction.keep_dims:
        data = np.expand_dims(data, tuple(range(n_axes)) if reduction.axis is None else reduction.axis)
    elif not data.shape:
        data = data.item()
    return reduction.to_tensor(data, dtype)
