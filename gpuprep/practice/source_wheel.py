"""A curriculum out of a wheel: the part below its `curriculum.yaml`, unpacked with distrust."""

from __future__ import annotations

import hashlib
import shutil
import stat
import zipfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from gpuprep.curriculum import FILE_NAME
from gpuprep.errors import CurriculumError

MAX_BYTES = 256 * 2**20
"""Unpacked. Stubs, references and graders are text: this is a thousand times a large curriculum."""
MAX_FILES = 20_000


def digest(path: Path) -> str:
    """sha256 of the wheel.

    Raises:
        CurriculumError: it can't be read.
    """
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise CurriculumError(f"{path}: can't be read ({error.strerror})") from error


def unpack(path: Path, folder: Path) -> None:
    """Unpack the wheel's curriculum, so that its `curriculum.yaml` lies at the top of the folder.

    Args:
        path: the wheel.
        folder: an empty folder; nothing is written outside of it.

    Raises:
        CurriculumError: it is no wheel, holds no curriculum or several, or a member that has no business there.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            for member, place in _members(path, archive.infolist()):
                target = folder / place
                target.parent.mkdir(parents=True, exist_ok=True)
                with archive.open(member) as packed, target.open("xb") as file:
                    shutil.copyfileobj(packed, file)
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError) as error:
        # RuntimeError is what zipfile raises for a member with a password.
        raise CurriculumError(f"{path}: not a wheel ({error})", next_step="python -m build --wheel") from error
    except FileExistsError as error:
        raise CurriculumError(f"{path}: holds {error.filename} twice") from error


def _members(path: Path, infos: list[zipfile.ZipInfo]) -> Iterator[tuple[zipfile.ZipInfo, PurePosixPath]]:
    """The files to unpack, each with its place below the curriculum's folder; all are looked at before the first."""
    places = {info.filename: _place(path, info) for info in infos if not info.is_dir()}
    tops = sorted(
        (place.parent for place in places.values() if place.name == FILE_NAME), key=lambda top: len(top.parts)
    )
    if not tops:
        raise CurriculumError(f"{path}: there is no {FILE_NAME} in this wheel", next_step=f"unzip -l {path}")
    if len(tops) > 1 and len(tops[0].parts) == len(tops[1].parts):
        raise CurriculumError(f"{path}: two curricula in this wheel, in {tops[0]} and in {tops[1]}")
    chosen = [info for info in infos if info.filename in places and places[info.filename].is_relative_to(tops[0])]
    if len(chosen) > MAX_FILES or sum(info.file_size for info in chosen) > MAX_BYTES:
        raise CurriculumError(f"{path}: more than {MAX_FILES} files or {MAX_BYTES >> 20} MiB to unpack")
    for info in chosen:
        yield info, places[info.filename].relative_to(tops[0])


def _place(path: Path, info: zipfile.ZipInfo) -> PurePosixPath:
    # zipfile itself would quietly turn `../x` into `x`; a wheel that has such a name was not made by a build tool.
    name = info.orig_filename
    place = PurePosixPath(name)
    kind = stat.S_IFMT(info.external_attr >> 16)
    is_odd = place.is_absolute() or ".." in place.parts or any(character in name for character in "\\:\0")
    if is_odd or not place.parts or kind not in (0, stat.S_IFREG):
        raise CurriculumError(f"{path}: {name!r} has no business in a wheel; nothing was unpacked")
    return place
