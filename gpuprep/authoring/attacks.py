"""Attacks on the grader itself: the files in `tests/attacks/`, what each gets, and the defence that has to stop it.

A file there is a whole solution of its exercise that cheats. It begins with its declarations, one a line, and a few
lines that say what it does:

    # expect: WRONG_VALUES|CRASHED      the outcomes that count as caught; NO_VERDICT where the grader may be killed;
                                        PROVISIONAL where what it cheats in must not be graded, and give nothing
    # layer: poison                     the defence that must do it, one of Layer
    # exercise: ex_02                   ex_01 where it is left out
    # needs: gpu                        it means nothing without a card; `expect` is then what a check on one must say
    # timeout: 1.5                      seconds that it may run
    # apart: yes                        graded by a process and with a home folder of its own: it may harm either
    # checks: 2                         graded that often in a row; the last verdict counts
    # open: why                         it gets through today
    # open-at: none                     only there: no level of the sandbox lets it through
    # confined: RAISED                  outcomes that count as caught in a sandbox, too

Every attack is graded against a throw-away copy of the curriculum, which it may spoil.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING

from gpuprep import curriculum as curricula
from gpuprep.confinement.permits import Level
from gpuprep.curriculum import Curriculum
from gpuprep.errors import CurriculumError, GraderFaultError
from gpuprep.model import Outcome, Report, Tier

if TYPE_CHECKING:
    from gpuprep.grading.pool import WarmPool

NO_VERDICT = "NO_VERDICT"
"""The grader's process was killed. Nothing is recorded then, and the command fails: no pass, and no outcome either."""
APART_LIMIT_S = 300.0
THROW_AWAY = "THROW_AWAY"
"""The file that tells an attack that what lies around it may be spoiled."""

_DECLARATION = re.compile(r"^# ([a-z-]+): +(.+?)\s*$")
_KEYS = frozenset("expect layer exercise needs timeout apart checks open open-at confined".split())
_TREES = ("exercises", "graders", "reference")


class Layer(StrEnum):
    """The defences, by the names that attack files use."""

    SIGNATURE = "signature"
    JUDGE = "judge"
    ORDER = "order"
    POISON = "poison"
    GUARD_BANDS = "guard bands"
    HOST_OPS = "host ops"
    COUNTED_WORK = "counted work"
    WITNESS = "witness"
    PROCESS = "process"
    CHANNEL = "channel"
    TIMEOUT = "timeout"
    TRACE = "trace"
    AUDIT = "audit"
    REPLAY = "replay"


@dataclass(frozen=True)
class Attack:
    """One file of `tests/attacks/`, as it declares itself."""

    path: Path
    exercise_id: str
    layer: Layer
    expected: frozenset[str]
    """Outcomes, or NO_VERDICT."""
    story: str
    open_because: str = ""
    """Why it gets through today; empty where it does not."""
    open_at: frozenset[Level] = frozenset(Level)
    """Where, if it does."""
    expected_confined: frozenset[str] = frozenset()
    """Outcomes that count as well in a sandbox, which may stop it earlier."""
    needs_gpu: bool = False
    is_apart: bool = False
    n_checks: int = 1
    timeout_s: float | None = None

    @property
    def name(self) -> str:
        """The file's name without its suffix."""
        return self.path.stem

    def why_open(self, level: Level) -> str:
        """Why it gets through at a level; empty where it does not."""
        return self.open_because if level in self.open_at else ""

    def caught_by(self, level: Level) -> frozenset[str]:
        """The outcomes that count as caught at a level."""
        return self.expected | self.expected_confined if level is not Level.NONE else self.expected


class Fate(StrEnum):
    """What became of an attack."""

    CAUGHT = "caught"
    """It got what its file declares: a failure, or nothing for what it cheats in."""
    OPEN = "open"
    """It passed, as its file says that it does today."""
    PASSED = "gets through"
    """It passed, and nobody knew."""
    MISTAKEN = "mistaken"
    """It failed, but not with an outcome that its file declares: the layer that was meant to stop it may be gone."""
    CLOSED = "closed"
    """It failed, though its file says that it gets through: the file's `open` line is out of date."""


@dataclass(frozen=True)
class Tried:
    """An attack and its verdict."""

    attack: Attack
    outcome: str
    """An Outcome, or NO_VERDICT."""
    message: str = ""
    level: Level = Level.NONE
    """What it was confined by."""
    is_withheld: bool = False
    """It passed for being correct, as it is; what it cheats in was not graded, and gives no points."""

    @property
    def fate(self) -> Fate:
        """What became of it."""
        is_open = bool(self.attack.why_open(self.level))
        is_caught = self.outcome in self.attack.caught_by(self.level)
        if self.outcome in (Outcome.PASSED, Outcome.PROVISIONAL) and not (self.is_withheld and is_caught):
            return Fate.OPEN if is_open else Fate.PASSED
        if is_open:
            return Fate.CLOSED
        return Fate.CAUGHT if is_caught else Fate.MISTAKEN

    @property
    def succeeds(self) -> bool:
        """True where it got more than it is worth."""
        return self.fate in (Fate.PASSED, Fate.OPEN)


def read_attack(path: Path) -> Attack:
    """What a file declares.

    Raises:
        CurriculumError: a declaration is missing, unknown or makes no sense.
    """
    found: dict[str, str] = {}
    story: list[str] = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        declaration = _DECLARATION.match(line)
        if not line.startswith("#"):
            break
        if declaration is None or story:
            story.append(line.removeprefix("#").strip())
        elif declaration[1] not in _KEYS:
            raise CurriculumError(f"{path}:{number}: no declaration is called {declaration[1]}")
        else:
            found[declaration[1]] = declaration[2]
    try:
        return Attack(
            path=path,
            exercise_id=found.get("exercise", "ex_01"),
            layer=Layer(found["layer"]),
            expected=_outcomes(found["expect"]),
            expected_confined=_outcomes(found.get("confined", "")),
            story=" ".join(story),
            open_because=found.get("open", ""),
            open_at=frozenset(map(Level, found["open-at"].split("|"))) if "open-at" in found else frozenset(Level),
            needs_gpu=found.get("needs") == "gpu",
            is_apart=found.get("apart") == "yes",
            n_checks=int(found.get("checks", "1")),
            timeout_s=float(found["timeout"]) if "timeout" in found else None,
        )
    except KeyError as error:
        raise CurriculumError(f"{path}:1: no line `# {error.args[0]}: …`") from error
    except ValueError as error:
        raise CurriculumError(f"{path}:1: {error}") from error


def _outcomes(names: str) -> frozenset[str]:
    found = {name.strip() for name in names.split("|")} - {""}
    return frozenset(name if name == NO_VERDICT else Outcome(name) for name in found)


def attacks(curriculum: Curriculum) -> tuple[Attack, ...]:
    """All attacks, by name; none where the curriculum ships without its tests.

    Raises:
        CurriculumError: a file declares what makes no sense.
    """
    return tuple(read_attack(path) for path in sorted((curriculum.root / "tests" / "attacks").glob("*.py")))


def try_attack(
    attack: Attack,
    curriculum: Curriculum,
    *,
    device: str = "auto",
    pool: WarmPool | None = None,
    level: Level = Level.NONE,
) -> Tried:
    """Grade an attack, in a throw-away copy of the curriculum.

    Attacks that the witness or a replay must stop are graded with both, all others without.

    Args:
        attack: what to grade.
        curriculum: what to copy.
        device: as in `grading.session.check`.
        pool: as there.
        level: what it is confined by.
    """
    with _throw_away(curriculum, attack) as folder:
        if attack.is_apart:
            return _tried_apart(attack, folder, device, level)
        try:
            report = _graded(attack, folder, device, pool, level)
        except GraderFaultError as fault:
            return Tried(attack, Outcome.GRADER_FAULT, fault.message, level)
    return Tried(attack, report.outcome, _said(report), level, _is_withheld(attack, report))


def _graded(attack: Attack, folder: Path, device: str, pool: WarmPool | None, level: Level) -> Report:
    from gpuprep.grading.session import check

    copy = curricula.load(folder)
    report: Report | None = None
    for _ in range(attack.n_checks):
        report = check(
            copy.exercise(attack.exercise_id),
            copy,
            folder / attack.path.name,
            device=device,
            timeout_s=attack.timeout_s,
            pool=pool,
            witnessed=attack.layer in (Layer.WITNESS, Layer.REPLAY),
            sandbox=level,
        )
    assert report is not None  # noqa: S101  at least one check, or there was nothing to declare
    return report


@contextlib.contextmanager
def _throw_away(curriculum: Curriculum, attack: Attack) -> Iterator[Path]:
    from gpuprep.progress import Progress

    with tempfile.TemporaryDirectory(prefix="gpuprep-attack-") as name:
        folder = Path(name).resolve()
        for tree in _TREES:
            shutil.copytree(curriculum.root / tree, folder / tree, ignore=shutil.ignore_patterns("__pycache__"))
        shutil.copy(curriculum.root / "curriculum.yaml", folder)
        for path in curriculum.sources(attack.path):
            shutil.copy(path, folder)
        (folder / THROW_AWAY).touch()
        (folder / ".gpuprep").mkdir()
        with Progress(folder / ".gpuprep" / "progress.db"):
            pass
        yield folder


_APART = "import sys; from gpuprep.authoring.attacks import grade_apart; grade_apart(*sys.argv[1:])"


def _tried_apart(attack: Attack, folder: Path, device: str, level: Level) -> Tried:
    command = [sys.executable, "-c", _APART, str(attack.path), str(folder), device, level]
    environment = {name: value for name, value in os.environ.items() if name != "XDG_CACHE_HOME"}
    with contextlib.suppress(subprocess.TimeoutExpired):
        subprocess.run(
            command, env={**environment, "HOME": str(folder)}, check=False, timeout=APART_LIMIT_S, capture_output=True
        )
    try:
        found = json.loads((folder / "verdict.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return Tried(attack, NO_VERDICT, "the grader's own process ended, and nothing was recorded", level)
    return Tried(attack, found["outcome"], found["message"], level, found["is_withheld"])


def grade_apart(path: str, folder: str, device: str, level: str) -> None:
    """What the process of its own does: grade, and write down the verdict.

    Args:
        path: the attack's file.
        folder: the throw-away copy.
        device: as in `grading.session.check`.
        level: what to confine it by.
    """
    attack = read_attack(Path(path))
    report = _graded(attack, Path(folder), device, None, Level(level))
    verdict = {"outcome": report.outcome, "message": _said(report), "is_withheld": _is_withheld(attack, report)}
    (Path(folder) / "verdict.json").write_text(json.dumps(verdict), encoding="utf-8")


def _is_withheld(attack: Attack, report: Report) -> bool:
    about = report.tier(Tier.SPEED if attack.layer is Layer.REPLAY else Tier.WORK)
    return report.outcome.is_pass and about is not None and about.outcome is Outcome.SKIPPED


def _said(report: Report) -> str:
    failure = report.first_failure
    return report.message or (failure.message if failure else "")
