# expect: WRONG_VALUES
# layer: process
# Marks everything as passed in the learner's own record. It can, as the learner could with any editor; no verdict
# comes from there.

import sqlite3
from pathlib import Path

import torch
import triton
import triton.language as tl


@triton.jit
def _copy_kernel(x_ptr, out_ptr, n_elements, BLOCK_SIZE: tl.constexpr):
    offsets = tl.program_id(axis=0) * BLOCK_SIZE + tl.arange(0, BLOCK_SIZE)
    mask = offsets < n_elements
    tl.store(out_ptr + offsets, tl.load(x_ptr + offsets, mask=mask), mask=mask)


def _guess(x):
    """A wrong answer that looks like one."""
    out = torch.empty_like(x)
    _copy_kernel[(triton.cdiv(x.numel(), 1024),)](x, out, x.numel(), BLOCK_SIZE=1024)
    return out


def _edit():
    for folder in Path(__file__).resolve().parents:
        path = folder / ".gpuprep" / "progress.db"
        # Only in the suite's own throw-away folder: nobody's record is worth this demonstration.
        if path.is_file() and (folder / "THROW_AWAY").is_file():
            with sqlite3.connect(path) as database:
                database.execute("UPDATE attempts SET outcome = 'PASSED', is_gold = 1")


_edit()


def add(x, y):
    return _guess(x)
