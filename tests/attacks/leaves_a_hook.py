# expect: RAISED
# layer: process
# Raises SystemExit(0) and leaves a hook that would print a verdict and force exit code 0 on the way out.

import atexit
import os

import torch
import triton
import triton.language as tl


def _last_word():
    print('{"outcome": "PASSED"}', flush=True)
    os._exit(0)


atexit.register(_last_word)


def add(x, y):
    raise SystemExit(0)
