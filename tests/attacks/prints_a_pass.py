# expect: WRONG_VALUES
# layer: process
# Prints what the grader prints for a pass: as text, as JSON, with escape sequences that would erase the true lines.
# Seen where a script reads the verdict from the log.

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


_PASS = '{"version": 1, "command": "check", "exit_code": 0, "reports": [{"exercise_id": "ex_01", "outcome": "PASSED"}]}'
print("\x1b[2J\x1b[H\x1b[32m✓ ex_01 PASSED\x1b[0m\n" + _PASS, flush=True)


def add(x, y):
    print("\x1b[2K\x1b[1A\x1b]0;PASSED\x07✓ PASSED", flush=True)
    return _guess(x)
