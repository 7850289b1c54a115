"""How much memory the tensors hold that host code makes: the most at one time, and the largest."""

from __future__ import annotations

import threading
import time
import weakref
from collections.abc import Sequence
from functools import partial
from typing import Any

import torch

from gpuprep.channel import storage_id

LETTING_GO_S = 0.01
"""For so long after a collective, the thread that carried it out may still be about to let go of its tensors."""


class Allocations:
    """Follows storages from the operation that first returns them until nothing refers to them any more.

    What an operation allocates for itself and frees again is not seen. A storage that the call didn't make, such as a
    buffer from an earlier one, counts from its first use.

    Args:
        inputs: the call's tensors, which don't count.
    """

    def __init__(self, inputs: Sequence[torch.Tensor] = ()) -> None:
        self.peak_bytes = 0
        self.largest_bytes = 0
        self._held_bytes = 0
        self._settled_at = 0.0
        self._inputs = set(map(storage_id, inputs))
        self._alive: dict[int, weakref.ref[Any]] = {}
        # A storage can end in any thread, and while another one is being noted.
        self._lock = threading.RLock()

    def note(self, result: Any) -> None:
        """Takes what an operation returned: a tensor, or tensors in lists, tuples and dicts."""
        if isinstance(result, torch.Tensor):
            if result.layout == torch.strided and not result.is_meta:
                self._hold(storage_id(result), result.untyped_storage())
        elif isinstance(result, dict):
            self.note(list(result.values()))
        elif isinstance(result, list | tuple):
            for item in result:
                self.note(item)

    def collective_ended(self) -> None:
        """Somebody has waited for a collective. What only it held is gone soon, and must not count from now on."""
        self._settled_at = time.monotonic() + LETTING_GO_S

    def _hold(self, key: int, storage: torch.UntypedStorage) -> None:
        n_bytes = storage.nbytes()
        while self._held_bytes + n_bytes > self.peak_bytes and time.monotonic() < self._settled_at:
            # Its thread can't let go of anything while this one runs Python.
            time.sleep(0.0005)
        with self._lock:
            if key in self._inputs or key in self._alive:
                return
            self._alive[key] = weakref.ref(storage, partial(self._let_go, key, n_bytes))
            self._held_bytes += n_bytes
            self.peak_bytes = max(self.peak_bytes, self._held_bytes)
            self.largest_bytes = max(self.largest_bytes, n_bytes)

    def _let_go(self, key: int, n_bytes: int, _: weakref.ref[Any]) -> None:
        with self._lock:
            del self._alive[key]
            self._held_bytes -= n_bytes
