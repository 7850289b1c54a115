# expect: CRASHED|WRONG_VALUES
# layer: channel
# Takes the nonce from where it stands, and sends well-formed answers to requests that have not come yet: loaded, then
# results. For all its form it can't know the inputs.

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


def _send_ahead():
    from gpuprep.channel import Channel

    parameters = [{"name": name, "kind": "POSITIONAL_OR_KEYWORD", "required": True} for name in "xy"]
    keys = "bytes_loaded bytes_stored sectors_loaded sectors_stored launches programs dot_flops".split()
    for end in _sockets():
        channel = Channel(end, _nonce())
        channel.send({"status": "loaded", "parameters": parameters})
        for n in (1, 3, 31):
            args, out = [torch.zeros(n), torch.zeros(n)], torch.zeros(n)
            seen = {"work": dict.fromkeys(keys, 1), "findings": [], "host_ops": [], "stored": [n]}
            channel.send({"status": "returned", "args": args, "outputs": [out], "devices": ["cpu"], **seen})


_send_ahead()


def add(x, y):
    return _guess(x)
