# expect: BANNED_CALL|WRONG_VALUES
# layer: witness
# Replaces the function of the worker that calls it and reports what was seen: all that it reports is invented, but
# for the values, which torch computes.

import torch
import triton
import triton.language as tl


@triton.jit
def _add_kernel(x_ptr, y_ptr, out_ptr, n_elements, BLOCK_SIZE: tl.constexpr):
    offsets = tl.program_id(axis=0) * BLOCK_SIZE + tl.arange(0, BLOCK_SIZE)
    mask = offsets < n_elements
    x = tl.load(x_ptr + offsets, mask=mask)
    y = tl.load(y_ptr + offsets, mask=mask)
    tl.store(out_ptr + offsets, x + y, mask=mask)


def _recipe(out):
    """An answer in place of the steps that lead to it."""
    dtype, contents = str(out.dtype).removeprefix("torch."), out.view(torch.uint8)
    steps = [{"make": 2, "contents": contents}]
    return {"functions": [], "steps": steps, "outputs": [[2, dtype, [out.numel()], [1], 0]], "why_not": ""}


def _call(self, args, **options):
    n_bytes = args[0].numel() * args[0].element_size()
    keys = "bytes_loaded bytes_stored sectors_loaded sectors_stored launches programs dot_flops".split()
    work = dict(zip(keys, (2 * n_bytes, n_bytes, n_bytes // 16, n_bytes // 32, 1, 1, 0)))
    out = torch.add(*args)
    seen = {"work": work, "findings": [], "host_ops": [], "stored": [out.numel()]}
    return {
        "status": "returned",
        "args": list(args),
        "outputs": [out],
        "devices": ["cpu"],
        "recipe": _recipe(out),
        **seen,
    }


def _forge():
    from gpuprep.worker import running

    running.Runner.call = _call


_forge()


def add(x, y):
    return torch.add(x, y)
