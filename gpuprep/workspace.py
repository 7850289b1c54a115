"""Where a learner's work lives: making a workspace, finding it, upgrading it, and putting a stub back."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

from gpuprep.curriculum import FILE_NAME, Curriculum, default_root
from gpuprep.errors import CurriculumError, WorkspaceError
from gpuprep.exercise import Exercise
from gpuprep.source import Source

STATE_FOLDER = ".gpuprep"
FORMAT_VERSION = 1


@dataclass(frozen=True)
class Workspace:
    """A folder that `gpuprep init` made."""

    root: Path
    curriculum_root: Path | None
    """The curriculum it was made from; None means the package's own."""
    plan: str | None
    source: Source | None = None
    """Where that curriculum was taken from; None where it is the package's."""
    plan_started: date | None = None
    """The day on which the plan was chosen, here; None where an earlier gpuprep did not note it."""

    @property
    def state_dir(self) -> Path:
        """What gpuprep remembers here."""
        return self.root / STATE_FOLDER

    @property
    def progress_path(self) -> Path:
        """The record of attempts."""
        return self.state_dir / "progress.db"

    @property
    def backup_dir(self) -> Path:
        """What `reset` put aside."""
        return self.state_dir / "backups"

    def exercise_path(self, exercise: Exercise) -> Path:
        """The learner's file."""
        return self.root / "exercises" / exercise.module / f"{exercise.slug}.py"

    def display(self, path: Path) -> str:
        """The path as a person would type it from here: relative to the current folder where that is shorter."""
        try:
            relative = os.path.relpath(path)
        except FileNotFoundError:  # the current folder is gone
            return str(path)
        return min(relative, str(path), key=len)


@dataclass(frozen=True)
class InitResult:
    """What `init` did to the exercise files and guides; a file that was already as it should be is in none of them."""

    workspace: Workspace
    created: tuple[Path, ...]
    kept: tuple[Path, ...]
    """Not what we would ship, and not ours to overwrite: changed by the learner, or there before us."""
    updated: tuple[Path, ...]


@dataclass(frozen=True)
class ResetResult:
    """The file that is a stub again, and the folder that holds what was there (None: nothing was)."""

    path: Path
    backup: Path | None


@dataclass(frozen=True)
class _State:
    """The content of workspace.json. `shipped` has the sha256 of what we wrote, by path relative to the root."""

    curriculum: str | None
    plan: str | None
    shipped: dict[str, str]
    source: Source | None = None
    plan_started: date | None = None

    def write(self, root: Path) -> None:
        content = {
            "version": FORMAT_VERSION,
            "curriculum": self.curriculum,
            "plan": self.plan,
            "plan_started": self.plan_started.isoformat() if self.plan_started else None,
            "source": self.source.as_dict() if self.source else None,
            "shipped": dict(sorted(self.shipped.items())),
        }
        write_atomically(_state_path(root), json.dumps(content, indent=2) + "\n")


def find(start: Path | None = None) -> Workspace:
    """The workspace that `start` (by default the current folder) lies in.

    Raises:
        WorkspaceError: there is none, or its workspace.json is broken.
    """
    with os_errors(start or Path()):
        start = (start or Path.cwd()).absolute()
        for folder in (start, *start.parents):
            if _state_path(folder).is_file():
                return _workspace(folder, _read_state(folder))
    raise WorkspaceError(f"no workspace in {start} or above it", next_step="gpuprep init")


def init(
    target: Path,
    curriculum: Curriculum,
    *,
    plan: str | None = None,
    curriculum_root: Path | None = None,
    source: Source | None = None,
    extras: Mapping[str, bytes] | None = None,
) -> InitResult:
    """Make a workspace, or bring an existing one up to date. A file that we didn't write is never overwritten.

    Args:
        target: the folder; made if it isn't there.
        curriculum: where stubs and guides come from.
        plan: id of a study plan, whose days are counted from today; None keeps the workspace's own.
        curriculum_root: the folder to remember as the workspace's curriculum; None keeps the workspace's own, or
            else means the package's.
        source: where `curriculum_root` comes from, to be remembered beside it.
        extras: more files to ship, by path relative to the workspace; they are nobody's but the learner's afterwards.

    Raises:
        WorkspaceError: the folder can't be a workspace, or can't be written.
        UsageError: there is no such plan.
        CurriculumError: a stub is missing.
    """
    target = target.absolute()
    _refuse_curriculum_folder(target, curriculum)
    with os_errors(target):
        old = _read_state(target) if _state_path(target).is_file() else _State(None, None, {})
    if curriculum_root is None and old.curriculum is not None and Path(old.curriculum) != curriculum.root:
        raise WorkspaceError(
            f"the workspace {target} belongs to the curriculum in {old.curriculum}",
            next_step="make another workspace for this curriculum: gpuprep init DIR",
        )
    if plan is not None:
        curriculum.plan(plan)
    root = str(curriculum_root.absolute()) if curriculum_root else old.curriculum
    shipped = dict(old.shipped)
    done: dict[str, list[Path]] = {"created": [], "kept": [], "updated": []}
    for relative, content in {**_to_ship(curriculum), **(extras or {})}.items():
        what = _ship(target / relative, content, shipped.get(relative))
        if what in done:
            done[what].append(target / relative)
        if what != "kept":
            shipped[relative] = _hash(content)
    _ignore_state(target)
    # A plan that is named, the same one again too, starts today.
    started = datetime.now().astimezone().date() if plan is not None else old.plan_started
    state = _State(root, plan or old.plan, shipped, source if curriculum_root else old.source, started)
    state.write(target)
    return InitResult(_workspace(target, state), **{what: tuple(paths) for what, paths in done.items()})


def reset(workspace: Workspace, curriculum: Curriculum, exercise: Exercise) -> ResetResult:
    """Put the stub back. Every file of the exercise is copied to `.gpuprep/backups/<slug>/<UTC time>/` first.

    Raises:
        WorkspaceError: something can't be read or written; unless the backup is whole, nothing is overwritten.
        CurriculumError: the stub is missing.
    """
    path = workspace.exercise_path(exercise)
    cuda = path.with_suffix(".cu")
    stubs = _stubs(curriculum, exercise)
    state = _read_state(workspace.root)
    with os_errors(path):
        present = [file for file in (path, cuda) if file.is_file()]
    backup = _back_up(workspace, exercise, present)
    for relative, content in stubs.items():
        write_atomically(workspace.root / relative, content)
    # A .cu that the stub doesn't have would still be graded with it.
    if cuda in present and cuda.relative_to(workspace.root).as_posix() not in stubs:
        with os_errors(cuda):
            cuda.unlink()
    state.shipped.update({relative: _hash(content) for relative, content in stubs.items()})
    state.write(workspace.root)
    return ResetResult(path, backup)


def write_atomically(path: Path, data: bytes | str) -> None:
    """Replace the file in one step, so that a reader, a crash or a full disk never meets half of it.

    Folders above it are made. An existing file's permissions are kept, and a link stays one. What is no file, such as
    `/dev/stdout` or a pipe, is written to.

    Raises:
        WorkspaceError: it can't be written; what was there is untouched.
    """
    content = data.encode() if isinstance(data, str) else data
    if _is_stream(path):
        with os_errors(path), path.open("ab") as stream:
            stream.write(content)
        return
    path = path.resolve() if path.is_symlink() else path
    temporary = path.with_name(f".{path.name}.{os.urandom(4).hex()}.tmp")
    with os_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        mode = stat.S_IMODE(path.stat().st_mode) if path.exists() else None
        try:
            with temporary.open("xb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            if mode is not None:
                temporary.chmod(mode)
            temporary.replace(path)
        except BaseException:  # Ctrl-C too must leave nothing behind
            with contextlib.suppress(OSError):
                temporary.unlink(missing_ok=True)
            raise


def _is_stream(path: Path) -> bool:
    """True for a device or a pipe, and for a name of an open file, whatever that is: it may have been written to."""
    is_open_file = path.is_symlink() and path.absolute().parts[1:2] in (("dev",), ("proc",))
    return is_open_file or (path.exists() and not path.is_file() and not path.is_dir())


@contextlib.contextmanager
def os_errors(path: Path) -> Iterator[None]:
    """Turns what the operating system refuses into a WorkspaceError about `path`."""
    try:
        yield
    except OSError as error:
        place = error.filename if isinstance(error.filename, str) else path
        # Path.is_dir raises where a folder above can't be searched, which may be the very fault.
        folder = next((above for above in (path, *path.parents) if os.path.isdir(above)), path)  # noqa: PTH112
        next_steps = {
            errno.ENOSPC: f"free some space on the disk that holds {folder}, and try again",
            errno.EDQUOT: f"free some of your disk quota for {folder}, and try again",
            errno.EROFS: f"choose a folder that can be written; {folder} is read-only",
            errno.ENOTDIR: "choose another folder: a part of this path is a file",
        }
        raise WorkspaceError(
            f"{path}: {error.strerror or error}" + (f" ({place})" if str(place) != str(path) else ""),
            next_step=next_steps.get(error.errno or 0, f"make {folder} readable and writable, and try again"),
        ) from error


def _refuse_curriculum_folder(target: Path, curriculum: Curriculum) -> None:
    resolved = target.resolve()
    for root in (curriculum.root.resolve(), default_root()):
        if (root / FILE_NAME).is_file() and resolved.is_relative_to(root):
            raise WorkspaceError(
                f"{target} lies in the curriculum {root}: its stubs are the originals, not a learner's copies",
                next_step="gpuprep init ~/gpuprep-work",
            )


def _to_ship(curriculum: Curriculum) -> dict[str, bytes]:
    """Every stub and guide, by path relative to the workspace; all are read before any is written."""
    files: dict[str, bytes] = {}
    for module in curriculum.modules:
        guide = curriculum.guide_path(module.id)
        if guide.is_file():
            files[guide.relative_to(curriculum.root).as_posix()] = _read_shipped(guide)
    for exercise in curriculum.exercises:
        files |= _stubs(curriculum, exercise)
    return files


def _stubs(curriculum: Curriculum, exercise: Exercise) -> dict[str, bytes]:
    paths = curriculum.sources(curriculum.stub_path(exercise))
    return {path.relative_to(curriculum.root).as_posix(): _read_shipped(path) for path in paths}


def _hash(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _read_shipped(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise CurriculumError(f"{path}: can't be read ({error.strerror})", next_step="gpuprep dev stubs") from error


def _ship(path: Path, content: bytes, shipped_hash: str | None) -> str:
    """Write one file unless it is somebody's: `created`, `updated`, `kept`, or `same`."""
    with os_errors(path):
        if not os.path.lexists(path):
            write_atomically(path, content)
            return "created"
        # Through a link, the file would be replaced in a place that the learner chose.
        present = path.read_bytes() if path.is_file() and not path.is_symlink() else None
    if present == content:
        return "same"
    if present is None or _hash(present) != shipped_hash:
        return "kept"
    write_atomically(path, content)
    return "updated"


def _ignore_state(root: Path) -> None:
    """Keep `.gpuprep` out of a learner's repository; other lines of .gitignore stay as they are."""
    path = root / ".gitignore"
    with os_errors(path):
        present = path.read_bytes() if path.exists() else b""
    if STATE_FOLDER.encode() not in {entry.strip(b" \t\r/") for entry in present.split(b"\n")}:
        separator = b"" if not present or present.endswith(b"\n") else b"\n"
        write_atomically(path, present + separator + f"{STATE_FOLDER}/\n".encode())


def _back_up(workspace: Workspace, exercise: Exercise, files: list[Path]) -> Path | None:
    if not files:
        return None
    base = workspace.backup_dir / exercise.slug
    stamp = f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}"
    with os_errors(base):
        base.mkdir(parents=True, exist_ok=True)
        folder, n_tries = base / stamp, 1
        while True:
            try:
                folder.mkdir()
                break
            except FileExistsError:  # another reset in the same second
                n_tries += 1
                folder = base / f"{stamp}-{n_tries}"
    try:
        for file in files:
            with os_errors(file):
                content = file.read_bytes()
            write_atomically(folder / file.name, content)
    except WorkspaceError:
        import shutil  # slow to import, and hardly ever needed

        shutil.rmtree(folder, ignore_errors=True)
        raise
    return folder


def _workspace(root: Path, state: _State) -> Workspace:
    curriculum_root = Path(state.curriculum) if state.curriculum else None
    return Workspace(root, curriculum_root, state.plan, state.source, state.plan_started)


def _state_path(root: Path) -> Path:
    return root / STATE_FOLDER / "workspace.json"


def _read_state(root: Path) -> _State:
    path = _state_path(root)
    with os_errors(path):
        data = path.read_bytes()
    try:
        content: Any = json.loads(data)
        if content["version"] > FORMAT_VERSION:
            raise WorkspaceError(
                f"{path} was written by a newer gpuprep", next_step="upgrade gpuprep: pip install --upgrade gpuprep"
            )
        source, started = content.get("source"), content.get("plan_started")
        state = _State(
            content["curriculum"],
            content["plan"],
            content["shipped"],
            Source.from_dict(source) if source else None,
            date.fromisoformat(started) if started else None,
        )
        strings = [*state.shipped, *state.shipped.values(), state.curriculum or "", state.plan or ""]
        if not all(isinstance(string, str) for string in strings):
            raise TypeError("a value has the wrong type")  # noqa: TRY301 - mended like the faults that Python finds
    except (ValueError, TypeError, LookupError, AttributeError, RecursionError) as error:
        raise WorkspaceError(
            f"{path} is broken ({type(error).__name__}: {error})",
            next_step=f"delete {path}, then run `gpuprep init {root}`: files that you changed are kept",
        ) from error
    return state
