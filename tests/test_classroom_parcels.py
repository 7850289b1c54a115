"""What is sent to a machine that has neither the class's files nor the curriculum."""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest
import sample_reports as samples

from gpuprep.classroom import parcels
from gpuprep.classroom.executor import Finished, Task
from gpuprep.classroom.parcels import Kit, Parcel
from gpuprep.classroom.remote_grader import RemoteGrader
from gpuprep.curriculum import Curriculum
from gpuprep.errors import GraderFaultError
from gpuprep.model import Tier


def task_of(curriculum: Curriculum, exercise_id: str, path: Path | None = None, name: str = "ada") -> Task:
    """A task for a file; for the reference where none is named."""
    exercise = curriculum.exercise(exercise_id)
    path = path or curriculum.reference_path(exercise)
    contents = [source.read_bytes() for source in curriculum.sources(path)]
    return Task(name, exercise, str(path), hashlib.sha256(b"\0".join(contents)).hexdigest(), str(curriculum.root))


@pytest.mark.parametrize("exercise_id", ["ex_01", "ex_16"])
def test_parcel_arrives_as_it_was_sent(tmp_path: Path, curriculum: Curriculum, exercise_id: str) -> None:
    """With one file or two; only the places differ."""
    task = replace(task_of(curriculum, exercise_id), n_checks=3, sandbox="full", shapes=({"n": 5},))
    text = Parcel.packed(task).to_json()
    assert "\n" not in text
    here = Parcel.from_json(text).unpacked(tmp_path / "files", tmp_path / "curriculum")
    assert replace(here, path=task.path, curriculum=task.curriculum) == task
    found = {path.name: path.read_bytes() for path in (tmp_path / "files").iterdir()}
    assert found == {path.name: path.read_bytes() for path in curriculum.sources(Path(task.path))}


def test_parcel_of_another_file_is_refused(curriculum: Curriculum) -> None:
    """On this side and on the other: what is graded must be what was handed in."""
    task = task_of(curriculum, "ex_01")
    with pytest.raises(ValueError, match="not what was handed in"):
        Parcel.packed(replace(task, file_hash="0" * 64))
    fields = json.loads(Parcel.packed(task).to_json())
    fields["files"] = dict.fromkeys(fields["files"], "AAAA")
    with pytest.raises(ValueError, match="not what was handed in"):
        Parcel.from_json(json.dumps(fields))


@pytest.mark.parametrize("name", ["../ex_01_vector_add.py", "torch.py", "ex_01_vector_add.cu"])
def test_parcel_holds_the_exercises_files_alone(curriculum: Curriculum, name: str) -> None:
    """No name leads anywhere else."""
    with pytest.raises(ValueError, match="in place of"):
        Parcel(task_of(curriculum, "ex_01"), {name: b""})


def test_kit_brings_graders_and_stubs_but_no_reference(tmp_path: Path, curriculum: Curriculum) -> None:
    """Into a folder named after its hash; what grading asks of a curriculum is the same there."""
    kit = Kit.from_json(Kit.packed(curriculum.root, "cpu", is_elsewhere=True).to_json())
    root = kit.unpacked(tmp_path)
    assert root.name == kit.archive_hash[:16]
    assert not (root / "reference").exists()
    there = replace(curriculum, root=root)
    for exercise in curriculum.exercises:
        assert there.exercise_hash(exercise) == curriculum.exercise_hash(exercise)
    assert kit.unpacked(tmp_path) == root


def test_equal_curricula_make_equal_kits(tmp_path: Path, curriculum: Curriculum) -> None:
    """Whenever their files were written, and whatever Python left beside them."""
    kit = Kit.packed(curriculum.root, "cpu", is_elsewhere=False)
    with zipfile.ZipFile(io.BytesIO(kit.archive)) as archive:
        archive.extractall(tmp_path)
    (tmp_path / "graders" / "__pycache__").mkdir()
    (tmp_path / "graders" / "__pycache__" / "x.pyc").write_bytes(b"x")
    assert Kit.packed(tmp_path, "cpu", is_elsewhere=False) == kit


def test_damaged_kit_is_refused(tmp_path: Path, curriculum: Curriculum) -> None:
    """Nothing of it is unpacked."""
    kit = replace(Kit.packed(curriculum.root, "cpu", is_elsewhere=False), archive=b"PK")
    with pytest.raises(GraderFaultError, match="damaged"):
        kit.unpacked(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_another_gpuprep_is_unfit(tmp_path: Path, curriculum: Curriculum, monkeypatch: pytest.MonkeyPatch) -> None:
    """It could judge otherwise; on the machine that sent the task it is the same, and nobody asks."""
    monkeypatch.setattr(parcels, "code_hash", lambda: "theirs")
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    kit = replace(Kit.packed(curriculum.root, "cpu", is_elsewhere=True), code_hash="ours")
    grader = RemoteGrader(kit)
    assert "another gpuprep" in grader.why_unfit()
    assert grader.grade("{}")["is_unfit"]
    grader.close()
    fit = RemoteGrader(Kit.packed(curriculum.root, "cpu", is_elsewhere=False))
    assert fit.why_unfit() == ""
    fit.close()
    assert list(tmp_path.iterdir()) == []


def test_nonsense_is_a_fault_and_no_verdict(curriculum: Curriculum) -> None:
    """And the grader goes on."""
    grader = RemoteGrader(Kit.packed(curriculum.root, "cpu", is_elsewhere=False))
    answers = [grader.grade(text) for text in ("", "{}", "[]", '{"files": {}, "task": "{}"}')]
    grader.close()
    assert all(answer["fault"] and "report" not in answer for answer in answers)


def test_answer_says_what_became_of_a_task(curriculum: Curriculum) -> None:
    """A report or a fault, there and back as JSON."""
    task = task_of(curriculum, "ex_01")
    report = replace(samples.provisional(), exercise_id="ex_01")
    for finished in (
        Finished(task, report, (Tier.CORRECT, Tier.WORK)),
        Finished(task, fault="no sandbox here", is_unfit=True),
    ):
        assert Finished.from_answer(task, json.loads(json.dumps(finished.as_answer()))) == finished
