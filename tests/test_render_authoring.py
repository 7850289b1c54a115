"""What `gpuprep dev attacks` shows."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from golden_files import assert_golden
from typer.testing import CliRunner

from gpuprep import cli_dev
from gpuprep import curriculum as curricula
from gpuprep.authoring import attack_table
from gpuprep.authoring.attack_table import AttackTable
from gpuprep.authoring.attacks import NO_VERDICT, Attack, Layer, Tried
from gpuprep.authoring.exploits import Exploit, Exploited
from gpuprep.authoring.honest import Honest, Judged
from gpuprep.confinement.permits import Level
from gpuprep.model import Outcome
from gpuprep.render import machine
from gpuprep.render.attacks import attacks_document, attacks_page

CURRICULUM = curricula.load(Path(__file__).resolve().parent.parent)
EX_01 = CURRICULUM.exercises[0]
HIGHER = (Level.LANDLOCK, Level.FULL)


def tried(
    name: str, layer: Layer, expected: set[str], outcome: str, open_because: str = "", level: Level = Level.NONE
) -> Tried:
    """An attack and what became of it."""
    attack = Attack(Path(f"{name}.py"), "ex_01", layer, frozenset(expected), "It cheats.", open_because)
    return Tried(attack, outcome, "3 of 7 elements are wrong" if outcome == Outcome.WRONG_VALUES else "", level)


def exploited(name: str, level: Level, *harm: str, harmless: str = "") -> Exploited:
    """An exploit and what it did."""
    return Exploited(Exploit(Path(f"{name}.py"), "It does harm.", harmless), level, harm)


def judged(name: str, outcome: Outcome, skipped: str = "") -> Judged:
    """An honest solution and what became of it."""
    honest = Honest(EX_01, Path(f"ex_01_vector_add/{name}.py"))
    return Judged(honest, outcome, frozenset({Outcome.PROVISIONAL, Outcome.SKIPPED}), "it raced", skipped)


HOLDS = AttackTable(
    (
        tried("prints_a_pass", Layer.PROCESS, {"WRONG_VALUES"}, Outcome.WRONG_VALUES),
        tried("kills_its_parent", Layer.PROCESS, {"CRASHED", NO_VERDICT}, NO_VERDICT),
        tried("forged_verdict", Layer.CHANNEL, {"CRASHED"}, Outcome.CRASHED),
        tried("edits_the_grader", Layer.PROCESS, {"WRONG_VALUES"}, Outcome.PROVISIONAL, "there is no sandbox yet"),
    ),
    (judged("autotuned", Outcome.PROVISIONAL), judged("cuda_graph", Outcome.SKIPPED, "needs a GPU")),
    ("patched_events: needs a GPU",),
    default=Level.FULL,
)
AT_EACH_LEVEL = AttackTable(
    (
        *(
            tried(
                "oracle_in_the_graders_memory", Layer.PROCESS, {"WRONG_SIGNATURE"}, Outcome.WRONG_SIGNATURE, "", level
            )
            for level in Level
        ),
        tried("edits_the_grader", Layer.PROCESS, {"WRONG_VALUES"}, Outcome.PROVISIONAL, "nothing is confined"),
        *(tried("edits_the_grader", Layer.PROCESS, {"WRONG_VALUES"}, "WRONG_VALUES", "", level) for level in HIGHER),
        replace(tried("says_it_can_not", Layer.WITNESS, {"PROVISIONAL"}, "PROVISIONAL", ""), is_withheld=True),
    ),
    (),
    (),
    (
        exploited("connects_to_an_abstract_service", Level.NONE, "reached the abstract service", "more"),
        *(exploited("connects_to_an_abstract_service", level) for level in HIGHER),
        exploited("leaves_by_a_descriptor", Level.NONE, harmless="no folder stays open"),
        *(exploited("leaves_by_a_descriptor", level, harmless="no folder stays open") for level in HIGHER),
    ),
    tuple(Level),
    Level.FULL,
)
HARMED = AttackTable(
    (),
    (),
    (),
    (
        exploited("does_nothing", Level.NONE),
        exploited("does_nothing", Level.LANDLOCK),
        exploited("reads_a_key", Level.NONE, "read a secret"),
        exploited("reads_a_key", Level.LANDLOCK, "read a secret", "changed key"),
    ),
    (Level.NONE, Level.LANDLOCK),
    Level.LANDLOCK,
    ("full: unshare: Operation not permitted",),
)
FAILS = AttackTable(
    (
        tried("stale_memory", Layer.POISON, {"WRONG_VALUES"}, Outcome.PASSED),
        tried("numpy_adds", Layer.HOST_OPS, {"BANNED_CALL", "RAISED"}, Outcome.WRONG_VALUES),
        tried("fixed_since", Layer.AUDIT, {"INVALID"}, Outcome.INVALID, "it used to pass"),
    ),
    (judged("atomics", Outcome.RACE),),
    default=Level.FULL,
)


@pytest.mark.parametrize(
    ("name", "table"),
    [
        ("dev_attacks", HOLDS),
        ("dev_attacks_surprised", FAILS),
        ("dev_attacks_levels", AT_EACH_LEVEL),
        ("dev_attacks_harmed", HARMED),
    ],
)
def test_golden_page(name: str, table: AttackTable) -> None:
    """Caught, open, surprising, honest and untried each have their place, and what could not run is never a tick."""
    text = attacks_page(table).text()
    assert max(map(len, text.splitlines())) <= 80
    assert_golden(name, text)


def test_document_is_complete() -> None:
    """JSON holds every attack with its layer, fate and reason."""
    found = json.loads(machine.dumps(attacks_document(HOLDS)))
    assert (found["holds"], found["not_run"]) == (True, ["patched_events: needs a GPU"])
    assert [attack["fate"] for attack in found["attacks"]] == ["caught", "caught", "caught", "open"]
    assert found["attacks"][3]["open_because"] == "there is no sandbox yet"
    assert found["attacks"][3]["sandbox"] == "none"
    assert found["honest"][1] == {
        "name": "ex_01_vector_add/cuda_graph",
        "outcome": "SKIPPED",
        "is_accepted": True,
        "skipped": "needs a GPU",
        "message": "it raced",
    }


@pytest.mark.parametrize(("table", "code"), [(HOLDS, 0), (FAILS, 1)])
def test_command_exits_1_where_an_attack_surprised(
    table: AttackTable, code: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An attack that is known to be open is no surprise; one that nobody knew of is."""
    asked = []

    def try_all(curriculum: object, names: object, *, device: str, sandbox: str, on_event: object) -> AttackTable:
        asked.append((names, device, sandbox))
        return table

    monkeypatch.setattr(attack_table, "attack_table", try_all)
    ran = CliRunner().invoke(cli_dev.app, ["attacks", "numpy_adds", "--device", "cpu", "--sandbox", "all", "--json"])
    assert (ran.exit_code, json.loads(ran.stdout)["holds"]) == (code, code == 0)
    assert asked == [(["numpy_adds"], "cpu", "all")]


def test_document_has_every_level() -> None:
    """And the exploits, with what each did where."""
    found = json.loads(machine.dumps(attacks_document(HARMED)))
    assert (found["holds"], found["levels"], found["default"]) == (False, ["none", "landlock"], "landlock")
    assert found["not_offered"] == ["full: unshare: Operation not permitted"]
    assert [(each["name"], each["sandbox"], each["effect"]) for each in found["exploits"]] == [
        ("does_nothing", "none", "idle"),
        ("does_nothing", "landlock", "held"),
        ("reads_a_key", "none", "expected"),
        ("reads_a_key", "landlock", "harm"),
    ]
    assert found["exploits"][3]["harm"] == ["read a secret", "changed key"]
