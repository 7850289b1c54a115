"""What lanes hold that a mask keeps from loading and no `other=` fills: on a card anything, and here what shows most.

NaN comes through sums and products, but hardly through a maximum or a comparison: those are found by loud values.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

NAN, LOUD = "nan", "loud"

_LOUD_FLOATS = {2: 3e4, 4: 1e30, 8: 1e300}
"""By itemsize: finite, so that a weight of 0 still makes 0 of them."""
_LOUD_BFLOAT16 = 0x7149
"""The bits of 1e30. The interpreter keeps bfloat16 as 16-bit integers, which this is a value of as well."""
_LOUD_INTEGER = 90
"""Fits every integer type. It may become the bound of a loop: there is no waiting for a million steps."""


@dataclass(frozen=True)
class Garbage:
    """What such lanes hold during one call.

    Args:
        kind: NAN (integers have every bit set then, which is NaN to a bfloat16), or LOUD: large values of either sign.
        line: only the loads of this line leave garbage, those of all others 0; 0 means that all leave it.
    """

    kind: str = NAN
    line: int = 0

    def values(self, shape: tuple[int, ...], dtype: np.dtype[Any], line: int) -> npt.NDArray[Any]:
        """For a load of this line: an array of that shape and dtype."""
        import numpy as np

        if self.line not in (0, line):
            return np.zeros(shape, dtype)
        if self.kind == NAN:
            return np.full(shape, np.nan if dtype.kind == "f" else -1).astype(dtype)
        if dtype.kind == "f":
            pair = [_LOUD_FLOATS[dtype.itemsize], -_LOUD_FLOATS[dtype.itemsize]]
        elif dtype == np.uint16:
            pair = [_LOUD_BFLOAT16, _LOUD_BFLOAT16 | 0x8000]
        else:
            pair = [_LOUD_INTEGER, -_LOUD_INTEGER]
        return np.resize(np.array(pair), shape).astype(dtype)


USUAL = Garbage()
