"""Finds out which levels this machine offers, by trying: what a kernel's version promises, a container may forbid."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

from gpuprep.confinement import lockdown, rights
from gpuprep.confinement.permits import STRONGEST_FIRST, Confinement, Level
from gpuprep.confinement.processes import finish, start

_REASON_BYTES = 4096


def main() -> NoReturn:
    """Print a JSON object: for each level why it can't be had, or nothing. To be run in a process of its own."""
    os.write(1, json.dumps({level: reason(level) for level in STRONGEST_FIRST}).encode())
    os._exit(0)


def reason(level: Level) -> str:
    """Why a level can't be had here; empty where it can."""
    with tempfile.TemporaryDirectory(prefix="gpuprep-probe-") as folder:
        allowed, other = Path(folder, "allowed"), Path(folder, "other")
        for path in (allowed, other):
            path.write_text("probe")
        confinement = Confinement(level, read=(str(allowed.resolve()),), uid=rights.own_user())
        if level is Level.LANDLOCK and os.geteuid() == 0 and not confinement.uid:
            return "it would run as root, and there is no other user to become"
        reading, writing = os.pipe()
        # A process of its own: it leaves the world that this one stays in.
        pid = os.fork() or finish(lambda: _say(writing, _tried(confinement, allowed, other)))
        os.close(writing)
        said = b""
        while chunk := os.read(reading, _REASON_BYTES):
            said += chunk
        os.close(reading)
        os.waitpid(pid, 0)
        return "" if said == b"held" else said.decode(errors="replace") or "it ended without a word"


def _say(descriptor: int, text: str) -> None:
    os.write(descriptor, text.encode()[:_REASON_BYTES])
    os._exit(0)


def _tried(confinement: Confinement, allowed: Path, other: Path) -> str:
    outside = os.getpid()
    reading, writing = os.pipe()

    def work() -> None:
        try:
            lockdown.confine(confinement, folder)
            lockdown.settle(confinement, folder, {})
            found = next(_holes(folder, allowed, other, outside), "held")
        except OSError as error:
            found = str(error)
        _say(writing, found)

    with lockdown.private_folder(confinement) as folder:
        try:
            started = start(confinement, None, work)
        except OSError as error:
            return str(error)
        os.close(writing)
        said = os.read(reading, _REASON_BYTES).decode(errors="replace")
        os.waitpid(started.pid, 0)
    return said


def _holes(folder: str, allowed: Path, other: Path, outside: int) -> Iterator[str]:
    """What a confined process can do that it must not, or can't and must."""
    allowed.read_text()
    Path(folder, "probe").write_text("probe")
    with contextlib.suppress(OSError):
        other.read_text()
        yield "it can read any file"
    with contextlib.suppress(OSError):
        other.write_text("changed")
        yield "it can write any file"
    if outside not in (os.getpid(), os.getppid()):
        with contextlib.suppress(OSError):
            os.kill(outside, 0)
            yield "it can signal other processes"
    with contextlib.suppress(OSError):
        socket.socket(socket.AF_INET).close()
        yield "it can open sockets"
