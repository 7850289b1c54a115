"""A watch without a terminal: saves, keys and checks go in, actions and a view come out."""

from __future__ import annotations

import shutil
import threading
from dataclasses import replace
from pathlib import Path

import pytest
import sample_reports as samples
from watch_terminal import save_by_renaming, save_in_place, save_with_backup

from gpuprep import workspace
from gpuprep.curriculum import Curriculum
from gpuprep.errors import GpuprepError, ProgressError, UnknownExerciseError, WorkspaceError
from gpuprep.model import Outcome, Report
from gpuprep.practice.background_checks import Broken, Failed, Finished, Told
from gpuprep.practice.checking import Checked
from gpuprep.practice.desk import Desk
from gpuprep.practice.keyboard import Keys
from gpuprep.practice.picking import Picking
from gpuprep.practice.saves import MISSING, SETTLE_S, FolderWatch, Settling, fingerprint
from gpuprep.practice.watched import Action, Bench, Check, Mode, Prepare, Pressed, Quit, Touched
from gpuprep.practice.watching import Watch, begin

FIRST, SECOND, CUDA = "ex_01", "ex_02", "ex_15"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, curriculum: Curriculum) -> Path:
    """A workspace of this checkout's curriculum, to be copied."""
    folder = tmp_path_factory.mktemp("made") / "gym"
    workspace.init(folder, curriculum, curriculum_root=curriculum.root)
    return folder


@pytest.fixture
def desk(made: Path, tmp_path: Path, curriculum: Curriculum) -> Desk:
    """A fresh workspace."""
    shutil.copytree(made, tmp_path / "gym")
    return Desk(workspace.find(tmp_path / "gym"), curriculum)


class Player:
    """Plays both sides: saves files and presses keys, and checks what is asked for, when told to."""

    def __init__(self, desk: Desk, exercise_id: str = FIRST, *, has_card: bool = False) -> None:
        self.desk = desk
        self.watch = Watch(desk, desk.curriculum.exercise(exercise_id), has_card=has_card)
        self.now_s = 1000.0
        self.checks: list[str] = []
        """Every check that was asked for."""
        self.others: list[Action] = []

    def path(self, exercise_id: str = FIRST) -> Path:
        return self.desk.workspace.exercise_path(self.desk.curriculum.exercise(exercise_id))

    def take(self, actions: tuple[Action, ...]) -> None:
        for action in actions:
            if isinstance(action, Check):
                self.checks.append(action.exercise.id)
            elif not isinstance(action, Prepare):
                self.others.append(action)

    def press(self, *keys: str) -> None:
        for key in keys:
            self.take(self.watch.handle(Pressed(key), self.now_s))

    def save(self, text: str, exercise_id: str = FIRST, *, settles: bool = True) -> None:
        """Save, tell of it, and let it settle."""
        path = self.path(exercise_id)
        save_in_place(path, text)
        self.take(self.watch.handle(Touched((path,)), self.now_s))
        if settles:
            self.wait()

    def wait(self, for_s: float = SETTLE_S) -> None:
        self.now_s += for_s
        self.take(self.watch.look(self.now_s))

    def finish(self, report: Report | None = None, exercise_id: str | None = None) -> None:
        """The check that was asked for last comes to its end, recorded as a check is."""
        exercise = self.desk.curriculum.exercise(exercise_id or self.checks[-1])
        found = replace(
            report or samples.provisional(),
            exercise_id=exercise.id,
            path=str(self.path(exercise.id)),
            file_hash=fingerprint(self.desk.curriculum.sources(self.path(exercise.id))),
            exercise_hash=self.desk.curriculum.exercise_hash(exercise),
        )
        with self.desk.progress() as record:
            record.record(found)
        self.take(self.watch.handle(Finished(Checked(exercise, found)), self.now_s))

    @property
    def keys(self) -> set[str]:
        return {offer.key for offer in self.watch.view().offers}


@pytest.fixture
def player(desk: Desk) -> Player:
    """At the first exercise, whose file is the stub."""
    return Player(desk)


# Saves


def test_untouched_stub_is_not_checked(player: Player) -> None:
    """A watch begins with the task, not with a verdict on an empty file."""
    player.wait()
    player.wait(10)
    assert player.checks == []
    assert player.watch.view().report is None


def test_save_is_checked_once_it_has_settled(player: Player) -> None:
    """No check of what may still be half a file, and one check of what has settled."""
    player.save("half", settles=False)
    assert player.checks == []
    assert player.watch.due_s == pytest.approx(player.now_s + SETTLE_S)
    player.wait(SETTLE_S / 2)
    player.save("whole", settles=False)
    player.wait(SETTLE_S / 2)
    assert player.checks == []
    player.wait()
    assert player.checks == [FIRST]
    assert player.watch.due_s is None


def test_save_that_changes_nothing_is_skipped(player: Player) -> None:
    """The same content again, told of or not, is not checked again."""
    player.save("a")
    player.finish()
    player.save("a")
    player.wait()
    assert player.checks == [FIRST]


def test_change_that_was_taken_back_before_it_settled_is_skipped(player: Player) -> None:
    """What counts is the content, not the notice."""
    text = player.path().read_text(encoding="utf-8")
    player.save("a", settles=False)
    player.save(text, settles=False)
    player.wait()
    assert player.checks == []
    assert player.watch.due_s is None


def test_untold_save_is_found(player: Player) -> None:
    """A file system that tells of nothing is only slower."""
    save_in_place(player.path(), "a")
    player.wait(2.0)
    player.wait()
    assert player.checks == [FIRST]


def test_saves_during_a_check_are_followed_by_one_more(player: Player) -> None:
    """Neither lost nor run twice: three saves while a check runs make one more check, of the last one."""
    player.save("a")
    player.take(player.watch.handle(Told("cpu: case 1 of 2"), player.now_s))
    player.wait(2.0)
    player.wait(2.0)
    assert player.watch.view().busy == "cpu: case 1 of 2"
    for text in ("b", "c", "d"):
        player.save(text)
    assert player.checks == [FIRST]
    assert player.watch.due_s is None
    player.take(player.watch.handle(Told("cpu: case 1 of 2"), player.now_s))
    assert player.watch.view().busy == "cpu: case 1 of 2, then what was saved since"
    player.finish()
    assert player.checks == [FIRST, FIRST]
    player.finish()
    player.wait()
    assert player.checks == [FIRST, FIRST]
    assert player.watch.view().busy == ""


def test_save_during_a_check_that_was_taken_back_needs_no_more(player: Player) -> None:
    """At its end, the file holds what was checked."""
    player.save("a")
    player.save("b")
    player.save("a")
    player.finish()
    player.wait()
    assert player.checks == [FIRST]


def test_half_a_save_at_the_end_of_a_check_waits_until_it_has_settled(player: Player) -> None:
    """The end of a check is no reason to grade half a file."""
    player.save("a")
    player.save("half", settles=False)
    player.finish()
    assert player.checks == [FIRST]
    player.save("whole")
    assert player.checks == [FIRST, FIRST]


def test_file_that_is_gone_is_told_of_and_checked_when_it_is_back(player: Player) -> None:
    """An editor may remove it for a moment; a learner for longer."""
    path = player.path()
    path.rename(path.with_name("away"))
    player.take(player.watch.handle(Touched((path,)), player.now_s))
    assert not player.watch.view().is_missing
    player.wait()
    player.wait()
    assert player.watch.view().is_missing
    player.press("enter")
    assert player.checks == []
    path.with_name("away").rename(path)
    player.wait()
    assert not player.watch.view().is_missing
    assert player.checks == []
    player.save("a")
    assert player.checks == [FIRST]


def test_cuda_file_counts_as_well(desk: Desk) -> None:
    """Of an exercise in CUDA C either file's save is a save."""
    player = Player(desk, CUDA)
    cuda = player.path(CUDA).with_suffix(".cu")
    save_in_place(cuda, cuda.read_text(encoding="utf-8") + "int x;\n")
    player.take(player.watch.handle(Touched((cuda,)), player.now_s))
    player.wait()
    assert player.checks == [CUDA]


def test_save_of_another_exercise_is_told_of(player: Player) -> None:
    """Whoever saves the wrong file learns why nothing happens."""
    player.save("a", SECOND)
    assert player.checks == []
    assert player.watch.view().notice.startswith(SECOND)
    player.press("l")
    assert player.watch.view().notice == ""


def test_worker_is_made_ready_once_a_save(player: Player) -> None:
    """While a save settles, a worker is made ready; not again for the next piece of it."""
    save_in_place(player.path(), "a")
    assert player.watch.look(player.now_s) == (Prepare(),)
    save_in_place(player.path(), "b")
    assert player.watch.look(player.now_s + SETTLE_S / 2) == ()


# What the record knows


def test_last_verdict_on_the_same_file_is_shown_without_a_check(player: Player, desk: Desk) -> None:
    """Coming back to a watch, the learner sees where they left off."""
    player.save("a")
    player.finish(samples.wrong_values())
    again = Player(desk)
    again.wait()
    again.wait()
    assert again.checks == []
    report = again.watch.view().report
    assert report is not None
    assert report.outcome is samples.wrong_values().outcome


def test_file_that_changed_meanwhile_is_checked_at_the_start(player: Player, desk: Desk) -> None:
    """What was written while no watch ran is checked when one begins."""
    player.save("a")
    player.finish()
    save_in_place(player.path(), "b")
    again = Player(desk)
    again.wait(0)
    again.wait()
    assert again.checks == [FIRST]


def test_changed_exercise_is_checked_at_the_start(player: Player, desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """A verdict of another grader is none."""
    player.save("a")
    player.finish()
    monkeypatch.setattr(Curriculum, "exercise_hash", lambda _self, _exercise: "another")
    again = Player(desk)
    again.wait(0)
    again.wait()
    assert again.checks == [FIRST]


# Keys


def test_keys_are_offered_only_when_they_do_something(player: Player) -> None:
    """Before a check there is nothing to go on to, to repeat, to bench or to see the solution of."""
    assert player.keys == {"h", "c", "l", "q"}
    player.press("n", "s", "b", "enter", "esc")
    assert (player.checks, player.others) == ([], [])
    player.save("a")
    assert "enter" not in player.keys
    player.finish(samples.wrong_values())
    assert player.keys == {"h", "enter", "c", "l", "q"}
    player.save("b")
    player.finish()
    assert player.keys == {"n", "h", "enter", "s", "c", "l", "q"}


def test_hint_is_the_one_that_answers_the_last_check(player: Player) -> None:
    """The diagnosis of the verdict on the screen chooses it; the next check takes it off the screen."""
    player.save("a")
    player.finish(samples.wrong_values())
    player.press("h")
    hint = player.watch.view().hint
    assert hint is not None
    assert hint.chosen_for == "tail"
    player.save("b")
    assert player.watch.view().hint is None


def test_hint_while_a_check_runs(player: Player) -> None:
    """Keys are answered meanwhile."""
    player.save("a")
    player.press("h")
    assert player.watch.view().hint is not None
    assert player.watch.view().busy
    assert player.checks == [FIRST]


def test_pass_stays_until_the_learner_goes_on(player: Player) -> None:
    """Done is the learner's decision: saves are checked on, and n leads to the next exercise."""
    player.save("a")
    player.finish()
    assert player.watch.view().exercise.id == FIRST
    player.save("b")
    player.finish()
    assert player.checks == [FIRST, FIRST]
    following = player.watch.view().following
    assert following is not None
    player.press("n")
    assert player.watch.view().exercise.id == following.id == SECOND
    assert player.watch.view().report is None
    player.save("c")
    assert player.checks == [FIRST, FIRST]
    player.save("c", SECOND)
    assert player.checks[-1] == SECOND


def test_next_leads_past_what_is_done(player: Player) -> None:
    """And from an exercise in the middle to the one behind it, not back to the first."""
    player.press("l", *"ex_15", "enter")
    assert player.watch.view().exercise.id == CUDA
    assert player.watch.view().following is not None
    player.save("a", CUDA)
    player.finish()
    player.press("n")
    assert player.watch.view().exercise.id == "ex_16"


def test_going_away_and_back_during_a_check_runs_it_once(player: Player) -> None:
    """The check that was started goes on, and its verdict is there on return."""
    player.save("a")
    player.press("l", "down", "enter")
    assert player.watch.view().exercise.id == SECOND
    player.press("l", "up", "enter")
    player.wait()
    player.finish(samples.wrong_values())
    player.wait()
    assert player.checks == [FIRST]
    report = player.watch.view().report
    assert report is not None
    assert report.exercise_id == FIRST


def test_enter_checks_the_same_file_again(player: Player) -> None:
    """For verdicts that depend on more than the file: a busy card, say."""
    player.save("a")
    player.finish(samples.without_cases(Outcome.INCONCLUSIVE))
    player.press("enter")
    assert player.checks == [FIRST, FIRST]
    player.press("enter")
    player.finish()
    player.wait()
    assert player.checks == [FIRST, FIRST]


def test_solution_is_shown_after_a_pass(player: Player) -> None:
    """And the next save leads back to the verdicts."""
    player.save("a")
    player.finish()
    player.press("s")
    shown = player.watch.view().solution
    assert shown is not None
    assert not shown.forced
    assert player.watch.view().mode is Mode.SOLUTION
    assert "s" not in player.keys
    player.press("esc")
    assert player.watch.view().mode is Mode.EXERCISE
    player.press("s")
    player.save("b")
    assert player.watch.view().mode is Mode.EXERCISE


def test_bench_needs_a_card_and_no_check_that_runs(desk: Desk) -> None:
    """Two programs on the card at a time would spoil each other's figures."""
    player = Player(desk, has_card=True)
    player.press("b")
    player.save("a")
    player.press("b")
    assert player.others == []
    player.finish()
    player.press("b")
    assert player.others == [Bench(desk.curriculum.exercise(FIRST))]
    player.save("b", settles=False)
    player.now_s += SETTLE_S
    player.press("b")
    assert player.checks == [FIRST]
    player.wait()
    assert player.checks == [FIRST, FIRST]


def test_quitting(player: Player) -> None:
    """q, and Ctrl-C wherever it is pressed; in the list q is a letter."""
    player.press("q")
    player.press("l", "q")
    assert player.watch.view().mode is Mode.LIST
    player.press("ctrl-c")
    assert player.others == [Quit(), Quit(is_interrupted=True)]


def test_scrolling_stays_on_the_page(player: Player) -> None:
    """Up from the top is nothing; the bottom is for whoever draws to know."""
    player.press("up", "k")
    assert player.watch.scroll == 0
    player.press("pgdn", "j", "up")
    assert player.watch.scroll == 10


def test_list_is_left_with_the_escape_key(player: Player) -> None:
    """First it empties the filter."""
    player.press("l", "x", "esc")
    picking = player.watch.view().picking
    assert picking is not None
    assert picking.filter == ""
    player.press("esc")
    assert player.watch.view().mode is Mode.EXERCISE
    assert player.watch.view().exercise.id == FIRST


def test_save_is_checked_while_the_list_is_open(player: Player) -> None:
    """The list stays, and so does what was typed."""
    player.press("l", "s")
    player.save("a")
    assert player.checks == [FIRST]
    picking = player.watch.view().picking
    assert picking is not None
    assert picking.filter == "s"


# A check of everything


def test_check_all_checks_each_once(player: Player) -> None:
    """One after the other, in the curriculum's order."""
    player.press("c")
    n_exercises = len(player.desk.curriculum.exercises)
    for number in range(1, n_exercises + 1):
        assert len(player.checks) == number
        player.finish()
    player.wait()
    assert player.checks == [exercise.id for exercise in player.desk.curriculum.exercises]
    view = player.watch.view()
    assert view.round is not None
    assert view.round.is_over
    assert len(view.round.graded) == view.round.total == n_exercises
    assert view.mode is Mode.ROUND


def test_save_during_a_check_of_all_comes_first(player: Player) -> None:
    """Then the rest goes on, without what the save has had checked."""
    player.press("l", *"ex_03", "enter", "c")
    assert player.checks == ["ex_01"]
    player.save("a", "ex_03")
    player.finish()
    assert player.checks == ["ex_01", "ex_03"]
    assert player.watch.view().mode is Mode.EXERCISE
    player.finish()
    player.finish()
    assert player.checks == ["ex_01", "ex_03", "ex_02", "ex_04"]


def test_check_all_can_be_ended(player: Player) -> None:
    """The check that runs is finished, and no more are started."""
    player.press("c", "c")
    player.finish()
    player.wait()
    assert player.checks == [FIRST]
    view = player.watch.view()
    assert view.round is not None
    assert view.round.is_over
    assert "c" in player.keys


# What goes wrong


def test_check_without_a_verdict_is_told_of_and_not_repeated(player: Player) -> None:
    """A broken set-up is for a person to mend, not to be tried for ever."""
    player.save("a")
    error = GpuprepError("no space left", next_step="free some")
    failed = Failed(player.desk.curriculum.exercise(FIRST), error)
    player.take(player.watch.handle(failed, player.now_s))
    player.wait()
    assert player.checks == [FIRST]
    assert player.watch.view().notice == "ex_01: no space left · free some"
    assert player.watch.view().busy == ""


def test_verdict_that_could_not_be_recorded_is_shown(player: Player) -> None:
    """With a word on it."""
    player.save("a")
    exercise = player.desk.curriculum.exercise(FIRST)
    checked = Checked(exercise, samples.wrong_values(), ProgressError("the record is damaged"))
    player.take(player.watch.handle(Finished(checked), player.now_s))
    assert player.watch.view().report == samples.wrong_values()
    assert "damaged" in player.watch.view().notice


def test_our_own_fault_is_raised(player: Player) -> None:
    """It would else be a check that never ends."""
    with pytest.raises(ZeroDivisionError):
        player.watch.handle(Broken(ZeroDivisionError()), 0.0)


def test_watch_begins_at_the_current_exercise_or_the_one_that_is_named(desk: Desk) -> None:
    """As all commands do."""
    assert begin(desk, None, has_card=False).view().exercise.id == FIRST
    assert begin(desk, "transpose", has_card=False).view().exercise.id == "ex_16"
    with pytest.raises(UnknownExerciseError):
        begin(desk, "no such thing", has_card=False)


def test_watch_needs_the_file(desk: Desk) -> None:
    """Its error says how to get it back."""
    desk.workspace.exercise_path(desk.curriculum.exercise(FIRST)).unlink()
    with pytest.raises(WorkspaceError) as caught:
        begin(desk, None, has_card=False)
    assert caught.value.next_step == "gpuprep reset ex_01"


# The parts


def test_settling_needs_the_same_content_for_a_while() -> None:
    """A new content counts from when it was first seen; a known one never."""
    settling = Settling("old")
    assert not settling.look("old", 0.0)
    assert settling.due_s is None
    assert not settling.look("new", 1.0)
    assert not settling.look("newer", 1.0 + SETTLE_S)
    assert not settling.look("newer", 1.0 + 1.5 * SETTLE_S)
    assert settling.look("newer", 1.0 + 2 * SETTLE_S)


def test_fingerprint_is_the_one_of_a_report(desk: Desk) -> None:
    """So that a recorded verdict is known to be on this very file; what can't be read has none."""
    from gpuprep.grading.session import check

    exercise = desk.curriculum.exercise(CUDA)
    path = desk.workspace.exercise_path(exercise)
    report = check(exercise, desk.curriculum, path, device="cpu")
    assert fingerprint(desk.curriculum.sources(path)) == report.file_hash
    assert fingerprint([path, path.with_name("no.py")]) == MISSING


@pytest.mark.parametrize("save", [save_in_place, save_by_renaming, save_with_backup])
def test_folder_watch_tells_of_every_way_to_save(tmp_path: Path, save: object) -> None:
    """Twice in a row, since a save by renaming takes a watch on the file away."""
    assert callable(save)
    (tmp_path / "module").mkdir()
    path = tmp_path / "module" / "ex.py"
    path.write_text("0", encoding="utf-8")
    told = threading.Semaphore(0)
    watch = FolderWatch(tmp_path, lambda paths: told.release() if path in paths else None)
    try:
        # It tells of nothing before it has begun, which takes as long as an import.
        for number in range(100):
            (tmp_path / "module" / "ex.py").write_text(f"begin {number}", encoding="utf-8")
            if told.acquire(timeout=0.2):
                break
        for number in range(2):
            while told.acquire(timeout=0.2):
                pass
            save(path, f"saved {number}")
            assert told.acquire(timeout=20)
    finally:
        watch.close()
    assert watch.why_polling == ""


def test_polling_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where it is asked for, and where the folder can't be watched."""
    monkeypatch.setenv("WATCHFILES_FORCE_POLLING", "1")
    assert "WATCHFILES_FORCE_POLLING" in FolderWatch(tmp_path, lambda _: None).why_polling
    monkeypatch.setenv("WATCHFILES_FORCE_POLLING", "false")
    told = threading.Event()
    watch = FolderWatch(tmp_path / "gone", lambda _: told.set())
    assert told.wait(20)
    assert watch.why_polling


def test_keys_of_a_terminal() -> None:
    """Letters, names for the others, and nothing for what isn't known."""
    keys = Keys()
    assert keys.feed(b"n\r\x7f\x03 \x1b[A\x1bOB\x1b[5~\x1b[1;5C\x00\x01") == [
        *("n", "enter", "backspace", "ctrl-c", "space", "up", "down", "pgup")
    ]
    assert keys.feed("é".encode()[:1]) == []
    assert keys.feed("é".encode()[1:]) == ["é"]


def test_escape_key_and_a_sequence_in_pieces() -> None:
    """What begins like a sequence is one if the rest comes in time, and the Esc key if nothing does."""
    keys = Keys()
    assert keys.feed(b"\x1b") == []
    assert keys.is_open
    assert keys.feed(b"[") == []
    assert keys.feed(b"Bq") == ["down", "q"]
    assert keys.feed(b"\x1b") == []
    assert keys.close() == ["esc"]
    assert not keys.is_open
    assert keys.feed(b"\x1b\x1b[A") == ["esc", "up"]


def test_picking_filters_by_every_word(player: Player) -> None:
    """In id, title, language, topics and outcome; what was chosen stays so while it is left."""
    standings = player.watch.view().overview.standings
    picking = Picking.of(standings, player.desk.curriculum.exercise("ex_04"))
    for key in ("s", "o", "f", "t"):
        picking = picking.press(key)
    assert picking.chosen is not None
    assert picking.chosen.exercise.id == "ex_04"
    for key in ("space", *"trit"):
        picking = picking.press(key)
    assert [standing.exercise.id for standing in picking.left] == ["ex_04"]
    nothing = picking.press("z")
    assert (nothing.left, nothing.chosen) == ((), None)
    assert nothing.press("down").press("end").chosen is None
    assert nothing.press("backspace").press("esc").left == standings


def test_picking_moves_within_the_list(player: Player) -> None:
    """And no further."""
    standings = player.watch.view().overview.standings
    picking = Picking.of(standings, standings[0].exercise)
    assert picking.press("up").place == 0
    assert picking.press("end").press("down").place == len(standings) - 1
    assert picking.press("down").press("pgdn").press("home").place == 0
    assert picking.press("f1") == picking
