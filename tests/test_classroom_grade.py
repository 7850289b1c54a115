"""A class from its submissions to its scores: retried, resumed, and as each file declares."""

from __future__ import annotations

import csv
import errno
import functools
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest
import sample_reports as samples
from made_class import Handed, make_class
from waiting import descendants, is_running, soon

from gpuprep import curriculum as curricula
from gpuprep.classroom.executor import Executor, Finished, Task
from gpuprep.classroom.grade import Graded, Settings, Standing, default_jobs, grade_class, shown_cards
from gpuprep.classroom.journal import FILE_NAME, Journal
from gpuprep.classroom.local import LocalExecutor, _Grader
from gpuprep.classroom.record import read_class
from gpuprep.classroom.scoring import Fate
from gpuprep.curriculum import Curriculum
from gpuprep.errors import GraderFaultError, UsageError, WorkspaceError
from gpuprep.exercise import Exercise
from gpuprep.grading import lease
from gpuprep.grading.card import Card
from gpuprep.grading.confining import offered
from gpuprep.model import Outcome, Report, Tier
from gpuprep.render.classroom import graded_document, graded_page

HOMEWORK = "title: Homework\nexercises: [ex_01, ex_02]\n"
N_SUBMISSIONS = 20
TASK = Task("ada", Exercise("ex_01", "x", "X", "00_first", "triton", "x", 5, ()), "x.py", "", "")


@dataclass
class Scripted(Executor):
    """An executor that answers from a list, in place of grading."""

    answer: Callable[[Task, int], Report | str]
    """Gets a task and how often it was asked before; gives a report or a fault."""
    asked: list[tuple[str, str]] = field(default_factory=list)
    is_closed: bool = False

    def close(self) -> None:
        """Is noted."""
        self.is_closed = True

    def run(self, tasks: Sequence[Task]) -> Iterator[Finished]:
        """Answers the last task first."""
        for task in reversed(tasks):
            n_before = self.asked.count(task.key)
            self.asked.append(task.key)
            found = self.answer(task, n_before)
            if isinstance(found, str):
                yield Finished(task, fault=found)
            else:
                yield Finished(task, replace(found, exercise_id=task.exercise.id), tuple(Tier))


class Room:
    """A class in a folder, and its grading."""

    def __init__(self, root: Path, curriculum: Curriculum, homework: str = HOMEWORK) -> None:
        self.root, self.curriculum = root, curriculum
        (root / "class").mkdir()
        self.assign(homework)

    def assign(self, text: str) -> None:
        """Write the assignment."""
        (self.root / "hw.yaml").write_text(text)

    def hand_in(self, name: str, *exercise_ids: str, text: str = "# mine\n") -> None:
        """Write a student's files."""
        (self.root / "class" / name).mkdir()
        for exercise_id in exercise_ids:
            path = self.root / "class" / name / f"{self.curriculum.exercise(exercise_id).slug}.py"
            path.write_text(text)

    def grade(self, executor: Scripted | None = None, *, is_resumed: bool = False, **settings: object) -> Graded:
        """Grade it."""
        self.told: list[Standing] = []
        fields = {"device": "cpu", "is_resumed": is_resumed, **settings}
        chosen = Settings(self.root / "out", **fields)  # type: ignore[arg-type]
        return grade_class(
            self.root / "class",
            self.root / "hw.yaml",
            self.curriculum,
            chosen,
            on_standing=self.told.append,
            executor=executor,
        )

    def scores(self) -> dict[str, dict[str, str]]:
        """The rows of scores.csv, by submission."""
        with (self.root / "out" / "scores.csv").open(encoding="utf-8") as file:
            return {row["submission"]: row for row in csv.DictReader(file)}


@pytest.fixture
def room(tmp_path: Path, curriculum: Curriculum) -> Room:
    """A class of two: ada handed in both, bob one."""
    made = Room(tmp_path, curriculum)
    made.hand_in("ada", "ex_01", "ex_02")
    made.hand_in("bob", "ex_01")
    return made


def provisional(_task: Task, _n_before: int) -> Report:
    """Everything is right."""
    return samples.provisional()


def test_scores_are_written(room: Room) -> None:
    """A row a submission, in their order, though they were graded in another."""
    graded = room.grade(Scripted(provisional))
    assert [row.submission for row in graded.rows] == ["ada", "bob"]
    assert {name: (row["score"], row["ex_01"], row["ex_02"]) for name, row in room.scores().items()} == {
        "ada": ("1.3333", "PROVISIONAL", "PROVISIONAL"),
        "bob": ("0.6667", "PROVISIONAL", "MISSING"),
    }
    assert (graded.n_graded, graded.n_before) == (3, 0)


def test_submission_is_told_when_all_of_it_is_done(room: Room) -> None:
    """Once each, and the count goes up with every file."""
    room.grade(Scripted(provisional))
    assert [standing.n_done for standing in room.told] == [0, 1, 2, 3]
    assert [standing.row.submission for standing in room.told if standing.row] == ["bob", "ada"]


def test_task_says_all_that_grading_needs(room: Room) -> None:
    """Limits, seeds, targets and device of the assignment; and it survives a journey as text."""
    seen: list[Task] = []
    room.assign(
        "title: H\nexercises: [{id: ex_01, targets: {share_of_copy: {pass: 0.5}}}]\n"
        "limits: {seconds: 7}\nhidden: {seeds: 2, shapes: {ex_01: [{n: 12345}, {n: 77, dtype: float16}]}}\n"
    )
    room.grade(Scripted(lambda task, n: seen.append(task) or samples.provisional()))  # type: ignore[func-returns-value]
    task = seen[0]
    assert (task.limit_s, task.n_checks, task.device) == (7.0, 3, "cpu")
    assert task.shapes == ({"n": 12345}, {"n": 77, "dtype": "float16"})
    assert task.exercise.targets[0].pass_at == 0.5
    assert Task.from_json(task.to_json()) == task
    assert Path(task.path).read_text() == "# mine\n"


def test_fault_of_the_grader_is_tried_once_more(room: Room) -> None:
    """And counts when it happens twice; then the exercise is rerun and costs nothing."""

    def answer(task: Task, n_before: int) -> Report | str:
        is_lost = task.submission == "ada" and (task.exercise.id == "ex_01" or n_before == 0)
        return "its machine was lost" if is_lost else samples.provisional()

    executor = Scripted(answer)
    graded = room.grade(executor)
    assert executor.asked.count(("ada", "ex_01")) == executor.asked.count(("ada", "ex_02")) == 2
    assert executor.asked.count(("bob", "ex_01")) == 1
    row = room.scores()["ada"]
    assert (row["ex_01"], row["ex_02"], row["max_score"]) == ("GRADER_FAULT", "PROVISIONAL", "0.6667")
    assert "ex_01" in row["rerun"]
    assert "its machine was lost" in row["note"]
    assert (graded.n_faults, [row.submission for row in graded.to_rerun]) == (1, ["ada"])


def test_failure_of_a_student_is_not_tried_again(room: Room) -> None:
    """A verdict is a verdict."""
    executor = Scripted(lambda task, n: samples.wrong_values())
    room.grade(executor)
    assert len(executor.asked) == 3


def test_resuming_does_only_what_is_left(room: Room) -> None:
    """After an end at any moment: what was told is on the disk."""

    def stops(task: Task, _n_before: int) -> Report:
        if task.key == ("ada", "ex_01"):
            raise KeyboardInterrupt
        return samples.provisional()

    broken = Scripted(stops)
    with pytest.raises(KeyboardInterrupt):
        room.grade(broken)
    assert broken.is_closed
    assert not (room.root / "out" / "scores.csv").exists()
    executor = Scripted(provisional)
    graded = room.grade(executor, is_resumed=True)
    assert executor.asked == [("ada", "ex_01")]
    assert (graded.n_graded, graded.n_before) == (1, 2)
    assert room.scores()["ada"]["score"] == "1.3333"


def test_finished_class_can_be_resumed(room: Room) -> None:
    """Nothing is graded, and the scores are the same."""
    room.grade(Scripted(provisional))
    before = room.scores()
    executor = Scripted(provisional)
    assert room.grade(executor, is_resumed=True).n_graded == 0
    assert (executor.asked, room.scores()) == ([], before)


def test_folder_with_a_grading_is_not_overwritten(room: Room) -> None:
    """Nor is one resumed that isn't there."""
    with pytest.raises(UsageError, match="no grading to resume"):
        room.grade(Scripted(provisional), is_resumed=True)
    room.grade(Scripted(provisional))
    with pytest.raises(UsageError, match="holds a grading already"):
        room.grade(Scripted(provisional))


@pytest.mark.parametrize("change", ["assignment", "submission"])
def test_another_grading_is_not_resumed(room: Room, change: str) -> None:
    """Its results would be mixed with these."""
    room.grade(Scripted(provisional))
    if change == "assignment":
        room.assign(HOMEWORK + "limits: {seconds: 3}\n")
    else:
        (room.root / "class" / "bob" / "ex_01_vector_add.py").write_text("# another\n")
    with pytest.raises(UsageError, match="can't be resumed"):
        room.grade(Scripted(provisional), is_resumed=True)


def test_what_is_not_ours_is_not_written_over(room: Room) -> None:
    """Another `scores.csv` in the folder stays, and a folder among the submissions is none to grade into."""
    scores = room.root / "out" / "scores.csv"
    scores.parent.mkdir()
    scores.write_text("mine")
    with pytest.raises(UsageError, match="written over"):
        room.grade(Scripted(provisional))
    assert scores.read_text() == "mine"
    inside = Settings(room.root / "class" / "out", device="cpu")
    with pytest.raises(UsageError, match="among the submissions"):
        grade_class(room.root / "class", room.root / "hw.yaml", room.curriculum, inside)


def test_submission_without_anything_to_grade_is_told(room: Room) -> None:
    """It has its line, too."""
    room.hand_in("cleo")
    room.grade(Scripted(provisional))
    assert sorted(standing.row.submission for standing in room.told if standing.row) == ["ada", "bob", "cleo"]


def test_disk_without_locks_is_told(room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    """As a folder on NFS."""

    def flock(_descriptor: int, _how: int) -> None:
        raise OSError(errno.EBADF, os.strerror(errno.EBADF))

    monkeypatch.setattr("gpuprep.classroom.locking.fcntl.flock", flock)
    with pytest.raises(UsageError, match="can't be locked") as caught:
        room.grade(Scripted(provisional))
    assert "NFS" in str(caught.value.next_step)


def test_two_gradings_at_once_are_refused(room: Room) -> None:
    """The second one says so, and changes nothing."""

    def answer(task: Task, _n_before: int) -> Report:
        with pytest.raises(UsageError, match="another gpuprep"):
            room.grade(Scripted(provisional), is_resumed=True)
        return samples.provisional()

    assert room.grade(Scripted(answer)).n_graded == 3


def test_sandbox_below_what_is_required_is_refused(room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before anything is graded; an unknown one, too."""
    none = dict.fromkeys(offered(), "not on this machine")
    probe = functools.cache(lambda: none)
    monkeypatch.setattr("gpuprep.grading.confining.offered", probe)
    monkeypatch.setattr("gpuprep.classroom.grade.offered", probe)
    for level in ("full", "landlock"):
        with pytest.raises(UsageError, match="not on this machine"):
            room.grade(Scripted(provisional), required_sandbox=level)
    with pytest.raises(UsageError, match="no sandbox is called"):
        room.grade(Scripted(provisional), required_sandbox="strong")
    assert room.grade(Scripted(provisional)).sandbox == "none"


def test_strongest_sandbox_is_used(room: Room) -> None:
    """Whatever is required."""
    strongest = next((level for level, why in offered().items() if not why), "none")
    seen: set[str] = set()
    room.grade(Scripted(lambda task, n: seen.add(task.sandbox) or samples.provisional()))  # type: ignore[func-returns-value]
    assert seen == {strongest}


def test_tier_that_an_exercise_does_not_have_is_refused(room: Room) -> None:
    """Its points could never be had."""
    room.assign("title: H\nexercises: [{id: ex_05, tiers: [work, speed]}, ex_01]\n")
    has = {case.tier for case in _cases(room.curriculum, "ex_05")}
    if {Tier.WORK, Tier.SPEED} <= has:
        pytest.skip("ex_05 has all of them")
    with pytest.raises(UsageError, match=r"hw\.yaml: ex_05 has no tier '[a-z]+'; it has: correct"):
        room.grade(Scripted(provisional))


def test_full_disk_is_told(room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    """With what to free, while submissions are written too; and grading goes on from there."""

    def full(_path: Path, _data: bytes) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patched:
        patched.setattr(Path, "write_bytes", full)
        with pytest.raises(WorkspaceError, match="No space left") as caught:
            room.grade(Scripted(provisional))
    assert "free some space" in str(caught.value.next_step)
    assert room.grade(Scripted(provisional), is_resumed=True).n_graded == 3


def test_what_is_no_submission_is_named(room: Room) -> None:
    """A student whose archive can't be opened here is missing from the class otherwise, and nobody knows."""
    (room.root / "class" / "eve.rar").write_bytes(b"Rar!")
    (room.root / "class" / ".DS_Store").write_bytes(b"")
    graded = room.grade(Scripted(provisional))
    assert graded.left_out == ("eve.rar",)
    assert "Not submissions, and not graded: eve.rar." in graded_page(graded).text()
    assert graded_document(graded, 0)["left_out"] == ["eve.rar"]


def test_curriculum_is_remembered(room: Room, tmp_path: Path) -> None:
    """Where a class was graded with one of its own, that says what its exercises are, unless another is named."""
    room.grade(Scripted(provisional))
    with Journal(room.root / "out") as journal:
        assert journal.curriculum_root() is None
    own = tmp_path / "own"
    shutil.copytree(room.curriculum.root / "exercises", own / "exercises")
    shutil.copytree(room.curriculum.root / "graders", own / "graders")
    text = (room.curriculum.root / "curriculum.yaml").read_text(encoding="utf-8")
    (own / "curriculum.yaml").write_text(text.replace("title: Vector add", "title: Sum of two", 1), encoding="utf-8")
    room.curriculum = curricula.load(own)
    shutil.rmtree(room.root / "out")
    room.grade(Scripted(provisional))
    record = read_class(room.root / "out")
    assert record.assignment.exercises[0].exercise.title == "Sum of two"
    (own / "curriculum.yaml").unlink()
    with pytest.raises(UsageError, match=r"was graded with the curriculum .*own, which") as caught:
        read_class(room.root / "out")
    assert "--curriculum DIR" in str(caught.value.next_step)
    assert read_class(room.root / "out", curricula.load()).assignment.exercises[0].exercise.title == "Vector add"


def test_class_that_is_being_graded_can_not_be_read_yet(room: Room) -> None:
    """And another one that was stopped is to be resumed."""
    said = []

    def answer(task: Task, _n_before: int) -> Report:
        with pytest.raises(UsageError) as caught:
            read_class(room.root / "out")
        said.append(caught.value.message)
        if task.key == ("ada", "ex_01"):
            raise KeyboardInterrupt
        return samples.provisional()

    with pytest.raises(KeyboardInterrupt):
        room.grade(Scripted(answer))
    assert all(text.startswith("another gpuprep grades into") for text in said)
    with pytest.raises(UsageError, match="not come to its end"):
        read_class(room.root / "out")


def _cases(curriculum: Curriculum, exercise_id: str) -> Sequence[object]:
    import random

    from gpuprep.grading.loading import load_grader

    return load_grader(curriculum, curriculum.exercise(exercise_id)).cases(random.Random(0))


def test_jobs_by_default_are_the_cores() -> None:
    """Where no card is timed."""
    assert default_jobs() == len(os.sched_getaffinity(0))


def test_jobs_are_no_more_than_the_cards_hold() -> None:
    """Each grader's processes need memory on its card; a small one has room for one all the same."""
    assert default_jobs([Card("GPU-1", "tiny", 2**30)]) == 1
    assert default_jobs([Card("GPU-1", "large", 2**40)]) == default_jobs()


def test_each_grader_has_a_card_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In turn, and that of one that ended goes to the next; ranks see all of them, each its own first."""
    cards = [Card("GPU-1", "a card", 2**40), Card("GPU-2", "a card", 2**40)]
    assert shown_cards(cards[:1], is_together=False) == ()
    assert shown_cards(cards, is_together=True) == ("GPU-1,GPU-2", "GPU-2,GPU-1")
    executor = LocalExecutor(4, tmp_path, "cuda", shown_cards(cards, is_together=False))
    given = []
    for _ in range(3):
        given.append(executor._next_card())
        executor._graders.append(SimpleNamespace(card=given[-1]))  # type: ignore[arg-type]
    assert given == ["GPU-1", "GPU-2", "GPU-1"]
    del executor._graders[0], executor._graders[1]
    assert executor._next_card() == "GPU-1"


def test_waiting_for_a_card_is_part_of_no_limit(tmp_path: Path) -> None:
    """While others have it nobody is overdue, and the clock starts again when it is free."""
    grader = object.__new__(_Grader)
    grader.task, grader.pid = replace(TASK, limit_s=1.0), 1
    grader._due = 0.0
    assert grader.is_overdue
    grader._note(lease.TO_TIME)
    assert not grader.is_overdue
    grader._note(lease.GOING_ON)
    assert time.monotonic() < grader._due < time.monotonic() + 1000


def test_spoilt_measurement_is_taken_once_more(room: Room) -> None:
    """One that lies on the edge, or contradicts itself; if it stays so it is to be rerun, and costs nothing."""

    def answer(task: Task, n_before: int) -> Report:
        stays_so = task.submission == "bob"
        return samples.timed(0.80) if stays_so or not n_before else samples.timed()

    executor = Scripted(answer)
    graded = room.grade(executor)
    assert sorted(executor.asked) == sorted(2 * [("ada", "ex_01"), ("ada", "ex_02"), ("bob", "ex_01")])
    rows = room.scores()
    assert (rows["ada"]["ex_01"], rows["ada"]["score"]) == ("PASSED", "2")
    assert (rows["bob"]["ex_01"], rows["bob"]["rerun"], rows["bob"]["max_score"]) == (
        "INCONCLUSIVE",
        "ex_01 speed",
        "1.6667",
    )
    assert (graded.n_graded, [standing.n_done for standing in room.told]) == (3, [0, 1, 2, 3])


def test_spoilt_measurement_says_more_than_a_lost_grader(room: Room) -> None:
    """The file is correct, and that is kept."""
    room.grade(Scripted(lambda task, n: "its machine was lost" if n else samples.timed(0.80)))
    assert room.scores()["ada"]["ex_01"] == "INCONCLUSIVE"


def test_task_that_is_told_of_twice_counts_once(room: Room) -> None:
    """A cluster may run one again that it thought was lost; and one that nobody tells of is a fault."""

    class Confused(Scripted):
        def run(self, tasks: Sequence[Task]) -> Iterator[Finished]:
            for finished in super().run(tasks):
                if finished.task.submission == "ada":
                    yield finished
                    yield finished

    graded = room.grade(Confused(provisional))
    assert (graded.n_graded, graded.n_faults) == (3, 1)
    assert "nobody said" in room.scores()["bob"]["note"]


def fulfils(handed: Mapping[tuple[str, str], Handed], graded: Graded) -> list[str]:
    """The files that did not get what they must."""
    found = ((handed[row.submission, score.exercise_id], row, score) for row in graded.rows for score in row.scores)
    return [
        f"{row.submission} {file.source}: {score.outcome} {score.note}"
        for file, row, score in found
        if score.outcome not in file.expected
    ]


def test_class_gets_what_its_files_declare(tmp_path: Path, curriculum: Curriculum) -> None:
    """References, stubs and wrong files, graded by processes of our own, of which none is left."""
    room = Room(tmp_path, curriculum, "title: H\nexercises: [ex_01]\nlimits: {seconds: 20}\n")
    handed = make_class(curriculum, tmp_path / "class", N_SUBMISSIONS, ["ex_01"])
    before = descendants()
    graded = room.grade(n_jobs=2)
    assert fulfils(handed, graded) == []
    assert soon(lambda: descendants() <= before)
    passed = [row for row in graded.rows if row.scores[0].outcome == "PROVISIONAL"]
    assert passed
    assert all(row.named(Fate.PENDING) == "ex_01 speed" for row in passed)
    reports = [score.report for row in passed for score in row.scores]
    work = [report.tier(Tier.WORK) for report in reports if report]
    assert {found.evidence for found in work if found} == {"witnessed"}


def test_lost_grader_is_replaced(tmp_path: Path, curriculum: Curriculum) -> None:
    """Its task comes back as lost, the next one is graded."""
    reference = curriculum.reference_path(curriculum.exercise("ex_01"))
    stub = curriculum.stub_path(curriculum.exercise("ex_01"))
    with LocalExecutor(1, tmp_path) as executor:
        tasks = [_task(curriculum, path, name) for path, name in ((reference, "ada"), (stub, "bob"))]
        found = executor.run([tasks[0]])
        killer = _kill_when_busy(executor)
        lost = next(found)
        killer()
        assert "killed by signal 9" in lost.fault
        again = {each.task.submission: each for each in executor.run(tasks)}
        assert {name: each.report.outcome for name, each in again.items() if each.report} == {
            "ada": Outcome.PROVISIONAL,
            "bob": Outcome.NOT_STARTED,
        }
    assert list(tmp_path.iterdir()) == []


def _task(curriculum: Curriculum, path: Path, name: str) -> Task:
    import hashlib

    exercise = curriculum.exercise("ex_01")
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    return Task(name, exercise, str(path), digest, str(curriculum.root))


def _kill_when_busy(executor: LocalExecutor) -> Callable[[], None]:
    import threading

    def kill() -> None:
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline:
            busy = [grader for grader in executor._graders if grader.task]
            if busy:
                busy[0].kill()
                return
            time.sleep(0.01)

    thread = threading.Thread(target=kill)
    thread.start()
    return thread.join


def test_lost_host_is_replaced(tmp_path: Path, curriculum: Curriculum) -> None:
    """With all that it had forked: its tasks come back as lost, and a new one forks others."""
    stub = curriculum.stub_path(curriculum.exercise("ex_01"))
    with LocalExecutor(1, tmp_path) as executor:
        task = _task(curriculum, stub, "ada")
        (first,) = executor.run([task])
        (host,) = executor._hosts.values()
        host._process.kill()
        host._process.wait()
        found = [*executor.run([task]), *executor.run([task])]
        assert first.report is not None
        assert found[-1].report is not None
        assert found[-1].report.outcome is Outcome.NOT_STARTED
        assert executor._hosts[None] is not host
    assert list(tmp_path.iterdir()) == []


def test_file_that_was_exchanged_is_no_verdict(tmp_path: Path, curriculum: Curriculum) -> None:
    """What is graded must be what was handed in."""
    task = _task(curriculum, curriculum.stub_path(curriculum.exercise("ex_01")), "ada")
    with LocalExecutor(1, tmp_path) as executor:
        (found,) = executor.run([replace(task, file_hash="0" * 64)])
    assert "not what was handed in" in found.fault


def test_grader_that_takes_its_machine_for_unfit_is_replaced(tmp_path: Path, curriculum: Curriculum) -> None:
    """It would fail in all that is left, faster than any other grades."""
    task = _task(curriculum, curriculum.stub_path(curriculum.exercise("ex_01")), "ada")
    with LocalExecutor(1, tmp_path) as executor:
        found = list(executor.run([replace(task, sandbox="strong"), task]))
    assert "no sandbox is called" in found[0].fault
    assert found[1].report is not None
    assert found[1].report.outcome is Outcome.NOT_STARTED


def test_card_that_is_not_there_is_told_at_once(room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before a class is graded without it."""
    monkeypatch.setattr("gpuprep.classroom.grade.card_is_likely", lambda: False)
    with pytest.raises(UsageError, match="no CUDA device"):
        room.grade(Scripted(provisional), device="cuda")


def test_graders_that_never_start_are_told(
    tmp_path: Path, curriculum: Curriculum, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With what the last one said, instead of trying for ever."""
    monkeypatch.setattr("gpuprep.classroom.grader_host._BOOTSTRAP", "raise SystemExit('no torch here')")
    task = _task(curriculum, curriculum.stub_path(curriculum.exercise("ex_01")), "ada")
    with LocalExecutor(2, tmp_path) as executor, pytest.raises(GraderFaultError, match="no torch here"):
        list(executor.run([task]))


def started(room: Room, *more: str) -> subprocess.Popen[str]:
    """The command, in a process group of its own."""
    command = ["grade", str(room.root / "class"), "--assignment", str(room.root / "hw.yaml")]
    command += ["--out", str(room.root / "out"), "--jobs", "1", "--device", "cpu", *more]
    return subprocess.Popen(
        [sys.executable, "-m", "gpuprep", *command],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        env={**os.environ, "TMPDIR": str(room.root)},
    )


def wait_for_rows(process: subprocess.Popen[str], n_rows: int) -> list[str]:
    """The first lines that it prints."""
    assert process.stdout is not None
    return [process.stdout.readline() for _ in range(n_rows)]


def graders(root: Path) -> list[int]:
    """Processes that grade with files of a folder, or that still are what came of them."""
    found = []
    for process in psutil.process_iter(["environ"]):
        environment = process.info["environ"] or {}
        if environment.get("TMPDIR", "").startswith(str(root)) and is_running(process):
            found.append(process.pid)
    return found


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_command_is_stopped_and_resumed(tmp_path: Path, curriculum: Curriculum, number: signal.Signals) -> None:
    """By Ctrl-C, which says how to go on, or by a kill: no process and no file is left, and the scores are the same."""
    room = Room(tmp_path, curriculum, "title: H\nexercises: [ex_01]\n")
    handed = make_class(curriculum, tmp_path / "class", 6, ["ex_01"], seed=1)
    process = started(room)
    assert wait_for_rows(process, 2)[0].startswith("student_")
    os.killpg(process.pid, number)
    _, said = process.communicate(timeout=60)
    deadline = time.monotonic() + 30
    while graders(tmp_path) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert graders(tmp_path) == []
    assert sorted(path.name for path in tmp_path.iterdir()) == ["class", "hw.yaml", "out"]
    if number == signal.SIGINT:
        assert process.returncode == 130
        assert shlex.split(said.split("gpuprep", 1)[1])[-1] == "--resume"
    graded = room.grade(is_resumed=True, n_jobs=1)
    assert graded.n_before >= 2
    assert fulfils(handed, graded) == []
    assert (tmp_path / "out" / FILE_NAME).is_file()


@pytest.mark.gpu
def test_class_is_graded_on_a_card(tmp_path: Path, curriculum: Curriculum) -> None:
    """Two graders share it: what is right is timed and passes, in the sandbox and beside what is wrong."""
    room = Room(tmp_path, curriculum, "title: H\nexercises: [ex_01, ex_16]\n")
    right = {
        exercise_id: curriculum.reference_path(curriculum.exercise(exercise_id)).parent
        for exercise_id in ("ex_01", "ex_16")
    }
    for name in ("ada", "bob"):
        (tmp_path / "class" / name).mkdir()
        for exercise_id, folder in right.items():
            for path in folder.glob(f"{exercise_id}*"):
                shutil.copy(path, tmp_path / "class" / name)
    room.hand_in("eve", "ex_01", text="def add(x, y):\n    return x\n")
    graded = room.grade(n_jobs=2, device="cuda")
    outcomes = {row.submission: [score.outcome for score in row.scores] for row in graded.rows}
    assert outcomes["ada"] == outcomes["bob"] == ["PASSED", "PASSED"], graded.rows
    assert outcomes["eve"][0] not in ("PASSED", "PROVISIONAL")
    assert {row["pending"] for name, row in room.scores().items() if name != "eve"} == {""}
