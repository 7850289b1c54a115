# expect: WRONG_VALUES|RAISED
# layer: process
# checks: 2
# Writes a torch.py, sitecustomize.py, conftest.py and a .pth file beside itself and into every folder that it may, for
# the next process that starts there to import. Workers and graders look in neither.

import contextlib
import os
import tempfile
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


def _plant():
    # The throw-away folder where this file lies, and a temporary one: nobody's own home.
    places = [folder for folder in Path(__file__).resolve().parents if (folder / "THROW_AWAY").is_file()]
    for place in (*places, Path(tempfile.mkdtemp())):
        for name in ("torch.py", "triton.py", "sitecustomize.py", "usercustomize.py", "conftest.py", "json.py"):
            with contextlib.suppress(OSError):
                (place / name).write_text("import os\nprint('PASSED')\nos._exit(0)\n")
        with contextlib.suppress(OSError):
            (place / "planted.pth").write_text("import os; os._exit(0)\n")
            os.chdir(place)


_plant()


def add(x, y):
    return _guess(x)
