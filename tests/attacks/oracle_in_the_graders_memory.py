# expect: WRONG_VALUES
# layer: process
# Searches the memory of the processes above it, by /proc, for the sum of its inputs in float64. Where one user's
# processes may read each other it can; but the oracle is computed when the outputs are in.

import os
import struct
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


_MOST_BYTES = 64 * 2**20


def _ancestors():
    pid = os.getppid()
    for _ in range(3):
        if pid <= 1:
            return
        yield pid
        pid = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def _regions(pid):
    for row in Path(f"/proc/{pid}/maps").read_text().splitlines():
        span, rights, _, _, inode, *_ = row.split()
        low, high = (int(end, 16) for end in span.split("-"))
        if rights.startswith("rw") and inode == "0":
            yield low, high - low


def _search(needle):
    for pid in _ancestors():
        left = _MOST_BYTES
        with open(f"/proc/{pid}/mem", "rb", buffering=0) as memory:
            for low, size in _regions(pid):
                if size > left:
                    continue
                left -= size
                memory.seek(low)
                place = memory.read(size).find(needle)
                if place >= 0:
                    return low + place
    return None


_has_looked = False


def add(x, y):
    global _has_looked
    if not _has_looked and x.numel() > 1000:
        _has_looked = True
        needle = b"".join(struct.pack("d", x[place].item() + y[place].item()) for place in range(3))
        try:
            print("found at", _search(needle))
        except OSError as error:
            print("no access:", error)
    return _guess(x)
