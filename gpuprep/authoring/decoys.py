"""What an exploit is shown in place of a grader's machine: files, a process and servers, all of them decoys.

They are made anew for every try, and what became of them is looked at from outside.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import secrets
import select
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

SCRATCH = "scratch"
"""The folder in which a worker that isn't confined may leave what it likes."""
_SEGMENT = 0x67707570
_READ_BYTES = 1 << 16
_VICTIM = """
import ctypes, os, sys, time
secret = ctypes.create_string_buffer(sys.argv[1].encode())
file = open(sys.argv[2])
print(ctypes.addressof(secret), flush=True)
while True:
    print(secret.value.decode(), flush=True)
    time.sleep(0.05)
"""
_FILES = {
    "reference": "reference/ex_01.py",
    "grader": "graders/ex_01.py",
    "test": "tests/wrong.py",
    "key": "home/.ssh/id_ed25519",
    "open": "home/open.txt",
    "cache": "home/.triton/cache/kernel.json",
    "compiled": "package/__pycache__/module.pyc",
    "gradebook": "grades/journal.db",
    "neighbour": "submissions/other/ex_01.py",
}
"""By what exploits call them, and where they lie."""


@dataclass
class World:
    """Decoys, and what they looked like before."""

    folder: Path
    victim: subprocess.Popen[str]
    servers: dict[str, socket.socket]
    targets: dict[str, Any]
    """What an exploit is told of them."""
    secrets: list[str]
    before: dict[str, Any] = field(default_factory=dict)

    def look(self) -> None:
        """Remember how everything is now."""
        self.before = self._state()

    def harm(self, said: str) -> list[str]:
        """What an exploit did, in a few words each.

        Args:
            said: what it printed. Only what can't be seen from outside is taken from there: lines that begin with HARM.
        """
        found = [line.removeprefix("HARM: ") for line in said.splitlines() if line.startswith("HARM")]
        found += ["read a secret"] if any(secret in said for secret in self.secrets) else []
        after = self._state()
        for name in sorted(self.before.keys() | after.keys()):
            if self.before.get(name) != after.get(name):
                found.append("changed the victim" if name == "victim" else f"changed {Path(name).name}")
        for name, server in self.servers.items():
            if select.select([server], [], [], 0)[0]:
                found.append(f"reached the {name}")
        return found

    def _state(self) -> dict[str, Any]:
        """Everything that an exploit could have changed."""
        state: dict[str, Any] = {}
        looked_at = [place for place in self.folder.iterdir() if place.name != SCRATCH]
        for path in sorted(path for place in looked_at for path in place.rglob("*")):
            if path.is_file():
                status = path.stat()
                text = path.read_bytes() if os.access(path, os.R_OK) else b""
                state[str(path)] = (oct(status.st_mode), status.st_mtime_ns, status.st_nlink, text)
        for path in map(Path, self.targets["droppings"]):
            state[str(path)] = path.exists()
        return {**state, "victim": self._state_of_victim()}

    def _state_of_victim(self) -> dict[str, Any]:
        try:
            process = psutil.Process(self.victim.pid)
            is_alive = process.status() in (psutil.STATUS_RUNNING, psutil.STATUS_SLEEPING)
            return {
                "is_alive": is_alive,
                "nice": process.nice(),
                "cores": process.cpu_affinity(),
                "files": process.rlimit(psutil.RLIMIT_NOFILE),
                "says": self._heard() if is_alive else "",
            }
        except psutil.NoSuchProcess:
            return {"is_alive": False}

    def _heard(self) -> str:
        assert self.victim.stdout is not None  # noqa: S101  it was asked for
        descriptor = self.victim.stdout.fileno()
        os.read(descriptor, _READ_BYTES)
        return os.read(descriptor, _READ_BYTES).decode().splitlines()[-1]


@contextlib.contextmanager
def world() -> Iterator[World]:
    """Decoys in a folder of their own; nothing of them stays."""
    folder = Path(tempfile.mkdtemp(prefix="gpuprep-world-")).resolve()
    mark = secrets.token_hex(12)
    with contextlib.ExitStack() as stack:
        stack.callback(_clear_away, folder)
        (folder / SCRATCH).mkdir()
        paths = {name: folder / place for name, place in _FILES.items()}
        for name, path in paths.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(f"{name} {mark}\n")
        servers = _servers(stack, folder)
        command = [sys.executable, "-S", "-c", _VICTIM, f"memory {mark}", str(paths["open"])]
        victim = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env={"SECRET": mark})
        stack.callback(_end, victim)
        assert victim.stdout is not None  # noqa: S101  asked for above
        address = int(os.read(victim.stdout.fileno(), 64).split(b"\n")[0])
        droppings = [f"{place}/gpuprep-{folder.name}" for place in ("/tmp", "/dev/shm", "/var/tmp", str(Path.home()))]  # noqa: S108
        for dropping in droppings:
            stack.callback(Path(dropping).unlink, missing_ok=True)
        targets = {
            **{name: str(path) for name, path in paths.items()},
            "victim": victim.pid,
            "address": address,
            "droppings": droppings,
            "segment": _SEGMENT,
            "port": servers["server"].getsockname()[1],
            "datagram_port": servers["datagram server"].getsockname()[1],
            "service": str(folder / "service"),
            "log": str(folder / "log"),
            "abstract": folder.name,
        }
        made = World(folder, victim, servers, targets, [mark])
        made.look()
        yield made


def _servers(stack: contextlib.ExitStack, folder: Path) -> dict[str, socket.socket]:
    places: dict[str, tuple[int, int, Any]] = {
        "server": (socket.AF_INET, socket.SOCK_STREAM, ("127.0.0.1", 0)),
        "datagram server": (socket.AF_INET, socket.SOCK_DGRAM, ("127.0.0.1", 0)),
        "service": (socket.AF_UNIX, socket.SOCK_STREAM, str(folder / "service")),
        "log": (socket.AF_UNIX, socket.SOCK_DGRAM, str(folder / "log")),
        "abstract service": (socket.AF_UNIX, socket.SOCK_STREAM, f"\0{folder.name}"),
    }
    servers = {}
    for name, (family, kind, address) in places.items():
        servers[name] = stack.enter_context(socket.socket(family, kind))
        servers[name].bind(address)
        if kind == socket.SOCK_STREAM:
            servers[name].listen()
    return servers


def _end(process: subprocess.Popen[str]) -> None:
    process.send_signal(signal.SIGCONT)
    process.kill()
    process.communicate()


def _clear_away(folder: Path) -> None:
    libc = ctypes.CDLL(None)
    if (segment := libc.shmget(_SEGMENT, 0, 0)) >= 0:
        libc.shmctl(segment, 0, None)
    subprocess.run(["chmod", "-R", "u+rwX", str(folder)], check=False, capture_output=True)
    subprocess.run(["rm", "-rf", str(folder)], check=True)
