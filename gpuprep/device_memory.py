"""Device memory that two processes see: dedicated allocations, handed over by CUDA IPC.

An IPC handle opens the *whole* allocation that it was made from, so memory from torch's caching allocator would show a
neighbour's tensors. These allocations come straight from the driver and hold nothing else.
"""

from __future__ import annotations

import ctypes
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

HANDLE_BYTES = 64
ALIGNMENT = 512
"""What cudaMalloc aligns to, and more than any vector load needs."""
PAGE_BYTES = 2 * 2**20
"""Other sizes may be backed by small pages once they are shared: opening 8 GiB then takes 30 ms instead of half a
millisecond, and a kernel that streams through it runs at little more than half its speed (seen on an H200)."""
_LAZY_PEER_ACCESS = 1
_AT_LEAST = 0
"""How a stream compares what it waits for."""


class DeviceMemoryError(Exception):
    """The driver refused an allocation or a handle."""


class _Handle(ctypes.Structure):
    _fields_ = (("reserved", ctypes.c_ubyte * HANDLE_BYTES),)


@dataclass(frozen=True)
class Place:
    """Where a tensor lies in a buffer: enough to make it again in another process."""

    dtype: str
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    offset_bytes: int

    @classmethod
    def from_json(cls, row: dict[str, Any]) -> Place:
        """The inverse of `dataclasses.asdict` and JSON."""
        return cls(row["dtype"], tuple(row["shape"]), tuple(row["strides"]), row["offset_bytes"])


class DeviceBuffer:
    """An allocation of its own on the current card, or one that another process shares with us.

    Raises:
        DeviceMemoryError: there is not enough memory, or the handle can't be opened.
    """

    def __init__(self, n_bytes: int, *, handle: bytes | None = None) -> None:
        self.n_bytes = max(1, math.ceil(n_bytes / PAGE_BYTES)) * PAGE_BYTES
        self._is_ours = handle is None
        self._pointer = ctypes.c_uint64()
        if handle is None:
            self._allocate()
            return
        opened = _Handle.from_buffer_copy(handle)
        _call("cuIpcOpenMemHandle_v2", ctypes.byref(self._pointer), opened, ctypes.c_uint(_LAZY_PEER_ACCESS))

    def _allocate(self) -> None:
        import torch

        wanted = ctypes.byref(self._pointer), ctypes.c_size_t(self.n_bytes)
        try:
            _call("cuMemAlloc_v2", *wanted)
        except DeviceMemoryError:
            # The driver doesn't know what torch keeps for later.
            torch.cuda.empty_cache()
            _call("cuMemAlloc_v2", *wanted)

    def handle(self) -> bytes:
        """What another process opens this buffer with."""
        handle = _Handle()
        _call("cuIpcGetMemHandle", ctypes.byref(handle), self._pointer)
        return bytes(handle.reserved)

    def bytes(self) -> torch.Tensor:
        """The whole buffer, uint8 [n_bytes]. It must not outlive the buffer."""
        import torch

        return torch.as_tensor(_Span(self._pointer.value, self.n_bytes), device="cuda")

    def tensor(self, place: Place) -> torch.Tensor:
        """The tensor at a place of this buffer. Its storage is its own part of it, and begins with it."""
        import torch

        dtype = getattr(torch, place.dtype)
        n_bytes = _extent(place.shape, place.strides) * dtype.itemsize
        span = _Span(self._pointer.value + place.offset_bytes, n_bytes)
        return torch.as_tensor(span, device="cuda").view(dtype).as_strided(place.shape, place.strides)

    def wait_for(self, offset_bytes: int, number: int) -> None:
        """Let nothing that is put on the current stream from now on begin before the word there has reached a number.

        Args:
            offset_bytes: where the word lies, four bytes of this buffer.
            number: less than 2**31 from what the word is.
        """
        _call("cuStreamWaitValue32_v2", *self._word(offset_bytes), ctypes.c_uint32(number), ctypes.c_uint(_AT_LEAST))

    def signal(self, offset_bytes: int, number: int) -> None:
        """Have a number written there when all that is on the current stream is done, for those that wait for it."""
        _call("cuStreamWriteValue32_v2", *self._word(offset_bytes), ctypes.c_uint32(number), ctypes.c_uint(0))

    def _word(self, offset_bytes: int) -> tuple[ctypes.c_void_p, ctypes.c_uint64]:
        import torch

        stream = ctypes.c_void_p(torch.cuda.current_stream().cuda_stream)
        return stream, ctypes.c_uint64(self._pointer.value + offset_bytes)

    def close(self) -> None:
        """Give the memory back, or stop seeing it. Everything queued on it must have finished."""
        if self._pointer.value:
            _call("cuMemFree_v2" if self._is_ours else "cuIpcCloseMemHandle", self._pointer)
            self._pointer = ctypes.c_uint64()


class _Span:
    """Device memory in the form that torch, CuPy and Numba exchange."""

    def __init__(self, pointer: int, n_bytes: int) -> None:
        self.__cuda_array_interface__ = {
            "shape": (n_bytes,),
            "typestr": "|u1",
            "data": (pointer, False),
            "version": 3,
        }


def lay_out(tensors: Sequence[torch.Tensor], start: int = 0) -> tuple[list[Place], int]:
    """Places for these tensors one after the other, strides kept, and the bytes that they take in all."""
    places, end = [], start
    for tensor in tensors:
        places.append(Place(str(tensor.dtype).removeprefix("torch."), tuple(tensor.shape), tuple(tensor.stride()), end))
        end += _extent(tensor.shape, tensor.stride()) * tensor.element_size()
        end = math.ceil(end / ALIGNMENT) * ALIGNMENT
    return places, end


def bytes_on_card(address: int, n_bytes: int) -> bytes:
    """A copy of device memory, by the driver alone.

    Raises:
        DeviceMemoryError: there is no such memory.
    """
    copy = ctypes.create_string_buffer(n_bytes)
    _call("cuMemcpyDtoH_v2", copy, ctypes.c_uint64(address), ctypes.c_size_t(n_bytes))
    return copy.raw


def _extent(shape: Sequence[int], strides: Sequence[int]) -> int:
    """Elements from the first to the last of a tensor."""
    return 0 if 0 in shape else 1 + sum((size - 1) * stride for size, stride in zip(shape, strides, strict=True))


def _call(name: str, *arguments: Any) -> None:
    driver = ctypes.CDLL("libcuda.so.1")
    code = getattr(driver, name)(*arguments)
    if code:
        text = ctypes.c_char_p()
        driver.cuGetErrorString(code, ctypes.byref(text))
        reason = text.value.decode() if text.value else f"error {code}"
        raise DeviceMemoryError(f"{name}: {reason}")
