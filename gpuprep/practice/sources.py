"""Curricula of other people: a folder, a git repository or a wheel, as `gpuprep init --from` takes them.

A folder is used where it is. A repository's commit or a wheel's content is copied into a folder of its own in the
cache, under its commit or hash, and never changed there: other workspaces may be made from it.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from gpuprep import workspace
from gpuprep.curriculum import FILE_NAME
from gpuprep.errors import CurriculumError, GpuprepError, UsageError, WorkspaceError
from gpuprep.practice import source_git, source_wheel
from gpuprep.source import Source, SourceKind

OnEvent = Callable[[str], None]

_ADDRESS = re.compile(r"(?:https?|ssh|git|file)://.+|[\w.-]+@[\w.-]+:.+")
"""Of a repository: a URL, or `user@host:path`."""
_KEY_DIGITS = 16


@dataclass(frozen=True)
class Taken:
    """A curriculum that is on this machine now."""

    root: Path | None
    """Its folder; None means the package's own."""
    source: Source | None = None
    not_updated: str = ""
    """Why the source was not looked at again, and what was taken from it last time is used on."""


@dataclass(frozen=True)
class _Asked:
    """What a person typed, taken apart."""

    kind: SourceKind
    location: str
    ref: str = ""
    folder: str = ""


def take_for(target: Path, text: str | None, on_event: OnEvent | None = None) -> Taken:
    """The curriculum to make a workspace from, or to bring it up to date with.

    Args:
        target: the workspace's folder, which need not be there yet.
        text: what `--from` says; None means what the workspace was made from, else the package's own curriculum.
        on_event: gets a few words whenever something takes its time.

    Raises:
        UsageError: the text names nothing that a curriculum can be taken from.
        CurriculumError: it can't be got.
    """
    tell = on_event or (lambda _: None)
    if text is not None:
        return _take(_asked(text), tell)
    try:
        found = workspace.find(target)
    except WorkspaceError:
        return Taken(None)
    if found.root != target.absolute() or found.curriculum_root is None:
        return Taken(None)
    source = found.source
    if source is None:
        return _take(_Asked(SourceKind.FOLDER, str(found.curriculum_root)), tell)
    try:
        return _take(_Asked(source.kind, source.location, source.ref, source.folder), tell)
    except GpuprepError as error:
        if not source.is_copied or not (found.curriculum_root / FILE_NAME).is_file():
            raise
        return Taken(found.curriculum_root, source, error.message)


def cache_folder() -> Path:
    """Where copies of curricula are kept. Safe to delete: `gpuprep init` in a workspace gets its own again."""
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(base) / "gpuprep" / "curricula"


def _asked(text: str) -> _Asked:
    path = Path(text).expanduser()
    if (path / FILE_NAME).is_file():
        return _Asked(SourceKind.FOLDER, str(path.absolute()))
    if path.suffix == ".whl":
        if not path.is_file():
            raise UsageError(
                f"{text}: no such file", next_step="pip download --no-deps NAME, and give the wheel that it leaves"
            )
        return _Asked(SourceKind.WHEEL, str(path.absolute()))
    address, _, rest = text.removeprefix("git+").partition("#")
    ref, _, folder = rest.partition(":")
    local = Path(address).expanduser()
    if (local / "HEAD").is_file() and (local / "objects").is_dir():
        address = str(local.absolute())
    elif not _ADDRESS.fullmatch(address):
        what = f"there is no {FILE_NAME} in it" if path.is_dir() else "neither a folder nor the address of a repository"
        raise UsageError(
            f"{text}: {what}", next_step=f"give a folder with a {FILE_NAME}, a git URL (URL#REF:FOLDER) or a .whl file"
        )
    inside = Path(folder)
    if ref.startswith("-") or inside.is_absolute() or ".." in inside.parts:
        raise UsageError(
            f"{text}: {rest!r} is no REF or REF:FOLDER", next_step="give it as URL#v1.0 or URL#main:courses/gpu"
        )
    return _Asked(SourceKind.GIT, address, ref, folder.strip("/"))


def _take(asked: _Asked, tell: OnEvent) -> Taken:
    if asked.kind is SourceKind.FOLDER:
        root = Path(asked.location)
        return Taken(root, Source(asked.kind, asked.location, _folder_digest(root)))
    tell(f"taking the curriculum from {asked.location}")
    with _unwritable_cache():
        root, revision = (_from_git if asked.kind is SourceKind.GIT else _from_wheel)(asked)
    return Taken(root, Source(asked.kind, asked.location, revision, asked.ref, asked.folder))


def _from_git(asked: _Asked) -> tuple[Path, str]:
    place = cache_folder() / "git" / hashlib.sha256(asked.location.encode()).hexdigest()[:_KEY_DIGITS]
    with _new_folder(place) as fresh:
        commit = source_git.fetch(asked.location, asked.ref, fresh)
        _refuse_links_that_leave(fresh, asked.location)
        _require_curriculum(fresh, asked)
        _settle(fresh, place / commit)
    return place / commit / asked.folder, commit


def _from_wheel(asked: _Asked) -> tuple[Path, str]:
    wheel = Path(asked.location)
    sha256 = source_wheel.digest(wheel)
    settled = cache_folder() / "wheel" / sha256
    with _new_folder(settled.parent) as fresh:
        source_wheel.unpack(wheel, fresh)
        _settle(fresh, settled)
    return settled, sha256


@contextlib.contextmanager
def _new_folder(parent: Path) -> Iterator[Path]:
    """An empty folder beside where its content will settle; gone afterwards unless it was moved there."""
    parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    fresh = Path(tempfile.mkdtemp(prefix=".new-", dir=parent))
    try:
        yield fresh
    finally:
        shutil.rmtree(fresh, ignore_errors=True)


def _settle(fresh: Path, settled: Path) -> None:
    """Move in one step. Where the same content is already, or somebody else was faster, that is left as it is."""
    if any(not (settled / path.relative_to(fresh)).exists() for path in fresh.rglob("*")):
        shutil.rmtree(settled, ignore_errors=True)  # what somebody's clearing of the cache left
    if settled.is_dir():
        return
    try:
        fresh.rename(settled)
    except OSError:
        if not settled.is_dir():
            raise


def _require_curriculum(root: Path, asked: _Asked) -> None:
    if (root / asked.folder / FILE_NAME).is_file():
        return
    found = sorted(path.parent.relative_to(root).as_posix() for path in root.rglob(FILE_NAME))
    raise CurriculumError(
        f"{asked.location}: no {FILE_NAME} in {asked.folder or 'its top folder'}",
        next_step=f"gpuprep init --from '{asked.location}#{asked.ref}:{found[0]}'" if found else None,
    )


def _refuse_links_that_leave(root: Path, location: str) -> None:
    """A stub that is a link to somebody's key would be copied into the workspace, and from there handed in."""
    for path in root.rglob("*"):
        if path.is_symlink() and not path.resolve().is_relative_to(root.resolve()):
            raise CurriculumError(f"{location}: {path.relative_to(root)} is a link to outside of the repository")


def _folder_digest(root: Path) -> str:
    """sha256 over what a learner is graded by and starts from."""
    digest = hashlib.sha256()
    trees = (path for tree in ("exercises", "graders") for path in (root / tree).rglob("*") if path.is_file())
    for path in [root / FILE_NAME, *sorted(path for path in trees if path.suffix != ".pyc")]:
        try:
            content = path.read_bytes()
        except OSError as error:
            raise CurriculumError(
                f"{path}: can't be read ({error.strerror})", next_step=f"make sure that {path} is there and readable"
            ) from error
        digest.update(f"{path.relative_to(root).as_posix()}\0{len(content)}\0".encode() + content)
    return digest.hexdigest()


@contextlib.contextmanager
def _unwritable_cache() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise WorkspaceError(
            f"{error.filename or cache_folder()}: {error.strerror or error}",
            next_step=f"make {cache_folder()} writable, or set XDG_CACHE_HOME to a folder that is",
        ) from error
