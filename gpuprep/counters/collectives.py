"""What a rank sends to others: messages and collectives, forward and backward apart, seen where torch dispatches them.

Whatever way they are called by (`torch.distributed`, a process group's own methods, functional collectives), they pass
the dispatcher. A collective's bytes are those that a rank sends for it in a ring, the least that bandwidth allows: of S
bytes in all among N ranks, 2(N−1)/N·S for an all-reduce, and (N−1)/N·S for all others.
"""

from __future__ import annotations

import functools
import inspect
import sys
import threading
from collections.abc import Iterable
from dataclasses import dataclass
from types import CodeType
from typing import Any

import torch

from gpuprep.work import MAX_SINGLES

NAMESPACES = ("c10d.", "_c10d_functional.")
"""Of all operations between ranks."""
_SENDS = ("send", "isend")
_RECEIVES = ("recv_", "irecv")
_SILENT = (
    *(*_RECEIVES, "recv_any_source_", "barrier", "monitored_barrier_"),
    *("wait_tensor", "_wrap_tensor_autograd", "check_for_nan"),
)
"""Operations for which a rank sends nothing but signals."""


@dataclass(frozen=True)
class Single:
    """A message that was sent or received by itself, not in a batch."""

    is_send: bool
    peer: int
    """The other rank, as the whole job counts them."""
    group: str
    line: int
    """Of the recorded file; 0 where it isn't known."""


class Collectives:
    """Counts one call's communication. Its figures are those of `Work`."""

    def __init__(self) -> None:
        self.messages = 0
        self.sent_bytes = 0
        self.collectives = 0
        self.collectives_backward = 0
        self.ring_bytes = 0
        self.ring_bytes_backward = 0
        self.singles: list[Single] = []
        # Backward passes of tensors on a card run in a thread of their own.
        self._lock = threading.Lock()

    def note(self, name: str, args: Iterable[Any], result: Any, line: int = 0) -> None:
        """Takes one operation.

        Args:
            name: `c10d.allreduce_.default`.
            args: its positional arguments.
            result: what it returned.
            line: the line of the recorded file that asked for it.
        """
        kind, args = name.split(".")[1], list(args)
        if kind in _SENDS + _RECEIVES and len(self.singles) < MAX_SINGLES and not _is_in_a_batch():
            self.singles.append(Single(kind in _SENDS, *_other_end(args), line))
        if kind in _SILENT:
            return
        with self._lock:
            if kind in _SENDS:
                self.messages += 1
                self.sent_bytes += max(map(_n_bytes, args), default=0)
                return
            n_ranks = _n_ranks(args)
            whole = max(map(_n_bytes, (*args, result)), default=0)
            share = whole * (n_ranks - 1) // n_ranks * (2 if "allreduce" in kind or "all_reduce" in kind else 1)
            # In a backward pass, the autograd engine has a task.
            if torch._C._current_graph_task_id() == -1:  # noqa: SLF001  there is no public way to ask
                self.collectives += 1
                self.ring_bytes += share
            else:
                self.collectives_backward += 1
                self.ring_bytes_backward += share


def refuse_strided(name: str, args: Iterable[Any]) -> None:
    """Refuse what NCCL would: gloo takes tensors of any strides, and says nothing.

    Args:
        name: an operation that is about to run, `c10d.allreduce_.default`.
        args: its positional arguments. Of a list for every rank, NCCL copies the tensors.

    Raises:
        ValueError: a tensor is not contiguous.
    """
    library, kind = name.split(".")[:2]
    if library != "c10d" or kind in _SENDS + _SILENT:
        return
    for arg in args:
        for tensor in arg if isinstance(arg, list | tuple) else (arg,):
            if isinstance(tensor, torch.Tensor) and not tensor.is_contiguous():
                raise ValueError(
                    f"a collective got a tensor of shape {list(tensor.shape)} with strides {list(tensor.stride())}: "
                    "NCCL takes contiguous ones only, and .contiguous() makes one"
                )


def _other_end(args: Iterable[Any]) -> tuple[int, str]:
    """A message's other rank, and its group: `send(tensors, group, rank, tag)`."""
    import torch.distributed as dist

    _, boxed, rank, *_ = args
    group = dist.ProcessGroup.unbox(boxed)
    return dist.get_global_rank(group, int(rank)), group.group_name


@functools.cache
def _batch_code() -> CodeType:
    import torch.distributed as dist

    code: CodeType = inspect.unwrap(dist.batch_isend_irecv).__code__
    return code


def _is_in_a_batch() -> bool:
    """True below `batch_isend_irecv`: with gloo it sends one message after the other."""
    frame, code = sys._getframe(1), _batch_code()  # noqa: SLF001 - inspect.stack() reads source files
    while frame is not None and frame.f_code is not code:
        frame = frame.f_back  # type: ignore[assignment]
    return frame is not None


def _n_ranks(args: Iterable[Any]) -> int:
    """Of the operation's group."""
    import torch.distributed as dist

    for arg in args:
        if isinstance(arg, torch.ScriptObject) and arg._type().name() == "ProcessGroup":  # type: ignore[attr-defined]  # noqa: SLF001
            return int(dist.ProcessGroup.unbox(arg).size())
    return dist.get_world_size()


def _n_bytes(value: Any) -> int:
    """Bytes of all tensors in nested lists."""
    if isinstance(value, torch.Tensor):
        return value.numel() * value.element_size()
    return sum(map(_n_bytes, value)) if isinstance(value, list | tuple) else 0
