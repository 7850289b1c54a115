"""What others' machines grade with: a zip for Gradescope, workflows for GitHub Actions. The scripts in them stand in
`templates/` as they are run; what differs from one assignment to the next lies beside them, as data."""

from __future__ import annotations

import io
import json
import re
import shutil
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from gpuprep import __version__
from gpuprep.classroom import assignment as assignments
from gpuprep.classroom.assignment import Assignment
from gpuprep.confinement.permits import Level
from gpuprep.curriculum import FILE_NAME, Curriculum, default_root
from gpuprep.errors import UsageError
from gpuprep.workspace import write_atomically

TEMPLATES = Path(__file__).parent / "templates"
CONSTRAINTS = "constraints.txt"
PROGRAMS = ("setup.sh", "run_autograder")
"""Those of Gradescope's zip that are run."""
GRADING = Path("grading")
"""In a repository on GitHub: what to grade, and what with."""
WORKFLOWS = Path(".github", "workflows")
STUDENTS = Path("student") / WORKFLOWS / "gpuprep.yml"
"""What students' repositories get of it."""
PLACEHOLDER = "OWNER/REPOSITORY"

MIN_MINUTES, MAX_MINUTES = 2, 40
"""What Gradescope lets one set as a time limit is at most that long."""
RESERVE_S = 60
"""Of that limit, for ending what runs and writing the result: a container that is killed leaves none."""

_REPOSITORY = re.compile(r"[A-Za-z0-9-]+/[A-Za-z0-9._-]+")
_WHEEL = re.compile(r"gpuprep-(?P<version>[^-]+)(-[^-]+)?-py3-none-any\.whl")
_EPOCH = (1980, 1, 1, 0, 0, 0)
"""The first moment that a zip knows: what is packed twice is the same twice."""


@dataclass(frozen=True)
class Order:
    """What to export."""

    assignment_path: Path
    curriculum: Curriculum
    has_own_curriculum: bool = False
    """That it is not the one which comes with gpuprep, and has to go along."""
    wheel: Path | None = None
    """What to install; None for gpuprep of this version, from PyPI."""


@dataclass(frozen=True)
class Exported:
    """What was written."""

    path: Path
    """The zip, or the folder."""
    files: tuple[str, ...]
    """In it."""
    assignment: Assignment
    installs: str
    """The wheel's name, or the version that PyPI is asked for."""
    has_wheel: bool = False
    kept: tuple[str, ...] = ()
    """Files that were changed by hand since, and left alone."""
    repository: str | None = None
    """On GitHub: whose workflow students call. None where that is still to be filled in, or there is none."""


def gradescope(path: Path, order: Order, *, required_sandbox: str = Level.NONE, minutes: int = 10) -> Exported:
    """Write a zip that Gradescope takes for an autograder.

    Args:
        path: the zip, which is replaced if it is there.
        order: what is in it.
        required_sandbox: the weakest in which a submission is graded there.
        minutes: the time limit that is set for the assignment on Gradescope.

    Raises:
        CurriculumError: the assignment makes no sense.
        UsageError: so does the order.
        WorkspaceError: the zip can't be written.
    """
    if path.suffix.lower() != ".zip":
        raise UsageError(f"{path}: Gradescope wants a zip", next_step=f"call it {path.name}.zip")
    if not MIN_MINUTES <= minutes <= MAX_MINUTES:
        raise UsageError(
            f"want a time limit from {MIN_MINUTES} to {MAX_MINUTES} minutes, have {minutes}",
            next_step="take the one in the assignment's settings on Gradescope",
        )
    assignment = assignments.read(order.assignment_path, order.curriculum)
    settings = {
        "limit_s": 60 * minutes - RESERVE_S,
        "required_sandbox": str(required_sandbox),
        "needs_compiler": any(assigned.exercise.language == "cuda" for assigned in assignment.exercises),
    }
    files = {name: (TEMPLATES / "gradescope" / name).read_bytes() for name in PROGRAMS}
    files |= {"settings.json": (json.dumps(settings, indent=2) + "\n").encode(), **_carried(order)}
    write_atomically(path, _zipped(files))
    return Exported(path, tuple(sorted(files)), assignment, _installs(order), order.wheel is not None)


def github(folder: Path, order: Order, *, repository: str | None = None) -> Exported:
    """Write workflows, and what they grade with, into the instructor's repository.

    A workflow that was changed by hand is left alone; all the rest is replaced.

    Args:
        folder: the repository.
        order: what is graded there.
        repository: its name on GitHub, `owner/name`, for the workflow that students call.

    Raises:
        CurriculumError: the assignment makes no sense.
        UsageError: so does the order, or the assignment has hidden shapes: that repository is public.
        WorkspaceError: a file can't be written.
    """
    if repository is not None and not _REPOSITORY.fullmatch(repository):
        raise UsageError(
            f"{repository!r} is no repository on GitHub", next_step="give it as owner/name, without the server"
        )
    assignment = assignments.read(order.assignment_path, order.curriculum)
    if any(assigned.shapes for assigned in assignment.exercises):
        raise UsageError(
            f"{order.assignment_path} has hidden shapes, and a repository that students' runs read is public",
            next_step="take hidden.shapes out of a copy for GitHub (seeds may stay), or grade clones: gpuprep grade",
        )
    carried = {GRADING / name: data for name, data in _carried(order).items()}
    _remove_older(folder / GRADING)
    for path, data in carried.items():
        write_atomically(folder / path, data)
    templates = TEMPLATES / "github"
    caller = (templates / "student.yml").read_text(encoding="utf-8")
    workflows = {
        **{WORKFLOWS / name: (templates / name).read_bytes() for name in ("gpuprep.yml", "gpuprep-gpu.yml")},
        STUDENTS: caller.replace(PLACEHOLDER, repository or PLACEHOLDER).encode(),
    }
    kept = []
    for path, data in workflows.items():
        target = folder / path
        # A caller without a name is no work of anybody's yet.
        if target.is_file() and target.read_bytes() not in (data, caller.encode()):
            kept.append(path.as_posix())
        else:
            write_atomically(target, data)
    names = sorted(path.as_posix() for path in {**carried, **workflows})
    return Exported(
        folder, tuple(names), assignment, _installs(order), order.wheel is not None, tuple(kept), repository
    )


def _carried(order: Order) -> Mapping[str, bytes]:
    """What a grader's machine needs besides the scripts, by path."""
    version = _version(order.wheel)
    # With gpuprep's own pin among them, `pip install -c … gpuprep` is exact, too.
    pins = (default_root() / CONSTRAINTS).read_text(encoding="utf-8").rstrip("\n")
    carried = {
        "assignment.yaml": order.assignment_path.read_bytes(),
        CONSTRAINTS: f"{pins}\ngpuprep=={version}\n".encode(),
    }
    if order.wheel:
        carried[order.wheel.name] = order.wheel.read_bytes()
    if order.has_own_curriculum:
        carried |= {f"curriculum/{name}": data for name, data in _curriculum_files(order.curriculum).items()}
    return carried


def _curriculum_files(curriculum: Curriculum) -> Mapping[str, bytes]:
    """Graders, drivers and stubs. The references stay at home: nothing is graded with them."""
    root = curriculum.root
    paths = [root / FILE_NAME]
    for tree in ("exercises", "graders"):
        paths += [path for path in (root / tree).rglob("*") if path.is_file() and path.suffix != ".pyc"]
    inside = {path.relative_to(root): path for path in paths}
    return {
        name.as_posix(): path.read_bytes()
        for name, path in inside.items()
        if not any(part.startswith(".") or part == "__pycache__" for part in name.parts)
    }


def _version(wheel: Path | None) -> str:
    """Which gpuprep is installed.

    Raises:
        UsageError: the wheel is none of gpuprep, or holds no curriculum.
    """
    if wheel is None:
        return __version__
    named = _WHEEL.fullmatch(wheel.name)
    try:
        if named:
            with zipfile.ZipFile(wheel) as archive:
                archive.getinfo(f"gpuprep/content/{FILE_NAME}")
            return named["version"]
    except (OSError, KeyError, zipfile.BadZipFile) as error:
        raise UsageError(f"{wheel}: no wheel of gpuprep: {error}", next_step="python -m build --wheel") from error
    raise UsageError(f"{wheel}: no wheel of gpuprep, by its name", next_step="python -m build --wheel")


def _installs(order: Order) -> str:
    return order.wheel.name if order.wheel else f"gpuprep {__version__}"


def _zipped(files: Mapping[str, bytes]) -> bytes:
    """A zip of these files: the programs executable, and for the same files the same bytes."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for name, data in sorted(files.items()):
            member = zipfile.ZipInfo(name, _EPOCH)
            member.create_system = 3  # Unix: else nobody looks at the mode
            member.external_attr = (0o100755 if name in PROGRAMS else 0o100644) << 16
            member.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(member, data)
    return packed.getvalue()


def _remove_older(grading: Path) -> None:
    """What an earlier export left, and this one may not replace: two wheels are one too many."""
    for wheel in grading.glob("gpuprep-*.whl"):
        wheel.unlink()
    if (grading / "curriculum" / FILE_NAME).is_file():
        shutil.rmtree(grading / "curriculum")
