"""Grading on Ray: what is asked of it, what becomes of lost and unfit graders, and a real one that loses a worker."""

from __future__ import annotations

import hashlib
import importlib.util
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import pytest
from made_class import make_class

from gpuprep.classroom import ray_floor
from gpuprep.classroom.executor import Finished, Task
from gpuprep.classroom.executors import Place
from gpuprep.classroom.grade import Settings, grade_class, sandbox_for
from gpuprep.classroom.local import MAX_STILLBORN, LocalExecutor
from gpuprep.classroom.ray_conductor import elsewhere_than, hang_limit_s, needs
from gpuprep.classroom.ray_executor import RayExecutor, RayOptions, finished_from
from gpuprep.classroom.ray_floor import Asked, Floor, UnstaffedError
from gpuprep.confinement.permits import Level
from gpuprep.curriculum import Curriculum
from gpuprep.errors import GraderFaultError, UsageError
from gpuprep.grading.confining import offered

LOST = "lost"
SILENT = "silent"
has_ray = pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="needs gpuprep[ray]")


@pytest.mark.parametrize(
    ("device", "has_gpus", "accelerator", "asked"),
    [
        ("cpu", True, None, {"num_cpus": 1}),
        ("auto", False, None, {"num_cpus": 1}),
        ("auto", True, None, {"num_cpus": 1, "num_gpus": 1}),
        ("cuda", False, "H100", {"num_cpus": 1, "num_gpus": 1, "accelerator_type": "H100"}),
    ],
)
def test_grader_has_what_it_needs_set_aside(
    device: str, has_gpus: bool, accelerator: str | None, asked: Mapping[str, Any]
) -> None:
    """A core, and a card where one is graded on, of the type that was asked for."""
    assert needs(device, accelerator, has_gpus=has_gpus) == asked


def test_actor_that_waits_for_a_card_does_not_hang() -> None:
    """Others may need it for any time; on the CPU there is a limit above all those that a check has."""
    assert hang_limit_s("cuda", 10.0, 1) == float("inf")
    assert hang_limit_s("cpu", 10.0, 2) > 2 * hang_limit_s("cpu", 10.0, 1) - hang_limit_s("cpu", 10.0, 1) > 100


def test_own_ray_lets_nobody_else_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It asks for a secret that is new each time, and reports to nobody; a cluster's own is left alone."""
    monkeypatch.setenv("RAY_AUTH_TOKEN", "the cluster's")
    monkeypatch.setenv("RAY_ADDRESS", "auto")
    first, second = (RayOptions().environment(tmp_path) for _ in range(2))
    assert first["RAY_AUTH_MODE"] == "token"
    assert len({first["RAY_AUTH_TOKEN"], second["RAY_AUTH_TOKEN"], "the cluster's"}) == 3
    theirs = RayOptions(address="auto").environment(tmp_path)
    assert theirs["RAY_AUTH_TOKEN"] == os.environ["RAY_AUTH_TOKEN"]
    assert {each["RAY_USAGE_STATS_ENABLED"] for each in (first, theirs)} == {"0"}
    assert "RAY_ADDRESS" not in first


def test_missing_ray_is_told_with_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    """Before anything is graded."""
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(UsageError) as caught:
        RayExecutor(RayOptions())
    assert caught.value.next_step == "pip install 'gpuprep[ray]'"


def test_place_says_where_and_refuses_what_does_not_belong_together(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only Ray has an address, only Slurm its options; what this machine offers counts unless others grade."""
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    assert Place().executor(tmp_path, n_jobs=1, device="cpu") is None
    for options in ({"ray_address": "auto"}, {"accelerator": "H100"}, {"slurm": ["time=5"]}):
        with pytest.raises(UsageError, match="needs --executor"):
            Place(**options)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="no executor is called"):
        Place("kubernetes")
    assert not Place("ray").is_elsewhere
    assert Place("ray", ray_address="auto").is_elsewhere
    assert Place("slurm").is_elsewhere
    assert not Place("slurm", slurm=["cluster=local"]).is_elsewhere
    monkeypatch.setenv("RAY_ADDRESS", "10.0.0.1:6379")
    assert Place("ray").is_elsewhere


def test_sandbox_of_a_cluster_is_the_one_that_is_required(tmp_path: Path) -> None:
    """What this machine offers says nothing of others; where nothing is required, its strongest is asked of them."""
    strongest = next((level for level, why in offered().items() if not why), Level.NONE)
    for level in (Level.FULL, Level.LANDLOCK):
        assert sandbox_for(Settings(tmp_path, required_sandbox=level, is_elsewhere=True)) is level
    assert sandbox_for(Settings(tmp_path, is_elsewhere=True)) == strongest


def test_nonsense_from_the_cluster_is_a_fault(curriculum: Curriculum) -> None:
    """Never a verdict, and no traceback."""
    task = task_of(curriculum, "ada", curriculum.stub_path(curriculum.exercise("ex_01")))
    for answer in ({}, {"report": 3, "tiers": []}, {"report": {"version": 1}, "tiers": ["x"]}):
        assert "makes no sense" in finished_from(task, answer).fault


class RayError(Exception):
    """What the fake Ray raises."""


@dataclass(eq=False)
class Said:
    """A reference to what an actor says."""

    what: Any


@dataclass
class FakeRay:
    """A cluster whose actors answer as they are told."""

    scripts: list[list[Any]]
    """Of each grader in turn: its machine, and what it says to each parcel. LOST kills it, SILENT says nothing."""
    machines: Sequence[str] = ("one",)
    made: list[frozenset[str]] = field(default_factory=list)
    """For each grader, which machines it was not to be put on."""
    n_ended: int = 0
    exceptions: Any = field(default_factory=lambda: SimpleNamespace(RayError=RayError))

    def make(self, unfit: frozenset[str]) -> Any:
        """Start an actor."""
        script = iter(self.scripts[len(self.made)] if len(self.made) < len(self.scripts) else ())
        self.made.append(unfit)

        def says(*_: object) -> Said:
            return Said(next(script, SILENT))

        def closes() -> Said:
            return Said(None)

        actor = {"introduce": says, "grade": says, "close": closes}
        return SimpleNamespace(**{name: SimpleNamespace(remote=method) for name, method in actor.items()})

    def wait(self, references: Sequence[Said], *, num_returns: int, timeout: float) -> tuple[list[Said], list[Said]]:
        """Those that say something."""
        return [each for each in references if each.what != SILENT][:num_returns], []

    def get(self, reference: Said) -> Any:
        """What it says."""
        if reference.what == LOST:
            raise RayError("The actor died.\n\nmore")
        return reference.what

    def kill(self, handle: Any, *, no_restart: bool) -> None:
        """End an actor."""
        self.n_ended += 1

    def nodes(self) -> list[dict[str, Any]]:
        """The machines."""
        return [{"NodeID": name, "Alive": True} for name in self.machines]

    def available_resources(self) -> Mapping[str, float]:
        """What is free."""
        return {"CPU": 0.0}


def floor_of(ray: FakeRay, n_jobs: int, n_parcels: int, *, is_own: bool = True) -> tuple[Floor, list[Any]]:
    """A floor with parcels on it, and what it says."""
    said: list[Any] = []
    floor = Floor(ray, ray.make, n_jobs, is_own=is_own, say=said.append)
    floor.waiting.extend(Asked(n, f"parcel {n}", 3600.0) for n in range(n_parcels))
    return floor, said


def run_out(floor: Floor) -> None:
    """Until nothing is awaited."""
    for _ in range(50):
        if not floor.is_busy:
            return
        floor.step()
    raise AssertionError("it never ends")


READY = ("one", "")
UNFIT = {"fault": "the sandbox 'full' can't be had here", "is_unfit": True}


def test_parcels_are_handed_to_whoever_is_free() -> None:
    """No more graders than jobs, and no more than there are parcels."""
    ray = FakeRay([[READY, SILENT], [READY, *[{"report": 1}] * 3]])
    floor, said = floor_of(ray, 2, 3)
    for _ in range(8):
        floor.step()
    assert sorted(each["n"] for each in said) in ([0, 2], [1, 2])
    assert floor.is_busy
    assert len(ray.made) == 2
    floor.close()
    assert ray.n_ended == 2


def test_lost_actor_is_a_fault_and_replaced() -> None:
    """Of its parcel alone; what waits is graded by the next one."""
    ray = FakeRay([[READY, LOST], [READY, {"report": 1}]])
    floor, said = floor_of(ray, 1, 2)
    run_out(floor)
    assert said == [{"n": 0, "fault": "the grader was lost: The actor died."}, {"n": 1, "report": 1}]


def test_actors_that_never_get_ready_are_told() -> None:
    """Instead of being tried for ever."""
    floor, said = floor_of(FakeRay([[LOST]] * 9), 1, 1)
    with pytest.raises(UnstaffedError, match="The actor died"):
        run_out(floor)
    assert said == []


def test_unfit_machine_is_left_out() -> None:
    """Its parcel goes to another one, and is never graded in less than was asked for."""
    ray = FakeRay([[("one", ""), UNFIT], [("two", ""), {"report": 1}]], machines=("one", "two"))
    floor, said = floor_of(ray, 1, 1, is_own=False)
    run_out(floor)
    assert said == [{"n": 0, "report": 1}]
    assert ray.made == [frozenset(), {"one"}]
    assert elsewhere_than(ray.made[1])["label_selector"] == {"ray.io/node-id": "!in(one)"}


@pytest.mark.parametrize("first", [[("one", ""), UNFIT], [("one", "another gpuprep is installed there")]])
def test_cluster_of_unfit_machines_is_told(first: list[Any]) -> None:
    """At once, with the reason."""
    floor, said = floor_of(FakeRay([first]), 1, 1, is_own=False)
    with pytest.raises(UnstaffedError, match=r"sandbox|another gpuprep"):
        run_out(floor)
    assert said == []


def test_own_machine_that_is_unfit_is_a_fault() -> None:
    """As with graders of this machine: there is no other one to ask."""
    floor, said = floor_of(FakeRay([[READY, UNFIT], [READY, {"report": 1}]]), 1, 2)
    run_out(floor)
    assert [each.get("fault", "") for each in said] == [UNFIT["fault"], ""]


def test_cluster_without_room_is_told_in_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """With what is free; where somebody grades, it is waited for any time."""
    monkeypatch.setattr(ray_floor, "ROOM_LIMIT_S", -1.0)
    floor, _ = floor_of(FakeRay([]), 2, 2)
    with pytest.raises(UnstaffedError, match="no room for a grader"):
        run_out(floor)
    floor, _ = floor_of(FakeRay([[READY, SILENT]]), 2, 3)
    floor._actors.append(ray_floor._Actor(None, None, machine="one"))
    floor.waiting.clear()
    floor.step()


def test_actor_that_hangs_is_replaced() -> None:
    """Its parcel is a fault."""
    floor, said = floor_of(FakeRay([[READY, SILENT], [READY, {"report": 1}]]), 1, 1)
    floor.waiting[0] = Asked(0, "parcel", -1.0)
    floor.waiting.append(Asked(1, "parcel", 3600.0))
    run_out(floor)
    assert [each["n"] for each in said] == [0, 1]
    assert "hung" in said[0]["fault"]


def task_of(curriculum: Curriculum, name: str, path: Path) -> Task:
    """A file for ex_01."""
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    return Task(name, curriculum.exercise("ex_01"), str(path), digest, str(curriculum.root))


def tasks_of(curriculum: Curriculum, n_tasks: int) -> list[Task]:
    """References and stubs in turn."""
    exercise = curriculum.exercise("ex_01")
    paths = [curriculum.reference_path(exercise), curriculum.stub_path(exercise)]
    return [task_of(curriculum, f"student_{number}", paths[number % 4 == 3]) for number in range(n_tasks)]


@pytest.fixture
def short_tmp(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder for temporary files that is short enough for Ray's sockets."""
    folder = Path(tempfile.mkdtemp(prefix="gp", dir="/tmp"))
    monkeypatch.setenv("TMPDIR", str(folder))
    monkeypatch.setattr("tempfile.tempdir", str(folder))
    yield folder
    folder.rmdir()


def verdicts(found: Sequence[Finished]) -> dict[str, Any]:
    """What of a class must be the same wherever it is graded."""
    return {
        each.task.submission: (
            str(each.report.outcome),
            each.report.path,
            each.report.file_hash,
            each.report.exercise_hash,
            [(result.case.tier, str(result.outcome)) for result in each.report.cases],
            each.tiers,
        )
        for each in found
        if each.report
    }


def kill_when_busy(find: Callable[[], list[psutil.Process]]) -> Callable[[], None]:
    """Kill the first process that is found, once it is there; returns what waits for that."""
    killed: list[int] = []

    def kill() -> None:
        deadline = time.monotonic() + 120
        while not killed and time.monotonic() < deadline:
            for process in find():
                process.kill()
                killed.append(process.pid)
                break
            time.sleep(0.02)

    def wait() -> None:
        thread.join()
        assert killed

    thread = threading.Thread(target=kill)
    thread.start()
    return wait


def named(part: str, parent: int | None = None) -> list[psutil.Process]:
    """Descendants whose command line has a part."""
    found = []
    for process in psutil.Process(parent).children(recursive=True):
        try:
            if part in " ".join(process.cmdline()):
                found.append(process)
        except psutil.Error:
            continue
    return found


@pytest.mark.soak
@has_ray
def test_killed_worker_loses_nothing(tmp_path: Path, short_tmp: Path, curriculum: Curriculum) -> None:
    """Two workers of a real Ray, one of them killed while it grades: every verdict is as without Ray."""
    tasks = tasks_of(curriculum, 12)
    with LocalExecutor(2, tmp_path) as local:
        expected = verdicts(list(local.run(tasks)))
    with RayExecutor(RayOptions(n_jobs=2)) as executor:
        wait = kill_when_busy(lambda: named("ray::RayGrader.grade"))
        first = list(executor.run(tasks))
        wait()
        lost = [each.task for each in first if each.fault]
        assert len(lost) == 1
        second = list(executor.run(lost))
        ours = psutil.Process().children(recursive=True)
    assert verdicts([*first, *second]) == expected
    assert len(expected) == len(tasks)
    assert psutil.wait_procs(ours, timeout=5)[1] == []
    assert list(short_tmp.iterdir()) == []


@pytest.mark.soak
@has_ray
def test_killed_conductor_loses_its_tasks_alone(short_tmp: Path, curriculum: Curriculum) -> None:
    """Another one takes over; of the first nothing is left."""
    tasks = tasks_of(curriculum, 8)
    with RayExecutor(RayOptions(n_jobs=1)) as executor:
        found = executor.run(tasks)
        first = [next(found)]
        named("ray_conductor")[0].kill()
        first += found
        lost = [each.task for each in first if each.fault]
        assert 1 <= len(lost) <= 3
        assert len(verdicts([*first, *executor.run(lost)])) == len(tasks)
        ours = psutil.Process().children(recursive=True)
    assert psutil.wait_procs(ours, timeout=5)[1] == []
    assert list(short_tmp.iterdir()) == []


@pytest.mark.soak
@has_ray
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_command_on_ray_is_stopped_and_resumed(
    tmp_path: Path, short_tmp: Path, curriculum: Curriculum, number: signal.Signals
) -> None:
    """It leaves no process and no folder, and says nothing of Ray's; the rest is graded on this machine."""
    handed = make_class(curriculum, tmp_path / "class", 8, ["ex_01"], seed=1)
    (tmp_path / "hw.yaml").write_text("title: H\nexercises: [ex_01]\n")
    command = ["grade", str(tmp_path / "class"), "--assignment", str(tmp_path / "hw.yaml"), "--device", "cpu"]
    command += ["--out", str(tmp_path / "out"), "--executor", "ray", "--jobs", "2"]
    process = subprocess.Popen(
        [sys.executable, "-m", "gpuprep", *command],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert process.stdout is not None
    lines = [process.stdout.readline() for _ in range(2)]
    assert all(line.startswith("student_") for line in lines)
    ours = psutil.Process(process.pid).children(recursive=True)
    os.killpg(process.pid, number)
    _, said = process.communicate(timeout=60)
    assert psutil.wait_procs(ours, timeout=40)[1] == []
    deadline = time.monotonic() + 10
    while list(short_tmp.iterdir()) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert list(short_tmp.iterdir()) == []
    assert "ray" not in said.replace(str(tmp_path), "").replace("--executor ray", "").lower()
    settings = Settings(tmp_path / "out", 2, True, "cpu")
    graded = grade_class(tmp_path / "class", tmp_path / "hw.yaml", curriculum, settings)
    assert graded.n_before >= 2
    assert all(
        score.outcome in handed[row.submission, score.exercise_id].expected
        for row in graded.rows
        for score in row.scores
    )


@pytest.mark.soak
@has_ray
def test_ray_that_is_not_there_is_told(short_tmp: Path, curriculum: Curriculum) -> None:
    """With the address, and without Ray's pages."""
    with RayExecutor(RayOptions(n_jobs=1, address="127.0.0.1:9")) as executor, pytest.raises(UsageError) as caught:
        list(executor.run(tasks_of(curriculum, 1)))
    assert "127.0.0.1:9" in caught.value.message
    assert "\n" not in caught.value.message
    assert list(short_tmp.iterdir()) == []


@has_ray
def test_conductor_that_never_starts_is_told(
    short_tmp: Path, curriculum: Curriculum, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With what the last one said; its folders are gone."""
    monkeypatch.setattr("gpuprep.classroom.ray_executor._BOOTSTRAP", "raise SystemExit('no ray here')")
    with RayExecutor(RayOptions(n_jobs=1)) as executor:
        for _ in range(MAX_STILLBORN - 1):
            (found,) = executor.run(tasks_of(curriculum, 1))
            assert "no ray here" in found.fault
        with pytest.raises(GraderFaultError, match="no ray here"):
            list(executor.run(tasks_of(curriculum, 1)))
    assert list(short_tmp.iterdir()) == []


@has_ray
def test_file_that_was_exchanged_never_reaches_ray(tmp_path: Path, curriculum: Curriculum) -> None:
    """Nothing is started for it."""
    path = tmp_path / "ex_01_vector_add.py"
    path.write_text("# mine")
    task = task_of(curriculum, "ada", path)
    path.write_text("# another")
    with RayExecutor(RayOptions(n_jobs=1)) as executor:
        (found,) = executor.run([task])
        assert executor._conductor is None
    assert "not what was handed in" in found.fault
