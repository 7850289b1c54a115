"""`dev new`: a new exercise is complete at once, and a refused one leaves no trace."""

import errno
import os

import pytest

from gpuprep import workspace as workspace_module
from gpuprep.authoring.proof import prove
from gpuprep.authoring.scaffold import languages, scaffold
from gpuprep.authoring.stubs import write_stubs
from gpuprep.counters.cuda_emulator.toolchain import why_unsupported
from gpuprep.curriculum import LANGUAGES, load
from gpuprep.errors import CurriculumError, UsageError, WorkspaceError

HEAD = "# Ours.\nversion: 1\ntitle: 'Small'   # quoted\nmodules:\n"
FIRST = """\
  - id: 00_first
    title: First
    exercises:
      - id: ex_01
        name: one
        title: One
        language: triton
        summary: one
        minutes: 5
        hints:
          - >-
            Try.
            # not a comment
"""
GAP = "\n  # The second module.\n"
SECOND = """\
  - id: 01_second
    title: Second
    exercises:
    - {id: ex_02, name: two, title: Two, language: triton, summary: two, minutes: 5, hints: [Try.]}
"""
EMPTY = "  - id: 02_empty\n    title: Empty\n    exercises: []  # soon\n"
PLANS = "plans:\n  quick: {title: Quick, schedule: [{when: Day 1, exercises: [ex_01, ex_44]}]}\n"
WHOLE = HEAD + FIRST + GAP + SECOND + EMPTY + PLANS


@pytest.fixture
def curriculum(tmp_path):
    """A curriculum of three modules, the last one empty; of the exercises only the entries are there."""
    (tmp_path / "curriculum.yaml").write_text(WHOLE)
    return load(tmp_path)


def start(curriculum, exercise_id="ex_46", module="00_first", name="double_it", title="Double: it", **more):
    return scaffold(curriculum, exercise_id, module=module, name=name, title=title, **more)


def files_below(root):
    return sorted(path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file())


def split(curriculum, before, after):
    """What was inserted between two parts of the file that must be as they were."""
    data = (curriculum.root / "curriculum.yaml").read_bytes()
    assert data.startswith(before.encode())
    assert data.endswith(after.encode())
    return data[len(before.encode()) : len(data) - len(after.encode())].decode()


def test_every_file_is_written(curriculum):
    """Reference, grader, a wrong solution and the stub stand where the id says, and the entry is in place."""
    result = start(curriculum)
    tail = "00_first/ex_46_double_it.py"
    wrong = "tests/wrong/ex_46_double_it/forgets_the_factor.py"
    guide = "exercises/00_first/README.md"
    expected = sorted([f"exercises/{tail}", f"graders/{tail}", f"reference/{tail}", wrong, guide])
    assert sorted(path.relative_to(curriculum.root).as_posix() for path in result.created) == expected
    assert files_below(curriculum.root) == sorted([*expected, "curriculum.yaml"])
    assert load(curriculum.root).exercise("ex_46") == result.exercise
    assert result.exercise.title == "Double: it"


def test_entry_goes_behind_the_modules_last(curriculum):
    """The entry follows the module's last exercise; comments, blanks and every other byte stay."""
    start(curriculum)
    inserted = split(curriculum, HEAD + FIRST, GAP + SECOND + EMPTY + PLANS)
    assert inserted.startswith("      - id: ex_46\n        name: double_it\n")
    assert load(curriculum.root).modules[0].exercise_ids == ("ex_01", "ex_46")


def test_indentation_follows_the_module(curriculum):
    """A list whose dashes stand elsewhere gets its entry there."""
    start(curriculum, module="01_second")
    assert split(curriculum, HEAD + FIRST + GAP + SECOND, EMPTY + PLANS).startswith("    - id: ex_46\n      name:")


def test_empty_module(curriculum):
    """The first exercise of an empty module replaces its brackets."""
    start(curriculum, module="02_empty")
    assert load(curriculum.root).modules[2].exercise_ids == ("ex_46",)
    assert split(curriculum, HEAD + FIRST + GAP + SECOND, "  # soon\n" + PLANS)


@pytest.mark.parametrize("end", ["", "\n", "\n\n# The end.\n"])
def test_at_the_end_of_the_file(curriculum, end):
    """The last exercise may be the file's last line, ended or not."""
    text = HEAD + FIRST + SECOND.rstrip("\n")
    (curriculum.root / "curriculum.yaml").write_text(text + end)
    start(curriculum, module="01_second")
    assert split(curriculum, text, end).startswith("\n    - id: ex_46\n")


def test_windows_line_ends(curriculum):
    """A file with \\r\\n keeps them everywhere."""
    path = curriculum.root / "curriculum.yaml"
    path.write_bytes(WHOLE.replace("\n", "\r\n").encode())
    start(curriculum)
    data = path.read_bytes()
    assert data.count(b"\n") == data.count(b"\r\n")
    assert load(curriculum.root).modules[0].exercise_ids == ("ex_01", "ex_46")


def test_text_outside_ascii(curriculum):
    """Letters of more than one byte before the entry don't shift it, and a title may have them."""
    (curriculum.root / "curriculum.yaml").write_text(WHOLE.replace("Ours", "Où 🚀 né"), encoding="utf-8")
    assert start(curriculum, title="Größe").exercise.title == "Größe"
    assert split(curriculum, (HEAD + FIRST).replace("Ours", "Où 🚀 né"), GAP + SECOND + EMPTY + PLANS)


def test_one_after_another(curriculum):
    """Several new exercises follow each other; the curriculum in hand may be older than the file."""
    start(curriculum, "ex_46", name="a")
    start(curriculum, "ex_47", name="b")
    assert load(curriculum.root).modules[0].exercise_ids == ("ex_01", "ex_46", "ex_47")


def test_stub_is_current(curriculum):
    """The stub is what `dev stubs` would make of the reference."""
    (curriculum.root / "curriculum.yaml").write_text(HEAD + EMPTY)
    start(curriculum, module="02_empty")
    assert [result.status for result in write_stubs(load(curriculum.root), check=True)] == ["unchanged"]


@pytest.mark.parametrize("language", languages())
def test_what_is_started_holds(curriculum, language):
    """In each language the new exercise is a finished one: all claims about it hold but one, that it has more wrong
    files than the example.
    """
    if language == "cuda" and why_unsupported():
        pytest.skip(why_unsupported())
    (curriculum.root / "curriculum.yaml").write_text(HEAD + EMPTY)
    start(load(curriculum.root), module="02_empty", language=language)
    proof = prove(load(curriculum.root))
    assert [item.claim for item in proof.failures] == ["has wrong solutions"], proof.failures
    graded = {"reference passes", "stub is NOT_STARTED", "wrong file is rejected", "tolerance is sharp"}
    assert graded <= {item.claim for item in proof.items}


def test_guide_is_started_once(curriculum):
    """A module's first exercise gets its guide, and a guide that is there stays as it is."""
    start(curriculum, "ex_46")
    guide = curriculum.guide_path("00_first")
    assert guide.read_text().startswith("# First\n")
    guide.write_text("mine\n")
    start(curriculum, "ex_47")
    assert guide.read_text() == "mine\n"


def test_every_language_has_a_template():
    """An exercise can be started in every language that an entry may name."""
    assert set(languages()) == set(LANGUAGES)


REFUSED = {
    "taken id": {"exercise_id": "ex_01"},
    "bad id": {"exercise_id": "46"},
    "id that climbs": {"exercise_id": "../ex_46"},
    "unknown module": {"module": "00_frist"},
    "name that climbs": {"name": "../x"},
    "name with blanks": {"name": "two words"},
    "keyword": {"name": "lambda"},
    "digit first": {"name": "3d"},
    "imported name": {"name": "torch"},
    "blank title": {"title": " "},
    "title of two lines": {"title": "a\nb"},
    "title with quotes": {"title": 'a"""b'},
    "language": {"language": "fortran"},
    "language that climbs": {"language": "../templates/triton"},
}


@pytest.mark.parametrize("arguments", REFUSED.values(), ids=REFUSED)
def test_refusals_write_nothing(curriculum, arguments):
    """What makes no sense is refused with the next step, and nothing is written."""
    with pytest.raises(UsageError) as caught:
        start(curriculum, **arguments)
    assert caught.value.next_step
    assert files_below(curriculum.root) == ["curriculum.yaml"]
    assert (curriculum.root / "curriculum.yaml").read_text() == WHOLE


def test_free_id_skips_the_planned(curriculum):
    """The id that is proposed is neither used nor planned."""
    with pytest.raises(UsageError) as caught:
        start(curriculum, "ex_01")
    assert "ex_45" in caught.value.next_step


def test_existing_file_is_kept(curriculum):
    """A file that is in the way is named, and stays."""
    path = curriculum.root / "graders/00_first/ex_46_double_it.py"
    path.parent.mkdir(parents=True)
    path.write_text("mine\n")
    with pytest.raises(UsageError) as caught:
        start(curriculum)
    assert str(path) in caught.value.message
    assert files_below(curriculum.root) == ["curriculum.yaml", "graders/00_first/ex_46_double_it.py"]
    assert path.read_text() == "mine\n"


FLOW_LIST = SECOND.replace("\n    - {", " [{").replace("[Try.]}\n", "[Try.]}]\n")
FLOW_MODULE = "  - {id: 01_second, title: Second, exercises: []}\n"
KEPT_BLANKS = FIRST.replace(">-", "|+").replace("00_first", "01_second") + "\n\n"


@pytest.mark.parametrize("module", [FLOW_LIST, FLOW_MODULE, KEPT_BLANKS], ids=["list", "module", "kept blanks"])
def test_entry_that_cannot_be_appended(curriculum, module):
    """Where appending would break the file or change another entry, it is refused and the author told to do it."""
    text = HEAD + module + PLANS
    (curriculum.root / "curriculum.yaml").write_text(text)
    with pytest.raises(CurriculumError) as caught:
        start(curriculum, module="01_second")
    assert caught.value.next_step
    assert files_below(curriculum.root) == ["curriculum.yaml"]
    assert (curriculum.root / "curriculum.yaml").read_text() == text


def test_full_disk_leaves_no_trace(curriculum, monkeypatch):
    """When a file can't be written, those before it are removed again."""
    calls = []

    def fail_later(descriptor):
        calls.append(descriptor)
        if len(calls) == 3:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(workspace_module.os, "fsync", fail_later)
    with pytest.raises(WorkspaceError):
        start(curriculum)
    assert files_below(curriculum.root) == ["curriculum.yaml"]
    assert (curriculum.root / "curriculum.yaml").read_text() == WHOLE
