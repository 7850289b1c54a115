"""A workspace's exercises as pytest items, for editors' test explorers, `-k`, `-x` and `--junitxml`.

Each exercise file gives an item for each case, one for each operation that is timed, and `verdict`. One check is behind
all of them: it is made when the first one runs, and recorded as `gpuprep check` does. Anywhere but in a workspace this
costs the comparison of a file's name.
"""

from __future__ import annotations

import os
import re
from collections.abc import Generator, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from gpuprep.exercise import Exercise
    from gpuprep.grading.pool import WarmPool
    from gpuprep.model import CaseResult, Report
    from gpuprep.practice.case_list import CaseList
    from gpuprep.practice.checking import Checked
    from gpuprep.practice.desk import Desk

VERDICT = "verdict"
"""The item that comes to what `gpuprep check` comes to."""
OUTCOME, NOTE = "gpuprep.outcome", "gpuprep.note"
"""Names of an item's properties: the outcome in gpuprep's words, and what a person must not miss about a pass."""

_STATE = Path(".gpuprep") / "workspace.json"
_MIN_FOR_POOL = 2
"""The first fork has to wait for the same imports as a cold start."""


class BrokenWorkspaceError(Exception):
    """Something is set up wrong, or the grader is: no fault of the code under test."""


class _Room:
    """A workspace that tests are collected from, and what its checks share."""

    def __init__(self, root: Path) -> None:
        from gpuprep.practice import desk

        self.root = root
        self.desk: Desk = desk.desk_at(root)
        self.resources = ExitStack()
        self._pool: WarmPool | None = None

    def exercise_of(self, path: Path) -> Exercise | None:
        """The exercise whose file this is."""
        found = (each for each in self.desk.curriculum.exercises if self.desk.workspace.exercise_path(each) == path)
        return next(found, None)

    def check(self, exercise: Exercise, *, is_one_of_several: bool) -> Checked:
        """Grade and record."""
        from gpuprep.grading import pool_client
        from gpuprep.practice.checking import Options, check_file

        if is_one_of_several and self._pool is None and not pool_client.status():
            from gpuprep.grading.pool import WarmPool

            self._pool = self.resources.enter_context(WarmPool())
        return check_file(self.desk.workspace, self.desk.curriculum, exercise, Options(), pool=self._pool)


_ROOMS = pytest.StashKey[dict[Path, _Room]]()


def pytest_configure(config: pytest.Config) -> None:
    """An exercise's items share one check, so with pytest-xdist they go to one worker."""
    if getattr(config.option, "dist", "no") == "load" and _root_of(config.invocation_params.dir / "file"):
        config.option.dist = "loadfile"


def pytest_report_header(config: pytest.Config) -> str | None:
    """Which workspace, and that its checks are recorded."""
    root = _root_of(config.invocation_params.dir / "file")
    return f"gpuprep: workspace {root}; checks are recorded" if root else None


@pytest.hookimpl(wrapper=True)
def pytest_collect_file(
    file_path: Path, parent: pytest.Collector
) -> Generator[None, list[pytest.Collector], list[pytest.Collector]]:
    """In place of whatever else would collect it: an exercise is never imported into pytest's own process."""
    others = yield
    if file_path.suffix != ".py" or not file_path.name.startswith("ex_"):
        return others
    root = _root_of(file_path)
    if root is None:
        return others
    from gpuprep.errors import GpuprepError

    rooms = parent.config.stash.setdefault(_ROOMS, {})
    try:
        room = rooms[root] if root in rooms else rooms.setdefault(root, _Room(root))
    except GpuprepError as error:
        return [_BrokenFile.from_parent(parent, path=file_path, why=_told(error))]
    exercise = room.exercise_of(file_path)
    return [ExerciseFile.from_parent(parent, path=file_path, room=room, exercise=exercise)] if exercise else others


def pytest_unconfigure(config: pytest.Config) -> None:
    """End what the checks shared."""
    for room in config.stash.get(_ROOMS, {}).values():
        room.resources.close()


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """What passed without its speed, and what else a green mark doesn't say."""
    told: dict[str, list[str]] = {}
    for report in terminalreporter.getreports("passed"):
        for name, note in report.user_properties:
            if name == NOTE:
                told.setdefault(str(note), []).append(report.nodeid.rpartition("::")[0].rpartition("/")[2])
    if told:
        terminalreporter.section("gpuprep")
    for note, files in told.items():
        terminalreporter.line(f"{note}: {', '.join(dict.fromkeys(files))}")


class _BrokenFile(pytest.File):
    """A file of a workspace that can't be used."""

    def __init__(self, why: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.why = why

    def collect(self) -> Iterator[pytest.Item]:
        """Says why."""
        raise self.CollectError(self.why)


class ExerciseFile(pytest.File):
    """A learner's file, and the one check of it."""

    def __init__(self, room: _Room, exercise: Exercise, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.room = room
        self.exercise = exercise
        self.listed: CaseList | None = None
        self.line = 0
        """Of the function that is asked for, counted from 0."""
        self._checked: Checked | Exception | None = None
        # What `-k` finds besides the names of file and case.
        self.extra_keyword_matches |= {exercise.id, exercise.language, exercise.module, *exercise.topics}

    def collect(self) -> Iterator[pytest.Item]:
        """Cases, timed operations, and the verdict. Where the grader can't be asked, the verdict alone, to say so."""
        from gpuprep.errors import GraderFaultError
        from gpuprep.practice.case_list import listed_cases

        try:
            self.listed = listed_cases(self.room.desk.curriculum, self.exercise, self.room.desk.workspace.state_dir)
        except GraderFaultError:
            self.listed = None
        if self.listed:
            self.line = _line_of(self.listed.function, self.path)
            for place, case in enumerate(self.listed.cases):
                yield CaseItem.from_parent(self, name=case.name, place=place)
            for op in self.listed.timed_ops:
                yield TimedItem.from_parent(self, name=f"speed {op}".strip(), op=op)
        yield VerdictItem.from_parent(self, name=VERDICT)

    def check(self) -> Checked:
        """The check, made once."""
        from gpuprep.errors import GpuprepError

        if self._checked is None:
            n_files = len({item.path for item in self.session.items if isinstance(item, ExerciseItem)})
            try:
                self._checked = self.room.check(self.exercise, is_one_of_several=n_files >= _MIN_FOR_POOL)
            except GpuprepError as error:
                self._checked = BrokenWorkspaceError(_told(error))
        if isinstance(self._checked, Exception):
            raise self._checked
        return self._checked


class ExerciseItem(pytest.Item):
    """A part of a check."""

    file: ExerciseFile

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        assert isinstance(self.parent, ExerciseFile)  # noqa: S101  for the type checker
        self.file = self.parent

    def setup(self) -> None:
        """Check, unless that is done: what goes wrong here is an error and not a failure."""
        self.file.check()

    def reportinfo(self) -> tuple[os.PathLike[str] | str, int | None, str]:
        """Where an editor puts the item's mark."""
        return self.path, self.file.line, f"{self.file.exercise.id} {self.name}"

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], style: Any = None) -> Any:
        """The page that `gpuprep check` shows, without a traceback through the grader."""
        if isinstance(excinfo.value, pytest.fail.Exception):
            return str(excinfo.value)
        return super().repr_failure(excinfo, style)

    @property
    def report(self) -> Report:
        """What the check found."""
        return self.file.check().report

    def not_run(self, why: str) -> None:
        """Nothing was found out: skipped, if at least the verdict says so where the check failed."""
        report = self.report
        is_told = any(isinstance(item, VerdictItem) and item.file is self.file for item in self.session.items)
        is_harmless = report.outcome.is_pass or report.outcome in ("NOT_STARTED", "SKIPPED")
        if is_harmless or is_told:
            pytest.skip(why)
        pytest.fail(f"{why}\n{_page(self.file, report)}", pytrace=False)


class CaseItem(ExerciseItem):
    """One case, on each device that it ran on."""

    def __init__(self, place: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.place = place

    def runtest(self) -> None:
        """Passed where it passed on every device."""
        assert self.file.listed is not None  # noqa: S101  or there would be no cases
        results = self.file.listed.results(self.report.cases)[self.place]
        if not results:
            self.not_run(_why_not_run(self.report))
        worst = min(results, key=lambda result: result.outcome.precedence)
        self.user_properties.append((OUTCOME, worst.outcome.value))
        if worst.outcome.is_pass:
            return
        if worst.outcome.is_failure and worst.outcome != "NOT_STARTED":
            pytest.fail(_case_page(self.file, worst), pytrace=False)
        pytest.skip(f"{worst.outcome}: {worst.message}")


class TimedItem(ExerciseItem):
    """The times of one operation, held against its targets."""

    def __init__(self, op: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.op = op

    def runtest(self) -> None:
        """Passed where it was timed, and is fast enough."""
        timing = next((timing for timing in self.report.timings if timing.case.op == self.op), None)
        if timing is None:
            self.not_run(_why_not_timed(self.report))
        assert timing is not None  # noqa: S101  not_run doesn't return
        self.user_properties.append((OUTCOME, timing.outcome.value))
        if not timing.outcome.is_pass:
            pytest.fail(_page(self.file, self.report), pytrace=False)


class VerdictItem(ExerciseItem):
    """What `gpuprep check` would say and exit with."""

    def setup(self) -> None:
        """A grader that breaks is an error, too."""
        if self.report.outcome == "GRADER_FAULT":
            self.user_properties.append((OUTCOME, "GRADER_FAULT"))
            raise BrokenWorkspaceError(_page(self.file, self.report))

    def runtest(self) -> None:
        """A pass passes, with a note where it is provisional; not started and skipped are skipped; all else fails."""
        from gpuprep.render.report import NOT_STARTED_TEXT, verdict

        report, exercise = self.report, self.file.exercise
        self.user_properties.append((OUTCOME, report.outcome.value))
        if report.outcome == "NOT_STARTED" and not report.first_failure:
            pytest.skip(f"NOT_STARTED: {NOT_STARTED_TEXT}")
        if report.outcome in ("NOT_STARTED", "SKIPPED"):
            pytest.skip(f"{report.outcome}: {report.message}")
        if not report.outcome.is_pass:
            pytest.fail(_page(self.file, report), pytrace=False)
        self.add_report_section("call", "gpuprep", _page(self.file, report))
        if report.outcome == "PROVISIONAL":
            self.user_properties.append((NOTE, verdict(report)))
        checked = self.file.check()
        if checked.unrecorded:
            self.user_properties.append((NOTE, f"not recorded ({checked.unrecorded.message})"))
        self.user_properties.append(("gpuprep.exercise", exercise.id))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """A skip is one of the learner's file, not of a line in here; an error says what is wrong, and no more."""
    report = yield
    if call.excinfo is not None and isinstance(call.excinfo.value, BrokenWorkspaceError):
        report.longrepr = str(call.excinfo.value)
    if isinstance(item, ExerciseItem) and report.skipped and isinstance(report.longrepr, tuple):
        report.longrepr = (str(item.path), item.file.line + 1, report.longrepr[2])
    return report


def _root_of(path: Path) -> Path | None:
    """The workspace around a file."""
    return next((folder for folder in path.parents if (folder / _STATE).is_file()), None)


def _line_of(function: str, path: Path) -> int:
    text = path.read_text(encoding="utf-8", errors="replace")
    match = re.search(rf"^(?:async )?(?:def|class) {re.escape(function)}\b", text, re.MULTILINE)
    return text.count("\n", 0, match.start()) if match else 0


def _why_not_run(report: Report) -> str:
    if report.outcome == "NOT_STARTED":
        return "NOT_STARTED: still the stub"
    if report.outcome.is_pass:
        return "not run: nothing on this machine can"
    return f"not run: the check had come to {report.outcome} before"


def _why_not_timed(report: Report) -> str:
    speed = next((tier for tier in report.tiers if tier.tier == "speed"), None)
    return f"not timed: {speed.reason}" if speed and speed.reason else _why_not_run(report)


def _told(error: Any) -> str:
    return f"{error.message}\nnext: {error.next_step}" if error.next_step else str(error.message)


def _page(file: ExerciseFile, report: Report) -> str:
    from gpuprep.render.report import report_page

    return report_page(report, file.exercise, display=_display(file)).text()


def _case_page(file: ExerciseFile, result: CaseResult) -> str:
    from gpuprep.render.report import case_page

    return case_page(result, display=_display(file)).text()


def _display(file: ExerciseFile) -> Any:
    return lambda path: file.room.desk.workspace.display(Path(path))
