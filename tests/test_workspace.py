"""Workspaces: made, found, upgraded and reset without ever losing what a learner wrote."""

import errno
import json
import os
import stat
from datetime import date, datetime, time
from pathlib import Path

import pytest

from gpuprep import workspace as workspace_module
from gpuprep.curriculum import default_root, load
from gpuprep.errors import CurriculumError, UsageError, WorkspaceError
from gpuprep.workspace import find, init, reset, write_atomically

YAML = """\
version: 1
title: Small
modules:
  - id: 00_first
    title: First
    exercises:
      - {id: ex_01, name: one, title: One, language: triton, summary: one, minutes: 5, hints: [Try.]}
      - {id: ex_02, name: two, title: Two, language: cuda, summary: two, minutes: 5, hints: [Try.]}
plans:
  quick: {title: Quick, schedule: [{when: Day 1, exercises: [ex_01]}]}
"""
ONE = "exercises/00_first/ex_01_one.py"
TWO = "exercises/00_first/ex_02_two.py"
TWO_CU = "exercises/00_first/ex_02_two.cu"
GUIDE = "exercises/00_first/README.md"


@pytest.fixture
def curriculum(tmp_path):
    """A curriculum of two exercises, the second with a `.cu`."""
    root = tmp_path / "curriculum"
    (root / "exercises/00_first").mkdir(parents=True)
    (root / "curriculum.yaml").write_text(YAML)
    for relative in (ONE, TWO, TWO_CU, GUIDE):
        (root / relative).write_text(f"{relative}, as shipped\n")
    return load(root)


@pytest.fixture
def place(tmp_path):
    """Where the workspace goes."""
    return tmp_path / "work"


def names(paths, root):
    return sorted(path.relative_to(root).as_posix() for path in paths)


def files_below(root):
    return sorted(path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file())


def failing(number):
    """A stand-in for a system call that fails with this errno."""

    def fail(*_args, **_kwargs):
        raise OSError(number, os.strerror(number))

    return fail


def test_init_ships_stubs_and_guides(curriculum, place):
    """A new workspace holds every stub, `.cu` files and guides, and what gpuprep remembers."""
    result = init(place, curriculum)
    assert names(result.created, place) == sorted([ONE, TWO, TWO_CU, GUIDE])
    assert (result.kept, result.updated) == ((), ())
    assert files_below(place) == sorted([".gitignore", ".gpuprep/workspace.json", ONE, TWO, TWO_CU, GUIDE])
    assert (place / ONE).read_bytes() == (curriculum.root / ONE).read_bytes()
    assert (place / ".gitignore").read_text() == ".gpuprep/\n"


def test_init_twice_changes_nothing(curriculum, place):
    """Running it again in an up-to-date workspace touches no file."""
    init(place, curriculum)
    (place / ONE).write_text("mine\n")
    before = {path: (place / path).read_bytes() for path in files_below(place)}
    result = init(place, curriculum)
    assert (result.created, result.updated) == ((), ())
    assert names(result.kept, place) == [ONE]
    assert before == {path: (place / path).read_bytes() for path in files_below(place)}


def test_upgrade(curriculum, place):
    """An upgrade adds what is new, replaces what the learner left alone, and keeps what the learner changed."""
    init(place, curriculum)
    (place / ONE).write_text("mine\n")
    (place / TWO_CU).unlink()
    for relative in (ONE, TWO, TWO_CU):
        (curriculum.root / relative).write_text("newer\n")
    result = init(place, curriculum)
    assert (names(result.created, place), names(result.updated, place)) == ([TWO_CU], [TWO])
    assert names(result.kept, place) == [ONE]
    assert (place / ONE).read_text() == "mine\n"
    assert (place / TWO).read_text() == "newer\n"


def test_second_upgrade_still_keeps_the_learners_file(curriculum, place):
    """A changed file that was kept once is kept again, and one set back by hand is upgraded again."""
    init(place, curriculum)
    shipped = (place / ONE).read_text()
    (place / ONE).write_text("mine\n")
    (curriculum.root / ONE).write_text("newer\n")
    init(place, curriculum)
    (curriculum.root / ONE).write_text("newest\n")
    assert names(init(place, curriculum).kept, place) == [ONE]
    (place / ONE).write_text(shipped)
    assert names(init(place, curriculum).updated, place) == [ONE]


def test_foreign_files_are_kept(curriculum, place):
    """What stood there before is reported and left alone, be it a file, a folder or a link."""
    (place / "exercises/00_first").mkdir(parents=True)
    (place / ONE).write_text("theirs\n")
    (place / TWO).mkdir()
    (place / TWO_CU).symlink_to(place / "nowhere")
    (place / ".gitignore").write_text("*.o")
    result = init(place, curriculum)
    assert names(result.kept, place) == sorted([ONE, TWO, TWO_CU])
    assert (place / ONE).read_text() == "theirs\n"
    assert (place / ".gitignore").read_text() == "*.o\n.gpuprep/\n"


def test_plan_and_curriculum_are_remembered(curriculum, place):
    """An upgrade that names neither plan nor curriculum keeps the workspace's own."""
    init(place, curriculum, plan="quick", curriculum_root=curriculum.root)
    workspace = init(place, curriculum).workspace
    assert (workspace.plan, workspace.curriculum_root) == ("quick", curriculum.root)
    assert find(place) == workspace


def test_a_plan_starts_when_it_is_chosen(curriculum, place, monkeypatch):
    """The day is remembered, an upgrade keeps it, and choosing the plan again starts it anew."""
    days = iter([date(2026, 3, 2), date(2026, 3, 9)])

    class Clock(datetime):
        @classmethod
        def now(cls, tz=None):
            return datetime.combine(next(days), time(12))

    monkeypatch.setattr(workspace_module, "datetime", Clock)
    assert init(place, curriculum).workspace.plan_started is None
    assert init(place, curriculum, plan="quick").workspace.plan_started == date(2026, 3, 2)
    assert init(place, curriculum).workspace.plan_started == date(2026, 3, 2)
    assert find(place).plan_started == date(2026, 3, 2)
    assert init(place, curriculum, plan="quick").workspace.plan_started == date(2026, 3, 9)


def test_unknown_plan_writes_nothing(curriculum, place):
    """A plan that isn't there is refused before the folder is made."""
    with pytest.raises(UsageError):
        init(place, curriculum, plan="quik")
    assert not place.exists()


def test_missing_stub_writes_nothing(curriculum, place):
    """A curriculum without one of its stubs is refused before the folder is made."""
    (curriculum.root / TWO).unlink()
    with pytest.raises(CurriculumError):
        init(place, curriculum)
    assert not place.exists()


def test_another_curriculum_is_refused(curriculum, place, tmp_path):
    """A workspace isn't mixed with a curriculum that it wasn't made from."""
    init(place, curriculum, curriculum_root=curriculum.root)
    other = tmp_path / "other"
    curriculum.root.rename(other)
    with pytest.raises(WorkspaceError):
        init(place, load(other))


@pytest.mark.parametrize("below", [".", "exercises", "new/folder"])
def test_not_inside_a_curriculum(curriculum, below):
    """The originals can't become a workspace, neither this curriculum's nor the package's own."""
    for root in (curriculum.root, default_root()):
        with pytest.raises(WorkspaceError) as caught:
            init(root / below, curriculum)
        assert caught.value.next_step
    assert not (curriculum.root / ".gpuprep").exists()


def test_find_walks_up(curriculum, place, monkeypatch):
    """The workspace is found from any folder in it, and from the current folder by default."""
    workspace = init(place, curriculum).workspace
    assert find(place / "exercises/00_first") == workspace
    monkeypatch.chdir(place / "exercises")
    assert find() == workspace


def test_find_nothing(tmp_path):
    """Outside of any workspace, the error says how to make one."""
    with pytest.raises(WorkspaceError) as caught:
        find(tmp_path)
    assert caught.value.next_step == "gpuprep init"


def test_find_from_a_deleted_folder(tmp_path, monkeypatch):
    """A current folder that is gone is an error that a person can read."""
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    with pytest.raises(WorkspaceError):
        find()


BROKEN = ["", "{", "[]", "null", "{}", '{"version": 1}', b"\xff", '{"version": "1", "curriculum": null}', "[" * 100_000]
BROKEN += [json.dumps({"version": 1, "curriculum": 5, "plan": None, "shipped": {}})]
BROKEN += [json.dumps({"version": 1, "curriculum": None, "plan": None, "shipped": ["x"]})]
BROKEN += [json.dumps({"version": 2, "curriculum": None, "plan": None, "shipped": {}})]


@pytest.mark.parametrize("content", BROKEN, ids=range(len(BROKEN)))
def test_broken_state_is_named(curriculum, place, content):
    """A workspace.json that can't be understood is named, with how to mend it."""
    init(place, curriculum)
    path = place / ".gpuprep/workspace.json"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    for act in (lambda: find(place), lambda: init(place, curriculum)):
        with pytest.raises(WorkspaceError) as caught:
            act()
        assert str(path) in caught.value.message
        assert caught.value.next_step


def test_mending_a_broken_state_loses_nothing(curriculum, place):
    """After the advice is followed, changed files are kept and untouched ones upgrade again."""
    init(place, curriculum)
    (place / ONE).write_text("mine\n")
    (place / ".gpuprep/workspace.json").unlink()
    assert names(init(place, curriculum).kept, place) == [ONE]
    (curriculum.root / TWO).write_text("newer\n")
    assert names(init(place, curriculum).updated, place) == [TWO]


def test_reset_backs_up_every_file(curriculum, place):
    """Reset copies both files of an exercise aside, then both are stubs again."""
    workspace = init(place, curriculum).workspace
    (place / TWO).write_text("my python\n")
    (place / TWO_CU).write_text("my kernel\n")
    result = reset(workspace, curriculum, curriculum.exercise("ex_02"))
    assert result.path == place / TWO
    assert result.backup.parent == place / ".gpuprep/backups/ex_02_two"
    assert (result.backup / "ex_02_two.py").read_text() == "my python\n"
    assert (result.backup / "ex_02_two.cu").read_text() == "my kernel\n"
    assert (place / TWO).read_bytes() == (curriculum.root / TWO).read_bytes()
    assert (place / TWO_CU).read_bytes() == (curriculum.root / TWO_CU).read_bytes()


def test_resets_in_one_second(curriculum, place):
    """Each of many quick resets has a backup of its own."""
    workspace = init(place, curriculum).workspace
    backups = []
    for attempt in range(4):
        (place / ONE).write_text(f"attempt {attempt}\n")
        backups.append(reset(workspace, curriculum, curriculum.exercise("ex_01")).backup)
    assert [(backup / "ex_01_one.py").read_text() for backup in backups] == [f"attempt {n}\n" for n in range(4)]


def test_reset_removes_what_the_stub_lacks(curriculum, place):
    """A `.cu` that the stub doesn't have is backed up and gone."""
    workspace = init(place, curriculum).workspace
    stray = (place / ONE).with_suffix(".cu")
    stray.write_text("stray\n")
    result = reset(workspace, curriculum, curriculum.exercise("ex_01"))
    assert not stray.exists()
    assert (result.backup / stray.name).read_text() == "stray\n"


def test_reset_of_a_deleted_file(curriculum, place):
    """With nothing there, the stub comes back and there is no backup to speak of."""
    workspace = init(place, curriculum).workspace
    (place / ONE).unlink()
    assert reset(workspace, curriculum, curriculum.exercise("ex_01")).backup is None
    assert (place / ONE).is_file()


def test_reset_stub_upgrades_again(curriculum, place):
    """A file that was reset is the learner's no longer: the next upgrade replaces it."""
    workspace = init(place, curriculum).workspace
    (place / ONE).write_text("mine\n")
    (curriculum.root / ONE).write_text("newer\n")
    reset(workspace, curriculum, curriculum.exercise("ex_01"))
    (curriculum.root / ONE).write_text("newest\n")
    assert names(init(place, curriculum).updated, place) == [ONE]


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS, errno.EACCES])
def test_reset_that_cannot_back_up_overwrites_nothing(curriculum, place, monkeypatch, number):
    """Without room for the backup, the learner's file stays and no half backup is left."""
    workspace = init(place, curriculum).workspace
    (place / TWO).write_text("mine\n")
    monkeypatch.setattr(workspace_module.os, "fsync", failing(number))
    with pytest.raises(WorkspaceError) as caught:
        reset(workspace, curriculum, curriculum.exercise("ex_02"))
    assert caught.value.next_step
    assert (place / TWO).read_text() == "mine\n"
    assert files_below(place / ".gpuprep") == ["workspace.json"]


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS, errno.EIO])
def test_full_disk_leaves_the_old_file(tmp_path, monkeypatch, number):
    """A write that fails keeps the old content, removes its temporary file and names the path."""
    path = tmp_path / "file.txt"
    path.write_text("old")
    monkeypatch.setattr(workspace_module.os, "fsync", failing(number))
    with pytest.raises(WorkspaceError) as caught:
        write_atomically(path, "new")
    assert str(path) in caught.value.message
    assert caught.value.next_step
    assert files_below(tmp_path) == ["file.txt"]
    assert path.read_text() == "old"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_read_only_folder(curriculum, place):
    """A folder that can't be written is refused by name."""
    place.mkdir(mode=0o500)
    with pytest.raises(WorkspaceError) as caught:
        init(place, curriculum)
    assert str(place) in caught.value.message


def test_folder_that_cannot_be_made(curriculum, tmp_path):
    """A target below a file is refused, not crashed on."""
    (tmp_path / "file").write_text("")
    with pytest.raises(WorkspaceError):
        init(tmp_path / "file" / "work", curriculum)


def test_interrupted_write_leaves_nothing(tmp_path, monkeypatch):
    """Ctrl-C in the middle of a write leaves no temporary file."""

    def interrupt(_fd):
        raise KeyboardInterrupt

    monkeypatch.setattr(workspace_module.os, "fsync", interrupt)
    with pytest.raises(KeyboardInterrupt):
        write_atomically(tmp_path / "file.txt", "new")
    assert files_below(tmp_path) == []


def test_writing_keeps_permissions(tmp_path):
    """A replaced file keeps its mode; text is written as UTF-8, bytes as they are."""
    path = tmp_path / "deep" / "file.txt"
    write_atomically(path, "é")
    path.chmod(0o640)
    write_atomically(path, b"\x00\r\n")
    assert path.read_bytes() == b"\x00\r\n"
    assert path.stat().st_mode & 0o777 == 0o640


def test_link_stays_a_link(tmp_path):
    """What it leads to is replaced."""
    real, link = tmp_path / "real.txt", tmp_path / "link.txt"
    real.write_text("old")
    link.symlink_to(real)
    write_atomically(link, "new")
    assert (link.is_symlink(), real.read_text()) == (True, "new")
    assert files_below(tmp_path) == ["link.txt", "real.txt"]


def test_what_is_no_file_is_written_to(tmp_path):
    """A pipe gets the text, and is a pipe afterwards; so is an open file by its name, after what is there."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reading = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    write_atomically(pipe, "new")
    assert os.read(reading, 10) == b"new"
    os.close(reading)
    assert stat.S_ISFIFO(pipe.lstat().st_mode)

    with (tmp_path / "log.txt").open("w") as log:
        log.write("before, ")
        log.flush()
        write_atomically(Path(f"/proc/self/fd/{log.fileno()}"), "after")
    assert (tmp_path / "log.txt").read_text() == "before, after"
    assert files_below(tmp_path) == ["log.txt"], "nothing beside them"


def test_display_is_short(curriculum, place, monkeypatch):
    """Paths are shown relative to the current folder where that is shorter."""
    workspace = init(place, curriculum).workspace
    path = workspace.exercise_path(curriculum.exercise("ex_01"))
    monkeypatch.chdir(place)
    assert workspace.display(path) == ONE
    monkeypatch.chdir("/")
    assert workspace.display(Path("/x")) == "x"
    (place / "a/b/c/d").mkdir(parents=True)
    monkeypatch.chdir(place / "a/b/c/d")
    assert workspace.display(Path("/x")) == "/x"
    monkeypatch.undo()
    assert workspace.progress_path == place / ".gpuprep/progress.db"
