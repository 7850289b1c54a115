# expect: CRASHED
# layer: process
# Ends its process with exit code 0 before anything is compared. Seen in judges that take the exit code for the
# verdict.

import os

import torch
import triton
import triton.language as tl


def add(x, y):
    print("1 passed", flush=True)
    os._exit(0)
