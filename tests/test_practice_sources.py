"""Curricula of other people: taken from folders, repositories and wheels, recorded, and brought up to date."""

from __future__ import annotations

import shutil
import stat
import subprocess
import zipfile
from pathlib import Path

import pytest

from gpuprep import curriculum, workspace
from gpuprep.errors import CurriculumError, GpuprepError, UsageError
from gpuprep.practice import source_wheel, sources
from gpuprep.practice.desk import open_desk
from gpuprep.practice.sources import Taken, take_for
from gpuprep.source import Source, SourceKind
from gpuprep.workspace import InitResult

YAML = """\
format_version: 1
title: Rows
modules:
  - id: 00_rows
    title: Rows
    exercises:
      - {id: ex_01, name: one, title: One, language: triton, summary: one, minutes: 5, hints: [Try.]}
"""
STUB = "exercises/00_rows/ex_01_one.py"
FILES = {"curriculum.yaml": YAML, STUB: "first = 1\n", "graders/00_rows/ex_01_one.py": "GRADER = None\n"}


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache, and a git that has no settings of anybody's."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    for name, value in (("GIT_CONFIG_GLOBAL", "/dev/null"), ("GIT_CONFIG_SYSTEM", "/dev/null")):
        monkeypatch.setenv(name, value)
    for who in ("AUTHOR", "COMMITTER"):
        monkeypatch.setenv(f"GIT_{who}_NAME", "Test")
        monkeypatch.setenv(f"GIT_{who}_EMAIL", "test@example.org")
    return tmp_path / "cache" / "gpuprep" / "curricula"


def write(root: Path, files: dict[str, str] = FILES) -> Path:
    """Files below a folder."""
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text, encoding="utf-8")
    return root


def git(folder: Path, *arguments: str) -> str:
    """What a git command prints."""
    ran = subprocess.run(["git", "-C", folder, *arguments], capture_output=True, text=True, check=True)
    return ran.stdout.strip()


def commit(folder: Path) -> str:
    """Commit all there is."""
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "--allow-empty", "-m", "a change")
    return git(folder, "rev-parse", "HEAD")


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A repository with a curriculum at its top, and one commit."""
    root = write(tmp_path / "course")
    git(tmp_path, "init", "--quiet", "--initial-branch=main", str(root))
    commit(root)
    return root


def url(repository: Path) -> str:
    """Its address."""
    return repository.as_uri()


def wheel(path: Path, files: dict[str, str] | None = None) -> Path:
    """A wheel; by default a package with a curriculum inside."""
    packed = files or {f"course/content/{name}": text for name, text in FILES.items()} | {"course/__init__.py": ""}
    with zipfile.ZipFile(path, "w") as archive:
        for name, text in packed.items():
            archive.writestr(name, text)
    return path


def init(target: Path, text: str | None = None) -> tuple[InitResult, Taken]:
    """What `gpuprep init` does."""
    taken = take_for(target, text)
    found = curriculum.load(taken.root)
    return workspace.init(target, found, curriculum_root=taken.root, source=taken.source), taken


def test_new_workspace_is_of_the_package(tmp_path: Path) -> None:
    """Without a source, the curriculum is the package's, and nothing is recorded."""
    assert take_for(tmp_path / "new", None) == Taken(None)


def test_folder_is_used_in_place(tmp_path: Path, cache: Path) -> None:
    """A folder isn't copied; what it held is recorded by hash, and another grader gives another hash."""
    root = write(tmp_path / "course")
    result, taken = init(tmp_path / "gym", str(root))
    assert taken.root == result.workspace.curriculum_root == root
    write(root, {"graders/00_rows/ex_01_one.py": "GRADER = 1\n"})
    _, again = init(tmp_path / "gym")
    assert again.source is not None
    assert again.root == root
    assert again.source.revision != taken.source.revision  # type: ignore[union-attr]
    assert not cache.exists()


def test_update_of_a_workspace_without_a_record(tmp_path: Path) -> None:
    """A workspace that only knows its curriculum's folder is brought up to date from there."""
    root = write(tmp_path / "course")
    workspace.init(tmp_path / "gym", curriculum.load(root), curriculum_root=root)
    result, _ = init(tmp_path / "gym")
    assert result.workspace.source is not None
    assert (result.workspace.source.kind, result.workspace.source.location) == (SourceKind.FOLDER, str(root))


def test_repository_is_taken_at_a_commit(repository: Path, tmp_path: Path, cache: Path) -> None:
    """The files of one commit lie outside the workspace, without history; address and commit are recorded."""
    result, taken = init(tmp_path / "gym", url(repository))
    head = git(repository, "rev-parse", "HEAD")
    found = workspace.find(tmp_path / "gym")
    assert found.source == Source(SourceKind.GIT, url(repository), head)
    assert taken.root is not None
    assert taken.root.is_relative_to(cache)
    assert not (taken.root / ".git").exists()
    assert (tmp_path / "gym" / STUB).read_text() == "first = 1\n"
    assert head[:12] in found.source.shown
    assert len(result.created) == 1


def test_init_again_takes_the_newer_commit(repository: Path, tmp_path: Path) -> None:
    """Untouched stubs follow the repository; another workspace stays at the commit that it was made from."""
    init(tmp_path / "gym", url(repository))
    init(tmp_path / "other", url(repository))
    write(repository, {STUB: "second = 2\n"})
    head = commit(repository)
    result, _ = init(tmp_path / "gym")
    assert [path.name for path in result.updated] == ["ex_01_one.py"]
    assert result.workspace.source is not None
    assert result.workspace.source.revision == head
    other = workspace.find(tmp_path / "other")
    assert other.curriculum_root is not None
    assert (other.curriculum_root / STUB).read_text() == "first = 1\n"


def test_learners_changes_survive_an_update(repository: Path, tmp_path: Path) -> None:
    """A file that was written in is kept, whatever the repository has now."""
    init(tmp_path / "gym", url(repository))
    (tmp_path / "gym" / STUB).write_text("mine\n")
    write(repository, {STUB: "second = 2\n"})
    commit(repository)
    result, _ = init(tmp_path / "gym")
    assert len(result.kept) == 1
    assert (tmp_path / "gym" / STUB).read_text() == "mine\n"


def test_tag_and_folder(repository: Path, tmp_path: Path) -> None:
    """`URL#REF:FOLDER` names a tag and a folder; updates stay at the tag."""
    write(repository, {f"courses/rows/{name}": text for name, text in FILES.items()})
    tagged = commit(repository)
    git(repository, "tag", "v1")
    write(repository, {f"courses/rows/{STUB}": "later = 3\n"})
    commit(repository)
    init(tmp_path / "gym", f"git+{url(repository)}#v1:courses/rows")
    result, _ = init(tmp_path / "gym")
    assert result.workspace.source == Source(SourceKind.GIT, url(repository), tagged, "v1", "courses/rows")
    assert (tmp_path / "gym" / STUB).read_text() == "first = 1\n"


def test_whole_commit_as_ref(repository: Path, tmp_path: Path) -> None:
    """A commit can be asked for by its hash."""
    first = git(repository, "rev-parse", "HEAD")
    git(repository, "config", "uploadpack.allowAnySHA1InWant", "true")
    write(repository, {STUB: "second = 2\n"})
    commit(repository)
    _, taken = init(tmp_path / "gym", f"{url(repository)}#{first}")
    assert taken.source is not None
    assert taken.source.revision == first


def test_bare_repository_by_path(repository: Path, tmp_path: Path) -> None:
    """A repository on this machine may be given by its path."""
    git(tmp_path, "clone", "--quiet", "--bare", str(repository), "course.git")
    _, taken = init(tmp_path / "gym", str(tmp_path / "course.git"))
    assert taken.source is not None
    assert taken.source.kind is SourceKind.GIT


def test_curriculum_elsewhere_in_the_repository(repository: Path, tmp_path: Path) -> None:
    """Where the curriculum isn't at the top, the next step names where it is."""
    (repository / "sub").mkdir()
    for name in ("curriculum.yaml", "exercises", "graders"):
        git(repository, "mv", name, f"sub/{name}")
    commit(repository)
    with pytest.raises(CurriculumError) as caught:
        init(tmp_path / "gym", url(repository))
    assert f"{url(repository)}#:sub" in (caught.value.next_step or "")
    assert len(init(tmp_path / "gym", f"{url(repository)}#:sub")[0].created) == 1


def test_update_without_the_repository(repository: Path, tmp_path: Path) -> None:
    """Offline, what was taken last is used on, and it is said that nothing newer was looked for."""
    init(tmp_path / "gym", url(repository))
    shutil.rmtree(repository)
    result, taken = init(tmp_path / "gym")
    assert "failed" in taken.not_updated
    assert result.workspace.source is not None
    assert result.workspace.source.location == url(repository)


def test_cleared_cache(repository: Path, tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without its copy, a command says that `init` gets it again; and it does, whole."""
    init(tmp_path / "gym", url(repository))
    shutil.rmtree(cache)
    monkeypatch.chdir(tmp_path / "gym")
    with pytest.raises(CurriculumError) as caught:
        open_desk()
    assert (caught.value.next_step or "").startswith("gpuprep init")
    init(tmp_path / "gym")
    assert open_desk().curriculum.title == "Rows"
    next(cache.rglob("ex_01_one.py")).unlink()
    init(tmp_path / "gym")
    assert open_desk().curriculum.exercise_hash(open_desk().curriculum.exercise("ex_01"))
    assert len(list(cache.rglob("ex_01_one.py"))) == 2


def test_link_out_of_the_repository(repository: Path, tmp_path: Path, cache: Path) -> None:
    """A stub that is a link to a file of the machine's is refused, and no copy stays."""
    (tmp_path / "key").write_text("secret")
    (repository / STUB).unlink()
    (repository / STUB).symlink_to(tmp_path / "key")
    commit(repository)
    with pytest.raises(CurriculumError, match="link"):
        init(tmp_path / "gym", url(repository))
    assert not list(cache.rglob("curriculum.yaml"))
    assert not (tmp_path / "gym").exists()


NOWHERE = {
    "nothing": "no such place",
    "folder without a curriculum": ".",
    "no such wheel": "course-1.0-py3-none-any.whl",
    "wheel on a server": "https://example.org/course-1.0-py3-none-any.whl",
    "a transport that runs commands": "ext::sh -c id",
    "an option for the address": "--upload-pack=id",
    "an option for the ref": "https://example.org/course.git#--upload-pack=id",
    "a folder that climbs": "https://example.org/course.git#main:../..",
    "an absolute folder": "https://example.org/course.git#main:/etc",
}


@pytest.mark.parametrize("text", NOWHERE.values(), ids=NOWHERE)
def test_what_is_no_source(text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What names no place that a curriculum can be taken from is refused before anything runs."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sources.source_git, "fetch", lambda *_: pytest.fail("git was run"))
    with pytest.raises(UsageError) as caught:
        take_for(tmp_path / "gym", text)
    assert caught.value.next_step


def test_no_such_repository(tmp_path: Path) -> None:
    """git's own reason is told, and nothing is left in the cache."""
    with pytest.raises(CurriculumError, match="git fetch failed") as caught:
        take_for(tmp_path / "gym", (tmp_path / "nothing.git").as_uri())
    assert caught.value.next_step
    assert not list((tmp_path / "cache").rglob(".new-*"))


def test_password_is_not_shown() -> None:
    """An address with a password is recorded, since updates need it, and shown without."""
    source = Source(SourceKind.GIT, "https://me:secret@example.org/course.git", "0" * 40)
    assert source.shown == f"https://example.org/course.git, commit {'0' * 12}"
    assert Source.from_dict(source.as_dict()) == source


def test_wheel_is_unpacked(tmp_path: Path, cache: Path) -> None:
    """Only the curriculum of a wheel is unpacked; its path and hash are recorded."""
    packed = wheel(tmp_path / "course-1.0-py3-none-any.whl")
    result, taken = init(tmp_path / "gym", str(packed))
    assert taken.source == Source(SourceKind.WHEEL, str(packed), source_wheel.digest(packed))
    assert taken.root is not None
    below = sorted(path.relative_to(taken.root).as_posix() for path in taken.root.rglob("*") if path.is_file())
    assert below == sorted(FILES)
    assert taken.root.is_relative_to(cache)
    assert (tmp_path / "gym" / STUB).read_text() == "first = 1\n"
    assert len(result.created) == 1


def test_newer_wheel(tmp_path: Path) -> None:
    """Another wheel under the same name is taken by `init` again; without it, what was unpacked is used on."""
    packed = wheel(tmp_path / "course-1.0-py3-none-any.whl")
    init(tmp_path / "gym", str(packed))
    wheel(packed, {**FILES, STUB: "second = 2\n"})
    result, _ = init(tmp_path / "gym")
    assert len(result.updated) == 1
    packed.unlink()
    result, taken = init(tmp_path / "gym")
    assert taken.not_updated
    assert not result.updated


EVIL = ["../evil.py", "course/../../evil.py", "/evil.py", "course\\..\\evil.py", "C:/evil.py", "a/./../evil.py"]


@pytest.mark.parametrize("name", EVIL)
def test_member_that_climbs(name: str, tmp_path: Path, cache: Path) -> None:
    """A name that leads out of the folder is refused, and nothing at all is unpacked."""
    packed = wheel(tmp_path / "evil-1.0-py3-none-any.whl", {**FILES, name: "evil"})
    with pytest.raises(CurriculumError, match="no business"):
        take_for(tmp_path / "gym", str(packed))
    assert not list(tmp_path.rglob("evil.py"))
    assert not list(cache.rglob("curriculum.yaml"))


def test_member_that_is_a_link(tmp_path: Path) -> None:
    """A symbolic link in an archive is refused."""
    packed = wheel(tmp_path / "evil-1.0-py3-none-any.whl", FILES)
    link = zipfile.ZipInfo("exercises/link")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(packed, "a") as archive:
        archive.writestr(link, "/etc/passwd")
    with pytest.raises(CurriculumError, match="no business"):
        take_for(tmp_path / "gym", str(packed))


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize(
    "files",
    [
        {"course/__init__.py": ""},
        {"a/curriculum.yaml": YAML, "b/curriculum.yaml": YAML},
    ],
    ids=["no curriculum", "two curricula"],
)
def test_wheel_without_one_curriculum(files: dict[str, str], tmp_path: Path) -> None:
    """A wheel must hold one curriculum, or one that is above all others."""
    packed = wheel(tmp_path / "course-1.0-py3-none-any.whl", files)
    with pytest.raises(CurriculumError, match="this wheel"):
        take_for(tmp_path / "gym", str(packed))


def test_file_that_is_no_wheel(tmp_path: Path) -> None:
    """Any other bytes are refused."""
    packed = tmp_path / "course-1.0-py3-none-any.whl"
    packed.write_bytes(b"PK, or so it says")
    with pytest.raises(CurriculumError, match="not a wheel"):
        take_for(tmp_path / "gym", str(packed))


def test_wheel_that_swells(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """More than a curriculum can need is not unpacked."""
    packed = wheel(tmp_path / "course-1.0-py3-none-any.whl")
    monkeypatch.setattr(source_wheel, "MAX_BYTES", 10)
    with pytest.raises(CurriculumError, match="to unpack"):
        take_for(tmp_path / "gym", str(packed))


def test_cache_that_cannot_be_written(tmp_path: Path) -> None:
    """A cache in the way of a file is an error with a next step, not a traceback."""
    (tmp_path / "cache").write_text("a file")
    with pytest.raises(GpuprepError) as caught:
        take_for(tmp_path / "gym", str(wheel(tmp_path / "course-1.0-py3-none-any.whl")))
    assert "XDG_CACHE_HOME" in (caught.value.next_step or "")
