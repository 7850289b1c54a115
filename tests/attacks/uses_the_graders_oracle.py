# expect: BANNED_CALL
# confined: RAISED
# layer: host ops
# Imports the grader's file, which lies on the disk for all to read, and has its oracle compute the answer. There is
# no secret in it: it is torch that adds, as if it had been called by name.

import importlib.util
from pathlib import Path

import torch
import triton
import triton.language as tl


@triton.jit
def _add_kernel(x_ptr, y_ptr, out_ptr, n_elements, BLOCK_SIZE: tl.constexpr):
    offsets = tl.program_id(axis=0) * BLOCK_SIZE + tl.arange(0, BLOCK_SIZE)
    mask = offsets < n_elements
    x = tl.load(x_ptr + offsets, mask=mask)
    y = tl.load(y_ptr + offsets, mask=mask)
    tl.store(out_ptr + offsets, x + y, mask=mask)


def _oracle():
    import gpuprep

    root = Path(gpuprep.__file__).parent
    for folder in (root.parent, root / "content"):
        for path in folder.glob("graders/*/ex_01_*.py"):
            spec = importlib.util.spec_from_file_location("grader", path)
            module = importlib.util.module_from_spec(spec)
            spec.loader.exec_module(module)
            return module.GRADER
    return None


_grader = _oracle()


def add(x, y):
    dtype = str(x.dtype).removeprefix("torch.")
    (expected,) = _grader.oracle({"n": x.numel(), "dtype": dtype}, x, y)
    return expected.value.to(x.dtype)
