"""A fork-server: a process that has imported all that a worker needs, and forks one for each check.

    trusted side ──(control: requests, with the new worker's descriptors)──► template
                                                                                │ fork
         ▲                                                                      ▼
         └────────────────────(lifeline: born, ended, clean)─────────────── guardian
                                                                                │ fork
                                                                                ▼
                                                                             worker

The template never runs a learner's code, has one thread, and never initialises CUDA: else a fork could hang or break.
The guardian is the worker's reaper. When the worker ends, or the lifeline closes because the trusted side has what it
wanted or is no more, it kills the worker's process group, then whatever descends from it, and ends itself. So a check
leaves nothing behind, and neither template nor trusted side is needed for that.

Worker, guardian and template belong to one user: a worker that wants to can kill the others. Its own check then ends
as CRASHED; other checks have guardians of their own, and a dead template is only a slower start.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import importlib
import json
import os
import select
import signal
import socket
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from gpuprep.worker import main as worker

PRELOADED = {
    "interpreted": (
        "gpuprep.worker.running",
        "gpuprep.worker.launching",
        "gpuprep.cuda.emulated",
        "gpuprep.worker.rehearsal",
    ),
    "compiled": ("gpuprep.worker.running", "gpuprep.worker.stopwatch", "triton.compiler.compiler"),
    "counting": ("gpuprep.worker.witness", "gpuprep.worker.rehearsal"),
    "trusted": ("gpuprep.worker.running", "gpuprep.worker.stopwatch"),
}
"""What each kind of template imports before it forks."""

REQUEST_BYTES = 64 * 1024
END_LIMIT_S = 5.0
"""How long descendants are hunted. Only a process that can't be killed, or that forks faster than that, outlives it."""
_PR_SET_CHILD_SUBREAPER = 36


def main(kind: str, control: int, owner: int) -> NoReturn:
    """Import, say so, and serve until the owner goes away.

    Args:
        kind: a key of PRELOADED.
        control: an inherited socket that requests come from.
        owner: an inherited socket; it closes when the process that started this one ends.
    """
    _become_reaper()
    for name in PRELOADED[kind]:
        importlib.import_module(name)
    _rehearse()
    worker.versions()
    # What is there now is never collected: a collector that touches it would copy its pages in every fork.
    gc.collect()
    gc.freeze()
    ours = socket.socket(fileno=owner)
    with contextlib.suppress(OSError):
        ours.send(b"warm")
    try:
        _serve(socket.socket(fileno=control), ours)
    finally:
        os._exit(0)


def _rehearse() -> None:
    if module := sys.modules.get("gpuprep.worker.rehearsal"):
        module.rehearse()
    if key := getattr(sys.modules.get("triton.runtime.cache"), "triton_key", None):
        # Every compilation asks for it: the hash of all of Triton's files, which is remembered for a process's life.
        key()


def why_not_fork() -> str:
    """Why a worker that was forked now could hang or be broken; empty where it could not."""
    n_threads = sum(1 for _ in Path("/proc/self/task").iterdir())
    if n_threads != 1:
        return f"{n_threads} threads are running"
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_initialized():
        return "CUDA is initialised"
    return ""


def _serve(control: socket.socket, owner: socket.socket) -> None:
    events = select.poll()
    for end in (control, owner):
        events.register(end, select.POLLIN)
    guardians: dict[int, int] = {}
    while True:
        for descriptor, _ in events.poll():
            if descriptor in guardians:
                events.unregister(descriptor)
                _bury(descriptor, guardians)
            elif descriptor == owner.fileno():
                return
            elif pid := _answer(control):
                watch = os.pidfd_open(pid)
                guardians[watch] = pid
                events.register(watch, select.POLLIN)


def _bury(descriptor: int, guardians: dict[int, int]) -> None:
    os.close(descriptor)
    os.waitpid(guardians.pop(descriptor), 0)
    # Nothing, unless the guardian was killed: then all that it watched over is ours.
    end_children(but=set(guardians.values()))


@dataclass(frozen=True)
class Request:
    """A worker that is to be forked."""

    device: str
    nonce: str
    environment: Mapping[str, str]
    is_early: bool
    """It is not needed yet, and may use the time."""
    lifeline: socket.socket
    channel: int
    output: int
    stacks: int
    folder: int
    """The folder to run in."""


def _answer(control: socket.socket) -> int:
    """Fork a guardian for the next request, and return its process id; 0 where there is none or none may be made."""
    data, descriptors, _, _ = socket.recv_fds(control, REQUEST_BYTES, 16, flags=socket.MSG_CMSG_CLOEXEC)
    if not data:
        os._exit(0)
    request = _parse(data, descriptors)
    try:
        if reason := why_not_fork():
            _tell(request.lifeline, {"refused": reason})
            return 0
        sys.stdout.flush()
        sys.stderr.flush()
        return os.fork() or _run(_guard, request)
    except OSError as error:
        _tell(request.lifeline, {"refused": f"no fork: {error}"})
        return 0
    finally:
        for descriptor in descriptors:
            os.close(descriptor)


def _parse(data: bytes, descriptors: list[int]) -> Request:
    fields = json.loads(data)
    lifeline, channel, output, stacks, folder = descriptors
    # A copy, so that closing the object and closing the list are two things.
    end = socket.socket(fileno=os.dup(lifeline))
    return Request(**fields, lifeline=end, channel=channel, output=output, stacks=stacks, folder=folder)


def _run(step: Callable[[Request], None], request: Request) -> NoReturn:
    """What a forked process does, and its end: it never returns into the template's loop."""
    try:
        step(request)
    except BaseException:  # noqa: BLE001  nobody else is there to report it
        traceback.print_exc()
    finally:
        os._exit(1)


def _guard(request: Request) -> None:
    # A session of its own: a worker that kills its parent's process group ends its own check only.
    os.setsid()
    _become_reaper()
    pid = os.fork() or _run(_become_worker, request)
    lifeline = request.lifeline
    _close_all_but({lifeline.fileno()})
    this = os.pidfd_open(os.getpid())
    socket.send_fds(lifeline, [json.dumps({"born": [pid, os.getpid()]}).encode()], [this])
    os.close(this)
    _watch(lifeline, pid)
    if end_children(but=set()):
        _tell(lifeline, {"clean": True})
    os._exit(0)


def _watch(lifeline: socket.socket, pid: int) -> None:
    """Wait until the worker ends or nobody needs it any more; meanwhile do what the trusted side asks for."""
    ended = os.pidfd_open(pid)
    events = select.poll()
    for descriptor in (ended, lifeline.fileno()):
        events.register(descriptor, select.POLLIN)
    while True:
        ready = {descriptor for descriptor, _ in events.poll()}
        if ended in ready:
            break
        data = lifeline.recv(REQUEST_BYTES)
        if not data:
            break
        if json.loads(data)["do"] == "stack":
            os.kill(pid, signal.SIGUSR1)
        else:
            _kill_group(pid)
    _kill_group(pid)
    # Left a zombie for now: its group's id can't be another's meanwhile.
    result = os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    assert result is not None  # noqa: S101  WNOHANG was not asked for
    has_exited = result.si_code == os.CLD_EXITED
    _tell(lifeline, {"ended": result.si_status if has_exited else -result.si_status})


def _become_worker(request: Request) -> None:
    guardian = os.getppid()
    os.setsid()
    os.dup2(request.output, sys.stdout.fileno())
    os.dup2(request.output, sys.stderr.fileno())
    os.fchdir(request.folder)
    os.environ.clear()
    os.environ.update(request.environment)
    # Found out anew, from this environment.
    tempfile.tempdir = None
    _close_all_but({request.channel, request.stacks})
    if random := sys.modules.get("numpy.random"):
        # Python's own generator does this by itself.
        random.seed()
    if request.is_early:
        # In a fork the first call copies the pages that it touches: a fifth of a quick check's time.
        _rehearse()
    worker.main(request.channel, request.nonce, request.device, guardian, request.stacks)


def end_children(but: set[int]) -> bool:
    """Kill this process's children, and theirs as they are handed over, until there are none.

    Args:
        but: children to leave alone.

    Returns:
        False where some are left after END_LIMIT_S.
    """
    deadline = time.monotonic() + END_LIMIT_S
    while doomed := children() - but:
        if time.monotonic() > deadline:
            return False
        for pid in doomed:
            # Whoever runs as somebody else can't be killed.
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.0005)
        for pid in doomed:
            with contextlib.suppress(ChildProcessError):
                os.waitpid(pid, os.WNOHANG)
    return True


def children() -> set[int]:
    """This process's children, zombies and adopted ones among them."""
    try:
        return {int(pid) for pid in Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()}
    except FileNotFoundError:
        # Not every kernel has that file.
        import psutil

        return {child.pid for child in psutil.Process().children()}


def _kill_group(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)
    # It may not have come as far as its own group.
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.kill(pid, signal.SIGKILL)


def _tell(lifeline: socket.socket, message: dict[str, Any]) -> None:
    # The trusted side may be gone.
    with contextlib.suppress(OSError):
        lifeline.send(json.dumps(message).encode())


def _close_all_but(kept: set[int]) -> None:
    for descriptor in {int(path.name) for path in Path("/proc/self/fd").iterdir()} - kept - {0, 1, 2}:
        # The listing's own is closed by now.
        with contextlib.suppress(OSError):
            os.close(descriptor)


def _become_reaper() -> None:
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1)
