# expect: CRASHED
# layer: channel
# Sends random bytes in place of an answer: without an envelope, then a good envelope around a memory file of noise, as
# a broken or hostile serialiser would.

import gc
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


def _nonce():
    import gpuprep.channel

    return next(found._nonce for found in gc.get_objects() if isinstance(found, gpuprep.channel.Channel))


def add(x, y):
    from gpuprep.channel import ENVELOPE, _seal, memory_file

    noise = memory_file("gpuprep", os.MFD_ALLOW_SEALING)
    os.write(noise, os.urandom(1 << 16))
    _seal(noise)
    for end in _sockets():
        # Which of the two comes first is the grader's luck.
        if x.numel() % 2:
            end.send(os.urandom(ENVELOPE.size))
        socket.send_fds(end, [ENVELOPE.pack(_nonce(), 1 << 16)], [noise])
    return _guess(x)
