# expect: BANNED_CALL
# layer: host ops
# NumPy does it, out of torch's sight. Seen where the check for library calls hooks torch only.

import numpy as np
import torch
import triton
import triton.language as tl


def add(x, y):
    return torch.from_numpy(np.add(x.numpy(), y.numpy()))
