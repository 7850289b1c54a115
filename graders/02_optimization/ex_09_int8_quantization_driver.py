"""Calls what a case of ex_09 asks for: one of the three functions, or two of them as a layer uses them.

On a CPU it holds `torch._int_mm` to what a card's tensor cores ask for, so that a file that runs here runs there.
"""

import contextlib

import torch
from torch.utils._python_dispatch import TorchDispatchMode

LEAST_ROWS = 17
MULTIPLE = 8
"""Of the bytes from one row, or column, of a matrix to the next."""


def drive(module, op, *args):
    """One call.

    Args:
        module: the learner's.
        op: `calibrate`, `quantize`, `qlinear`, or `layer`: weights are quantized, then used.
        args: of the function; of `layer`, the activations and the float weights.
    """
    rules = _CardRules() if args[0].device.type == "cpu" else contextlib.nullcontext()
    with rules:
        if op == "calibrate":
            return module.calibrate(*args)
        if op == "quantize":
            return _quantized(module, *args)
        if op == "qlinear":
            return module.qlinear(*args)
        x, w = args
        wq, scales = _quantized(module, w)
        # Where they have another shape, the cases of `quantize` say so.
        return module.qlinear(x, wq, scales.flatten())


def _quantized(module, w):
    returned = module.quantize_per_channel(w)
    if not isinstance(returned, tuple) or len(returned) != 2:
        raise TypeError(f"quantize_per_channel() must return (wq, scales), it returned {type(returned).__name__}")
    return returned


class _CardRules(TorchDispatchMode):
    @classmethod
    def _should_skip_dynamo(cls):
        # Else torch imports dynamo at the first operation, which takes a second.
        return False

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if func.overloadpacket is torch.ops.aten._int_mm:  # noqa: SLF001  it has no public name
            _refuse_what_a_card_refuses(*args[:2])
        return func(*args, **(kwargs or {}))


def _refuse_what_a_card_refuses(*matrices):
    if len(matrices[0]) < LEAST_ROWS:
        raise RuntimeError(f"on a card, torch._int_mm takes {LEAST_ROWS} rows or more, not {len(matrices[0])}")
    for name, matrix in zip(("first", "second"), matrices, strict=True):
        steps = matrix.stride()
        if min(steps) != 1 or max(steps) % MULTIPLE:
            raise RuntimeError(
                f"on a card, torch._int_mm takes matrices whose rows, or columns, lie a multiple of {MULTIPLE} bytes "
                f"apart; the strides of the {name} one are {list(steps)}"
            )
