# expect: BANNED_CALL
# torch makes the copy that the kernel was to make.

import torch


def transpose(x):
    out = torch.empty((x.shape[1], x.shape[0]), dtype=x.dtype, device=x.device)
    out.copy_(x.t())
    return out
