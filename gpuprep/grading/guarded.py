"""Workers that are confined: how, and the guardian that one has which is started cold."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass

from gpuprep.confinement.permits import Confinement
from gpuprep.errors import GraderFaultError
from gpuprep.grading.births import BIRTHS, ENDED, LIVE, Ends, Forked, environment, package_root

_GUARDIAN = (
    "import sys; sys.dont_write_bytecode = True; sys.path.append(sys.argv[1]);"
    "from gpuprep.worker.template import guard_one;"
    "guard_one(int(sys.argv[2]))"
)


@dataclass(frozen=True)
class Bounds:
    """How a worker is confined."""

    confinement: Confinement
    network: tuple[int, int] | None = None
    """Descriptors of namespaces that it shares with others; see `confinement.namespaces.make_network`."""


class Guarded(Forked):
    """A worker whose guardian is started cold, for it alone. The worker imports all that it needs when it is confined.

    Raises:
        GraderFaultError: it could not be started.
    """

    def __init__(self, device: str, nonce: bytes, ends: Ends, bounds: Bounds, limit_s: float) -> None:
        lifeline, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        control, given = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        super().__init__(lifeline, limit_s, on_silence=lambda: None)
        with theirs, control, given, BIRTHS:
            try:
                self._process = subprocess.Popen(
                    [sys.executable, "-I", "-c", _GUARDIAN, str(package_root()), str(given.fileno())],
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                    pass_fds=(given.fileno(),),
                    env=environment(device),
                    start_new_session=True,
                )
                send_request(control, device, nonce, (theirs.fileno(), ends), bounds)
            except OSError as error:
                lifeline.close()
                raise GraderFaultError(f"the worker could not be started: {error}") from error
            LIVE.add(self._process.pid)

    def end(self) -> None:
        """Have it and every process that came of it killed, and wait until they are gone."""
        super().end()
        self._process.kill()
        self._process.wait()
        with BIRTHS:
            LIVE.discard(self._process.pid)
            ENDED.discard(self._process.pid)


def send_request(
    control: socket.socket,
    device: str,
    nonce: bytes,
    ends: tuple[int, Ends],
    bounds: Bounds | None,
    *,
    is_early: bool = False,
) -> None:
    """Ask a template, or a guardian, for a worker.

    Args:
        control: where it listens.
        device: as `WorkerProcess` knows it.
        nonce: of its channel.
        ends: its guardian's end of the lifeline, and what it is given.
        bounds: how it is confined; None where it is not.
        is_early: it has time to rehearse before it is needed.

    Raises:
        OSError: nobody listens.
    """
    request = {
        "device": device,
        "nonce": nonce.hex(),
        "environment": environment(device),
        "is_early": is_early,
        "confinement": bounds.confinement.as_dict() if bounds else None,
    }
    lifeline, own = ends
    shared = bounds.network if bounds and bounds.network else ()
    with _here() as folder:
        given = [lifeline, own.channel, own.output, own.stacks, folder, *shared]
        socket.send_fds(control, [json.dumps(request).encode()], given)


@contextlib.contextmanager
def _here() -> Iterator[int]:
    """A descriptor of the current folder."""
    descriptor = os.open(".", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield descriptor
    finally:
        os.close(descriptor)
