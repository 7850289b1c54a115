"""Grading in Slurm's jobs, tried with submitit's own of this machine: options, files, lost jobs."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest
from made_class import make_class

from gpuprep.classroom import slurm_job
from gpuprep.classroom.executor import Task
from gpuprep.classroom.executors import Place
from gpuprep.classroom.grade import Settings, grade_class
from gpuprep.classroom.parcels import Kit, Parcel
from gpuprep.classroom.slurm_executor import SlurmExecutor
from gpuprep.classroom.slurm_job import KIT, answers, answers_path, parcels_path, work
from gpuprep.classroom.slurm_options import REFUSED, SlurmOptions, slurm_options
from gpuprep.curriculum import Curriculum
from gpuprep.errors import UsageError
from gpuprep.model import Outcome
from gpuprep.workspace import write_atomically

has_submitit = pytest.mark.skipif(importlib.util.find_spec("submitit") is None, reason="needs gpuprep[slurm]")


def options(*pairs: str, n_jobs: int | None = None, device: str = "cpu") -> SlurmOptions:
    """What `--slurm` says."""
    return slurm_options(pairs, n_jobs=n_jobs, device=device)


def test_options_are_sbatchs_own() -> None:
    """With or without dashes in front, with - or _ between; what has no value is a flag."""
    found = options("partition=gpu", "--mem=16G", "cpus_per_task=2", "exclusive", "constraint=a&b", n_jobs=8)
    assert found.parameters == {
        "name": "gpuprep",
        "timeout_min": 60,
        "slurm_additional_parameters": {
            "partition": "gpu",
            "mem": "16G",
            "cpus-per-task": "2",
            "exclusive": True,
            "constraint": "a&b",
        },
        "slurm_array_parallelism": 8,
        "slurm_setup": ["export PYTHONSAFEPATH=1"],
    }


@pytest.mark.parametrize(
    ("pairs", "asked"),
    [
        ((), {"gpus-per-node": 1}),
        (("gres=gpu:h100:1",), {"gres": "gpu:h100:1"}),
        (("gpus_per_task=1",), {"gpus-per-task": "1"}),
    ],
)
def test_card_is_asked_for_where_one_is_graded_on(pairs: tuple[str, ...], asked: Mapping[str, Any]) -> None:
    """Unless the options do that themselves."""
    assert options(*pairs, device="cuda").parameters["slurm_additional_parameters"] == asked
    assert "slurm_additional_parameters" not in options(device="auto").parameters


@pytest.mark.parametrize(
    ("text", "minutes"),
    [("90", 90), ("30:30", 31), ("1:30:00", 90), ("1-12", 2160), ("1-0:30", 1470), ("2-1:00:30", 2941)],
)
def test_time_is_written_as_slurm_does(text: str, minutes: int) -> None:
    """In whole minutes, rounded up."""
    assert options(f"time={text}").minutes == minutes


@pytest.mark.parametrize(
    "pair",
    [
        "partition=",
        "=gpu",
        "a b=c",
        "time=soon",
        "time=0",
        "cluster=lsf",
        "tasks_per_job=0",
        "tasks_per_job=many",
        "comment=a\nb",
        *(f"{name}=1" for name in REFUSED),
    ],
)
def test_option_that_makes_no_sense_is_refused(pair: str) -> None:
    """Before anything is submitted."""
    with pytest.raises(UsageError):
        options(pair)


def test_missing_submitit_is_told_with_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before anything is graded."""
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(UsageError) as caught:
        SlurmExecutor(options(), tmp_path)
    assert caught.value.next_step == "pip install 'gpuprep[slurm]'"


@has_submitit
def test_machine_without_slurm_is_told(tmp_path: Path, curriculum: Curriculum, monkeypatch: pytest.MonkeyPatch) -> None:
    """And nothing is left in the output folder."""
    monkeypatch.setenv("PATH", str(tmp_path))
    with SlurmExecutor(options(), tmp_path) as executor, pytest.raises(UsageError, match="Slurm takes no jobs"):
        list(executor.run(tasks_of(curriculum, 1)))
    assert list(tmp_path.iterdir()) == []


def tasks_of(curriculum: Curriculum, n_tasks: int, *, are_stubs: bool = True) -> list[Task]:
    """The stub of ex_01, which takes no time to grade, or its reference."""
    exercise = curriculum.exercise("ex_01")
    path = curriculum.stub_path(exercise) if are_stubs else curriculum.reference_path(exercise)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    return [Task(f"student_{n}", exercise, str(path), digest, str(curriculum.root)) for n in range(n_tasks)]


class ScriptedGrader:
    """Answers without grading; the second parcel's answer is the last one where `is_unfit` says so."""

    is_unfit = False
    graded: list[str] = []  # noqa: RUF012  looked at from outside

    def __init__(self, kit: Kit) -> None:
        self.graded.clear()

    def grade(self, parcel: str) -> dict[str, Any]:
        """Say that it failed."""
        self.graded.append(Parcel.from_json(parcel).task.submission)
        is_unfit = self.is_unfit and len(self.graded) > 1
        return {"fault": "no sandbox here" if is_unfit else "tried", "is_unfit": is_unfit}

    def close(self) -> None:
        """Nothing was started."""


@pytest.fixture
def shared(tmp_path: Path, curriculum: Curriculum, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder as the driver makes it, with three tasks for job 0."""
    monkeypatch.setattr(slurm_job, "RemoteGrader", ScriptedGrader)
    monkeypatch.setattr(ScriptedGrader, "is_unfit", False)
    (tmp_path / KIT).write_text(Kit.packed(curriculum.root, "cpu", is_elsewhere=False).to_json())
    lines = [Parcel.packed(task).to_json() + "\n" for task in tasks_of(curriculum, 3)]
    parcels_path(tmp_path, 0).write_text("".join(lines))
    answers_path(tmp_path, 0).touch()
    return tmp_path


def said(folder: Path) -> list[dict[str, Any]]:
    """What job 0 has written."""
    return list(answers(answers_path(folder, 0).read_bytes()))


def test_job_answers_each_task(shared: Path) -> None:
    """In a line each, after one that says that it runs."""
    work(str(shared), 0)
    assert said(shared)[0] == {"began": True}
    assert [answer.get("n") for answer in said(shared)[1:]] == [0, 1, 2]


def test_job_that_is_started_again_goes_on(shared: Path) -> None:
    """A line that was torn by its end counts for nothing."""
    whole = json.dumps({"n": 0, "fault": "before"})
    answers_path(shared, 0).write_text(f'{whole}\n{{"n": 1, "fau')
    work(str(shared), 0)
    assert ScriptedGrader.graded == ["student_1", "student_2"]
    assert [answer["n"] for answer in said(shared) if "n" in answer] == [0, 1, 2]


def test_job_on_an_unfit_machine_ends(shared: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without an answer to what it can't grade."""
    monkeypatch.setattr(ScriptedGrader, "is_unfit", True)
    work(str(shared), 0)
    assert [answer["n"] for answer in said(shared) if "n" in answer] == [0]
    assert said(shared)[-1] == {"unfit": "no sandbox here"}


def test_job_ends_when_nobody_waits(shared: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever asked was killed, and the next one has removed the folder."""
    grade = ScriptedGrader.grade

    def graded_and_gone(self: ScriptedGrader, parcel: str) -> dict[str, Any]:
        answers_path(shared, 0).unlink()
        return grade(self, parcel)

    monkeypatch.setattr(ScriptedGrader, "grade", graded_and_gone)
    work(str(shared), 0)
    assert ScriptedGrader.graded == ["student_0"]


@dataclass
class FakeJob:
    """A job as submitit shows it."""

    is_done: bool = False
    job_id: str = "7_0"
    state: str = "NODE_FAIL"
    n_cancelled: int = 0

    def done(self, *, force_check: bool = False) -> bool:
        """True once it has ended."""
        return self.is_done

    def stderr(self) -> str:
        """The end of its output."""
        return "slurmstepd: node lost\n"

    def cancel(self, *, check: bool = True) -> None:
        """End it."""
        self.n_cancelled += 1
        self.is_done = True


class Played(SlurmExecutor):
    """Jobs that were played before: the answers of each, and whether it has ended."""

    def __init__(self, out: Path, played: list[tuple[list[dict[str, Any]], bool]], size: int) -> None:
        super().__init__(options(f"tasks_per_job={size}"), out)
        self.played = played
        self.fakes: list[FakeJob] = []

    def _map(self, n_chunks: int) -> list[Any]:
        for number, (lines, is_done) in enumerate(self.played):
            text = "".join(f"{json.dumps(line)}\n" for line in lines)
            write_atomically(answers_path(self._folder, number), text)
            self.fakes.append(FakeJob(is_done))
        return self.fakes


@has_submitit
def test_lost_job_loses_what_it_has_not_answered(
    tmp_path: Path, curriculum: Curriculum, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And nothing else; the reason is told, and an unfit machine's own."""
    monkeypatch.setattr("gpuprep.classroom.slurm_executor.POLL_S", 0.01)
    played = [
        ([{"began": True}, {"n": 0, "fault": "answered"}], True),
        ([{"began": True}, {"unfit": "no sandbox here"}], True),
    ]
    with Played(tmp_path, played, 2) as executor:
        found = {each.task.submission: each for each in executor.run(tasks_of(curriculum, 4))}
    assert found["student_0"].fault == "answered"
    assert found["student_1"].fault == "job 7_0 ended (NODE_FAIL): slurmstepd: node lost"
    assert [found[f"student_{n}"].fault for n in (2, 3)] == ["no sandbox here"] * 2
    assert found["student_3"].is_unfit
    assert list(tmp_path.iterdir()) == []


@has_submitit
def test_job_that_slurm_says_nothing_of_is_lost_in_the_end(
    tmp_path: Path, curriculum: Curriculum, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Once it has had all its time, and some more."""
    monkeypatch.setattr("gpuprep.classroom.slurm_executor.POLL_S", 0.01)
    monkeypatch.setattr("gpuprep.classroom.slurm_executor.END_LIMIT_S", 0.0)
    monkeypatch.setattr("gpuprep.classroom.slurm_executor.OVERDUE_S", -3600.0)
    with Played(tmp_path, [([{"began": True}], False)], 2) as executor:
        found = list(executor.run(tasks_of(curriculum, 2)))
    assert all("ended" in each.fault for each in found)
    assert len(found) == 2


@has_submitit
def test_jobs_are_cancelled_when_the_class_is_left(
    tmp_path: Path, curriculum: Curriculum, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those that have not ended, and the folder goes."""
    monkeypatch.setattr("gpuprep.classroom.slurm_executor.POLL_S", 0.01)
    played = [([{"n": 0, "fault": "answered"}], True), ([], False)]
    with Played(tmp_path, played, 1) as executor:
        next(executor.run(tasks_of(curriculum, 2)))
    assert [fake.n_cancelled for fake in executor.fakes] == [0, 1]
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def quiet_tmp(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder for temporary files that must be empty in the end."""
    folder = tmp_path / "tmp"
    folder.mkdir()
    monkeypatch.setenv("TMPDIR", str(folder))
    monkeypatch.setattr("tempfile.tempdir", str(folder))
    yield folder
    deadline = time.monotonic() + 10
    while list(folder.iterdir()) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert list(folder.iterdir()) == []


def workers() -> list[psutil.Process]:
    """The jobs' processes."""
    found = []
    for process in psutil.Process().children(recursive=True):
        try:
            if "submitit.core._submit" in " ".join(process.cmdline()):
                found.append(process)
        except psutil.Error:
            continue
    return found


@pytest.mark.soak
@has_submitit
def test_killed_job_loses_its_open_tasks_alone(tmp_path: Path, quiet_tmp: Path, curriculum: Curriculum) -> None:
    """Two jobs as processes of this machine, one of them killed: asked again, its tasks are graded."""
    tasks = tasks_of(curriculum, 12, are_stubs=False)
    with SlurmExecutor(options("cluster=local", n_jobs=2), tmp_path) as executor:
        run = executor.run(tasks)
        found = [next(run)]
        workers()[-1].kill()
        found += run
        again = [each.task for each in found if each.fault]
        found += executor.run(again)
    graded = [each for each in found if each.report]
    assert len(found) == len(tasks) + len(again)
    assert sorted(each.task.submission for each in graded) == sorted(task.submission for task in tasks)
    assert {each.report.outcome for each in graded if each.report} == {Outcome.PROVISIONAL}
    assert workers() == []
    assert [path.name for path in tmp_path.iterdir()] == ["tmp"]


@pytest.mark.soak
@has_submitit
def test_class_is_graded_in_jobs(tmp_path: Path, quiet_tmp: Path, curriculum: Curriculum) -> None:
    """With the verdicts that its files declare, and the files' own paths in the reports."""
    handed = make_class(curriculum, tmp_path / "class", 8, ["ex_01"], seed=1)
    (tmp_path / "hw.yaml").write_text("title: H\nexercises: [ex_01]\n")
    place = Place("slurm", slurm=["cluster=local"])
    out = tmp_path / "out"
    settings = Settings(out, 2, device="cpu")
    executor = place.executor(out, n_jobs=2, device="cpu")
    graded = grade_class(tmp_path / "class", tmp_path / "hw.yaml", curriculum, settings, executor=executor)
    scores = [(row.submission, score) for row in graded.rows for score in row.scores]
    assert all(score.outcome in handed[name, score.exercise_id].expected for name, score in scores)
    assert all(score.report and Path(score.report.path).is_relative_to(out) for _, score in scores)
    assert sorted(path.name for path in out.iterdir()) == ["graded", "journal.db", "scores.csv"]
