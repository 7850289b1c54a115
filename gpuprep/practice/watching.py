"""`gpuprep watch`, without a terminal: what happens goes in, what is to be done comes out, and a view of it all.

Saves are not counted but compared: whatever was told of and whatever was missed, a check is due while the file's
content is not the one that was checked. So a save during a check is followed by one more, three are followed by one,
and one that changes nothing by none.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from gpuprep.errors import GpuprepError, UsageError
from gpuprep.exercise import Exercise
from gpuprep.model import Report
from gpuprep.practice.background_checks import Broken, Failed, Finished, Told
from gpuprep.practice.background_checks import Event as CheckEvent
from gpuprep.practice.checking import last_diagnosis
from gpuprep.practice.picking import Picking
from gpuprep.practice.saves import MISSING, Settling, fingerprint
from gpuprep.practice.watched import Action, Bench, Check, Mode, Offer, Prepare, Pressed, Quit, Round, Touched, View

if TYPE_CHECKING:
    from gpuprep.practice.checking import Checked
    from gpuprep.practice.desk import Desk
    from gpuprep.practice.hints import HintShown
    from gpuprep.practice.solutions import SolutionShown
    from gpuprep.practice.standing import Standing

PAGE_LINES = 10
"""How far a page key scrolls."""
_SCROLL = {"up": -1, "k": -1, "down": 1, "j": 1, "pgup": -PAGE_LINES, "pgdn": PAGE_LINES, "space": PAGE_LINES}


class Watch:
    """The state of a watch. It reads files and the record, writes hints to the record, and starts nothing itself.

    Args:
        desk: the workspace and its curriculum.
        exercise: where to begin.
        has_card: a GPU is there to bench on.
    """

    def __init__(self, desk: Desk, exercise: Exercise, *, has_card: bool = False) -> None:
        self._desk = desk
        self._has_card = has_card
        self._mode = Mode.EXERCISE
        self._reports: dict[str, Report] = {}
        self._checked: dict[str, str] = {}
        """The content that was checked last, by exercise."""
        self._running: tuple[Exercise, str] | None = None
        self._busy = self._afterwards = ""
        self._is_asked = self._is_missing = False
        self._waiting: list[Exercise] = []
        """The rest of a round."""
        self._round: Round | None = None
        self._hint: HintShown | None = None
        self._solution: SolutionShown | None = None
        self._picking: Picking | None = None
        self._notice = ""
        self.scroll = 0
        """Lines that are scrolled out at the top; whoever draws keeps it within what there is."""
        self._overview = desk.overview()
        self._go_to(exercise)

    @property
    def due_s(self) -> float | None:
        """When `look` has something to decide, if nothing happens until then."""
        return None if self._running or self._is_missing else self._settling.due_s

    def handle(self, event: Pressed | Touched | CheckEvent, now_s: float) -> tuple[Action, ...]:
        """Take in what happened.

        Args:
            event: a key, a change, or news of the running check.
            now_s: the time, of any clock that only goes forward.

        Raises:
            BaseException: the fault that a check broke with.
        """
        actions: tuple[Action, ...] = ()
        match event:
            case Pressed(key):
                self._notice = ""
                actions = self._press(key)
                if actions:
                    # The terminal is about to be somebody else's: nothing is started beside that.
                    return actions
            case Touched(paths):
                self._tell_of_others(paths)
            case Told(text):
                self._busy = text
                return ()
            case Finished(checked):
                self._finish(checked)
            case Failed(exercise, error):
                self._fail(exercise, error)
            case Broken(error):
                raise error
        return (*actions, *self.look(now_s))

    def look(self, now_s: float) -> tuple[Action, ...]:
        """Look at the file, and start the check that is due, if one is and none runs."""
        content = self._content(self._exercise)
        was_settling = self._settling.due_s is not None
        is_new = self._settling.look(content, now_s)
        # Nothing to check until it is there again.
        self._is_missing = is_new and content == MISSING
        is_behind = is_new and self._running not in (None, (self._exercise, content))
        self._afterwards = ", then what was saved since" if is_behind and not self._is_missing else ""
        if self._running or self._is_missing:
            return ()
        if is_new or (self._is_asked and content != MISSING):
            self._is_asked = False
            self._hint = None
            if self._mode is not Mode.LIST:
                self._show(Mode.EXERCISE)
            return self._start(self._exercise, content)
        if self._waiting:
            exercise = self._waiting.pop(0)
            return self._start(exercise, self._content(exercise))
        self._close_round()
        is_settling = self._settling.due_s is not None and content != MISSING
        return (Prepare(),) if is_settling and not was_settling else ()

    def view(self) -> View:
        """What is to be shown now."""
        return View(
            mode=self._mode,
            exercise=self._exercise,
            path=self._path,
            overview=self._overview,
            standing=self._standing(self._exercise),
            following=self._following(),
            report=self._reports.get(self._exercise.id),
            hint=self._hint,
            solution=self._solution,
            picking=self._picking,
            round=self._round,
            busy=f"{self._busy}{self._afterwards}" if self._running else "",
            is_missing=self._is_missing,
            notice=self._notice,
            offers=self._offers(),
        )

    # Keys

    def _press(self, key: str) -> tuple[Action, ...]:
        if key == "ctrl-c":
            return (Quit(is_interrupted=True),)
        if self._mode is Mode.LIST:
            self._pick(key)
            return ()
        if key in _SCROLL:
            self.scroll = max(0, self.scroll + _SCROLL[key])
            return ()
        if key == "q":
            return (Quit(),)
        if key not in {offer.key for offer in self._offers()}:
            return ()
        steps: dict[str, Callable[[], tuple[Action, ...] | None]] = {
            "n": self._next,
            "h": self._show_hint,
            "l": self._show_list,
            "c": self._check_all,
            "b": lambda: (Bench(self._exercise),),
            "s": self._show_solution,
            "enter": self._check_again,
            "esc": lambda: self._show(Mode.EXERCISE),
        }
        return steps[key]() or ()

    def _offers(self) -> tuple[Offer, ...]:
        """The keys that do something, in the order in which they are shown."""
        if self._mode is Mode.LIST:
            return (Offer("type", "to filter"), Offer("↑↓", "choose"), Offer("enter", "go there"), Offer("esc", "back"))
        offers = self._exercise_offers() if self._mode is Mode.EXERCISE else [Offer("esc", "back")]
        if self._waiting:
            offers.append(Offer("c", "check no more"))
        elif self._mode is not Mode.SOLUTION and not (self._round and not self._round.is_over):
            offers.append(Offer("c", "check all"))
        offers.append(Offer("l", "list"))
        return (*offers, Offer("q", "quit"))

    def _exercise_offers(self) -> list[Offer]:
        exercise, is_done = self._exercise, self._standing(self._exercise).is_done
        offers = []
        if following := self._following():
            offers.append(Offer("n", f"next {following.id}"))
        if exercise.hints:
            offers.append(Offer("h", "another hint" if self._hint else "hint"))
        if exercise.id in self._reports and not self._running:
            offers.append(Offer("enter", "again"))
        if self._has_card and exercise.targets and not self._running and exercise.id in self._reports:
            offers.append(Offer("b", "bench"))
        if is_done:
            offers.append(Offer("s", "solution"))
        return offers

    def _next(self) -> None:
        if following := self._following():
            self._go_to(following)

    def _show_hint(self) -> None:
        from gpuprep.practice.hints import next_hint

        exercise = self._exercise
        try:
            with self._desk.progress() as record:
                diagnosis_id = last_diagnosis(record.last(exercise.id))
                self._hint = next_hint(exercise, record, diagnosis_id=diagnosis_id)
        except GpuprepError as error:
            self._notice = error.message
        self.scroll = 0

    def _show_solution(self) -> None:
        from gpuprep.practice.solutions import solution

        try:
            with self._desk.progress() as record:
                self._solution = solution(self._desk.curriculum, record, self._exercise)
        except GpuprepError as error:
            self._notice = error.message
            return
        self._show(Mode.SOLUTION)

    def _show_list(self) -> None:
        # Checks in other terminals count too.
        self._refresh()
        self._picking = Picking.of(self._overview.standings, self._exercise)
        self._show(Mode.LIST)

    def _pick(self, key: str) -> None:
        if self._picking is None:
            return
        if key == "enter" and (chosen := self._picking.chosen):
            self._go_to(chosen.exercise)
        elif key == "esc" and not self._picking.filter:
            self._show(Mode.EXERCISE)
        else:
            self._picking = self._picking.press(key)

    def _check_all(self) -> None:
        from gpuprep.practice.checking import present

        if self._waiting:
            self._waiting = []
            return
        try:
            self._waiting = present(self._desk.workspace, self._desk.curriculum.exercises)
        except GpuprepError as error:
            self._notice = error.message
            return
        self._round = Round(len(self._waiting))
        self._show(Mode.ROUND)

    def _check_again(self) -> None:
        self._is_asked = True

    # News

    def _start(self, exercise: Exercise, content: str) -> tuple[Action, ...]:
        self._running = exercise, content
        self._busy = "starting"
        return (Check(exercise),)

    def _finish(self, checked: Checked) -> None:
        exercise = checked.exercise
        self._reports[exercise.id] = checked.report
        if checked.unrecorded:
            self._notice = f"not recorded: {checked.unrecorded.message}"
        self._settle_running(exercise)
        self._refresh()
        if self._round and not self._round.is_over:
            # Saved before its turn, it has had that.
            self._waiting = [each for each in self._waiting if each.id != exercise.id]
            self._round = self._round.with_report(exercise, checked.report)

    def _fail(self, exercise: Exercise, error: GpuprepError) -> None:
        self._notice = f"{exercise.id}: {error.message}" + (f" · {error.next_step}" if error.next_step else "")
        self._settle_running(exercise)

    def _close_round(self) -> None:
        """To be called when no check runs and none waits."""
        if self._round and not self._round.is_over:
            self._round = replace(self._round, is_over=True)
            if self._mode is not Mode.ROUND:
                self._notice = f"all {len(self._round.graded)} are checked; l lists them"

    def _settle_running(self, exercise: Exercise) -> None:
        """The check is over; what it was started for is checked, whatever the file holds by now."""
        if self._running is None:
            return
        self._checked[exercise.id] = self._running[1]
        self._running = None
        if exercise.id == self._exercise.id:
            self._settling.known = self._checked[exercise.id]

    def _tell_of_others(self, paths: tuple[Path, ...]) -> None:
        """Whoever saves another exercise than the one that is watched is told so."""
        stems = {path.stem for path in paths if path.suffix in (".py", ".cu")}
        for exercise in self._desk.curriculum.exercises:
            if exercise.slug in stems and exercise.id != self._exercise.id:
                self._notice = f"{exercise.id} was saved; watched is {self._exercise.id}, and l leads there"

    # What stands where

    def _go_to(self, exercise: Exercise) -> None:
        self._exercise = exercise
        self._path = self._desk.workspace.exercise_path(exercise)
        self._hint = self._solution = None
        self._is_asked = self._is_missing = False
        self._show(Mode.EXERCISE)
        if exercise.id not in self._checked:
            self._recall(exercise)
        running = self._running[1] if self._running and self._running[0].id == exercise.id else None
        self._settling = Settling(running or self._checked.get(exercise.id))

    def _recall(self, exercise: Exercise) -> None:
        """What the record says of the file as it is: that needs no check. Nor does a stub that nobody touched."""
        from gpuprep.grading.reports import report_from
        from gpuprep.grading.sources import are_unstarted, read_sources

        curriculum = self._desk.curriculum
        with self._desk.progress() as record:
            attempt = record.last(exercise.id)
        try:
            if attempt is None:
                sources = read_sources(exercise, curriculum.sources(self._path))
                if are_unstarted(curriculum, exercise, sources):
                    self._checked[exercise.id] = self._content(exercise)
            elif attempt.exercise_hash == curriculum.exercise_hash(exercise):
                self._reports[exercise.id] = report_from(attempt.report)
                self._checked[exercise.id] = attempt.file_hash
        # A report of another version, a file that is gone: then a check says more.
        except (ValueError, GpuprepError):
            self._reports.pop(exercise.id, None)

    def _content(self, exercise: Exercise) -> str:
        path = self._desk.workspace.exercise_path(exercise)
        return fingerprint(self._desk.curriculum.sources(path))

    def _show(self, mode: Mode) -> None:
        self._mode = mode
        self.scroll = 0
        if mode is not Mode.LIST:
            self._picking = None

    def _refresh(self) -> None:
        self._overview = self._desk.overview()
        if self._picking:
            self._picking = replace(self._picking, standings=self._overview.standings)

    def _standing(self, exercise: Exercise) -> Standing:
        return next(standing for standing in self._overview.standings if standing.exercise.id == exercise.id)

    def _following(self) -> Exercise | None:
        """The next exercise that is not done, in the plan's order, after this one and then from the start.

        Before a pass there is none: what comes next is this exercise. But whoever jumped here finds the way back.
        """
        current = self._overview.current
        if current is None:
            return None
        if not self._standing(self._exercise).is_done:
            return current.exercise if current.exercise.id != self._exercise.id else None
        order = self._planned()
        here = order.index(self._exercise.id) + 1 if self._exercise.id in order else 0
        todo = (self._desk.curriculum.exercise(key) for key in (*order[here:], *order[:here]))
        return next((exercise for exercise in todo if not self._standing(exercise).is_done), None)

    def _planned(self) -> list[str]:
        curriculum, plan = self._desk.curriculum, self._desk.workspace.plan
        known = [exercise.id for exercise in curriculum.exercises]
        if plan is None:
            return known
        planned = dict.fromkeys(key for entry in curriculum.plan(plan).entries for key in entry.exercises)
        return [key for key in planned if key in known]


def begin(desk: Desk, query: str | None, *, has_card: bool) -> Watch:
    """A watch on the exercise that is meant; without a query on the current one, or where all are done on the last.

    Raises:
        UnknownExerciseError: no exercise answers to the query.
        WorkspaceError: its file is missing.
    """
    from gpuprep.practice.checking import require_present

    try:
        exercise = desk.exercise(query)
    except UsageError:
        if query is not None or not desk.curriculum.exercises:
            raise
        exercise = desk.curriculum.exercises[-1]
    require_present(desk.workspace, [exercise])
    return Watch(desk, exercise, has_card=has_card)
