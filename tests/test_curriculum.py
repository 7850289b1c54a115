"""curriculum.yaml: what a right one becomes, and where a wrong one is wrong."""

import time
from pathlib import Path

import pytest
import yaml

from gpuprep import curriculum as curriculum_module
from gpuprep import yaml_nodes
from gpuprep.curriculum import Curriculum, default_root, load, parse
from gpuprep.errors import CurriculumError, UnknownExerciseError, UsageError
from gpuprep.exercise import Hint, Target

HEAD = """\
version: 1
title: Small
modules:
  - id: 00_first
    title: First things
    exercises:
"""

ENTRY = """\
      - id: {id}
        name: {name}
        title: {title}
        language: triton
        summary: "`{name}(x)`"
        minutes: 5
        topics: [one, two]
        targets:
          share_of_copy: {{pass: 0.5, gold: 1}}
        hints:
          - A nudge.
          - {{text: An outline., for: [tail, race]}}
"""

TARGETS = """\
targets:
          share_of_copy: {pass: 0.5, gold: 1}"""

PLANS = """\
plans:
  quick:
    title: Quick
    schedule:
      - {when: Day 1, exercises: [ex_01, ex_30]}
      - {when: Day 2, note: A mock interview}
"""


def entry(exercise_id: str, name: str, title: str) -> str:
    return ENTRY.format(id=exercise_id, name=name, title=title)


VALID = HEAD + entry("ex_01", "vector_add", "Vector add") + entry("ex_02", "softmax", "Row softmax") + PLANS


def read(tmp_path: Path, text: str) -> Curriculum:
    (tmp_path / "curriculum.yaml").write_text(text, encoding="utf-8")
    return load(tmp_path)


def fault(tmp_path: Path, text: str) -> str:
    """The message of the refusal, without the folder it was made in."""
    with pytest.raises(CurriculumError) as caught:
        read(tmp_path, text)
    assert caught.value.next_step
    return caught.value.message.removeprefix(f"{tmp_path}/")


def test_every_key_reaches_the_exercise(tmp_path):
    """An entry becomes an Exercise with all that the YAML says, hints and targets included."""
    exercise = read(tmp_path, VALID).exercise("ex_01")
    assert (exercise.slug, exercise.module, exercise.minutes) == ("ex_01_vector_add", "00_first", 5)
    assert exercise.hints == (Hint("A nudge."), Hint("An outline.", ("tail", "race")))
    assert exercise.targets == (Target("share_of_copy", 0.5, 1.0),)
    assert exercise.topics == ("one", "two")


def test_targets_of_several_operations(tmp_path):
    """Targets by operation and then by figure keep the operation's name, in the file's order."""
    total, add = "{share_of_copy: {pass: 0.5, gold: 1}, times_eager: {pass: 2}}", "{share_of_copy: {pass: 0.8}}"
    text = VALID.replace(TARGETS, f"targets: {{total: {total}, add: {add}}}", 1)
    exercise = read(tmp_path, text).exercise("ex_01")
    assert exercise.targets == (
        Target("share_of_copy", 0.5, 1.0, "total"),
        Target("times_eager", 2.0, None, "total"),
        Target("share_of_copy", 0.8, None, "add"),
    )


def test_modules_and_order(tmp_path):
    """Exercises keep the file's order, and a module knows its own."""
    curriculum = read(tmp_path, VALID)
    assert [exercise.id for exercise in curriculum.exercises] == ["ex_01", "ex_02"]
    assert curriculum.modules[0].exercise_ids == ("ex_01", "ex_02")


def test_plans_may_name_what_is_coming(tmp_path):
    """A plan keeps ids that the curriculum doesn't have, and entries that hold a note alone."""
    plan = read(tmp_path, VALID).plan("quick")
    assert plan.entries[0].exercises == ("ex_01", "ex_30")
    assert (plan.entries[1].exercises, plan.entries[1].note) == ((), "A mock interview")


AREAS = """
roadmap:
  - area: Kernels
    abilities:
      - {can: Add, exercises: [ex_01]}
      - {can: Attend, exercises: [ex_01, ex_30]}
checklist:
  - {can: "Do it all", exercises: [ex_01, ex_02]}
"""


def test_roadmap_and_checklist_may_name_what_is_coming(tmp_path):
    """Both are optional, keep their order, and keep ids that the curriculum doesn't have yet."""
    found = read(tmp_path, VALID + AREAS)
    assert [ability.text for ability in found.roadmap[0].abilities] == ["Add", "Attend"]
    assert found.roadmap[0].abilities[1].exercises == ("ex_01", "ex_30")
    assert found.checklist[0].text == "Do it all"
    bare = read(tmp_path, VALID)
    assert (bare.roadmap, bare.checklist) == ((), ())


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (("exercises: [ex_01]}", "exercises: []}"), "name the exercises"),
        (("exercises: [ex_01]}", "exercises: [vector_add]}"), "vector_add"),
        (("area: Kernels", "aera: Kernels"), "aera"),
        (("can: Add", "could: Add"), "could"),
    ],
)
def test_a_slip_in_the_roadmap_is_an_error_at_its_line(tmp_path, change, told):
    """An ability without exercises, an id that is none, and unknown keys are refused."""
    with pytest.raises(CurriculumError, match=told) as caught:
        read(tmp_path, VALID + AREAS.replace(*change))
    assert "curriculum.yaml:" in caught.value.message


def test_unknown_plan_is_a_usage_error(tmp_path):
    """A plan that isn't there is refused, with the plans that are."""
    with pytest.raises(UsageError) as caught:
        read(tmp_path, VALID).plan("quik")
    assert "quick" in caught.value.message


def test_needs_an_earlier_exercise(tmp_path):
    """`needs` that names an exercise before this one is kept."""
    text = VALID.replace("name: softmax\n", "name: softmax\n        needs: [ex_01]\n")
    assert read(tmp_path, text).exercise("ex_02").needs == ("ex_01",)


@pytest.mark.parametrize(
    "query", ["ex_02", "2", "02", "EX_2", "ex_02_softmax", "softmax", "Row Softmax", "row", "SOFT"]
)
def test_find_understands_what_people_type(tmp_path, query):
    """Ids, numbers, slugs, and parts of a title or name in any case find the exercise."""
    assert read(tmp_path, VALID).find(query).id == "ex_02"


@pytest.mark.parametrize(
    ("query", "named"),
    [
        ("sofmax", "ex_02"),
        ("vector_ad_d", "ex_01"),
        ("ex_77", "ex_77"),
        ("", "no exercise"),
        ("30", "planned"),
        ("x" * 9999, ""),
    ],
)
def test_find_names_the_nearest(tmp_path, query, named):
    """What nothing answers to is refused with what is near it, and a planned id is said to be coming."""
    with pytest.raises(UnknownExerciseError) as caught:
        read(tmp_path, VALID).find(query)
    assert named in caught.value.message
    assert caught.value.next_step


def test_find_names_all_that_match(tmp_path):
    """A part that fits two titles is refused with both."""
    with pytest.raises(UnknownExerciseError) as caught:
        read(tmp_path, VALID).find("o")
    assert "ex_01" in caught.value.message
    assert "ex_02" in caught.value.message


def test_paths_follow_from_the_id(tmp_path):
    """Stub, reference, grader and guide stand in mirrored trees; a driver only where there is one."""
    curriculum = read(tmp_path, VALID)
    exercise = curriculum.exercise("ex_01")
    tail = Path("00_first/ex_01_vector_add.py")
    assert curriculum.stub_path(exercise) == tmp_path / "exercises" / tail
    assert curriculum.reference_path(exercise) == tmp_path / "reference" / tail
    assert curriculum.grader_path(exercise) == tmp_path / "graders" / tail
    assert curriculum.guide_path("00_first") == tmp_path / "exercises/00_first/README.md"
    assert curriculum.driver_path(exercise) is None
    driver = tmp_path / "graders/00_first/ex_01_vector_add_driver.py"
    driver.parent.mkdir(parents=True)
    driver.write_text("")
    assert curriculum.driver_path(exercise) == driver


def test_sources_include_the_cuda_file(tmp_path):
    """A `.cu` beside the `.py` belongs to the exercise."""
    curriculum = read(tmp_path, VALID)
    stub = tmp_path / "stub.py"
    assert curriculum.sources(stub) == (stub,)
    (tmp_path / "stub.cu").write_text("")
    assert curriculum.sources(stub) == (stub, tmp_path / "stub.cu")


@pytest.mark.parametrize(
    "suffix", ["graders/00_first/{}.py", "graders/00_first/{}_driver.py", "exercises/00_first/{}.cu"]
)
def test_exercise_hash_covers_every_file(tmp_path, suffix):
    """The hash changes with the grader, the driver and each file of the stub, and with nothing else."""
    curriculum = read(tmp_path, VALID)
    exercise = curriculum.exercise("ex_01")
    before = curriculum.exercise_hash(exercise)
    path = tmp_path / suffix.format("ex_01_vector_add")
    path.parent.mkdir(parents=True)
    path.write_text("one")
    first = curriculum.exercise_hash(exercise)
    path.write_text("two")
    assert len({before, first, curriculum.exercise_hash(exercise)}) == 3
    assert curriculum.exercise_hash(curriculum.exercise("ex_02")) == before
    assert curriculum.exercise_hash(exercise) == curriculum.exercise_hash(exercise)


def test_exercise_hash_of_an_unreadable_file(tmp_path):
    """A grader that can't be read is an error that names it."""
    curriculum = read(tmp_path, VALID)
    grader = curriculum.grader_path(curriculum.exercise("ex_01"))
    grader.mkdir(parents=True)
    with pytest.raises(CurriculumError) as caught:
        curriculum.exercise_hash(curriculum.exercise("ex_01"))
    assert str(grader) in caught.value.message


FAULTS = {
    "unknown key": ("minutes: 5", "minuts: 5", 12, "did you mean 'minutes'?"),
    "unknown key, nothing near": ("topics: [one, two]", "zzz: 1", 13, "known here: id, name"),
    "unknown top key": ("title: Small", "titel: Small", 2, "did you mean 'title'?"),
    "duplicate key": ("minutes: 5", "minutes: 5\n        minutes: 6", 13, "'minutes' stands here twice"),
    "missing key": ("        minutes: 5\n", "", 7, "exercises[0]: key 'minutes' is missing"),
    "key that is no text": ("minutes: 5", "5: 5", 12, "a key must be text, not a whole number"),
    "number for text": ("title: Vector add", "title: 5", 9, "exercises[0].title: want text, have a whole number"),
    "text for number": ("minutes: 5", "minutes: five", 12, "minutes: want a whole number, have text"),
    "true for number": ("minutes: 5", "minutes: yes", 12, "want a whole number, have true or false"),
    "odd number": ("minutes: 5", "minutes: 1:30", 12, "want a plain whole number"),
    "no minutes": ("minutes: 5", "minutes: 0", 12, "above 0"),
    "text for list": ("topics: [one, two]", "topics: one", 13, "topics: want a list, have text"),
    "blank": ('summary: "`vector_add(x)`"', 'summary: " "', 11, "summary: must not be blank"),
    "nothing": ("title: Vector add", "title:", 9, "want text, have nothing"),
    "list for mapping": ("title: Quick", "title: [Quick]", 33, "plans.quick.title: want text, have a list"),
    "tagged": ("title: Small", "title: !!python/name:os.system x", 2, "want text, have a value tagged"),
    "bad id": ("id: ex_01", "id: ex_1", 7, "exercises[0].id: 'ex_1'"),
    "id that climbs": ("id: 00_first", "id: ../00_first", 4, "modules[0].id"),
    "name that climbs": ("name: vector_add", "name: ../vector_add", 8, "exercises[0].name"),
    "duplicate id": ("id: ex_02", "id: ex_01", 19, "ex_01 stands here twice, also as ex_01_vector_add"),
    "bad language": ("language: triton", "language: trton", 10, "did you mean 'triton'?"),
    "unknown figure": ("share_of_copy", "share_of_cpy", 15, "did you mean 'share_of_copy'?"),
    "unknown figure and bound": (TARGETS, "targets: {share_of_cpy: {pas: 1}}", 14, "did you mean 'share_of_copy'?"),
    "unknown figure of an operation": (TARGETS, "targets: {add: {share_of_cpy: {pass: 1}}}", 14, "'share_of_copy'?"),
    "unknown bound of an operation": (TARGETS, "targets: {add: {share_of_copy: {pas: 1}}}", 14, "did you mean 'pass'?"),
    "number for an operation": (TARGETS, "targets: {add: 0.5}", 14, "known here: share_of_copy"),
    "number for an operation's figure": (TARGETS, "targets: {add: {share_of_copy: 0.5}}", 14, "want a mapping"),
    "operation without figures": (TARGETS, "targets: {add: {}}", 14, "no target for add"),
    "operation with a bad name": (TARGETS, "targets: {A b: {share_of_copy: {pass: 1}}}", 14, "'A b' is not made of"),
    "operation beside a figure": (
        TARGETS,
        "targets: {add: {share_of_copy: {pass: 1}}, times_eager: {pass: 1}}",
        14,
        "operations here, or figures",
    ),
    "operation twice": (
        TARGETS,
        "targets:\n          add: {share_of_copy: {pass: 1}}\n          add: {times_eager: {pass: 1}}",
        16,
        "'add' stands here twice",
    ),
    "pass above gold": ("pass: 0.5", "pass: 1.5", 15, "pass ≤ gold"),
    "endless pass": ("pass: 0.5", "pass: .inf", 15, "want a plain number"),
    "no pass": ("pass: 0.5, ", "", 15, "key 'pass' is missing"),
    "needs something later": ("topics: [one, two]", "needs: [ex_02]", 13, "'ex_02' is no earlier exercise"),
    "no hints": (
        "hints:\n          - A nudge.\n          - {text: An outline., for: [tail, race]}\n",
        "hints: []\n",
        16,
        "no hints",
    ),
    "hint without text": ("{text: An outline., for: [tail, race]}", "{for: [tail]}", 18, "key 'text' is missing"),
    "newer format": ("version: 1", "format_version: 2", 1, "format_version: a curriculum in format 2; gpuprep"),
    "newer format, former key": ("version: 1", "version: 2", 1, "version: a curriculum in format 2; gpuprep"),
    "newer format and its keys": ("version: 1", "format_version: 3\nlicence: MIT", 1, "a curriculum in format 3"),
    "no such format": ("version: 1", "format_version: 0", 1, "there is no format 0"),
    "no format": ("version: 1\n", "", 1, "key 'format_version' is missing"),
    "format twice": ("version: 1", "version: 1\nformat_version: 1", 2, "'version' is what 'format_version'"),
    "plan entry of nothing": (
        "{when: Day 2, note: A mock interview}",
        "{when: Day 2}",
        36,
        "needs exercises or a note",
    ),
    "plan with a bad id": ("ex_30]", "ex30]", 35, "schedule[0].exercises[1]"),
    "bad plan id": ("  quick:", "  Quick one:", 32, "'Quick one' is not made of"),
    "syntax": ("topics: [one, two]", "topics: [one, two", 14, "not YAML"),
    "tab": ("        minutes: 5", "\tminutes: 5", 12, "not YAML"),
    "undefined alias": ("title: Small", "title: *small", 2, "not YAML"),
    "two documents": ("plans:", "---\nplans:", 31, "not YAML"),
    "control character": ("title: Quick", "title: Qu\x07ick", 33, "control character"),
}


@pytest.mark.parametrize("fallback", [False, True], ids=["c", "python"])
@pytest.mark.parametrize(("old", "new", "line", "said"), FAULTS.values(), ids=FAULTS)
def test_faults_are_refused_with_their_line(tmp_path, monkeypatch, old, new, line, said, fallback):
    """Each fault is refused with file, line and what is wrong, with either of PyYAML's loaders."""
    if fallback:
        monkeypatch.setattr(yaml_nodes, "_LOADER", yaml.SafeLoader)
    assert old in VALID
    message = fault(tmp_path, VALID.replace(old, new, 1))
    assert message.startswith("curriculum.yaml:")
    assert abs(int(message.split(":")[1]) - line) <= (1 if "not YAML" in message else 0), message
    assert said in message


def test_both_names_of_the_format(tmp_path):
    """`version`, as the key was called at first, and `format_version` mean the same."""
    renamed = VALID.replace("version: 1", "format_version: 1")
    assert parse(renamed, tmp_path / "curriculum.yaml") == parse(VALID, tmp_path / "curriculum.yaml")


def test_newer_format_asks_for_an_upgrade(tmp_path):
    """The next step is another gpuprep, not another line in somebody else's file."""
    with pytest.raises(CurriculumError) as caught:
        parse(VALID.replace("version: 1", "format_version: 2"), tmp_path / "curriculum.yaml")
    assert caught.value.next_step == "pip install --upgrade gpuprep"


@pytest.mark.parametrize("text", ["", "# nothing but a comment\n"])
def test_empty_file(tmp_path, text):
    """A file without content is called empty."""
    assert fault(tmp_path, text) == "curriculum.yaml:1: the file is empty"


@pytest.mark.parametrize("text", ["[" * 5000 + "]" * 5000, "- " * 5000 + "x", "just text", "&a [*a]"])
def test_hostile_shapes(tmp_path, text):
    """Deep nesting, a bare scalar and a list that holds itself are refused like any fault."""
    assert fault(tmp_path, text).startswith("curriculum.yaml:1: ")


def test_modules_stand_once(tmp_path):
    """A module id that comes twice is refused at its second place."""
    message = fault(tmp_path, VALID.replace("plans:", "  - {id: 00_first, title: Again, exercises: []}\nplans:"))
    assert message.startswith("curriculum.yaml:31: ")


def test_missing_file(tmp_path):
    """A folder without curriculum.yaml is refused with the path that was looked for."""
    with pytest.raises(CurriculumError) as caught:
        load(tmp_path)
    assert str(tmp_path / "curriculum.yaml") in caught.value.message
    assert caught.value.next_step


def test_unreadable_file(tmp_path):
    """What can't be opened as a file is refused, not crashed on."""
    (tmp_path / "curriculum.yaml").mkdir()
    with pytest.raises(CurriculumError):
        load(tmp_path)


def test_not_utf8(tmp_path):
    """Bytes that aren't UTF-8 are refused with their line."""
    (tmp_path / "curriculum.yaml").write_bytes(b"version: 1\ntitle: caf\xe9\n")
    with pytest.raises(CurriculumError) as caught:
        load(tmp_path)
    assert "curriculum.yaml:2: not UTF-8" in caught.value.message


def test_default_root_prefers_the_packaged_content(tmp_path, monkeypatch):
    """An installed package reads its own content folder; a checkout the folder around the package."""
    package = tmp_path / "gpuprep"
    package.mkdir()
    monkeypatch.setattr(curriculum_module, "__file__", str(package / "curriculum.py"))
    assert default_root() == tmp_path
    (package / "content").mkdir()
    (package / "content" / "curriculum.yaml").write_text(VALID)
    assert default_root() == package / "content"


def test_the_real_curriculum_holds_its_plans():
    """The shipped file is valid, and its four plans cover what they promise."""
    curriculum = load()
    assert [plan.id for plan in curriculum.plans] == ["focused", "intensive", "standard", "extended"]
    lengths = {plan.id: len({ex for entry in plan.entries for ex in entry.exercises}) for plan in curriculum.plans}
    assert lengths == {"focused": 14, "intensive": 40, "standard": 40, "extended": 45}


def test_forty_five_exercises_load_fast():
    """Loading stays far below what a person notices: it is part of every command's start."""
    text = HEAD + "".join(entry(f"ex_{n:02}", f"name_{n}", f"Title {n}") for n in range(1, 46)) + PLANS
    times_ms = []
    for _ in range(5):
        start = time.perf_counter()
        parse(text, Path("/nowhere/curriculum.yaml"))
        times_ms.append((time.perf_counter() - start) * 1e3)
    # Three times the budget: the machines that run this are shared.
    assert min(times_ms) < 45
