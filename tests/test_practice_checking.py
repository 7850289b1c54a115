"""What several checks exit with, and what an attempt was diagnosed with."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import sample_reports as samples

from gpuprep.errors import WorkspaceError
from gpuprep.model import Outcome, Report, Tier
from gpuprep.practice.checking import Options, exit_code, last_diagnosis, present, require_present
from gpuprep.progress import Progress
from gpuprep.workspace import Workspace

FAULT = samples.without_cases(Outcome.GRADER_FAULT)


@pytest.mark.parametrize(
    ("reports", "code"),
    [
        ([], 1),
        ([samples.timed()], 0),
        ([samples.timed(), samples.provisional()], 0),
        ([samples.timed(), samples.wrong_values()], 1),
        ([samples.without_cases(Outcome.SKIPPED)], 1),
        ([FAULT, samples.wrong_values(), samples.timed()], 3),
    ],
)
def test_exit_code(reports: list[Report], code: int) -> None:
    """The worst report decides: a grader's fault, then anything that is no pass, then a pass."""
    assert exit_code(reports, Options()) == code


def test_every_outcome_has_an_exit_code() -> None:
    """Only passes exit 0, only the grader's fault exits 3."""
    codes = {
        outcome: exit_code([samples.without_cases(outcome)], Options()) for outcome in Outcome if not outcome.is_pass
    }
    assert {outcome for outcome, code in codes.items() if code != 1} == {Outcome.GRADER_FAULT}


def test_required_speed() -> None:
    """Where speed is required, a provisional pass is none, nor one whose time or work only the worker vouches for."""
    options = Options(required="speed")
    trusted = samples.trusted()
    unaudited = replace(trusted, timings=tuple(replace(timing, net_ms=None) for timing in trusted.timings))
    assert exit_code([trusted], options) == 0
    assert exit_code([samples.provisional()], options) == 1
    assert exit_code([samples.timed()], options) == 1
    assert exit_code([unaudited], options) == 1


def test_every_time_has_to_be_audited() -> None:
    """Of several operations, one whose time only the worker vouches for is enough to count as none, and is named."""
    report = samples.timed_apart(total=0.9)
    add, total = report.timings
    tiers = tuple(tier for tier in report.tiers if tier.tier is not Tier.WORK)
    options = Options(required="speed")
    assert options.unmet(replace(report, tiers=tiers)) == ""
    partly = replace(report, tiers=tiers, timings=(add, replace(total, net_ms=None, notes=("no IPC",))))
    assert "total n=268435456 float32: no IPC" in options.unmet(partly)


def test_required_witness() -> None:
    """Where witnessed work is required, self-reported counts make no pass; speed may be missing."""
    options = Options(required="witnessed")
    assert exit_code([samples.provisional()], options) == 1
    assert exit_code([replace(samples.trusted(), timings=())], options) == 0
    assert "self-reported" in options.unmet(samples.provisional())


def test_last_diagnosis(tmp_path: Path) -> None:
    """The diagnosis of the case that decided the last attempt; none without an attempt or after a pass."""
    with Progress(tmp_path / "progress.db") as progress:
        assert last_diagnosis(progress.last("ex_01")) is None
        progress.record(samples.wrong_values())
        assert last_diagnosis(progress.last("ex_01")) == "tail"
        progress.record(samples.timed())
        assert last_diagnosis(progress.last("ex_01")) is None


def test_present_files(tmp_path: Path) -> None:
    """Files that are there are found; that none is there, or a named one isn't, is said."""
    workspace = Workspace(tmp_path, None, None)
    with pytest.raises(WorkspaceError):
        present(workspace, [samples.EXERCISE])
    with pytest.raises(WorkspaceError) as caught:
        require_present(workspace, [samples.EXERCISE])
    assert caught.value.next_step == "gpuprep reset ex_01"
    path = workspace.exercise_path(samples.EXERCISE)
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps("x"))
    assert present(workspace, [samples.EXERCISE]) == [samples.EXERCISE]
