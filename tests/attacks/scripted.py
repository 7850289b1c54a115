# expect: BANNED_CALL
# layer: host ops
# The library call sits in TorchScript, which runs without Python: no line of this file adds two tensors.

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


_graph = torch._C.parse_ir("""
graph(%x : Tensor, %y : Tensor):
  %one : int = prim::Constant[value=1]()
  %out : Tensor = aten::add(%x, %y, %one)
  return (%out)
""")
_function = torch._C._create_function_from_graph("run", _graph)


def add(x, y):
    return _function(x, y)
