# expect: TIMED_OUT|CRASHED
# layer: timeout
# timeout: 1.5
# Forks, lets the child keep the channel and the pipe open, and ends: whoever waits for the end of a stream waits for
# as long as the child likes.

import os
import time

import torch
import triton
import triton.language as tl


def add(x, y):
    if os.fork() == 0:
        os.setsid()
        time.sleep(20)
    os._exit(0)
