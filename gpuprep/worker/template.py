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
leaves nothing behind, and neither template nor trusted side is needed for that. A worker that is to be confined is so
before any of a learner's code is loaded; at the strongest level it has an init of its own, which the guardian kills.

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
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NoReturn

from gpuprep.confinement import lockdown, metering
from gpuprep.confinement.permits import Confinement, Level
from gpuprep.confinement.processes import Started, close_all_but, finish, start
from gpuprep.worker import huge_pages
from gpuprep.worker import main as worker

PRELOADED = {
    "interpreted": (
        "gpuprep.worker.running",
        "gpuprep.worker.launching",
        "gpuprep.worker.witness",
        "gpuprep.cuda.emulated",
        "gpuprep.worker.rehearsal",
    ),
    "compiled": ("gpuprep.worker.running", "gpuprep.worker.stopwatch", "triton.compiler.compiler"),
    "trusted": ("gpuprep.worker.running", "gpuprep.worker.stopwatch"),
}
"""What each kind of template imports before it forks."""

RARELY = (10_000, 20, 50)
"""How seldom Python's collector runs in a fork: by default several hundred times a check."""
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
    # Nearly all that an import makes is there to stay: looking through it again and again finds nothing.
    gc.disable()
    for name in PRELOADED[kind]:
        importlib.import_module(name)
    _rehearse()
    if kind != "interpreted":
        _hash_triton()
    worker.versions()
    # What is there now is never collected: a collector that touches it would copy its pages in every fork.
    gc.collect()
    gc.freeze()
    gc.set_threshold(*RARELY)
    gc.enable()
    huge_pages.collapse()
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


def _hash_triton() -> None:
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
    """The folder to run in, where it is not confined."""
    confinement: Confinement | None
    network: tuple[int, int] | None
    """Descriptors of the namespaces that it shares with others."""


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
        return os.fork() or finish(partial(_guard, request))
    except OSError as error:
        _tell(request.lifeline, {"refused": f"no fork: {error}"})
        return 0
    finally:
        for descriptor in descriptors:
            os.close(descriptor)


def _parse(data: bytes, descriptors: list[int]) -> Request:
    fields = json.loads(data)
    confinement = Confinement.from_dict(found) if (found := fields.pop("confinement")) else None
    lifeline, channel, output, stacks, folder, *shared = descriptors
    # A copy, so that closing the object and closing the list are two things.
    end = socket.socket(fileno=os.dup(lifeline))
    return Request(
        **fields,
        lifeline=end,
        channel=channel,
        output=output,
        stacks=stacks,
        folder=folder,
        confinement=confinement,
        network=(shared[0], shared[1]) if shared else None,
    )


def guard_one(control: int) -> NoReturn:
    """Be the guardian of one worker that is started cold: what it needs, it imports when it is confined.

    Args:
        control: an inherited socket with a request.
    """
    with socket.socket(fileno=control) as end:
        data, descriptors, _, _ = socket.recv_fds(end, REQUEST_BYTES, 16, flags=socket.MSG_CMSG_CLOEXEC)
    finish(partial(_guard, _parse(data, descriptors)))


def _guard(request: Request) -> None:
    # A session of its own: a worker that kills its parent's process group ends its own check only.
    with contextlib.suppress(PermissionError):
        # Started cold, it has one.
        os.setsid()
    _become_reaper()
    last_word: dict[str, Any] = {}
    with lockdown.private_folder(request.confinement) as folder:
        try:
            started = start(request.confinement, request.network, partial(_become_worker, request, folder))
        except OSError as error:
            last_word = {"refused": f"no worker: {error.strerror or error}"}
        else:
            last_word = {"clean": _look_after(request.lifeline, started, _meter(request.confinement, folder))}
    # Whoever hears it may kill this process.
    if any(last_word.values()):
        _tell(request.lifeline, last_word)
    os._exit(0)


def _meter(confinement: Confinement | None, folder: str) -> metering.Meter | None:
    if confinement is None:
        return None
    # At the strongest level its folder goes with its mounts, which have a size.
    return metering.Meter(confinement.device, folder if confinement.level is Level.LANDLOCK else "")


def _look_after(lifeline: socket.socket, started: Started, meter: metering.Meter | None) -> bool:
    """Say that the worker is born, and end it in time. False where something of it is left."""
    close_all_but({lifeline.fileno(), *started.descriptors})
    this = os.pidfd_open(os.getpid())
    socket.send_fds(lifeline, [json.dumps({"born": [started.worker, os.getpid()]}).encode()], [this])
    os.close(this)
    _watch(lifeline, started, meter)
    return end_children(but=set())


def _watch(lifeline: socket.socket, started: Started, meter: metering.Meter | None) -> None:
    """Wait until the worker ends or nobody needs it any more; meanwhile do what the trusted side asks for."""
    ended = os.pidfd_open(started.pid)
    events = select.poll()
    for descriptor in (ended, lifeline.fileno()):
        events.register(descriptor, select.POLLIN)
    excess = ""
    while not excess:
        ready = {descriptor for descriptor, _ in events.poll(metering.INTERVAL_S * 1000 if meter else None)}
        if ended in ready:
            break
        if meter is not None and (excess := meter.excess()):
            break
        if not ready:
            continue
        data = lifeline.recv(REQUEST_BYTES)
        if not data:
            break
        if json.loads(data)["do"] == "stack":
            started.interrupt(signal.SIGUSR1)
        else:
            _kill_group(started.pid)
    _kill_group(started.pid)
    # Left a zombie for now: its group's id can't be another's meanwhile.
    os.waitid(os.P_PID, started.pid, os.WEXITED | os.WNOWAIT)
    _tell(lifeline, {"ended": started.exit_code(), "excess": excess})


def _become_worker(request: Request, folder: str) -> None:
    parent = os.getppid()
    os.setsid()
    os.dup2(request.output, sys.stdout.fileno())
    os.dup2(request.output, sys.stderr.fileno())
    confinement = request.confinement
    if confinement is None:
        os.fchdir(request.folder)
    os.environ.clear()
    os.environ.update(request.environment)
    # Found out anew, from this environment.
    tempfile.tempdir = None
    # That of a folder outside would lead there.
    close_all_but({request.channel, request.stacks})
    if confinement is not None:
        lockdown.confine(confinement, folder)
        lockdown.settle(confinement, folder, os.environ)
    if random := sys.modules.get("numpy.random"):
        # Python's own generator does this by itself.
        random.seed()
    if request.is_early:
        # In a fork the first call copies the pages that it touches: a fifth of a quick check's time.
        _rehearse()
    level = confinement.level if confinement is not None else Level.NONE
    worker.main(request.channel, request.nonce, request.device, parent, request.stacks, level)


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


def _become_reaper() -> None:
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1)
