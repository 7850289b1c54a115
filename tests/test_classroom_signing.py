"""Signed results: whatever is changed in them shows, and the key stays where it is."""

from __future__ import annotations

import ast
import copy
import errno
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import sample_record
import sample_reports as samples
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from typer.testing import CliRunner, Result

from gpuprep import cli
from gpuprep.classroom.assignment import parse
from gpuprep.classroom.keys import MadeKey, SigningKey, make_key, read_private, read_public
from gpuprep.classroom.scoring import row
from gpuprep.classroom.signed_shape import Fault
from gpuprep.classroom.signing import canonical, sign, sign_class, written
from gpuprep.classroom.submissions import Found, collect
from gpuprep.classroom.verifying import Verified, verify
from gpuprep.curriculum import Curriculum
from gpuprep.errors import GpuprepError, UsageError

PACKAGE = Path(cli.__file__).parent
HOMEWORK = (
    "title: Homework 1\nexercises: [{id: ex_01, weight: 2}, ex_02]\ndue: 2026-03-01T12:00Z\nlate: {per_day: 0.1}\n"
)
NOW = datetime(2026, 3, 5, tzinfo=UTC)

Json = dict[str, Any]


def never() -> str:
    """Asks for a passphrase where there is none."""
    raise AssertionError("nobody should be asked")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> MadeKey:
    """A key in a folder of its own."""
    return make_key(tmp_path_factory.mktemp("keys") / "key")


@pytest.fixture(scope="module")
def key(made: MadeKey) -> SigningKey:
    """The same, read."""
    return read_private(made.path, never)


@pytest.fixture(scope="module")
def signed(key: SigningKey) -> Json:
    """A class of three, signed."""
    return sign_class(sample_record.made_record(Path("hw1"), sample_record.made_assignment()), key, NOW)


@pytest.fixture
def document(signed: Json) -> Json:
    """A copy of it, to be changed."""
    return copy.deepcopy(signed)


@pytest.fixture
def check(tmp_path: Path, key: SigningKey) -> Callable[..., Verified]:
    """Writes a document or a text, and verifies it with the key that signed."""

    def checked(found: Json | str | bytes, vouched: bool = True) -> Verified:
        text = written(found) if isinstance(found, dict) else found
        path = tmp_path / "signed.json"
        path.write_bytes(text.encode(errors="surrogatepass") if isinstance(text, str) else text)
        return verify(path, key.public if vouched else None)

    return checked


def faults(verified: Verified) -> list[str]:
    """What is wrong, entry by entry, then of the whole."""
    own = [entry.problem.fault if entry.problem else "" for entry in verified.entries]
    return [str(fault) for fault in (*own, *(problem.fault for problem in verified.problems))]


def test_untouched_document_holds(document: Json, check: Callable[..., Verified]) -> None:
    """Every entry, with the key that is given and without one."""
    for vouched in (True, False):
        verified = check(document, vouched)
        assert verified.holds
        assert [entry.name for entry in verified.entries] == ["ada", "bob", "Émile Čapek"]
        assert (verified.key is not None) == vouched


def test_entry_is_checked_alone(document: Json, check: Callable[..., Verified]) -> None:
    """Cut out of the file, in any order of its keys and with any spaces."""
    entry = dict(reversed(list(document["entries"][1].items())))
    verified = check(json.dumps(entry, indent=7))
    assert verified.holds
    assert [each.name for each in verified.entries] == ["bob"]


def test_entry_says_what_was_graded_where_and_how(signed: Json) -> None:
    """Submission, curriculum and assignment by hash, environment, result; nothing in it is a fraction."""
    first = signed["entries"][0]["signed"]
    assert (first["class"]["assignment"], first["class"]["curriculum"]) == ("a" * 64, "c" * 64)
    assert first["submission"]["hash"] == b"ada".hex().ljust(64, "0")
    assert first["result"]["score"] == "2.3333"
    exercise = first["result"]["exercises"][0]
    assert exercise["tiers"] == {"correct": "won", "work": "won", "speed": "pending"}
    assert exercise["environments"] == [{"device": "cpu", "sandbox": "full", "versions": sample_record.VERSIONS}]
    assert first["result"]["exercises"][1]["environments"][0]["device"] == "NVIDIA H200"
    assert (exercise["n_cases"], exercise["n_cases_passed"], exercise["work_counted"]) == (4, 4, "self-reported")
    last = signed["entries"][2]["signed"]["result"]["exercises"]
    assert [each["outcome"] for each in last] == ["GRADER_FAULT", "REFUSED"]
    assert "." not in canonical({**first, "result": {}}).decode().replace("0.1.0", "")
    json.loads(written(signed), parse_float=pytest.fail)


def test_upgrade_adds_its_machine(key: SigningKey) -> None:
    """Tiers that were graded before, without a card, are from another one than speed."""
    assignment = sample_record.made_assignment()
    student = sample_record.made_student(assignment, "ada", {"ex_01": samples.provisional()})
    later = replace(student.grades["ex_01"], report=samples.timed(), earlier=student.grades["ex_01"])
    student = replace(student, grades={"ex_01": later}, row=row(assignment, student.noted, {"ex_01": later}))
    signed = sign_class(sample_record.made_record(Path("hw1"), assignment, student), key)
    exercise = signed["entries"][0]["signed"]["result"]["exercises"][0]
    assert exercise["tiers"]["speed"] == "won"
    assert [each["device"] for each in exercise["environments"]] == ["cpu", "NVIDIA H200"]


def test_nothing_of_a_case_is_signed(key: SigningKey) -> None:
    """Hidden cases stay hidden: no size, no value, no seed, no work that would tell one."""
    report = replace(samples.too_much_work(), seed=987654321)
    assignment = sample_record.made_assignment(n_hidden_seeds=1)
    student = sample_record.made_student(assignment, "ada", {"ex_01": report})
    text = written(sign_class(sample_record.made_record(Path("hw1"), assignment, student), key))
    assert not [told for told in ("987654321", str(samples.N), str(samples.N_BYTES), "1025") if told in text]


def test_no_hash_tells_hidden_shapes(key: SigningKey, curriculum: Curriculum) -> None:
    """With one of all that the assignment says, anybody could try shapes until it fits."""
    shapes = "hidden: {shapes: {ex_01: [{n: %d}]}}"
    first, second = (parse(f"{HOMEWORK}{shapes % n}", Path("hw.yaml"), curriculum) for n in (12345, 12346))
    student = sample_record.made_student(first, "ada", {"ex_01": samples.provisional()})
    record = sample_record.made_record(Path("hw1"), first, student)
    record = replace(record, identity=replace(record.identity, assignment=first.hash))
    signed = [sign_class(replace(record, assignment=each), key, NOW) for each in (first, second)]
    assert first.hash != second.hash
    assert signed[0] == signed[1]
    assert first.hash not in written(signed[0])


def test_canonical_form() -> None:
    """RFC 8785: sorted keys, no spaces, UTF-8, and the shortest escapes."""
    found = canonical({"b": ["é\u2028/\x7f", 10, True], "a": {"z": '"\\\n\x1f', "y": None}})
    assert found == '{"a":{"y":null,"z":"\\"\\\\\\n\\u001f"},"b":["é\u2028/\x7f",10,true]}'.encode()


def test_every_changed_byte_shows(check: Callable[..., Verified], key: SigningKey) -> None:
    """Wherever a byte is replaced, something no longer holds, or the file says exactly what it said."""
    assignment = sample_record.made_assignment()
    student = sample_record.made_student(assignment, "ada", {"ex_01": samples.provisional()})
    document = sign_class(sample_record.made_record(Path("hw1"), assignment, student), key, NOW)
    text = written(document).encode()
    assert check(text).holds
    n_same = 0
    for place in range(len(text)):
        changed = bytearray(text)
        changed[place] ^= 0x2A if chr(text[place]).isspace() else 1  # a newline becomes a space
        if check(bytes(changed)).holds:
            assert json.loads(bytes(changed)) == document
            n_same += 1
    assert 0 < n_same < len(text) / 2


def edit(document: Json, place: int, *path: str | int, to: Any) -> None:
    """Change one value of an entry; `...` takes it away."""
    found = document["entries"][place]
    for step in path[:-1]:
        found = found[step]
    if to is ...:
        del found[path[-1]]
    else:
        found[path[-1]] = to


RESULT = ("signed", "result")


@pytest.mark.parametrize(
    ("path", "to", "fault"),
    [
        ((*RESULT, "score"), "3", Fault.CHANGED),
        ((*RESULT, "exercises", 0, "tiers", "work"), "lost", Fault.CHANGED),
        ((*RESULT, "exercises", 0, "tiers", "work"), ..., Fault.CHANGED),
        ((*RESULT, "exercises", 0, "environments", 0, "device"), "NVIDIA H200", Fault.CHANGED),
        (("signed", "submission", "hash"), "0" * 64, Fault.CHANGED),
        (("signed", "class", "curriculum"), "0" * 64, Fault.CHANGED),
        (("signed", "signed_at"), "2026-03-06T00:00:00Z", Fault.CHANGED),
        (("signature", "value"), "0" * 128, Fault.CHANGED),
        (("signature", "key"), "0" * 64, Fault.CHANGED),
        ((*RESULT, "max_score"), ..., Fault.MISSING_FIELD),
        (("signed",), ..., Fault.MISSING_FIELD),
        (("signature",), ..., Fault.MISSING_FIELD),
        ((*RESULT, "exercises", 0, "environments", 0, "sandbox"), ..., Fault.MISSING_FIELD),
        ((*RESULT, "bonus"), "3", Fault.UNKNOWN_FIELD),
        (("note",), "3", Fault.UNKNOWN_FIELD),
        (("signed", "version"), 2, Fault.UNKNOWN_VERSION),
        (("signed", "version"), True, Fault.UNKNOWN_VERSION),
        (("signed", "version"), "1", Fault.UNKNOWN_VERSION),
        (("signed", "format"), "other", Fault.UNKNOWN_VERSION),
        (("signature", "algorithm"), "none", Fault.UNKNOWN_VERSION),
        ((*RESULT, "score"), 3, Fault.WRONG_TYPE),
        ((*RESULT, "n_days_late"), False, Fault.WRONG_TYPE),
        ((*RESULT, "exercises"), {}, Fault.WRONG_TYPE),
        ((*RESULT, "exercises", 0, "tiers", "work"), 1, Fault.WRONG_TYPE),
        (("signature", "value"), "AB" * 64, Fault.WRONG_TYPE),
        (("signature", "key"), "", Fault.WRONG_TYPE),
        (("signed", "submission", "name"), "\ud800", Fault.WRONG_TYPE),
    ],
)
def test_change_is_found_and_named(
    document: Json, check: Callable[..., Verified], path: tuple[str | int, ...], to: Any, fault: Fault
) -> None:
    """In the entry that was changed, and in no other; the class is no longer whole."""
    edit(document, 0, *path, to=to)
    verified = check(json.dumps(document))
    assert not verified.holds
    assert faults(verified) == [fault, "", "", Fault.INCOMPLETE]


def swap_names(entries: list[Json]) -> None:
    """Two students' names alone."""
    first, second = (entry["signed"]["submission"] for entry in entries[:2])
    first["name"], second["name"] = second["name"], first["name"]


def swap_submissions(entries: list[Json]) -> None:
    """All that says whose result it is."""
    first, second = (entry["signed"] for entry in entries[:2])
    first["submission"], second["submission"] = second["submission"], first["submission"]


def swap_signed(entries: list[Json]) -> None:
    """Whole results, under each other's signature."""
    entries[0]["signed"], entries[1]["signed"] = entries[1]["signed"], entries[0]["signed"]


@pytest.mark.parametrize("swap", [swap_names, swap_submissions, swap_signed])
def test_swap_between_students_is_named(
    document: Json, check: Callable[..., Verified], swap: Callable[[list[Json]], None]
) -> None:
    """Both entries say for whom their signature was made."""
    swap(document["entries"])
    verified = check(document)
    assert faults(verified)[:3] == [Fault.SWAPPED, Fault.SWAPPED, ""]
    assert not verified.holds
    assert "bob" in verified.entries[0].problem.text + verified.entries[1].problem.text  # type: ignore[union-attr]


def test_order_of_entries_means_nothing(document: Json, check: Callable[..., Verified]) -> None:
    """Each says whose it is."""
    document["entries"].reverse()
    assert check(document).holds


def test_missing_and_doubled_entries_show(document: Json, check: Callable[..., Verified]) -> None:
    """Though each of those that are left holds."""
    document["entries"].append(document["entries"].pop(0) | {})
    del document["entries"][1]
    assert faults(check(document)) == ["", "", Fault.INCOMPLETE]
    document["entries"].append(document["entries"][0])
    assert faults(check(document)) == ["", "", "", Fault.INCOMPLETE, Fault.MIXED]


def test_entry_of_another_day_does_not_fit_in(document: Json, check: Callable[..., Verified], key: SigningKey) -> None:
    """An old result, from before a regrade, was signed by the same key."""
    old = sign_class(sample_record.made_record(Path("hw1"), sample_record.made_assignment()), key, NOW.replace(day=1))
    document["entries"][0] = old["entries"][0]
    assert faults(check(document)) == ["", "", "", Fault.MIXED]


def test_other_key_is_named(document: Json, check: Callable[..., Verified], tmp_path: Path) -> None:
    """A whole document signed anew by somebody else holds only for who doesn't name the key."""
    other = read_private(make_key(tmp_path / "other").path, never)
    forged = {**document, "entries": [sign(entry["signed"], other) for entry in document["entries"]]}
    verified = check(forged)
    assert faults(verified)[:3] == [Fault.OTHER_KEY] * 3
    assert not verified.holds
    assert check(forged, False).holds
    assert check(forged, False).key is None


def test_two_keys_in_one_class_do_not_hold(document: Json, check: Callable[..., Verified], tmp_path: Path) -> None:
    """Without a key to hold them against, too."""
    other = read_private(make_key(tmp_path / "other").path, never)
    document["entries"][0] = sign(document["entries"][0]["signed"], other)
    assert faults(check(document, False)) == ["", "", "", Fault.MIXED]


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ('{"entries": [], "entries": []}', Fault.DUPLICATE_KEY),
        ('{"signed": {"a": {"name": "x", "name": "y"}}, "signature": {}}', Fault.DUPLICATE_KEY),
        ("{", Fault.NOT_JSON),
        ("", Fault.NOT_JSON),
        (b"\xff\xfe", Fault.NOT_JSON),
        ("\ufeff{}", Fault.NOT_JSON),
        ("[" * 100_000, Fault.NOT_JSON),
        ('{"version": ' + "9" * 5000 + "}", Fault.NOT_JSON),
        ('{"version": 1.0}', Fault.WRONG_TYPE),
        ('{"version": NaN}', Fault.WRONG_TYPE),
        ("[]", Fault.WRONG_TYPE),
        ("{}", Fault.MISSING_FIELD),
        ('{"format": "gpuprep/signed-results", "version": 2, "entries": []}', Fault.UNKNOWN_VERSION),
        ('{"format": "other", "version": 1, "entries": []}', Fault.UNKNOWN_VERSION),
        ('{"format": "gpuprep/signed-results", "version": 1, "entries": []}', Fault.INCOMPLETE),
        ('{"format": "gpuprep/signed-results", "version": 1, "entries": [], "more": 1}', Fault.UNKNOWN_FIELD),
        ('{"format": "gpuprep/signed-results", "version": 1, "entries": {}}', Fault.WRONG_TYPE),
    ],
)
def test_file_that_is_none_is_refused(check: Callable[..., Verified], text: str | bytes, fault: Fault) -> None:
    """And says why; nothing raises."""
    verified = check(text)
    assert faults(verified) == [fault]
    assert not verified.holds


def test_key_twice_in_an_entry(signed: Json, check: Callable[..., Verified]) -> None:
    """A reader that takes the first one would show another score than was signed."""
    text = written(signed)
    assert '"score": "2.3333"' in text
    assert faults(check(text.replace('"score"', '"score": "3", "score"', 1))) == [Fault.DUPLICATE_KEY]


def hand_in(folder: Path, text: str = "# mine\n") -> Path:
    """A submission of one file."""
    folder.mkdir()
    (folder / "ex_01_vector_add.py").write_text(text)
    return folder


def test_submission_is_recognised(tmp_path: Path, key: SigningKey, curriculum: Curriculum) -> None:
    """The folder, its archive or its file is the one that was graded, and another is not."""
    own = hand_in(tmp_path / "ada")
    assignment = sample_record.made_assignment()
    submission = collect(Found("ada", own), [each.exercise for each in assignment.exercises], curriculum)
    (data,) = submission.files["ex_01"].values()
    from hashlib import sha256

    report = replace(samples.provisional(), file_hash=sha256(data).hexdigest())
    students = (
        sample_record.made_student(assignment, "ada", {"ex_01": report}, digest=submission.hash),
        sample_record.made_student(assignment, "bob", {}),
    )
    path = tmp_path / "signed.json"
    path.write_text(written(sign_class(sample_record.made_record(tmp_path, assignment, *students), key)))
    for same in (own, own / "ex_01_vector_add.py"):
        verified = verify(path, key.public, same, curriculum)
        assert verified.holds
        assert [entry.is_submission for entry in verified.entries] == [True, False]
    (tmp_path / "late").mkdir()
    other = hand_in(tmp_path / "late" / "ada", "# mended\n")
    verified = verify(path, key.public, other, curriculum)
    assert faults(verified) == ["", "", Fault.OTHER_SUBMISSION]
    assert "ex_01: another file" in verified.problems[0].text
    assert "--curriculum" in verified.problems[0].text, "the record's exercises have another hash than these"


def test_submission_counts_only_where_the_signature_holds(
    document: Json, tmp_path: Path, key: SigningKey, curriculum: Curriculum
) -> None:
    """A hash that was put into an entry proves nothing."""
    own = hand_in(tmp_path / "eve")
    exercises = [curriculum.exercise("ex_01"), curriculum.exercise("ex_02")]
    edit(document, 0, "signed", "submission", "hash", to=collect(Found("eve", own), exercises, curriculum).hash)
    path = tmp_path / "signed.json"
    path.write_text(written(document))
    verified = verify(path, key.public, own, curriculum)
    assert faults(verified) == [Fault.CHANGED, "", "", Fault.INCOMPLETE, Fault.OTHER_SUBMISSION]


def test_key_is_for_its_owner_alone(tmp_path: Path) -> None:
    """Whatever the umask; its public half is for everybody, and neither is ever overwritten."""
    before = os.umask(0)
    try:
        made = make_key(tmp_path / "key")
    finally:
        os.umask(before)
    assert made.path.stat().st_mode & 0o777 == 0o600
    assert made.public_path.stat().st_mode & 0o777 == 0o644
    private, public = made.path.read_bytes(), made.public_path.read_bytes()
    with pytest.raises(UsageError, match="never overwritten"):
        make_key(made.path)
    made.public_path.unlink()
    with pytest.raises(UsageError, match="never overwritten"):
        make_key(made.path)
    assert (made.path.read_bytes(), made.public_path.exists()) == (private, False)
    assert b"PRIVATE" in private
    assert b"PUBLIC" in public


def test_full_disk_leaves_no_half_of_a_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Which would keep the next try from making a whole one."""

    def full(_descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", full)
        with pytest.raises(UsageError, match="No space left"):
            make_key(tmp_path / "key")
    assert list(tmp_path.iterdir()) == []
    assert make_key(tmp_path / "key").path.is_file()


def test_key_is_not_written_through_a_link(tmp_path: Path) -> None:
    """Nor is a folder made for it."""
    (tmp_path / "key").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(UsageError):
        make_key(tmp_path / "key")
    with pytest.raises(UsageError):
        make_key(tmp_path / "no" / "key")
    assert [path.name for path in tmp_path.iterdir()] == ["key"]


def test_public_key_is_read_in_both_forms(made: MadeKey) -> None:
    """From its file, or as digits that stand on a course's page."""
    assert read_public(str(made.public_path)) == read_public(made.public.hex) == made.public
    assert len(made.public.fingerprint) == 39


def test_passphrase_encrypts_the_file(tmp_path: Path) -> None:
    """It is asked for where the file has one, and only there."""
    made = make_key(tmp_path / "key", "sesame")
    assert b"ENCRYPTED" in made.path.read_bytes()
    assert read_private(made.path, lambda: "sesame").public == made.public
    with pytest.raises(UsageError, match="passphrase"):
        read_private(made.path, lambda: "other")
    with pytest.raises(UsageError, match="empty"):
        make_key(tmp_path / "another", "")
    assert not (tmp_path / "another").exists()


def test_unfit_keys_are_refused(tmp_path: Path, made: MadeKey) -> None:
    """One that others may read, one of another kind, a public one, text, and none."""
    path = tmp_path / "key"
    path.write_bytes(made.path.read_bytes())
    path.chmod(0o640)
    with pytest.raises(UsageError, match="others may read") as raised:
        read_private(path, never)
    assert raised.value.next_step == f"chmod 600 {path}"
    path.chmod(0o600)
    form = serialization.PrivateFormat.PKCS8
    other = generate_private_key(SECP256R1())
    path.write_bytes(other.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption()))
    with pytest.raises(UsageError, match="not an Ed25519 key"):
        read_private(path, never)
    for text in (made.public_path.read_bytes(), b"no key\n"):
        path.write_bytes(text)
        with pytest.raises(UsageError, match=r"no private key|a public key"):
            read_private(path, never)
    with pytest.raises(UsageError, match="this is a private key"):
        read_public(str(made.path))
    with pytest.raises(UsageError, match="no public key"):
        read_public(str(path)) if path.write_bytes(b"no key\n") else None
    with pytest.raises(UsageError, match="No such file"):
        read_public(str(tmp_path / "none"))


def test_private_key_shows_itself_nowhere(key: SigningKey, made: MadeKey) -> None:
    """Not in a traceback's variables, and no descriptor of its file stays open."""
    assert "Ed25519PrivateKey" not in repr(key)
    open_files = [str(link.readlink()) for link in Path("/proc/self/fd").iterdir() if link.is_symlink()]
    assert str(made.path) not in open_files


def reachable(*names: str) -> set[str]:
    """All modules of the package that these import, anywhere in them, and what those do."""

    def imported(path: Path) -> Iterator[str]:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                yield from (alias.name for alias in node.names)
            elif isinstance(node, ast.ImportFrom) and node.module:
                yield from (node.module, *(f"{node.module}.{alias.name}" for alias in node.names))

    found: set[str] = set()
    waiting = list(names)
    while waiting:
        name = waiting.pop()
        stem = PACKAGE.parent.joinpath(*name.split("."))
        path = next((path for path in (stem.with_suffix(".py"), stem / "__init__.py") if path.is_file()), None)
        if name in found or (path is None and not name.startswith("cryptography")):
            continue
        found.add(name)
        waiting += imported(path) if path else ()
    return found


def test_nothing_that_grades_can_read_a_key() -> None:
    """Signing is a command of its own, on a record that is finished: no code of grading's leads there."""
    grading = reachable(
        "gpuprep.cli_grade", "gpuprep.classroom.local", "gpuprep.worker.main", "gpuprep.worker.template"
    )
    assert {"gpuprep.classroom.executor", "gpuprep.grading.session"} <= grading
    secret = {"gpuprep.classroom.keys", "gpuprep.classroom.signing", "cryptography"}
    assert not {name for name in grading if name in secret or name.startswith("cryptography")}
    assert secret & reachable("gpuprep.cli_classroom")


def run(*arguments: str, typed: str | None = None) -> Result:
    """A command, in this process."""
    return CliRunner().invoke(cli.app, list(arguments), input=typed)


def test_commands_from_key_to_verify(tmp_path: Path, curriculum: Curriculum) -> None:
    """A class's folder is signed and verified; a changed score is exit code 1, and --json says where."""
    record = sample_record.made_record(tmp_path / "hw1", sample_record.made_assignment())
    sample_record.write_record(record, sample_record.HOMEWORK)
    key_path, results = str(tmp_path / "key"), str(tmp_path / "hw1" / "signed.json")
    assert run("classroom", "key", key_path).exit_code == 0
    again = run("classroom", "key", key_path)
    assert isinstance(again.exception, GpuprepError)
    told = run("classroom", "sign", str(record.folder), "--key", key_path)
    assert (told.exit_code, "3 submissions signed" in told.output) == (0, True)
    held = run("verify", results, "--key", f"{key_path}.pub")
    assert held.exit_code == 0
    assert "3 of 3 signatures hold" in held.output
    assert "Nobody vouches" not in held.output
    unvouched = run("verify", results)
    assert unvouched.exit_code == 0
    assert "Nobody vouches for this key" in unvouched.output
    text = Path(results).read_text()
    Path(results).write_text(text.replace('"score": "0"', '"score": "3"', 1))
    broken = run("verify", results, "--key", f"{key_path}.pub", "--json")
    assert broken.exit_code == 1
    answer = json.loads(broken.output)
    assert [entry["holds"] for entry in answer["entries"]] == [True, False, True]
    assert (answer["entries"][1]["problem"]["fault"], answer["holds"]) == ("changed", False)


def test_encrypted_key_takes_its_passphrase_from_stdin_without_a_terminal(tmp_path: Path) -> None:
    """A script pipes it in; no argument and no environment variable has it."""
    record = sample_record.made_record(tmp_path / "hw1", sample_record.made_assignment())
    sample_record.write_record(record, sample_record.HOMEWORK)
    key_path = str(tmp_path / "key")
    assert run("classroom", "key", key_path, "--passphrase", typed="sesame\n").exit_code == 0
    sign_it = ("classroom", "sign", str(record.folder), "--key", key_path)
    assert isinstance(run(*sign_it, typed="other\n").exception, UsageError)
    assert run(*sign_it, typed="sesame\n").exit_code == 0
    assert run("verify", str(record.folder / "signed.json"), "--key", f"{key_path}.pub").exit_code == 0


def test_unfinished_class_is_not_signed(tmp_path: Path, made: MadeKey) -> None:
    """What is still being graded has no result yet."""
    from gpuprep.classroom.journal import Journal

    record = sample_record.made_record(tmp_path, sample_record.made_assignment())
    with Journal(tmp_path) as journal:
        journal.begin(record.identity, [student.noted for student in record.students], sample_record.HOMEWORK)
    refused = run("classroom", "sign", str(tmp_path), "--key", str(made.path))
    assert isinstance(refused.exception, UsageError)
    assert not (tmp_path / "signed.json").exists()


def test_class_that_nothing_confined_is_remarked(tmp_path: Path, made: MadeKey) -> None:
    """Its code could have written the record that is signed."""
    record = sample_record.made_record(tmp_path, sample_record.made_assignment())
    record = replace(record, identity=replace(record.identity, sandbox="none"))
    sample_record.write_record(record, sample_record.HOMEWORK)
    told = run("classroom", "sign", str(tmp_path), "--key", str(made.path))
    assert "Nothing confined" in told.output


def test_missing_library_is_a_line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """With what to install."""
    for name in [name for name in sys.modules if name.startswith("cryptography")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "cryptography", None)
    with pytest.raises(UsageError, match="cryptography") as raised:
        make_key(tmp_path / "key")
    assert "gpuprep[sign]" in (raised.value.next_step or "")


HOSTILE = """
import json, os
links = []
for pid in os.listdir("/proc"):
    if pid.isdigit():
        try:
            links += [os.readlink(f"/proc/{{pid}}/fd/{{fd}}") for fd in os.listdir(f"/proc/{{pid}}/fd")]
        except OSError:
            pass
try:
    text = open({path!r}).read()
except OSError as error:
    text = type(error).__name__
raise RuntimeError(json.dumps([sorted(os.environ), [link for link in links if "key" in link], text]))
"""


@pytest.mark.soak
def test_worker_finds_no_key(tmp_path: Path, made: MadeKey) -> None:
    """A submission that looks through descriptors, the environment and the disk finds nothing of it."""
    own = tmp_path / "class" / "eve"
    own.mkdir(parents=True)
    (own / "ex_01_vector_add.py").write_text(HOSTILE.format(path=str(made.path)))
    (tmp_path / "hw.yaml").write_text("title: H\nexercises: [ex_01]\n")
    command = [sys.executable, "-m", "gpuprep", "grade", "class", "--assignment", "hw.yaml", "--out", "out"]
    subprocess.run([*command, "--device", "cpu"], cwd=tmp_path, check=True, capture_output=True, timeout=300)
    from gpuprep.classroom.journal import Journal

    with Journal(tmp_path / "out") as journal:
        (grade,) = journal.grades()
        sandbox = journal.identity().sandbox
    assert grade.report is not None
    message = grade.report.message or grade.report.first_failure.message  # type: ignore[union-attr]
    names, links, text = json.loads(message[message.index("[") : message.rindex("]") + 1])
    assert links == []
    assert not [name for name in names if "KEY" in name or "PASS" in name]
    assert sandbox == "none" or text in ("PermissionError", "FileNotFoundError")
