"""Looks over a large output on a card in one pass: is every element within its bound?

Judging is most of what an audit costs, and torch takes nine passes for this. So here is a kernel of a few lines, in the
assembly that every driver compiles, in milliseconds.
"""

from __future__ import annotations

import ctypes
import functools
import secrets
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

_THREADS = 256
_MOST_BLOCKS = 2**18
_LOADS = {
    "float64": ("f64", 3, "mov.f64 %found, %raw;"),
    "float32": ("f32", 2, "cvt.f64.f32 %found, %raw;"),
    "float16": ("b16", 1, "cvt.f32.f16 %single, %raw; cvt.f64.f32 %found, %single;"),
    "bfloat16": (
        "u16",
        1,
        "cvt.u32.u16 %word, %raw; shl.b32 %word, %word, 16; mov.b32 %single, %word; cvt.f64.f32 %found, %single;",
    ),
}
"""By dtype: what one element is loaded as, the binary logarithm of its bytes, and how it becomes a float64."""

_SOURCE = """
// {nonce}
.version 6.0
.target sm_70
.address_size 64
.visible .entry look(
    .param .u64 p_found, .param .u64 p_value, .param .u64 p_scale, .param .u64 p_count,
    .param .f64 p_rounding, .param .f64 p_spread, .param .f64 p_floor, .param .u64 p_beyond)
{{
    .reg .pred %is_over, %is_right, %is_finite;
    .reg .b32 %block, %threads, %thread, %blocks, %word;
    .reg .b64 %place, %step, %count, %founds, %values, %scales, %beyond, %address;
    .reg .f32 %single;
    .reg .{type} %raw;
    .reg .f64 %found, %value, %scale, %rounding, %spread, %floor, %allowed, %error;
    ld.param.u64 %founds, [p_found];
    ld.param.u64 %values, [p_value];
    ld.param.u64 %scales, [p_scale];
    ld.param.u64 %count, [p_count];
    ld.param.f64 %rounding, [p_rounding];
    ld.param.f64 %spread, [p_spread];
    ld.param.f64 %floor, [p_floor];
    ld.param.u64 %beyond, [p_beyond];
    mov.u32 %block, %ctaid.x;
    mov.u32 %threads, %ntid.x;
    mov.u32 %thread, %tid.x;
    mov.u32 %blocks, %nctaid.x;
    cvt.u64.u32 %place, %thread;
    mad.wide.u32 %place, %block, %threads, %place;
    mul.wide.u32 %step, %threads, %blocks;
NEXT:
    setp.ge.u64 %is_over, %place, %count;
    @%is_over bra DONE;
    shl.b64 %address, %place, {shift};
    add.u64 %address, %address, %founds;
    ld.global.{type} %raw, [%address];
    shl.b64 %address, %place, 3;
    add.u64 %address, %address, %values;
    ld.global.f64 %value, [%address];
    {load_scale}
    {widen}
    sub.f64 %error, %found, %value;
    abs.f64 %error, %error;
    abs.f64 %value, %value;
    {take_scale}
    fma.rn.f64 %allowed, %spread, %scale, %floor;
    fma.rn.f64 %allowed, %rounding, %value, %allowed;
    // Beyond the bound, or not comparable: NaN or infinity somewhere.
    setp.lt.f64 %is_finite, %error, 0d7FF0000000000000;
    setp.le.and.f64 %is_right, %error, %allowed, %is_finite;
    @!%is_right st.global.u32 [%beyond], 1;
    add.u64 %place, %place, %step;
    bra NEXT;
DONE:
    ret;
}}
"""
_LOAD_SCALE = """shl.b64 %address, %place, 3;
    add.u64 %address, %address, %scales;
    ld.global.f64 %scale, [%address];"""


def is_all_within(
    found: torch.Tensor, value: torch.Tensor, scale: torch.Tensor | None, bounds: tuple[float, float, float]
) -> bool | None:
    """Whether |found − value| ≤ rounding·|value| + spread·scale + floor everywhere; None where this can't tell.

    Args:
        found: on a card, of a dtype with a float's name.
        value: float64, its shape.
        scale: float64, its shape; None means |value|.
        bounds: rounding, spread and floor.
    """
    import torch

    tensors = [found, value] if scale is None else [found, value, scale]
    dtype = str(found.dtype).removeprefix("torch.")
    if dtype not in _LOADS or any(tensor.dtype != torch.float64 for tensor in tensors[1:]):
        return None
    if any(tensor.device.type != "cuda" or tensor.shape != value.shape for tensor in tensors):
        return None
    n_elements = value.numel()
    if n_elements == 0:
        return True
    function = _function(dtype, scale is not None)
    if function is None:
        return None
    flat = [tensor.contiguous() for tensor in tensors]
    beyond = torch.zeros(1, dtype=torch.int32, device=found.device)
    pointers = [ctypes.c_uint64(tensor.data_ptr()) for tensor in flat]
    arguments = [
        *(pointers if scale is not None else [*pointers, ctypes.c_uint64()]),
        ctypes.c_uint64(n_elements),
        *map(ctypes.c_double, bounds),
        ctypes.c_uint64(beyond.data_ptr()),
    ]
    if not _launch(function, arguments, min(_MOST_BLOCKS, -(-n_elements // _THREADS))):
        return None
    return not bool(beyond)


def source(dtype: str, has_scale: bool) -> str:
    """The kernel for outputs of this dtype. Never twice the same text: the driver keeps what it has compiled in a
    folder where a learner's file can write, and must not find it there."""
    kind, shift, widen = _LOADS[dtype]
    return _SOURCE.format(
        nonce=secrets.token_hex(16),
        type=kind,
        shift=shift,
        widen=widen,
        load_scale=_LOAD_SCALE if has_scale else "",
        take_scale="" if has_scale else "mov.f64 %scale, %value;",
    )


@functools.cache
def _function(dtype: str, has_scale: bool) -> ctypes.c_void_p | None:
    """The kernel on the current card; None where its driver does not take it."""
    try:
        driver = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return None
    module, function = ctypes.c_void_p(), ctypes.c_void_p()
    text = source(dtype, has_scale).encode() + b"\0"
    if driver.cuModuleLoadData(ctypes.byref(module), text):
        return None
    if driver.cuModuleGetFunction(ctypes.byref(function), module, b"look"):
        return None
    return function


def _launch(function: ctypes.c_void_p, arguments: list[Any], n_blocks: int) -> bool:
    import torch

    pointers = (ctypes.c_void_p * len(arguments))(*map(ctypes.addressof, arguments))
    stream = ctypes.c_void_p(torch.cuda.current_stream().cuda_stream)
    launch = ctypes.CDLL("libcuda.so.1").cuLaunchKernel
    return bool(launch(function, n_blocks, 1, 1, _THREADS, 1, 1, 0, stream, pointers, None) == 0)
