"""What a process may do as such: its user, its capabilities, its limits."""

from __future__ import annotations

import contextlib
import os
import resource
import secrets
import struct
from pathlib import Path

from gpuprep.confinement import kernel
from gpuprep.confinement.kernel import RefusedError

MAX_TASKS = 64
"""Processes and threads of one worker; a compiler takes five, a group's rank a dozen threads."""
MAX_FILES = 512
MAX_PENDING_SIGNALS = 1024
"""And timers, each of which has one set aside."""
MAX_FILE_BYTES = {"cpu": 2 * 2**30, "cuda": 16 * 2**30}
"""Of a file, and so of a message, which is one. Arguments of a check on a CPU take some megabytes."""
MAX_DATA_BYTES = 8 * 2**30
"""Of a process's own memory without a card. With one there is no such limit: CUDA reserves far more than it uses."""

DAC_READ_SEARCH = 2
"""The capability to read whatever a file's mode says; for Landlock to take away again."""
_LAST_CAPABILITY = 63
_PR_SET_KEEPCAPS, _PR_CAPBSET_DROP, _PR_CAP_AMBIENT = 8, 24, 47
_AMBIENT_RAISE, _AMBIENT_CLEAR = 2, 4
_CAPABILITY_VERSION_3 = 0x20080522


def own_user() -> int:
    """A user id that nobody has, for one check; 0 where this process may not become another user.

    Processes of two checks then are strangers to each other, and to everybody else.
    """
    if os.geteuid() != 0:
        return 0
    ranges = [tuple(map(int, line.split())) for line in Path("/proc/self/uid_map").read_text().splitlines()]
    first, _, count = max(ranges, key=lambda row: row[2])
    # The upper half of what there is, below the numbers that stand for "nobody" and "unchanged".
    highest = min(first + count, 2**32 - 2**16)
    lowest = first + (highest - first) // 2
    return lowest + secrets.randbelow(highest - lowest) if highest - lowest >= 2**14 else 0


def become(uid: int, *, keeps: int | None = None) -> None:
    """Become another user, and keep no capability but at most one.

    Args:
        uid: who to become; 0 stays who one is.
        keeps: the capability, also for programs that are started.

    Raises:
        RefusedError: the kernel won't.
    """
    _bound_capabilities(keeps)
    if uid:
        if keeps is not None:
            kernel.prctl(_PR_SET_KEEPCAPS, 1)
        os.setgroups([])
        os.setresgid(uid, uid, uid)
        os.setresuid(uid, uid, uid)
    mask = 0 if keeps is None else 1 << keeps
    header, data = struct.pack("=Ii", _CAPABILITY_VERSION_3, 0), struct.pack("=6I", mask, mask, mask, 0, 0, 0)
    kernel.prctl(_PR_CAP_AMBIENT, _AMBIENT_CLEAR)
    kernel.call("capset", header, data)
    if keeps is not None:
        kernel.prctl(_PR_CAP_AMBIENT, _AMBIENT_RAISE, keeps)


def _bound_capabilities(keeps: int | None) -> None:
    # Past the last one that the kernel has, or not allowed to: then there are none to gain either.
    with contextlib.suppress(RefusedError):
        for capability in range(_LAST_CAPABILITY + 1):
            if capability != keeps:
                kernel.prctl(_PR_CAPBSET_DROP, capability)


def limit(device: str, *, n_tasks_before: int = 0) -> None:
    """Set the limits of this process and of all that comes of it.

    Args:
        device: `cpu` or `cuda`.
        n_tasks_before: how many the user has that are none of its.
    """
    limits = {
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_NPROC: n_tasks_before + MAX_TASKS,
        resource.RLIMIT_NOFILE: MAX_FILES,
        resource.RLIMIT_FSIZE: MAX_FILE_BYTES["cuda" if device == "cuda" else "cpu"],
        resource.RLIMIT_MEMLOCK: 2**26,
        resource.RLIMIT_MSGQUEUE: 0,
        resource.RLIMIT_SIGPENDING: MAX_PENDING_SIGNALS,
    }
    if device != "cuda":
        limits[resource.RLIMIT_DATA] = MAX_DATA_BYTES
    else:
        # Pinned memory is locked memory.
        del limits[resource.RLIMIT_MEMLOCK]
    for kind, value in limits.items():
        hard = resource.getrlimit(kind)[1]
        lowered = value if hard == resource.RLIM_INFINITY else min(value, hard)
        resource.setrlimit(kind, (lowered, lowered))


def be_first_to_go() -> None:
    """Have the kernel choose this process, and what comes of it, when the machine runs out of memory."""
    # An old kernel, or one without /proc: then it chooses by size.
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("1000")


def n_tasks() -> int:
    """Processes and threads that this user has now."""
    uid, count = os.getuid(), 0
    for folder in Path("/proc").iterdir():
        # Any of them may end meanwhile.
        with contextlib.suppress(OSError):
            if folder.name.isdigit() and folder.stat().st_uid == uid:
                count += sum(1 for _ in (folder / "task").iterdir())
    return count
