"""The worker's request loop. Started by `grading.process` as `python -I -c <bootstrap>`."""

from __future__ import annotations

import contextlib
import ctypes
import faulthandler
import os
import signal
import socket
import sys
from importlib import metadata
from typing import TYPE_CHECKING

from gpuprep.confinement.permits import Level

if TYPE_CHECKING:
    from gpuprep.worker.running import Runner
    from gpuprep.worker.witness import Witness

_PR_SET_PDEATHSIG = 1


def main(descriptor: int, nonce: str, device: str, parent: int, stacks: int, level: str = Level.NONE) -> None:
    """Serve requests until the channel closes.

    Args:
        descriptor: the inherited end of the channel.
        nonce: hex of the channel's nonce.
        device: `cpu` (Triton kernels run in the interpreter), `cuda`, `witness` (which runs recipes, and no file), or
            `compiler` (which compiles kernels and runs none).
        parent: process id of the trusted side; the worker dies with it.
        stacks: a file that the Python stack is written to at a crash, and at a SIGUSR1.
        level: how it is confined by now.
    """
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        # The parent died before the line above.
        os._exit(1)
    # Names the learner's line at a crash, and, asked for before a kill at the time limit, the line of an endless loop.
    faulthandler.enable(file=stacks, all_threads=False)
    faulthandler.register(signal.SIGUSR1, file=stacks, all_threads=False)

    from gpuprep.channel import Channel, ChannelClosedError

    end = socket.socket(fileno=descriptor)
    channel = Channel(end, bytes.fromhex(nonce))
    try:
        runner = _runner(device)
        hello = {"versions": versions(), "counting": runner.can_count, "why": runner.why_not, "confined": str(level)}
        channel.send({"ready": True, **hello})
        while True:
            request = channel.receive()
            answer = runner.serve(request)
            # What was printed belongs to this answer, and whoever has it may kill this process.
            _flush()
            channel.send(answer)
    except ChannelClosedError:
        # The trusted side has what it wanted.
        _leave(0)


def _runner(device: str) -> Runner | Witness:
    if device == "witness":
        from gpuprep.worker.witness import Witness

        return Witness()
    if device == "compiler":
        from gpuprep.worker.profile_compiling import Compiler

        return Compiler()
    from gpuprep.worker.running import Runner

    return Runner(device)


def versions() -> dict[str, str]:
    found = {"python": sys.version.split()[0]}
    for package in ("torch", "triton", "numpy"):
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            found[package] = "not installed"
    return found


def _leave(code: int) -> None:
    # Not sys.exit: the learner's atexit hooks and threads have no say in how the worker ends.
    _flush()
    os._exit(code)


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        # A learner may have closed them, or put something else in their place.
        with contextlib.suppress(Exception):
            stream.flush()
