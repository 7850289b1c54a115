"""What a class hands in: only the allowed files are taken, and nothing in an archive gets anywhere."""

from __future__ import annotations

import gzip
import io
import os
import tarfile
import tracemalloc
import zipfile
from datetime import UTC, datetime
from pathlib import Path

import pytest

from gpuprep.classroom import archives
from gpuprep.classroom.submissions import Found, Submission, collect, find, find_one, store
from gpuprep.curriculum import Curriculum
from gpuprep.errors import UsageError

NAME = "ex_01_vector_add.py"
SOURCE = b"def add(x, y):\n    return x\n"


def look_into(curriculum: Curriculum, path: Path, *exercise_ids: str) -> Submission:
    """Collect one submission."""
    exercises = [curriculum.exercise(exercise_id) for exercise_id in exercise_ids or ("ex_01",)]
    return collect(Found("someone", path), exercises, curriculum)


def zipped(path: Path, *members: tuple[str | zipfile.ZipInfo, bytes]) -> Path:
    """A zip file of these members."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members:
            archive.writestr(name, data)
    return path


def tarred(path: Path, *members: tuple[tarfile.TarInfo | str, bytes]) -> Path:
    """A tar file of these members, packed as its suffix says."""
    kind = {".gz": "w:gz", ".tgz": "w:gz", ".bz2": "w:bz2", ".xz": "w:xz"}.get(path.suffix, "w")
    with tarfile.open(path, kind) as archive:
        for named, data in members:
            member = tarfile.TarInfo(named) if isinstance(named, str) else named
            if member.isreg():
                member.size = len(data)
            archive.addfile(member, io.BytesIO(data) if member.isreg() else None)
    return path


def special(name: str, kind: bytes, target: str = "") -> tarfile.TarInfo:
    """A member that is no file."""
    member = tarfile.TarInfo(name)
    member.type, member.linkname = kind, target
    return member


def reason(submission: Submission) -> str:
    """Why ex_01 was refused."""
    assert not submission.files
    return submission.refused["ex_01"]


def test_folders_and_archives_are_submissions(tmp_path: Path) -> None:
    """Each is one, by its name without a suffix; hidden ones, links and other files are none."""
    (tmp_path / "ada").mkdir()
    zipped(tmp_path / "bob.zip", (NAME, SOURCE))
    tarred(tmp_path / "eve.tar.gz", (NAME, SOURCE))
    (tmp_path / ".git").mkdir()
    (tmp_path / "notes.txt").touch()
    (tmp_path / "link").symlink_to("ada")
    assert [found.name for found in find(tmp_path)] == ["ada", "bob", "eve"]


def test_two_of_one_name_are_refused(tmp_path: Path) -> None:
    """A row could be either's."""
    (tmp_path / "ada").mkdir()
    zipped(tmp_path / "ada.zip", (NAME, SOURCE))
    with pytest.raises(UsageError, match="two submissions are called 'ada'"):
        find(tmp_path)


def test_nothing_to_grade_is_refused(tmp_path: Path) -> None:
    """An empty folder, and what is neither a folder nor a list."""
    with pytest.raises(UsageError, match="no submission"):
        find(tmp_path)
    with pytest.raises(UsageError, match="not there"):
        find(tmp_path / "missing")
    (tmp_path / "notes.txt").touch()
    with pytest.raises(UsageError, match="want a folder"):
        find(tmp_path / "notes.txt")


def test_one_submission_as_a_class_is_told(tmp_path: Path) -> None:
    """Whoever names a student's own folder or archive reads that `--single` is what is wanted."""
    own = tmp_path / "ada"
    own.mkdir()
    (own / NAME).write_bytes(SOURCE)
    for one in (own, zipped(tmp_path / "ada.zip", (NAME, SOURCE))):
        with pytest.raises(UsageError) as caught:
            find(one)
        assert "--single" in (caught.value.next_step or "")


def test_list_names_paths_and_times(tmp_path: Path, curriculum: Curriculum) -> None:
    """Paths are those of the list's folder; a time in the list counts more than a file's."""
    (tmp_path / NAME).write_bytes(SOURCE)
    (tmp_path / "list.csv").write_text(f"submission,path,submitted\nada,{NAME},2026-03-01T12:00Z\nbob,.,\n")
    ada, bob = find(tmp_path / "list.csv")
    assert (ada.name, ada.submitted) == ("ada", datetime(2026, 3, 1, 12, tzinfo=UTC))
    found = [collect(each, [curriculum.exercise("ex_01")], curriculum) for each in (ada, bob)]
    assert [each.files["ex_01"] for each in found] == [{NAME: SOURCE}] * 2
    assert found[1].submitted is not None


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("submission,pth\nada,.\n", "did you mean 'path'?"),
        ("submission\nada\n", "column 'path' is missing"),
        ("submission,path\nada,\n", ":2: want a submission and its path"),
        ("submission,path\nada,nowhere\n", "is not there"),
        ("submission,path,submitted\nada,.,yesterday\n", ":2: submitted: want a date"),
        ("submission,path\nada,.,more\n", ":2: want a submission and its path"),
    ],
)
def test_mistake_in_a_list_is_told_with_its_line(tmp_path: Path, text: str, said: str) -> None:
    """The list is refused before anything is graded."""
    (tmp_path / "list.csv").write_text(text)
    with pytest.raises(UsageError) as caught:
        find(tmp_path / "list.csv")
    assert said in caught.value.message


def test_only_allowed_files_are_taken(tmp_path: Path, curriculum: Curriculum) -> None:
    """Wherever they lie; a torch.py beside them, a conftest.py or another exercise's file stays behind."""
    own = tmp_path / "ada" / "src" / "homework"
    own.mkdir(parents=True)
    for name in (NAME, "torch.py", "conftest.py", "ex_02_reduction.py", "sitecustomize.py", "own.pth"):
        (own / name).write_bytes(SOURCE)
    found = look_into(curriculum, tmp_path / "ada")
    assert found.files == {"ex_01": {NAME: SOURCE}}
    paths = store(found, tmp_path / "out")
    assert [path.name for path in (tmp_path / "out").rglob("*") if path.is_file()] == [NAME]
    assert paths["ex_01"].read_bytes() == SOURCE


def test_what_lies_too_deep_or_hidden_is_missing(tmp_path: Path, curriculum: Curriculum) -> None:
    """A virtual environment or a trash folder is not searched."""
    for place in ("a/b/c/d/e/f/g", ".trash", "__MACOSX"):
        (tmp_path / "ada" / place).mkdir(parents=True)
        (tmp_path / "ada" / place / NAME).write_bytes(SOURCE)
    found = look_into(curriculum, tmp_path / "ada")
    assert (found.files, found.refused) == ({}, {})


def test_two_files_of_one_name_are_refused(tmp_path: Path, curriculum: Curriculum) -> None:
    """Nobody can tell which one is meant; other exercises are graded all the same."""
    for place in ("v1", "v2"):
        (tmp_path / "ada" / place).mkdir(parents=True)
        (tmp_path / "ada" / place / NAME).write_bytes(SOURCE)
    reduction = curriculum.stub_path(curriculum.exercise("ex_02")).name
    (tmp_path / "ada" / reduction).write_bytes(SOURCE)
    found = look_into(curriculum, tmp_path / "ada", "ex_01", "ex_02")
    assert found.refused == {"ex_01": f"2 files are called {NAME}: v1/{NAME}, v2/{NAME}"}
    assert list(found.files) == ["ex_02"]


def test_files_of_other_names_are_told(tmp_path: Path, curriculum: Curriculum) -> None:
    """A renamed file or an archive in a folder is no answer; the row says what is there instead."""
    (tmp_path / "moodle").mkdir()
    (tmp_path / "moodle" / "hw.zip").write_bytes(b"PK")
    (tmp_path / "ex_01 (1).py").write_bytes(SOURCE)
    (tmp_path / "notes.txt").write_bytes(b"-")
    found = look_into(curriculum, tmp_path)
    assert found.files == {}
    (note,) = found.notes
    assert note.startswith("nothing has the name of an exercise's file; there is ")
    assert set(note.partition("there is ")[2].split(", ")) == {"ex_01 (1).py", "moodle/hw.zip"}


def test_half_of_a_cuda_exercise_is_completed_from_the_stub(tmp_path: Path, curriculum: Curriculum) -> None:
    """Kernels alone are launched by the stub's own launcher, and the row says so."""
    exercise = next(each for each in curriculum.exercises if each.language == "cuda")
    stub = curriculum.stub_path(exercise)
    (tmp_path / f"{exercise.slug}.cu").write_bytes(b"// kernels\n")
    found = look_into(curriculum, tmp_path, exercise.id)
    assert found.files[exercise.id] == {stub.name: stub.read_bytes(), f"{exercise.slug}.cu": b"// kernels\n"}
    assert found.notes == (f"{exercise.id}: {stub.name} was not handed in, the stub's was taken",)


@pytest.mark.parametrize("suffix", [".zip", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz"])
def test_archive_is_read(tmp_path: Path, curriculum: Curriculum, suffix: str) -> None:
    """Every kind, with a harmless link beside the file."""
    path = tmp_path / f"ada{suffix}"
    if suffix == ".zip":
        zipped(path, ("hw/readme.md", b"-"), (f"hw/{NAME}", SOURCE))
    else:
        tarred(path, (special("hw/venv", tarfile.SYMTYPE, "/usr"), b""), (f"hw/{NAME}", SOURCE))
    assert look_into(curriculum, path).files == {"ex_01": {NAME: SOURCE}}


@pytest.mark.parametrize("name", [f"../../{NAME}", f"/srv/{NAME}", f"..\\{NAME}", f"C:\\{NAME}", "../other.txt"])
@pytest.mark.parametrize("suffix", [".zip", ".tar"])
def test_path_that_leads_out_is_refused(tmp_path: Path, curriculum: Curriculum, name: str, suffix: str) -> None:
    """Whatever the file is called: an honest archive has none of these."""
    make = zipped if suffix == ".zip" else tarred
    assert "outside of it" in reason(look_into(curriculum, make(tmp_path / f"ada{suffix}", (name, SOURCE))))


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE])
def test_link_or_device_in_a_tar_is_refused(tmp_path: Path, curriculum: Curriculum, kind: bytes) -> None:
    """Where a file to grade should be."""
    path = tarred(tmp_path / "ada.tar", (special(NAME, kind, "/etc/passwd"), b""))
    assert "no file" in reason(look_into(curriculum, path))


def test_link_in_a_zip_is_refused(tmp_path: Path, curriculum: Curriculum) -> None:
    """Its content is the path that it leads to."""
    member = zipfile.ZipInfo(NAME)
    member.external_attr = 0o120777 << 16
    assert "is a link" in reason(look_into(curriculum, zipped(tmp_path / "ada.zip", (member, b"/etc/passwd"))))


def test_link_or_pipe_in_a_folder_is_refused(tmp_path: Path, curriculum: Curriculum) -> None:
    """A link is not followed, and a pipe is not waited for."""
    for name in ("link", "pipe"):
        (tmp_path / name).mkdir()
    (tmp_path / "link" / NAME).symlink_to("/etc/passwd")
    os.mkfifo(tmp_path / "pipe" / NAME)
    assert "is a link" in reason(look_into(curriculum, tmp_path / "link"))
    assert "no plain file" in reason(look_into(curriculum, tmp_path / "pipe"))


def test_linked_folder_is_not_entered(tmp_path: Path, curriculum: Curriculum) -> None:
    """What lies behind it is not the student's."""
    (tmp_path / "theirs").mkdir()
    (tmp_path / "theirs" / NAME).write_bytes(SOURCE)
    (tmp_path / "ada").mkdir()
    (tmp_path / "ada" / "src").symlink_to(tmp_path / "theirs")
    assert look_into(curriculum, tmp_path / "ada").files == {}


@pytest.mark.parametrize("suffix", [".zip", ".tar.gz", ".tar.xz"])
def test_bomb_is_refused(tmp_path: Path, curriculum: Curriculum, suffix: str) -> None:
    """A few kilobytes that unpack to many megabytes, in the file itself or beside it."""
    zeros = bytes(64 * 2**20)
    make = zipped if suffix == ".zip" else tarred
    path = make(tmp_path / f"ada{suffix}", (NAME, zeros))
    assert "unpacks to more than" in reason(look_into(curriculum, path)) or suffix != ".zip"
    if suffix != ".zip":
        beside = make(tmp_path / f"bob{suffix}", ("data.bin", zeros), (NAME, SOURCE))
        assert "unpacks to more than" in reason(look_into(curriculum, beside))


def test_many_of_one_name_are_not_all_kept(tmp_path: Path, curriculum: Curriculum) -> None:
    """Each of them small enough, and together gigabytes: refused, and never in memory at once."""
    data = os.urandom(6000) * 170
    members = [(f"{number}/{NAME}", data) for number in range(40)]
    tracemalloc.start()
    found = look_into(curriculum, zipped(tmp_path / "ada.zip", *members))
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert "40 files are called" in reason(found)
    assert most < 15 * len(data)


def test_members_that_are_large_together_are_refused(
    tmp_path: Path, curriculum: Curriculum, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever each of them is."""
    monkeypatch.setattr(archives, "MAX_UNPACKED_BYTES", 3 * len(SOURCE))
    members = [(f"{number}/{NAME}", SOURCE) for number in range(5)]
    assert "unpacks to more" in reason(look_into(curriculum, zipped(tmp_path / "ada.zip", *members)))


def test_header_that_claims_gigabytes_is_refused(tmp_path: Path, curriculum: Curriculum) -> None:
    """A long name is read before it is a name."""
    header = tarfile.TarInfo("././@LongLink")
    header.type, header.size = tarfile.GNUTYPE_LONGNAME, 8 * 2**30
    with gzip.open(tmp_path / "ada.tar.gz", "wb") as packed:
        packed.write(header.tobuf(tarfile.GNU_FORMAT))
        packed.write(bytes(8 * 2**20))
    assert reason(look_into(curriculum, tmp_path / "ada.tar.gz"))


def test_file_that_is_too_large_is_refused(tmp_path: Path, curriculum: Curriculum) -> None:
    """In a folder and in an archive."""
    data = os.urandom(archives.MAX_FILE_BYTES + 1)
    (tmp_path / "ada").mkdir()
    (tmp_path / "ada" / NAME).write_bytes(data)
    assert "is larger than" in reason(look_into(curriculum, tmp_path / "ada"))
    assert "is larger than" in reason(look_into(curriculum, zipped(tmp_path / "bob.zip", (NAME, data))))


@pytest.mark.parametrize("name", ["ada.zip", "ada.tar", "ada.tar.gz", "ada.tar.xz", "ada.tar.bz2"])
def test_damaged_archive_is_refused(tmp_path: Path, curriculum: Curriculum, name: str) -> None:
    """Bytes that are none."""
    (tmp_path / name).write_bytes(os.urandom(2000))
    assert "can't be read" in reason(look_into(curriculum, tmp_path / name))


def test_reason_of_a_refusal_has_no_path(tmp_path: Path) -> None:
    """A student reads it: where submissions lie on the grader's machine is none of it."""
    with pytest.raises(archives.RefusedError) as caught:
        list(archives.read(tmp_path / "gone.zip", lambda _: True))
    assert str(caught.value) == "gone.zip can't be read: No such file or directory"


def test_too_many_members_are_refused(tmp_path: Path, curriculum: Curriculum, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody hands in so many files."""
    monkeypatch.setattr(archives, "MAX_MEMBERS", 3)
    members = [(f"{number}.txt", b"-") for number in range(5)]
    assert "more than 3 files" in reason(look_into(curriculum, zipped(tmp_path / "ada.zip", *members)))
    assert "more than 3 files" in reason(look_into(curriculum, tarred(tmp_path / "ada.tar", *members)))


def test_folder_of_a_submission_is_safe_and_its_own() -> None:
    """Whatever it is called."""
    names = ["../../etc", "Müller, Jörg", "a/b", "a_b", "", "x" * 300, ".."]
    folders = [Submission(name).folder for name in names]
    assert len(set(folders)) == len(names)
    assert all(len(folder) < 80 and "/" not in folder and not folder.startswith(".") for folder in folders)


def test_hash_is_of_what_is_graded(tmp_path: Path, curriculum: Curriculum) -> None:
    """Another content is another submission; where the file lay doesn't matter."""
    first = zipped(tmp_path / "a.zip", (NAME, SOURCE))
    moved = zipped(tmp_path / "b.zip", (f"hw/{NAME}", SOURCE))
    changed = zipped(tmp_path / "c.zip", (NAME, SOURCE + b"#"))
    hashes = [look_into(curriculum, path).hash for path in (first, moved, changed)]
    assert hashes[0] == hashes[1] != hashes[2]


def test_one_submission_by_itself(tmp_path: Path, curriculum: Curriculum) -> None:
    """A folder, an archive or an exercise's file is one submission, called as it is or as it is said."""
    (tmp_path / "ada").mkdir()
    (tmp_path / "ada" / NAME).write_bytes(SOURCE)
    packed = zipped(tmp_path / "bob.zip", (NAME, SOURCE))
    handed_in = datetime(2026, 3, 1, tzinfo=UTC)
    for path, name in ((tmp_path / "ada", "ada"), (packed, "bob"), (tmp_path / "ada" / NAME, "ex_01_vector_add")):
        assert find_one(path).name == name
        found = find_one(path, "someone", handed_in)
        assert (found.name, found.submitted) == ("someone", handed_in)
        assert collect(found, [curriculum.exercise("ex_01")], curriculum).files == {"ex_01": {NAME: SOURCE}}


def test_one_submission_is_named_wherever_it_is_seen_from(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The current folder has a name, too; a link keeps its own."""
    (tmp_path / "ada" / "below").mkdir(parents=True)
    (tmp_path / "carol").symlink_to(tmp_path / "ada")
    monkeypatch.chdir(tmp_path / "ada" / "below")
    assert find_one(Path("..")).name == "ada"
    assert find_one(Path()).name == "below"
    assert find_one(tmp_path / "carol").name == "carol"


def test_one_submission_may_be_named_by_bytes_that_are_no_text(tmp_path: Path) -> None:
    """As an old archive has them, or a command line: what is no text is written out."""
    path = Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.py"))
    path.touch()
    assert find_one(path).name == r"caf\xe9"
    assert find_one(tmp_path, "caf\udce9").name == r"caf\xe9"


def test_what_is_no_submission_by_itself(tmp_path: Path) -> None:
    """A list, nothing at all, and nobody."""
    (tmp_path / "class.csv").write_text("submission,path\n")
    for path in (tmp_path / "class.csv", tmp_path / "gone"):
        with pytest.raises(UsageError, match="want one submission"):
            find_one(path)
    with pytest.raises(UsageError, match="needs a name"):
        find_one(tmp_path, " ")
