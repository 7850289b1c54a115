"""CUDA C from Python with CuPy's calling convention: CuPy itself on a GPU, a counting emulator without one.

    module = RawModule(code=source)
    module.get_function("add")((n_blocks,), (n_threads,), (x, y, out, n))

What is written against it runs with `cupy.RawModule` alone, but for torch tensors, which CuPy wants wrapped.
"""

from gpuprep.cuda.errors import BackEndMissingError, CudaCompileError, KernelFaultError, KernelWarning
from gpuprep.cuda.module import Kernel, RawModule

__all__ = ["BackEndMissingError", "CudaCompileError", "Kernel", "KernelFaultError", "KernelWarning", "RawModule"]
