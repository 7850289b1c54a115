"""Grades a made-up class of 500 by the real command, and says how fast, in how much memory, and what is left of it.

    python tests/class_of_500.py [--n 500] [--kills 5] [--only ex_01] [--executor ray]

A submission is one file, for one of ex_01 to ex_04: a reference, a stub, an honest or a wrong solution or an attack.
Each has what it must get. Submissions that run into a time limit come last, and are in no rate. With `--kills` the
class is graded twice: undisturbed, and by a command that is killed (SIGKILL) so many times and resumed.

Seconds of the processors are those of a control group, which only root can make: a namespace's processes are buried by
the kernel, and are in no parent's account.
"""

from __future__ import annotations

import argparse
import contextlib
import csv
import fcntl
import os
import random
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

import psutil
from made_class import Handed, choices

from gpuprep import curriculum as curricula
from gpuprep.curriculum import Curriculum
from gpuprep.model import Outcome

EXERCISES = ("ex_01", "ex_02", "ex_03", "ex_04")
LIMIT_S = 10
LAST = "limit"
"""What submissions that are to run into a time limit are called, so that they come last."""
SAMPLE_S = 2.0
"""To see how memory is shared, the kernel goes through all pages of a process: 5 % of two cores, once a second."""
END_LIMIT_S = 60.0
_SHARES = re.compile(r"^Pss:\s+(\d+) kB", re.MULTILINE)


@dataclass(frozen=True)
class Part:
    """What was graded of one exercise, or of all that ran into a time limit."""

    name: str
    n: int
    elapsed_s: float
    cpu_s: float = 0.0

    @property
    def per_s(self) -> float:
        """Submissions a second."""
        return self.n / self.elapsed_s if self.elapsed_s else 0.0


@dataclass
class Run:
    """One grading of the class, undisturbed or not."""

    scores: bytes = b""
    mismatches: list[str] = field(default_factory=list)
    parts: list[Part] = field(default_factory=list)
    timed_out: list[str] = field(default_factory=list)
    """Submissions that ran into a limit, wherever they came."""
    leftovers: list[str] = field(default_factory=list)
    n_kills: int = 0
    elapsed_s: float = 0.0
    until_first_s: float = 0.0
    cpu_s: float = 0.0
    """Of the processors, by the command and all that came of it; 0 where that is not known."""
    cpu_at: list[tuple[float, float]] = field(default_factory=list)
    """The same, with the times since the start at which it was looked at."""
    peak_pss_bytes: int = 0
    peak_processes: int = 0

    def cpu_until(self, at_s: float) -> float:
        """What it had taken of the processors by then: as near as one look every SAMPLE_S can tell."""
        before = [(0.0, 0.0), *(look for look in self.cpu_at if look[0] <= at_s)][-1]
        after = next((look for look in self.cpu_at if look[0] > at_s), (at_s, self.cpu_s))
        share = (at_s - before[0]) / (after[0] - before[0]) if after[0] > before[0] else 0.0
        return before[1] + share * (after[1] - before[1])


def make(curriculum: Curriculum, folder: Path, n: int, exercise_ids: Sequence[str]) -> Mapping[str, Handed]:
    """Write the class into a folder, and say what each submission is and must get."""
    handed: dict[str, Handed] = {}
    for place, exercise_id in enumerate(exercise_ids):
        rng = random.Random(place)
        # The same share for each exercise, and the first ones get what is left over.
        own = n // len(exercise_ids) + (place < n % len(exercise_ids))
        all_of_it = choices(curriculum, exercise_id, has_attacks=True, has_honest=True)
        # Each at least once where there is room.
        chosen = [*rng.sample(all_of_it, min(own, len(all_of_it))), *rng.choices(all_of_it, k=own)][:own]
        for number, file in enumerate(chosen):
            is_last = Outcome.TIMED_OUT in file.declared
            name = f"{LAST + '_' if is_last else ''}{exercise_id}_{number:03}_{file.source.stem}"
            (folder / name).mkdir(parents=True)
            slug = curriculum.exercise(exercise_id).slug
            shutil.copyfile(file.source, folder / name / f"{slug}.py")
            handed[name] = file
    return handed


class Room:
    """A folder with a class, what it is to be graded by, and all temporary files of the grading.

    Args:
        root: an empty folder.
        n: how many submissions.
        only: the exercises.
        executor: where they are graded; on this machine where empty.
        jobs: how many at a time.
    """

    def __init__(self, root: Path, n: int, only: Sequence[str] = EXERCISES, executor: str = "", jobs: int = 2) -> None:
        self.root = root.resolve()
        self.curriculum = curricula.load(Path(__file__).resolve().parent.parent)
        self.handed = make(self.curriculum, self.root / "class", n, only)
        self._more = ["--executor", executor] if executor else []
        self._jobs = jobs
        self._only = only
        self._temporary = self.root / "tmp"
        self._temporary.mkdir()
        (self.root / "hw.yaml").write_text(
            f"title: Class of {n}\nexercises: [{', '.join(only)}]\nlimits: {{seconds: {LIMIT_S}}}\n"
        )

    def grade(self, out: str, n_kills: int = 0, seed: int = 0) -> Run:
        """Grade all of it into a folder, killed and resumed so many times.

        Args:
            out: the folder's name.
            n_kills: at moments between which some are graded; each leaves something to resume.
            seed: of the moments.
        """
        rng = random.Random(seed)
        run = Run(n_kills=n_kills)
        before = _shared_memory()
        started, account = time.monotonic(), _Account()
        last = len(self.handed) - 20
        moments = sorted(rng.randrange(1, max(2, last)) for _ in range(n_kills))
        for n_th, n_done in enumerate(moments):
            process = self._start(out, is_resumed=n_th > 0)
            while process.poll() is None and len(_finished(self.root / out)) < n_done:
                time.sleep(0.01)
            # Anywhere in what is going on.
            time.sleep(rng.random() * 0.2)
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
            run.leftovers += [f"after kill {n_th + 1}: {left}" for left in self._leftovers(out, before)]
        process = self._start(out, is_resumed=n_kills > 0)
        account.put(process.pid)
        with _watched(process.pid, run, lambda: run.cpu_at.append((time.monotonic() - started, account.seconds()))):
            said, why = process.communicate()
        if process.returncode:
            run.mismatches.append(f"the command exits with {process.returncode}: {why or said}")
        run.elapsed_s = time.monotonic() - started
        run.leftovers += self._leftovers(out, before)
        run.cpu_s = account.close()
        self._judge(out, run, started)
        return run

    def _start(self, out: str, *, is_resumed: bool) -> subprocess.Popen[str]:
        command = ["grade", str(self.root / "class"), "--assignment", str(self.root / "hw.yaml")]
        command += ["--out", str(self.root / out), "--jobs", str(self._jobs), "--device", "cpu", *self._more]
        return subprocess.Popen(
            [sys.executable, "-m", "gpuprep", *command, *(["--resume"] if is_resumed else [])],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
            cwd=self.root,
            env={**os.environ, "TMPDIR": str(self._temporary)},
        )

    def _judge(self, out: str, run: Run, started: float) -> None:
        with (self.root / out / "scores.csv").open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
        run.scores = (self.root / out / "scores.csv").read_bytes()
        found = {row["submission"]: row for row in rows}
        for name, file in self.handed.items():
            exercise_id = name.removeprefix(f"{LAST}_")[: len("ex_01")]
            outcome = found[name][exercise_id] if name in found else "no row"
            if outcome not in file.expected:
                run.mismatches.append(f"{name} ({file.kind}): {outcome}, not {' or '.join(sorted(file.expected))}")
            if outcome == Outcome.TIMED_OUT:
                run.timed_out.append(name)
        run.mismatches += [f"{name} was never handed in" for name in found if name not in self.handed]
        # Told in UTC, to the millisecond; `started` is on another clock.
        offset = time.time() - time.monotonic()
        ends = [(name, at - offset - started) for name, at in _finished(self.root / out)]
        run.until_first_s = ends[0][1] if ends else 0.0
        begin = 0.0
        for part in (*self._only, LAST):
            own = [(name, at) for name, at in ends if name.startswith(part)]
            if own:
                # A limit that was run into out of turn would be in this part's time: it says more than it should.
                n_rated = sum(name not in run.timed_out for name, _ in own) if part != LAST else len(own)
                end = max(at for _, at in own)
                run.parts.append(Part(part, n_rated, end - begin, run.cpu_until(end) - run.cpu_until(begin)))
                begin = end

    def _leftovers(self, out: str, before: set[str]) -> list[str]:
        """Processes, files and locks that are there when all has had time to end."""
        deadline = time.monotonic() + END_LIMIT_S
        while (found := self._left_now(out, before)) and time.monotonic() < deadline:
            time.sleep(0.1)
        return found

    def _left_now(self, out: str, before: set[str]) -> list[str]:
        found = [f"file {path}" for path in self._temporary.iterdir()]
        found += [f"shared memory {name}" for name in _shared_memory() - before]
        for process in psutil.process_iter(["environ", "status"]):
            environment = process.info["environ"] or {}
            if environment.get("TMPDIR", "").startswith(str(self.root)) and process.info["status"] != "zombie":
                found.append(f"process {process.pid}")
        with contextlib.suppress(FileNotFoundError):
            descriptor = os.open(self.root / out, os.O_RDONLY)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                found.append(f"a lock on {out}")
            finally:
                os.close(descriptor)
        return found


def _finished(out: Path) -> list[tuple[str, float]]:
    """Submissions in the journal, and when they were done, in that order."""
    path = out / "journal.db"
    if not path.is_file():
        return []
    with contextlib.closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as connection:
        try:
            rows = connection.execute("SELECT submission, finished FROM grades ORDER BY finished").fetchall()
        except sqlite3.OperationalError:
            # It is being made.
            return []
    return [(name, datetime.fromisoformat(at).timestamp()) for name, at in rows]


class _Account:
    """A control group that counts what a process and all that came of it take of the processors."""

    def __init__(self) -> None:
        old, new = Path("/sys/fs/cgroup/cpuacct"), Path("/sys/fs/cgroup")
        self._folder = (old if old.is_dir() else new) / f"class-of-500-{os.getpid()}"
        self._is_there = True
        try:
            self._folder.mkdir()
        except OSError:
            self._is_there = False

    def put(self, pid: int) -> None:
        if self._is_there:
            (self._folder / "cgroup.procs").write_text(str(pid))

    def seconds(self) -> float:
        """So far; 0 where nobody counts."""
        if not self._is_there:
            return 0.0
        old, new = self._folder / "cpuacct.usage", self._folder / "cpu.stat"
        return int(old.read_text()) / 1e9 if old.is_file() else int(new.read_text().split()[1]) / 1e6

    def close(self) -> float:
        """In all, when all its processes have ended."""
        seconds = self.seconds()
        with contextlib.suppress(OSError):
            self._folder.rmdir()
        return seconds


def _shared_memory() -> set[str]:
    return {path.name for path in Path("/dev/shm").iterdir()}  # noqa: S108  the machine's, to see what is left there


@contextlib.contextmanager
def _watched(pid: int, run: Run, look: Callable[[], None]) -> Iterator[None]:
    """Note the most memory that a process and its descendants hold at a time, each page divided by its users."""
    is_over = threading.Event()

    def watch() -> None:
        while not is_over.wait(SAMPLE_S):
            look()
            with contextlib.suppress(psutil.Error):
                root = psutil.Process(pid)
                own = [_pss_bytes(process.pid) for process in (root, *root.children(recursive=True))]
                run.peak_pss_bytes = max(run.peak_pss_bytes, sum(own))
                run.peak_processes = max(run.peak_processes, len(own))

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield
    finally:
        is_over.set()
        thread.join()


def _pss_bytes(pid: int) -> int:
    try:
        found = _SHARES.search(Path(f"/proc/{pid}/smaps_rollup").read_text())
    except OSError:
        # It has ended.
        return 0
    return 1024 * int(found[1]) if found else 0


def told(room: Room, run: Run) -> str:
    """A run in words."""
    kinds = [file.kind for file in room.handed.values()]
    mix = ", ".join(f"{kinds.count(kind)} {kind}" for kind in dict.fromkeys(sorted(kinds)))
    cpu = f"{run.cpu_s:.1f} CPU-s ({run.cpu_s / len(room.handed):.3f} each)" if run.cpu_s else ""
    lines = [f"{len(room.handed)} submissions ({mix}), {run.n_kills} kills: {run.elapsed_s:.1f} s, {cpu}"]
    if not run.n_kills:
        lines.append(f"  first verdict after {run.until_first_s:.1f} s")
        for place, part in enumerate(run.parts):
            # From the start of the command; and as if it had been warm.
            warm = Part(part.name, part.n - 1, part.elapsed_s - run.until_first_s) if not place else part
            more = f", {part.per_s:.1f} with the start-up" if not place else ""
            cpu = f"; {part.cpu_s / part.n:.3f} CPU-s each" if part.cpu_s and part.n else ""
            lines.append(f"  {part.name}: {part.n} in {part.elapsed_s:.1f} s: {warm.per_s:.1f} a second{more}{cpu}")
        lines.append(f"  ran into a time limit: {', '.join(run.timed_out) or 'none'}")
        lines.append(f"  peak PSS {run.peak_pss_bytes / 2**20:.0f} MiB in at most {run.peak_processes} processes")
    lines += [f"  MISMATCH {line}" for line in run.mismatches] or ["  every verdict as declared"]
    lines += [f"  LEFT {line}" for line in run.leftovers] or ["  no process, file or lock left"]
    return "\n".join(lines)


def main() -> int:
    """Grade, print, and return 1 where anything is not as it must be."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--n", type=int, default=500, help="submissions")
    parser.add_argument("--only", action="append", choices=EXERCISES, help="one exercise; may be repeated")
    parser.add_argument("--kills", type=int, default=0, help="grade it once more, killed so many times")
    parser.add_argument("--executor", default="", help="as `gpuprep grade --executor`")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0, help="of the moments of the kills")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="class-of-500-") as name:
        room = Room(Path(name), chosen.n, chosen.only or EXERCISES, chosen.executor, chosen.jobs)
        run = room.grade("out")
        print(told(room, run), flush=True)
        is_good = not run.mismatches and not run.leftovers
        if chosen.kills:
            killed = room.grade("killed", chosen.kills, chosen.seed)
            print(told(room, killed))
            print(f"  scores.csv {'identical' if killed.scores == run.scores else 'DIFFERS'}")
            is_good &= not killed.mismatches and not killed.leftovers and killed.scores == run.scores
    return 0 if is_good else 1


if __name__ == "__main__":
    sys.exit(main())
