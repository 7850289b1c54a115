"""The exploits of `tests/exploits/`, each tried at each level of the sandbox: what harm it did, as a table.

    python tests/sandbox_matrix.py [LEVEL …]

An exploit is a file with a function that gets a list of things worth attacking, as JSON: files, a process, a server.
They are decoys, made anew for every try, and what became of them is looked at from outside. Only what can't be seen
from there is the exploit's own word: a line that begins with HARM.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import secrets
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from gpuprep import curriculum as curricula
from gpuprep.confinement.permits import Level
from gpuprep.curriculum import Curriculum
from gpuprep.grading.confining import Cell, offered
from gpuprep.grading.pool import WarmPool
from gpuprep.grading.process import WorkerDiedError, WorkerProcess, WorkerTimeoutError

CHECKOUT = Path(__file__).resolve().parent.parent
EXPLOITS = sorted((CHECKOUT / "tests" / "exploits").glob("*.py"))
LIMIT_S = 30.0
CLEAR_AWAY_S = 5.0
SEGMENT = 0x67707570
NEEDS_A_USER = ("multiplies",)
"""What the kernel never limits for the first user, whatever that is called where the try is made."""
_VICTIM = """
import ctypes, os, sys, time
secret = ctypes.create_string_buffer(sys.argv[1].encode())
file = open(sys.argv[2])
print(ctypes.addressof(secret), flush=True)
while True:
    print(secret.value.decode(), flush=True)
    time.sleep(0.05)
"""


@dataclass
class World:
    """Decoys, and what they looked like before."""

    folder: Path
    victim: subprocess.Popen[str]
    servers: dict[str, socket.socket]
    targets: dict[str, Any]
    secrets: list[str]
    before: dict[str, Any] = field(default_factory=dict)

    def state(self) -> dict[str, Any]:
        """Everything of the decoys that an exploit could have changed."""
        state: dict[str, Any] = {}
        looked_at = [place for place in self.folder.iterdir() if place.name != "scratch"]
        for path in sorted(path for place in looked_at for path in place.rglob("*")):
            if path.is_file():
                status = path.stat()
                text = path.read_bytes() if os.access(path, os.R_OK) else b""
                state[str(path)] = (oct(status.st_mode), status.st_mtime_ns, status.st_nlink, text)
        for path in map(Path, self.targets["droppings"]):
            state[str(path)] = path.exists()
        return {**state, "victim": self._victim()}

    def _victim(self) -> dict[str, Any]:
        try:
            process = psutil.Process(self.victim.pid)
            alive = process.status() in (psutil.STATUS_RUNNING, psutil.STATUS_SLEEPING)
            return {
                "alive": alive,
                "nice": process.nice(),
                "cores": process.cpu_affinity(),
                "files": process.rlimit(psutil.RLIMIT_NOFILE),
                "says": self._heard() if alive else "",
            }
        except psutil.NoSuchProcess:
            return {"alive": False}

    def _heard(self) -> str:
        assert self.victim.stdout is not None
        descriptor = self.victim.stdout.fileno()
        os.read(descriptor, 1 << 16)
        return os.read(descriptor, 1 << 16).decode().splitlines()[-1]

    def harm(self, said: str) -> list[str]:
        """What an exploit did, in a few words each."""
        found = [line.removeprefix("HARM: ") for line in said.splitlines() if line.startswith("HARM")]
        found += ["read a secret"] if any(secret in said for secret in self.secrets) else []
        after = self.state()
        for name in sorted(self.before.keys() | after.keys()):
            if self.before.get(name) != after.get(name):
                found.append("changed the victim" if name == "victim" else f"changed {Path(name).name}")
        for name, server in self.servers.items():
            if select.select([server], [], [], 0)[0]:
                found.append(f"reached the {name}")
        return found


@contextlib.contextmanager
def world() -> Iterator[World]:
    """Decoys in a folder of their own; nothing of them stays."""
    folder = Path(tempfile.mkdtemp(prefix="gpuprep-world-")).resolve()
    mark = secrets.token_hex(12)
    paths = {
        "reference": folder / "reference" / "ex_01.py",
        "grader": folder / "graders" / "ex_01.py",
        "test": folder / "tests" / "wrong.py",
        "key": folder / "home" / ".ssh" / "id_ed25519",
        "neighbour": folder / "submissions" / "other" / "ex_01.py",
        "open": folder / "home" / "open.txt",
    }
    for name, path in paths.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{name} {mark}\n")
    (folder / "scratch").mkdir()
    with contextlib.ExitStack() as stack:
        stack.callback(_clear_away, folder)
        servers = _servers(stack, folder)
        command = [sys.executable, "-S", "-c", _VICTIM, f"memory {mark}", str(paths["open"])]
        victim = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env={"SECRET": mark})
        stack.callback(_end, victim)
        assert victim.stdout is not None
        address = int(os.read(victim.stdout.fileno(), 64).split(b"\n")[0])
        droppings = [f"{place}/gpuprep-{folder.name}" for place in ("/tmp", "/dev/shm", "/var/tmp", str(Path.home()))]  # noqa: S108
        stack.callback(lambda: [Path(path).unlink(missing_ok=True) for path in droppings])
        targets = {
            **{name: str(path) for name, path in paths.items()},
            "victim": victim.pid,
            "address": address,
            "droppings": droppings,
            "segment": SEGMENT,
            "port": servers["server"].getsockname()[1],
            "datagram_port": servers["datagram server"].getsockname()[1],
            "service": str(folder / "service"),
            "abstract": folder.name,
        }
        made = World(folder, victim, servers, targets, [mark])
        made.before = made.state()
        yield made


def _servers(stack: contextlib.ExitStack, folder: Path) -> dict[str, socket.socket]:
    places: dict[str, tuple[int, int, Any]] = {
        "server": (socket.AF_INET, socket.SOCK_STREAM, ("127.0.0.1", 0)),
        "datagram server": (socket.AF_INET, socket.SOCK_DGRAM, ("127.0.0.1", 0)),
        "service": (socket.AF_UNIX, socket.SOCK_STREAM, str(folder / "service")),
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
    if (segment := libc.shmget(SEGMENT, 0, 0)) >= 0:
        libc.shmctl(segment, 0, None)
    subprocess.run(["chmod", "-R", "u+rwX", str(folder)], check=False, capture_output=True)
    subprocess.run(["rm", "-rf", str(folder)], check=True)


def harm_of(exploit: Path, level: Level, pool: WarmPool | None) -> list[str]:
    """Try an exploit, and say what harm it did; nothing where it did none.

    Args:
        exploit: a file with a function `exploit`.
        level: what it is confined by.
        pool: forks its worker.
    """
    with world() as around:
        path = around.folder / "submissions" / "own" / exploit.name
        path.parent.mkdir()
        shutil.copy(exploit, path)
        around.before = around.state()
        curriculum = Curriculum(around.folder, title="", modules=(), exercises=(), plans=())
        cell = Cell(level, curricula.load(CHECKOUT).exercise("ex_01"), curriculum, path)
        said = _said(cell, path, json.dumps(around.targets), pool, around.folder / "scratch")
        found = around.harm(said)
        return found + _left_over()


def _said(cell: Cell, path: Path, targets: str, pool: WarmPool | None, scratch: Path) -> str:
    before = os.environ.get("TMPDIR")
    # Where a worker that isn't confined puts its files.
    os.environ["TMPDIR"] = str(scratch)
    try:
        with WorkerProcess("cpu", pool, bounds=cell.for_learner("cpu")) as worker:
            worker.wait_until_ready()
            load = {"do": "load", "path": str(path), "function": "exploit", "driver": None}
            call = {"do": "call", "args": [targets], "reverse": False}
            with contextlib.suppress(WorkerDiedError, WorkerTimeoutError):
                answer = worker.ask(load, deadline=time.monotonic() + LIMIT_S)
                assert answer["status"] == "loaded", answer
                answer = worker.ask(call, deadline=time.monotonic() + LIMIT_S)
                return worker.output() + str(answer.get("message", ""))
            return worker.output()
    finally:
        os.environ.pop("TMPDIR")
        if before is not None:
            os.environ["TMPDIR"] = before


def _left_over() -> list[str]:
    """A worker's own folder that is still there, seconds after the worker."""
    places = Path(tempfile.gettempdir())
    deadline = time.monotonic() + CLEAR_AWAY_S
    while found := [path.name for path in places.glob("gpuprep-worker-*") if path.stat().st_ctime > _STARTED]:
        if time.monotonic() > deadline:
            return [f"left {found[0]}"]
        time.sleep(0.05)
    return []


_STARTED = time.time()


def table(levels: Sequence[Level], *, leaves_out: Sequence[str] = ()) -> Iterator[tuple[str, dict[Level, list[str]]]]:
    """Each exploit's name, and what it did at each level."""
    with WarmPool() as pool:
        for exploit in EXPLOITS:
            if exploit.stem not in leaves_out:
                yield exploit.stem, {level: harm_of(exploit, level, pool) for level in levels}


def main(names: Sequence[str]) -> int:
    """Print the table. Fails where an exploit did harm at any level but none."""
    missing = {level: why for level, why in offered().items() if why}
    levels = [Level(name) for name in names] or [level for level in Level if level not in missing]
    for level, why in missing.items():
        print(f"{level} can't be had here: {why}")  # noqa: T201
    leaves_out = NEEDS_A_USER if "--without-limits" in sys.argv else ()
    width = max(len(exploit.stem) for exploit in EXPLOITS)
    print(f"{'exploit':{width}}", *(f"{level:24}" for level in levels))  # noqa: T201
    harms = dict.fromkeys(levels, 0)
    for name, found in table(levels, leaves_out=leaves_out):
        for level, harm in found.items():
            harms[level] += bool(harm)
        print(f"{name:{width}}", *(f"{', '.join(found[level]) or '–':24.24}" for level in levels), flush=True)  # noqa: T201
    print(f"{'did harm':{width}}", *(f"{harms[level]:<24}" for level in levels))  # noqa: T201
    return int(any(count for level, count in harms.items() if level is not Level.NONE))


if __name__ == "__main__":
    sys.exit(main([name for name in sys.argv[1:] if not name.startswith("-")]))
