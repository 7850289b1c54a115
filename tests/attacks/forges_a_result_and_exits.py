# expect: CRASHED
# layer: channel
# Sends a complete answer of its own, as the worker would, and ends its process with success before anything else can
# be asked. The answer is as good as its values, and for the next case nobody is there any more.

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


def add(x, y):
    from gpuprep.channel import Channel

    found = [each for each in gc.get_objects() if isinstance(each, Channel)]
    keys = "bytes_loaded bytes_stored sectors_loaded sectors_stored launches programs dot_flops".split()
    seen = {"work": dict.fromkeys(keys, 1), "findings": [], "host_ops": [], "stored": [x.numel()]}
    found[0].send({"status": "returned", "args": [x, y], "outputs": [x + y], "devices": ["cpu"], "verdict": "PASSED", **seen})
    os._exit(0)
