"""What `gpuprep dev attacks` shows."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from golden_files import assert_golden
from typer.testing import CliRunner

from gpuprep import cli_dev
from gpuprep import curriculum as curricula
from gpuprep.authoring import attack_table
from gpuprep.authoring.attack_table import AttackTable
from gpuprep.authoring.attacks import NO_VERDICT, Attack, Layer, Tried
from gpuprep.authoring.honest import Honest, Judged
from gpuprep.model import Outcome
from gpuprep.render import authoring, machine

CURRICULUM = curricula.load(Path(__file__).resolve().parent.parent)
EX_01 = CURRICULUM.exercises[0]


def tried(name: str, layer: Layer, expected: set[str], outcome: str, open_because: str = "") -> Tried:
    """An attack and what became of it."""
    attack = Attack(Path(f"{name}.py"), "ex_01", layer, frozenset(expected), "It cheats.", open_because)
    return Tried(attack, outcome, "3 of 7 elements are wrong" if outcome == Outcome.WRONG_VALUES else "")


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
)
FAILS = AttackTable(
    (
        tried("stale_memory", Layer.POISON, {"WRONG_VALUES"}, Outcome.PASSED),
        tried("numpy_adds", Layer.HOST_OPS, {"BANNED_CALL", "RAISED"}, Outcome.WRONG_VALUES),
        tried("fixed_since", Layer.AUDIT, {"INVALID"}, Outcome.INVALID, "it used to pass"),
    ),
    (judged("atomics", Outcome.RACE),),
)


@pytest.mark.parametrize(("name", "table"), [("dev_attacks", HOLDS), ("dev_attacks_surprised", FAILS)])
def test_golden_page(name: str, table: AttackTable) -> None:
    """Caught, open, surprising, honest and untried each have their place, and what could not run is never a tick."""
    assert_golden(name, authoring.attacks_page(table).text())


def test_document_is_complete() -> None:
    """JSON holds every attack with its layer, fate and reason."""
    found = json.loads(machine.dumps(authoring.attacks_document(HOLDS)))
    assert (found["holds"], found["not_run"]) == (True, ["patched_events: needs a GPU"])
    assert [attack["fate"] for attack in found["attacks"]] == ["caught", "caught", "caught", "open"]
    assert found["attacks"][3]["open_because"] == "there is no sandbox yet"
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

    def try_all(curriculum: object, names: object, *, device: str, on_event: object) -> AttackTable:
        asked.append((names, device))
        return table

    monkeypatch.setattr(attack_table, "attack_table", try_all)
    ran = CliRunner().invoke(cli_dev.app, ["attacks", "numpy_adds", "--device", "cpu", "--json"])
    assert (ran.exit_code, json.loads(ran.stdout)["holds"]) == (code, code == 0)
    assert asked == [(["numpy_adds"], "cpu")]
