"""What is sent to a machine that has neither the class's files nor the curriculum.

A parcel is a task and the files to grade. A kit is what every grader there needs: the curriculum, as an archive, and
which gpuprep is meant. Both are told by their hashes, and what doesn't fit them is never graded.
"""

from __future__ import annotations

import base64
import hashlib
import io
import json
import zipfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from functools import cache
from pathlib import Path
from typing import Self

import gpuprep
from gpuprep.classroom.executor import Task
from gpuprep.curriculum import FILE_NAME, Curriculum
from gpuprep.errors import GraderFaultError
from gpuprep.exercise import Exercise

_TREES = ("graders", "exercises")
"""Of a curriculum, what grading needs. The references stay at home."""
_CACHE = "__pycache__"
_EPOCH = (1980, 1, 1, 0, 0, 0)
"""The time of every file in the archive, so that equal curricula give equal archives."""


@dataclass(frozen=True)
class Parcel:
    """A task with the contents of its files.

    Raises:
        ValueError: they are not those that were handed in, or not the exercise's.
    """

    task: Task
    files: Mapping[str, bytes]
    """By name: the `.py`, and then the `.cu` where there is one."""

    def __post_init__(self) -> None:
        slug = self.task.exercise.slug
        if tuple(self.files) not in ((f"{slug}.py",), (f"{slug}.py", f"{slug}.cu")):
            raise ValueError(f"{', '.join(self.files) or 'nothing'} in place of {slug}.py")
        if hashlib.sha256(b"\0".join(self.files.values())).hexdigest() != self.task.file_hash:
            raise ValueError(f"{self.task.path} is not what was handed in: something changed it")

    @classmethod
    def packed(cls, task: Task) -> Self:
        """A task's parcel.

        Raises:
            OSError: a file can't be read.
            ValueError: as above.
        """
        sources = _curriculum(Path(task.curriculum), task.exercise).sources(Path(task.path))
        return cls(task, {source.name: source.read_bytes() for source in sources})

    def to_json(self) -> str:
        """As it travels: one line."""
        files = {name: base64.b64encode(content).decode() for name, content in self.files.items()}
        return json.dumps({"task": self.task.to_json(), "files": files})

    @classmethod
    def from_json(cls, text: str | bytes) -> Self:
        """The same again.

        Raises:
            ValueError: it is none, or is damaged.
        """
        try:
            fields = json.loads(text)
            files = {name: base64.b64decode(content, validate=True) for name, content in fields["files"].items()}
            task = Task.from_json(fields["task"])
        except (AttributeError, KeyError, TypeError) as error:
            raise ValueError(f"no parcel: {type(error).__name__}: {error}") from error
        return cls(task, files)

    def unpacked(self, folder: Path, curriculum: Path) -> Task:
        """The task, with its files in a folder of this machine.

        Args:
            folder: where to.
            curriculum: where the curriculum is here.
        """
        folder.mkdir(parents=True, exist_ok=True)
        for name, content in self.files.items():
            (folder / name).write_bytes(content)
        path = folder / f"{self.task.exercise.slug}.py"
        return replace(self.task, path=str(path), curriculum=str(curriculum))


@dataclass(frozen=True)
class Kit:
    """What a grader on another machine needs before its first task."""

    device: str
    """That it will be asked to grade on."""
    code_hash: str
    """Of the gpuprep that sends tasks: another one could judge otherwise. Empty where it is the same in any case."""
    archive: bytes
    """The curriculum's graders and stubs, as a zip file."""
    archive_hash: str

    @classmethod
    def packed(cls, curriculum: Path, device: str, *, is_elsewhere: bool) -> Self:
        """The kit for a curriculum's folder.

        Args:
            curriculum: the folder.
            device: that will be graded on.
            is_elsewhere: it goes to machines with an installation of their own.
        """
        archive = _archive(curriculum)
        return cls(device, code_hash() if is_elsewhere else "", archive, hashlib.sha256(archive).hexdigest())

    def to_json(self) -> str:
        """As it travels."""
        return json.dumps({**asdict(self), "archive": base64.b64encode(self.archive).decode()})

    @classmethod
    def from_json(cls, text: str | bytes) -> Self:
        """The same again."""
        fields = json.loads(text)
        return cls(**{**fields, "archive": base64.b64decode(fields["archive"], validate=True)})

    def unpacked(self, folder: Path) -> Path:
        """The curriculum, in a folder that has the archive's hash for its name.

        Raises:
            GraderFaultError: the archive is not the one that was sent, or the gpuprep here is another one.
        """
        if self.code_hash and self.code_hash != code_hash():
            raise GraderFaultError(
                f"another gpuprep is installed there (this is {gpuprep.__version__})",
                next_step="install the same gpuprep on every machine",
            )
        if hashlib.sha256(self.archive).hexdigest() != self.archive_hash:
            raise GraderFaultError("the curriculum was damaged on its way")
        root = folder / self.archive_hash[:16]
        if not root.is_dir():
            with zipfile.ZipFile(io.BytesIO(self.archive)) as archive:
                archive.extractall(root)
        return root


@cache
def code_hash() -> str:
    """sha256 of gpuprep's own modules as they are installed here."""
    package = Path(gpuprep.__file__).resolve().parent
    digest = hashlib.sha256(gpuprep.__version__.encode())
    for path in sorted(package.rglob("*.py")):
        name = path.relative_to(package)
        # The curriculum that a wheel brings is none of them: the one that counts travels.
        if name.parts[0] != "content":
            content = path.read_bytes()
            digest.update(f"{name.as_posix()}\0{len(content)}\0".encode() + content)
    return digest.hexdigest()


def _curriculum(root: Path, exercise: Exercise) -> Curriculum:
    return Curriculum(root, title="", modules=(), exercises=(exercise,), plans=())


def _archive(root: Path) -> bytes:
    found = (path for tree in _TREES for path in (root / tree).rglob("*"))
    paths = [path for path in found if path.is_file() and _CACHE not in path.parts]
    if (root / FILE_NAME).is_file():
        paths.append(root / FILE_NAME)
    written = io.BytesIO()
    with zipfile.ZipFile(written, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(paths):
            entry = zipfile.ZipInfo(path.relative_to(root).as_posix(), _EPOCH)
            entry.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(entry, path.read_bytes())
    return written.getvalue()
