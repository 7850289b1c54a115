"""The card before torch is imported: whether there is one, and this process's context on it."""

from __future__ import annotations

import contextlib
import ctypes
import functools
import json
import subprocess
import sys
import threading
import uuid
from dataclasses import dataclass
from pathlib import Path


def card_is_likely() -> bool:
    """A guess, which costs nothing but time where it is wrong."""
    # A file's existence instead of torch.cuda.is_available(), which costs the import that is to be overlapped. A wrong
    # guess costs time only.
    return any(Path(node).exists() for node in ("/dev/nvidia0", "/dev/nvidiactl", "/dev/dxg"))


@dataclass(frozen=True)
class Card:
    """A card that this process may use."""

    uuid: str
    """As CUDA_VISIBLE_DEVICES takes it."""
    name: str
    n_bytes: int
    """Its memory."""


_LIMIT_S = 60.0
_LOOK = "import sys; sys.path.append(sys.argv[1]); from gpuprep.grading.card import main; main()"


def visible_cards() -> tuple[Card, ...]:
    """The cards in CUDA's own order, as its variables leave them; none where the driver says nothing."""
    try:
        # In a process of its own: whoever has asked the driver can't fork any more.
        done = subprocess.run(
            [sys.executable, "-P", "-c", _LOOK, str(Path(__file__).resolve().parents[2])],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=True,
            timeout=_LIMIT_S,
        )
        return tuple(Card(**found) for found in json.loads(done.stdout))
    except (OSError, ValueError, TypeError, subprocess.SubprocessError):
        return ()


def main() -> None:
    """Say which cards there are."""
    found = []
    driver = ctypes.CDLL("libcuda.so.1")
    n_cards, card, n_bytes = ctypes.c_int(), ctypes.c_int(), ctypes.c_size_t()
    if driver.cuInit(0) == 0 and driver.cuDeviceGetCount(ctypes.byref(n_cards)) == 0:
        for place in range(n_cards.value):
            raw, name = (ctypes.c_ubyte * 16)(), ctypes.create_string_buffer(256)
            failed = (
                driver.cuDeviceGet(ctypes.byref(card), place)
                or driver.cuDeviceGetUuid(ctypes.byref(raw), card)
                or driver.cuDeviceGetName(name, len(name), card)
                or driver.cuDeviceTotalMem_v2(ctypes.byref(n_bytes), card)
            )
            if not failed:
                title = name.value.decode(errors="replace")
                found.append({"uuid": f"GPU-{uuid.UUID(bytes=bytes(raw))}", "name": title, "n_bytes": n_bytes.value})
    sys.stdout.write(json.dumps(found))


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
