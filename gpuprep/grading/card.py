"""The card before torch is imported: whether there is one, and this process's context on it."""

from __future__ import annotations

import contextlib
import ctypes
import functools
import threading
from pathlib import Path


def card_is_likely() -> bool:
    """A guess, which costs nothing but time where it is wrong."""
    # A file's existence instead of torch.cuda.is_available(), which costs the import that is to be overlapped. A wrong
    # guess costs time only.
    return any(Path(node).exists() for node in ("/dev/nvidia0", "/dev/nvidiactl", "/dev/dxg"))


@functools.cache
def open_card() -> threading.Thread:
    """Makes this process's context on the card, if there is one; it takes long, and Python goes on meanwhile."""
    thread = threading.Thread(target=_retain_context, daemon=True)
    thread.start()
    return thread


def _retain_context() -> None:
    # Whatever goes wrong here goes wrong again where it can be told.
    with contextlib.suppress(OSError, AttributeError):
        driver = ctypes.CDLL("libcuda.so.1")
        driver.cuInit(0)
        driver.cuDevicePrimaryCtxRetain(ctypes.byref(ctypes.c_void_p()), 0)
