"""Which sandbox this machine offers, and what each of a check's workers is given in it."""

from __future__ import annotations

import contextlib
import functools
import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from gpuprep import curriculum as curricula
from gpuprep.confinement import rights
from gpuprep.confinement.permits import STRONGEST_FIRST, Confinement, Level
from gpuprep.curriculum import Curriculum
from gpuprep.errors import GraderFaultError, UsageError, WorkspaceError
from gpuprep.exercise import Exercise
from gpuprep.grading.births import package_root
from gpuprep.grading.guarded import Bounds

AUTO = "auto"
SANDBOXES = (AUTO, *(str(level) for level in Level))
"""What may be asked for."""
_LIMIT_S = 60.0
_PROBE = "import sys; sys.path.append(sys.argv[1]); from gpuprep.confinement.probing import main; main()"
_NETWORK = (
    "import sys; sys.path.append(sys.argv[1]); from gpuprep.confinement.namespaces import hand_out_network;"
    "hand_out_network(int(sys.argv[2]))"
)
_EMULATOR = Path("gpuprep", "cuda")
"""Where the emulator keeps what it compiled, in a folder of caches."""
NEEDS_NETWORK = (
    f"the sandbox {str(Level.LANDLOCK)!r} has no network, and several ranks need one: grade it in {Level.FULL}"
)


@functools.cache
def offered() -> Mapping[Level, str]:
    """For each level why it can't be had on this machine, or nothing: found by trying, once for this process."""
    try:
        done = subprocess.run(
            [sys.executable, "-I", "-S", "-c", _PROBE, str(package_root())],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=True,
            timeout=_LIMIT_S,
        )
        found = json.loads(done.stdout)
    except (OSError, ValueError, subprocess.SubprocessError) as error:
        return dict.fromkeys(STRONGEST_FIRST, f"it could not be tried: {error}")
    return {level: str(found[level]) for level in STRONGEST_FIRST}


def chosen_level(sandbox: str) -> Level:
    """The level that was asked for, if this machine offers it; for `auto` the strongest that it does.

    Raises:
        UsageError: there is no such level, or not here.
    """
    if sandbox == AUTO:
        return next((level for level, why in offered().items() if not why), Level.NONE)
    if sandbox not in SANDBOXES:
        raise UsageError(f"no sandbox is called {sandbox!r}", next_step=f"choose one of {', '.join(SANDBOXES)}")
    level = Level(sandbox)
    if level is not Level.NONE and (why := offered()[level]):
        raise UsageError(f"the sandbox {sandbox!r} can't be had here: {why}", next_step="use auto, or another machine")
    return level


@dataclass(frozen=True)
class Cell:
    """A check's sandbox.

    Args:
        level: of all its workers that get to see something of the learner's.
        exercise: what is checked.
        curriculum: where its driver lies, and what nobody in there may read.
        path: the learner's file.
    """

    level: Level
    exercise: Exercise
    curriculum: Curriculum
    path: Path

    def for_learner(self, device: str) -> Bounds | None:
        """The learner's worker: it sees its own files and the driver, and writes to a folder of its own.

        Raises:
            WorkspaceError: a file of the learner's is a link.
        """
        return Bounds(self._confinement(device, rights.own_user())) if self._is_confined else None

    def for_witness(self, folder: str) -> Bounds | None:
        """The counting worker: it sees nothing of the learner's, and writes to one folder.

        Args:
            folder: where it keeps what it compiles.
        """
        if not self._is_confined:
            return None
        uid = rights.own_user()
        runtime = self._emulator_runtime()
        if runtime:
            place = Path(folder, _EMULATOR)
            place.mkdir(parents=True)
            Path(place, Path(runtime).name).symlink_to(runtime)
        _hand_over(Path(folder), uid)
        read = (runtime,) if runtime else ()
        return Bounds(Confinement(self.level, read=read, write=(folder,), hidden=self._hidden, uid=uid))

    def for_replay(self, folder: str) -> Bounds | None:
        """The worker that replays on the card: it sees nothing of the learner's either, and writes to one folder.

        Args:
            folder: where it keeps what it compiles.
        """
        if not self._is_confined:
            return None
        uid = rights.own_user()
        _hand_over(Path(folder), uid)
        return Bounds(Confinement(self.level, device="cuda", write=(folder,), hidden=self._hidden, uid=uid))

    @contextlib.contextmanager
    def for_group(self, device: str, folder: Path) -> Iterator[Bounds | None]:
        """The ranks of a group: all the same user, in one network that leads nowhere else.

        Args:
            device: where they run.
            folder: where they meet.

        Raises:
            GraderFaultError: there is no such network.
        """
        if not self._is_confined:
            yield None
            return
        uid = rights.own_user()
        _hand_over(folder, uid)
        confinement = self._confinement(device, uid, write=(str(folder),), has_loopback=True)
        with _private_network() as network:
            yield Bounds(confinement, network)

    def why_no_group(self) -> str:
        """Why no ranks can meet in this sandbox; empty where they can."""
        return NEEDS_NETWORK if self.level is Level.LANDLOCK else ""

    def why_no_cards(self) -> str:
        """Why ranks can't meet on cards in it; empty where they can."""
        return f"the sandbox {str(self.level)!r} keeps ranks from sharing cards" if self._is_confined else ""

    @property
    def _is_confined(self) -> bool:
        return self.level is not Level.NONE

    @property
    def _hidden(self) -> tuple[str, ...]:
        roots = {self.curriculum.root, curricula.default_root()}
        return tuple(str(root.resolve() / tree) for root in roots for tree in ("graders", "reference", "tests"))

    def _confinement(
        self, device: str, uid: int, *, write: tuple[str, ...] = (), has_loopback: bool = False
    ) -> Confinement:
        sources = self.curriculum.sources(self.path)
        for source in sources:
            if source.is_symlink():
                # It would be copied, and whoever wrote it can't have known to what it leads here.
                raise WorkspaceError(f"{source} is a link: a sandbox is given files only")
        driver = self.curriculum.driver_path(self.exercise)
        runtime = self._emulator_runtime()
        files = [*sources, *([driver] if driver else []), *([Path(runtime)] if runtime else [])]
        links = ((str(Path("cache", _EMULATOR, Path(runtime).name)), str(Path(runtime).resolve())),) if runtime else ()
        return Confinement(
            self.level,
            device=device,
            read=tuple(str(path.resolve()) for path in files),
            write=write,
            hidden=self._hidden,
            links=links,
            has_loopback=has_loopback,
            uid=uid,
        )

    def _emulator_runtime(self) -> str:
        """The CUDA emulator's own part, compiled; it takes seconds, and nobody in the sandbox could keep it."""
        if self.exercise.language != "cuda":
            return ""
        # Not before: NumPy comes with it.
        from gpuprep.counters.cuda_emulator import toolchain

        if toolchain.why_unsupported():
            return ""
        try:
            return str(toolchain.runtime_object().resolve())
        except toolchain.ToolchainError as error:
            raise GraderFaultError(str(error), next_step="gpuprep doctor") from error


def _hand_over(folder: Path, uid: int) -> None:
    if uid:
        for path in (folder, *folder.rglob("*")):
            os.chown(path, uid, uid, follow_symlinks=False)


@contextlib.contextmanager
def _private_network() -> Iterator[tuple[int, int]]:
    """Descriptors of a network with a loopback interface and nothing else, and of the user namespace it belongs to."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        command = [sys.executable, "-I", "-S", "-c", _NETWORK, str(package_root()), str(theirs.fileno())]
        try:
            subprocess.run(
                command,
                stdin=subprocess.DEVNULL,
                pass_fds=(theirs.fileno(),),
                check=True,
                capture_output=True,
                timeout=_LIMIT_S,
            )
            _, descriptors, _, _ = socket.recv_fds(ours, 1, 2, flags=socket.MSG_CMSG_CLOEXEC)
            user, network = descriptors
        except (OSError, ValueError, subprocess.SubprocessError) as error:
            raise GraderFaultError(f"several ranks have no network to meet in: {error}") from error
    try:
        yield user, network
    finally:
        os.close(user)
        os.close(network)
