# expect: CRASHED
# layer: channel
# Sends a message that it can still write to, and goes on writing: what was checked need not be what is used.

import gc
import os
import socket
import threading
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
    """From the command line where it stands there, else from the channel itself."""
    for word in Path("/proc/self/cmdline").read_bytes().split(b"\0"):
        if len(word) == 32 and not word.strip(b"0123456789abcdef"):
            return bytes.fromhex(word.decode())
    import gpuprep.channel

    return next(found._nonce for found in gc.get_objects() if isinstance(found, gpuprep.channel.Channel))


def _flicker(descriptor, size):
    while True:
        os.pwrite(descriptor, b"gpuprep", 0)
        os.ftruncate(descriptor, size)


def add(x, y):
    from gpuprep.channel import ENVELOPE, memory_file

    descriptor = memory_file("gpuprep")
    os.ftruncate(descriptor, 4096)
    threading.Thread(target=_flicker, args=(descriptor, 4096), daemon=True).start()
    for end in _sockets():
        socket.send_fds(end, [ENVELOPE.pack(_nonce(), 4096)], [descriptor])
    return _guess(x)
