"""Every file under tests/attacks/ is caught, by an outcome that its first lines declare."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from _pytest.mark import ParameterSet

from gpuprep import curriculum as curricula
from gpuprep.authoring.attack_table import AttackTable, attack_table
from gpuprep.authoring.attacks import Attack, Fate, Layer, Tried, attacks, read_attack, try_attack
from gpuprep.authoring.exploits import Exploit, Exploited
from gpuprep.authoring.honest import Honest, Judged
from gpuprep.confinement.permits import STRONGEST_FIRST, Level
from gpuprep.curriculum import Curriculum
from gpuprep.errors import CurriculumError, UsageError
from gpuprep.grading.confining import offered
from gpuprep.grading.pool import WarmPool
from gpuprep.model import Outcome

CURRICULUM = curricula.load(Path(__file__).resolve().parent.parent)
ATTACKS = attacks(CURRICULUM)
HERE = [attack for attack in ATTACKS if not attack.needs_gpu]
ON_A_CARD = [attack for attack in ATTACKS if attack.needs_gpu]
LEVELS = [level for level in STRONGEST_FIRST if not offered()[level]]
NOT_ABOUT_STARTS = ("plants_modules", "replaces_modules", "markup_in_its_messages", "edits_the_grader")
"""It makes no difference to them how their worker was started, and a cold start takes seconds."""
ABOUT_PROCESSES = [
    attack
    for attack in HERE
    if attack.layer in (Layer.CHANNEL, Layer.PROCESS, Layer.TIMEOUT)
    and not attack.is_apart
    and attack.name not in NOT_ABOUT_STARTS
]


def parameters(found: list[Attack], *, every: int = 1) -> list[ParameterSet]:
    """The attacks as pytest parameters; one that gets through must go on doing so until its file says otherwise.

    Args:
        found: attacks.
        every: of so many one is for every run, and the others are for `make soak`.
    """
    parameters = []
    for place, attack in enumerate(found):
        marks = [pytest.mark.xfail(reason=attack.open_because, raises=AssertionError)] if attack.open_because else []
        marks += [pytest.mark.soak] if place % every else []
        parameters.append(pytest.param(attack, id=attack.name, marks=marks))
    return parameters


@pytest.fixture(scope="module")
def pool() -> Iterator[WarmPool]:
    """Workers are forked: the verdict is the same, and comes sooner."""
    with WarmPool() as pool:
        yield pool


@pytest.mark.parametrize("attack", parameters(HERE))
def test_attack_is_caught(curriculum: Curriculum, pool: WarmPool, attack: Attack) -> None:
    """An attack on the grader gets an outcome that its file declares, and never a pass."""
    tried = try_attack(attack, curriculum, device="cpu", pool=pool)
    assert tried.fate is Fate.CAUGHT, f"{tried.outcome}: {tried.message}"


@pytest.mark.parametrize("attack", parameters(ABOUT_PROCESSES, every=4))
def test_attack_on_a_cold_worker_is_caught(curriculum: Curriculum, attack: Attack) -> None:
    """Where processes and their descriptors matter, a worker that was not forked from a template is as safe."""
    tried = try_attack(attack, curriculum, device="cpu")
    assert tried.fate is Fate.CAUGHT, f"{tried.outcome}: {tried.message}"


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("name", ["edits_the_grader", "message_that_changes", "plants_modules"])
def test_attack_is_caught_in_a_sandbox(curriculum: Curriculum, pool: WarmPool, name: str, level: Level) -> None:
    """What is confined fails earlier, and no less; all of them at every level are tried by `make soak`."""
    attack = next(attack for attack in ATTACKS if attack.name == name)
    tried = try_attack(attack, curriculum, device="cpu", pool=pool, level=level)
    assert tried.fate is Fate.CAUGHT, f"{tried.outcome}: {tried.message}"


def test_descriptors_that_are_sent_are_not_kept(curriculum: Curriculum, pool: WarmPool) -> None:
    """Whoever is sent some thousand of them has none of them afterwards."""
    attack = next(attack for attack in ATTACKS if attack.name == "descriptors_on_the_channel")
    try_attack(attack, curriculum, device="cpu", pool=pool)
    before = len(list(Path("/proc/self/fd").iterdir()))
    try_attack(attack, curriculum, device="cpu", pool=pool)
    assert len(list(Path("/proc/self/fd").iterdir())) <= before + 1


@pytest.mark.gpu
@pytest.mark.parametrize("attack", parameters(ON_A_CARD))
def test_attack_is_caught_on_a_card(curriculum: Curriculum, pool: WarmPool, attack: Attack) -> None:
    """Attacks on the clock, the trace and the audit, and those that lie in wait for a card."""
    tried = try_attack(attack, curriculum, device="cuda", pool=pool)
    assert tried.fate is Fate.CAUGHT, f"{tried.outcome}: {tried.message}"


def test_there_are_enough_attacks() -> None:
    """Every layer has something to stop."""
    assert len(ATTACKS) >= 30
    assert {attack.layer for attack in ATTACKS} == set(Layer)


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.name)
def test_attack_is_a_whole_solution(curriculum: Curriculum, attack: Attack) -> None:
    """Each says what it does, and defines the function of its exercise."""
    from gpuprep.grading.loading import load_grader

    grader = load_grader(curriculum, curriculum.exercise(attack.exercise_id))
    defined = {node.name for node in ast.parse(attack.path.read_text()).body if isinstance(node, ast.FunctionDef)}
    assert grader.function in defined
    assert len(attack.story) > 60


def test_docs_name_every_layer_and_every_open_attack() -> None:
    """docs/trust.md claims no more than the suite shows."""
    text = (CURRICULUM.root / "docs" / "trust.md").read_text(encoding="utf-8")
    assert [layer for layer in Layer if f"| `{layer}` |" not in text] == []
    assert [attack.name for attack in ATTACKS if attack.open_because and f"- `{attack.name}`:" not in text] == []
    listed = re.findall(r"^- `(\w+)`:", text, re.MULTILINE)
    assert set(listed) <= {attack.name for attack in ATTACKS if attack.open_because}


def write(folder: Path, text: str) -> Path:
    """An attack file with these first lines."""
    path = folder / "attack.py"
    path.write_text(f"{text}\n\ndef add(x, y):\n    return x\n")
    return path


def test_declarations_are_read(tmp_path: Path) -> None:
    """Declarations come first, then the story, one that looks like a declaration included."""
    text = (
        "# expect: RAISED|NO_VERDICT\n# layer: host ops\n# exercise: ex_02\n# needs: gpu\n# checks: 2\n# timeout: 1.5\n"
        "# open-at: none\n# confined: CRASHED\n"
    )
    attack = read_attack(write(tmp_path, f"{text}# apart: yes\n# open: for now\n# It cheats.\n# seen: elsewhere"))
    assert attack.expected == {"RAISED", "NO_VERDICT"}
    assert (attack.layer, attack.exercise_id, attack.needs_gpu) == (Layer.HOST_OPS, "ex_02", True)
    assert (attack.n_checks, attack.timeout_s, attack.is_apart) == (2, 1.5, True)
    assert (attack.why_open(Level.NONE), attack.why_open(Level.FULL)) == ("for now", "")
    assert "CRASHED" in attack.caught_by(Level.FULL) - attack.caught_by(Level.NONE)
    assert (attack.open_because, attack.story) == ("for now", "It cheats. seen: elsewhere")


@pytest.mark.parametrize(
    "text",
    [
        "# It cheats.",
        "# expect: RAISED",
        "# layer: judge",
        "# expect: RAISED\n# layer: luck",
        "# expect: CAUGHT\n# layer: judge",
        "# expect: RAISED\n# layer: judge\n# chekcs: 2",
        "# expect: RAISED\n# layer: judge\n# timeout: soon",
        "# expect: RAISED\n# layer: judge\n# open-at: nowhere",
        "# expect: RAISED\n# layer: judge\n# confined: CAUGHT",
    ],
)
def test_broken_declaration_is_named(tmp_path: Path, text: str) -> None:
    """A declaration that is missing, unknown or makes no sense is an error that names the file."""
    with pytest.raises(CurriculumError, match=r"attack\.py:\d"):
        read_attack(write(tmp_path, text))


@pytest.mark.parametrize(
    ("outcome", "open_because", "fate"),
    [
        (Outcome.RAISED, "", Fate.CAUGHT),
        (Outcome.CRASHED, "", Fate.MISTAKEN),
        (Outcome.PROVISIONAL, "", Fate.PASSED),
        (Outcome.PASSED, "", Fate.PASSED),
        (Outcome.PASSED, "for now", Fate.OPEN),
        (Outcome.RAISED, "for now", Fate.CLOSED),
    ],
)
def test_fate(tmp_path: Path, outcome: Outcome, open_because: str, fate: Fate) -> None:
    """A pass is never caught, an undeclared failure neither, and an open attack that fails has a line to strike out."""
    lines = "# expect: RAISED\n# layer: judge" + (f"\n# open: {open_because}" if open_because else "")
    assert Tried(read_attack(write(tmp_path, lines)), outcome).fate is fate


def test_table_holds_only_without_surprises(tmp_path: Path, curriculum: Curriculum) -> None:
    """An attack that passed, and an honest solution that did not, each break the table; one that is open does not."""
    path = write(tmp_path, "# expect: RAISED\n# layer: judge")
    attack = read_attack(path)
    caught, passed = Tried(attack, Outcome.RAISED), Tried(attack, Outcome.PROVISIONAL)
    rejected = Judged(Honest(curriculum.exercise("ex_01"), path), Outcome.RACE, frozenset({Outcome.PROVISIONAL}))
    assert AttackTable((caught,)).holds
    assert not AttackTable(()).holds
    assert not AttackTable((caught, passed)).holds
    assert not AttackTable((caught,), (rejected,)).holds


def test_what_was_not_graded_is_nothing_gained(tmp_path: Path) -> None:
    """A file may say that a correct solution gets no more than that; a pass of what it cheats in is never that."""
    attack = read_attack(write(tmp_path, "# expect: PROVISIONAL\n# layer: replay"))
    withheld = Tried(attack, Outcome.PROVISIONAL, is_withheld=True)
    assert (withheld.fate, withheld.succeeds) == (Fate.CAUGHT, False)
    assert AttackTable((withheld,)).holds
    for gained in (replace(withheld, is_withheld=False), replace(withheld, outcome=Outcome.PASSED)):
        assert (gained.fate, gained.succeeds) == (Fate.PASSED, True)


def test_nothing_may_succeed_at_the_default_level(tmp_path: Path) -> None:
    """An open attack there breaks the table, and so does an exploit's harm."""
    attack = read_attack(write(tmp_path, "# expect: RAISED\n# layer: judge\n# open: for now"))
    caught = Tried(read_attack(write(tmp_path, "# expect: RAISED\n# layer: judge")), Outcome.RAISED)
    passed = Tried(attack, Outcome.PROVISIONAL, level=Level.LANDLOCK)
    exploit = Exploit(tmp_path / "x.py", "It reads.")
    did_nothing, did_harm = Exploited(exploit, Level.NONE, ()), Exploited(exploit, Level.NONE, ("read",))
    assert AttackTable((passed,), default=Level.FULL).holds
    assert not AttackTable((passed,), default=Level.LANDLOCK).holds
    assert AttackTable((caught,), exploited=(did_harm,), default=Level.FULL).holds
    assert not AttackTable((caught,), exploited=(did_nothing,), default=Level.FULL).holds
    assert not AttackTable((caught,), exploited=(did_harm,), default=Level.NONE).holds


def test_table_names_what_could_not_run(curriculum: Curriculum) -> None:
    """An attack that needs a card is listed by name where there is none, and counts as nothing."""
    told: list[str] = []
    names = ["empty_list", "patched_events", "reads_the_grader"]
    table = attack_table(curriculum, names, device="cpu", sandbox="all", on_event=told.append)
    assert table.levels == (Level.NONE, *reversed(LEVELS))
    assert {tried.attack.name for tried in table.tried} == {"empty_list"}
    assert [bool(exploited.harm) for exploited in table.exploited] == [True, *(False for _ in LEVELS)]
    assert len(table.tried) == len(table.levels)
    assert told[0] == f"1 of {2 * len(table.levels)}: empty_list at none"
    assert table.not_run == ("patched_events: needs a GPU",)
    assert table.holds


def test_unknown_attack_is_an_error(curriculum: Curriculum) -> None:
    """A name that no attack has stops before anything is graded."""
    with pytest.raises(UsageError):
        attack_table(curriculum, ["no_such_attack"], device="cpu")
