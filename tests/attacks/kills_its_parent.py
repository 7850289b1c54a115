# expect: CRASHED|NO_VERDICT
# confined: RAISED
# layer: process
# apart: yes
# Kills the process that started it, which may be the grader itself. Then there is no verdict, and none is not a pass:
# nothing was recorded, and the command ends with the signal's exit code.

import os
import signal
import time

import torch
import triton
import triton.language as tl


def add(x, y):
    os.kill(os.getppid(), signal.SIGKILL)
    time.sleep(5)
    return torch.empty_like(x)
