# expect: BANNED_CALL
# torch multiplies; the kernel that stands beside it is never launched.

import torch


def matmul(a, b):
    return torch.matmul(a, b)
