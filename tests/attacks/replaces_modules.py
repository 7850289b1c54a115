# expect: WRONG_VALUES
# layer: process
# Puts modules of its own in the place of torch's, numpy's and the grader's, in sys.modules and by an import hook, and
# makes all of their comparisons true. Seen where the judge imports what the submission has replaced.

import sys
import types

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


class _SaysYes(types.ModuleType):
    def __getattr__(self, name):
        return lambda *args, **kwargs: True


def _replace():
    for name in ("numpy.testing", "torch.testing", "gpuprep.grading.judge", "gpuprep.grading.comparison", "pytest"):
        sys.modules[name] = _SaysYes(name)
    sys.meta_path.insert(0, type("Finder", (), {"find_spec": staticmethod(lambda *args: None)}))


_replace()


def add(x, y):
    return _guess(x)
