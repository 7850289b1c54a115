"""A class that was graded without a card, completed on a machine with one."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import sample_reports as samples
from test_classroom_grade import Room, Scripted, provisional
from typer.testing import CliRunner

from gpuprep import cli
from gpuprep.classroom import assignment as assignments
from gpuprep.classroom import upgrade as upgrade_module
from gpuprep.classroom.executor import Task
from gpuprep.classroom.grade import Graded, Settings, Standing
from gpuprep.classroom.journal import FILE_NAME, Grade, Journal
from gpuprep.classroom.record import read_class
from gpuprep.classroom.scoring import Fate
from gpuprep.classroom.upgrade import upgrade_class
from gpuprep.curriculum import Curriculum
from gpuprep.errors import UsageError
from gpuprep.grading.card import Card
from gpuprep.model import Outcome, Report, Tier

CARD = Card("GPU-1", "NVIDIA H200", 140 * 2**30)


class Machine(Room):
    """A class in a folder, and a machine with a card that has only what the first one wrote."""

    def upgrade(self, executor: Scripted, folder: str = "out") -> Graded:
        """Upgrade it."""
        self.told: list[Standing] = []
        return upgrade_class(
            self.root / folder,
            self.curriculum,
            Settings(self.root / folder),
            on_standing=self.told.append,
            executor=executor,
        )


@pytest.fixture
def machine(tmp_path: Path, curriculum: Curriculum, monkeypatch: pytest.MonkeyPatch) -> Machine:
    """A class of three that was graded without a card: ada's files are right, bob's is wrong, eve's is the stub."""
    made = Machine(tmp_path, curriculum)
    made.hand_in("ada", "ex_01", "ex_02")
    made.hand_in("bob", "ex_01")
    made.hand_in("eve", "ex_02")
    made.grade(Scripted(lambda task, n: FIRST[task.submission]()))
    shutil.rmtree(tmp_path / "class")
    (tmp_path / "hw.yaml").unlink()
    monkeypatch.setattr(upgrade_module, "card_is_likely", lambda: True)
    monkeypatch.setattr(upgrade_module, "visible_cards", lambda: (CARD,))
    return made


def unstarted() -> Report:
    """The stub."""
    return Report("ex_02", Outcome.NOT_STARTED, message="the stub has not been changed yet")


def wrong_on_the_card() -> Report:
    """Right on a CPU, and then wrong on the card."""
    return replace(samples.wrong_values(), device=CARD.name)


FIRST: dict[str, Callable[[], Report]] = {
    "ada": samples.provisional,
    "bob": samples.wrong_values,
    "eve": unstarted,
}


def fast(_task: Task, _n_before: int) -> Report:
    """All right, and fast."""
    return samples.timed()


def grades(machine: Machine) -> list[Grade]:
    """All that the journal has, the first ones first."""
    with Journal(machine.root / "out") as journal:
        return list(journal.history())


def test_only_what_is_pending_is_graded_again(machine: Machine) -> None:
    """On the card, with what the journal and the folder hold; scores and maximum are complete then."""
    before = machine.scores()
    assert (before["ada"]["score"], before["ada"]["pending"]) == ("1.3333", "ex_01 speed, ex_02 speed")
    seen: list[Task] = []
    executor = Scripted(lambda task, n: seen.append(task) or fast(task, n))  # type: ignore[func-returns-value]
    graded = machine.upgrade(executor)
    assert sorted(executor.asked) == [("ada", "ex_01"), ("ada", "ex_02")]
    assert {task.device for task in seen} == {"cuda"}
    assert all(Path(task.path).read_text() == "# mine\n" for task in seen)
    after = machine.scores()
    assert (after["ada"]["score"], after["ada"]["max_score"], after["ada"]["pending"]) == ("2", "2", "")
    assert {name: after[name] for name in ("bob", "eve")} == {name: before[name] for name in ("bob", "eve")}
    assert (graded.n_graded, graded.n_before) == (2, 2)
    assert [standing.n_done for standing in machine.told] == [2, 3, 4]


def test_history_of_a_grade_is_kept(machine: Machine) -> None:
    """First on the CPU, then on the card, each with its device and sandbox; the newest is what is read."""
    machine.upgrade(Scripted(fast))
    found = [grade for grade in grades(machine) if (grade.submission, grade.exercise_id) == ("ada", "ex_01")]
    assert [(grade.upgrade, grade.report.device) for grade in found if grade.report] == [(0, "cpu"), (1, CARD.name)]
    with Journal(machine.root / "out") as journal:
        (upgrade,) = journal.upgrades()
        assert (upgrade.number, upgrade.device, upgrade.is_finished) == (1, CARD.name, True)
        assert journal.identity().device == "cpu"
    ada = read_class(machine.root / "out", machine.curriculum).student("ada")
    report = ada.grades["ex_01"].report
    assert report is not None
    assert (report.device, report.timings[0].device) == (CARD.name, CARD.name)
    assert ada.row.score == 2


def test_tier_that_was_won_stays_won(machine: Machine) -> None:
    """A count that comes out otherwise this time takes nothing away; what the check did not get to is lost."""
    machine.upgrade(Scripted(lambda task, n: samples.too_much_work()))
    row = machine.scores()["ada"]
    assert (row["score"], row["max_score"], row["pending"]) == ("1.3333", "2", "")


def test_file_that_is_wrong_on_the_card_is_wrong(machine: Machine) -> None:
    """What a CPU could not see is stronger than what it saw."""
    machine.upgrade(Scripted(lambda task, n: wrong_on_the_card()))
    row = machine.scores()["ada"]
    assert (row["score"], row["max_score"], row["ex_01"]) == ("0", "2", "WRONG_VALUES")


def test_slow_file_loses_its_speed_alone(machine: Machine) -> None:
    """The rest it had already."""
    machine.upgrade(Scripted(lambda task, n: samples.timed(0.5)))
    row = machine.scores()["ada"]
    assert (row["score"], row["max_score"], row["ex_01"]) == ("1.3333", "2", "TOO_SLOW")


def test_grader_that_fails_takes_nothing_away(machine: Machine) -> None:
    """It is told, and the same command tries again."""
    graded = machine.upgrade(Scripted(lambda task, n: "the driver is gone"))
    assert graded.n_faults == 2
    row = machine.scores()["ada"]
    assert (row["score"], row["max_score"], row["pending"]) == ("1.3333", "1.3333", "ex_01 speed, ex_02 speed")
    assert machine.upgrade(Scripted(fast)).n_faults == 0
    assert machine.scores()["ada"]["score"] == "2"


def test_edge_is_measured_again_and_then_stays_to_be_rerun(machine: Machine) -> None:
    """Twice in one run; and whoever upgrades again gets just these."""
    executor = Scripted(lambda task, n: samples.timed(0.80) if task.exercise.id == "ex_01" else samples.timed())
    machine.upgrade(executor)
    assert executor.asked.count(("ada", "ex_01")) == 2
    assert machine.scores()["ada"]["rerun"] == "ex_01 speed"
    again = Scripted(fast)
    machine.upgrade(again)
    assert again.asked == [("ada", "ex_01")]
    assert machine.scores()["ada"]["score"] == "2"
    assert [grade.upgrade for grade in grades(machine) if grade.exercise_id == "ex_01"] == [0, 0, 1, 2]


def test_stopped_upgrade_goes_on_by_the_same_command(machine: Machine) -> None:
    """What was told is on the disk, even where it left something pending; and only the rest is graded."""

    def stops(task: Task, _n_before: int) -> Report:
        if task.exercise.id == "ex_01":
            raise KeyboardInterrupt
        return samples.provisional()

    with pytest.raises(KeyboardInterrupt):
        machine.upgrade(Scripted(stops))
    executor = Scripted(fast)
    assert machine.upgrade(executor).n_graded == 1
    assert executor.asked == [("ada", "ex_01")]
    with Journal(machine.root / "out") as journal:
        assert [(each.number, each.is_finished) for each in journal.upgrades()] == [(1, True)]


def test_complete_class_is_left_alone(machine: Machine) -> None:
    """Nothing is graded, and the scores are written all the same."""
    machine.upgrade(Scripted(fast))
    (machine.root / "out" / "scores.csv").unlink()
    executor = Scripted(fast)
    assert machine.upgrade(executor).n_graded == 0
    assert executor.asked == []
    assert machine.scores()["ada"]["score"] == "2"


@pytest.mark.parametrize(
    "said", [["--single"], ["--name", "ada"], ["--submitted", "2026-03-01T12:00Z"], ["--resume"], ["--device", "cpu"]]
)
def test_options_of_a_grading_are_refused(said: list[str]) -> None:
    """They mean nothing to an upgrade, and whoever says one expects something of it."""
    error = CliRunner().invoke(cli.app, ["grade", "--upgrade", "hw1", *said]).exception
    assert isinstance(error, UsageError)
    assert said[0] in error.message
    assert error.next_step == "gpuprep grade --upgrade hw1"


def test_machine_without_a_card_is_refused(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    """With what to do."""
    monkeypatch.setattr(upgrade_module, "card_is_likely", lambda: False)
    with pytest.raises(UsageError, match="no CUDA device") as caught:
        machine.upgrade(Scripted(fast))
    assert "--upgrade" in str(caught.value.next_step)


def test_nothing_to_upgrade_needs_no_card(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where all was graded, that is the answer on any machine."""
    machine.upgrade(Scripted(fast))
    monkeypatch.setattr(upgrade_module, "card_is_likely", lambda: False)
    executor = Scripted(fast)
    assert machine.upgrade(executor).n_graded == 0
    assert executor.asked == []


def test_folder_without_a_finished_grading_is_refused(
    tmp_path: Path, curriculum: Curriculum, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing there, or one that was stopped."""
    monkeypatch.setattr(upgrade_module, "card_is_likely", lambda: True)
    made = Machine(tmp_path, curriculum)
    made.hand_in("ada", "ex_01")
    with pytest.raises(UsageError, match="no grading to upgrade"):
        made.upgrade(Scripted(fast), "class")

    def stops(_task: Task, _n_before: int) -> Report:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        made.grade(Scripted(stops))
    with pytest.raises(UsageError, match="not come to its end"):
        made.upgrade(Scripted(fast))


@pytest.mark.parametrize("change", ["changed", "gone", "version", "graders"])
def test_what_is_not_as_it_was_is_refused(machine: Machine, change: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file, gpuprep, or a grader: the results would not be those of one grading."""
    (path,) = (machine.root / "out" / "graded").glob("ada-*/ex_01/ex_01_vector_add.py")
    said = "not what 'ada' handed in"
    if change == "changed":
        path.write_text("# another\n")
    elif change == "gone":
        path.unlink()
    elif change == "version":
        monkeypatch.setattr(upgrade_module, "__version__", "9.9.9")
        said = "and is 9.9.9"
    else:
        monkeypatch.setattr(assignments, "hash_of", lambda *_: "another")
        said = "a grader or a stub has changed"
    executor = Scripted(fast)
    with pytest.raises(UsageError, match=said):
        machine.upgrade(executor)
    assert executor.asked == []


def test_link_in_a_file_s_place_is_refused(machine: Machine) -> None:
    """Even where it leads to the same text."""
    (path,) = (machine.root / "out" / "graded").glob("ada-*/ex_01/ex_01_vector_add.py")
    path.rename(path.with_suffix(".txt"))
    path.symlink_to(path.with_suffix(".txt"))
    with pytest.raises(UsageError, match="not what 'ada' handed in"):
        machine.upgrade(Scripted(fast))


def test_older_journal_is_read_and_upgraded(machine: Machine) -> None:
    """One that knew of no upgrades: its grades are the first ones."""
    path = machine.root / "out" / FILE_NAME
    with sqlite3.connect(path) as connection:
        connection.executescript(
            """CREATE TABLE old (submission TEXT NOT NULL, exercise TEXT NOT NULL, finished TEXT NOT NULL,
            tiers TEXT NOT NULL, n_checks INTEGER NOT NULL, fault TEXT NOT NULL, report BLOB,
            PRIMARY KEY (submission, exercise));
            INSERT INTO old SELECT submission, exercise, finished, tiers, n_checks, fault, report FROM grades;
            DROP TABLE grades; ALTER TABLE old RENAME TO grades; DROP TABLE upgrades; PRAGMA user_version = 1;"""
        )
    connection.close()
    assert {grade.upgrade for grade in grades(machine)} == {0}
    machine.upgrade(Scripted(fast))
    assert machine.scores()["ada"]["score"] == "2"


def test_upgraded_class_can_be_resumed(tmp_path: Path, curriculum: Curriculum, machine: Machine) -> None:
    """Nothing is left to grade, and the first grade does not come back."""
    machine.upgrade(Scripted(fast))
    machine.assign("title: Homework\nexercises: [ex_01, ex_02]\n")
    (tmp_path / "class").mkdir()
    machine.hand_in("ada", "ex_01", "ex_02")
    machine.hand_in("bob", "ex_01")
    machine.hand_in("eve", "ex_02")
    executor = Scripted(provisional)
    machine.grade(executor, is_resumed=True)
    assert (executor.asked, machine.scores()["ada"]["score"]) == ([], "2")


def test_tiers_that_count_decide_what_is_open(
    tmp_path: Path, curriculum: Curriculum, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where speed brings no points, there is nothing to upgrade."""
    monkeypatch.setattr(upgrade_module, "card_is_likely", lambda: True)
    made = Machine(tmp_path, curriculum, "title: H\nexercises: [{id: ex_01, tiers: [correct, work]}]\n")
    made.hand_in("ada", "ex_01")
    made.grade(Scripted(provisional))
    executor = Scripted(fast)
    assert made.upgrade(executor).rows[0].scores[0].tiers(Fate.WON) == (Tier.CORRECT, Tier.WORK)
    assert executor.asked == []


@pytest.mark.gpu
def test_class_is_upgraded_on_a_card(tmp_path: Path, curriculum: Curriculum) -> None:
    """Graded without the card first, by counted work; then the same files, by the same hashes, are timed."""
    room = Room(tmp_path, curriculum, "title: H\nexercises: [ex_01]\n")
    exercise = curriculum.exercise("ex_01")
    room.hand_in("ada", "ex_01", text=curriculum.reference_path(exercise).read_text(encoding="utf-8"))
    room.grade(n_jobs=1)
    assert room.scores()["ada"]["pending"] == "ex_01 speed"
    upgrade_class(tmp_path / "out", curriculum, Settings(tmp_path / "out", device="cuda"))
    row = room.scores()["ada"]
    assert (row["ex_01"], row["pending"], row["score"]) == ("PASSED", "", row["max_score"])
