# expect: BANNED_CALL
# layer: counted work
# Switches off the layer of torch's dispatcher that watchers hook into, calls the library, and switches it on again.

import torch
import triton
import triton.language as tl


def add(x, y):
    with torch._C._DisableTorchDispatch():
        return torch.add(x, y)
