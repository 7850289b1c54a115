"""Faults planted in the reference kernels get their right name, end to end."""

from __future__ import annotations

import os
import random
import sys
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import pytest
from fault_kinds import KINDS
from faults import Fault, answer, plant, reference, resized

from gpuprep.curriculum import Curriculum
from gpuprep.grading import session
from gpuprep.grading.pool import WarmPool
from gpuprep.grading.session import check
from gpuprep.model import Report

FAULTS_A_KIND = int(os.environ.get("GPUPREP_FAULTS", "200"))
RIGHT_SHARE = 0.95
DISTINCT_A_KIND = 20
"""Different sources among as many faults as a soak run plants: each is graded on inputs of its own besides."""
EXERCISES = ("ex_01", "ex_02", "ex_03", "ex_04")


@pytest.fixture(scope="module")
def pool() -> Iterator[WarmPool]:
    """Templates for the workers of all checks."""
    with WarmPool() as warm:
        warm.start("interpreted")
        yield warm


def graded(curriculum: Curriculum, pool: WarmPool, fault: Fault, path: Path) -> Report:
    path.write_text(fault.source, encoding="utf-8")
    return check(curriculum.exercise(fault.exercise), curriculum, path, device="cpu", pool=pool)


@pytest.mark.parametrize("kind", KINDS)
def test_fault_is_recognised(
    curriculum: Curriculum, pool: WarmPool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    """One fault of the kind gets the outcome, the cause and, where the fault is an access, the line."""
    # The inputs' secret is the one thing here that is drawn afresh for each check.
    monkeypatch.setattr(session, "secrets", SimpleNamespace(randbits=lambda _: 1))
    fault = plant(curriculum, kind, seed=1)
    report = graded(curriculum, pool, fault, tmp_path / "planted.py")
    assert fault.is_recognised(report), f"{fault.change}: {answer(report)}"


@pytest.mark.parametrize("exercise_id", EXERCISES)
def test_block_sizes_are_no_fault(curriculum: Curriculum, pool: WarmPool, tmp_path: Path, exercise_id: str) -> None:
    """What is changed around a fault does no harm: without one, the kernel passes."""
    path = tmp_path / "resized.py"
    path.write_text(resized(reference(curriculum, exercise_id), exercise_id, random.Random(7)), encoding="utf-8")
    report = check(curriculum.exercise(exercise_id), curriculum, path, device="cpu", pool=pool)
    assert report.outcome.is_pass, report.first_failure or report.message


@pytest.mark.parametrize("kind", KINDS)
def test_faults_differ(curriculum: Curriculum, kind: str) -> None:
    """Every seed plants something that is not the reference and that Python takes, and many plant different things."""
    faults = [plant(curriculum, kind, seed) for seed in range(200)]
    for fault in faults:
        compile(fault.source, fault.change, "exec")
        assert fault.source != reference(curriculum, fault.exercise)
    assert len({fault.source for fault in faults}) >= DISTINCT_A_KIND
    assert plant(curriculum, kind, 7) == faults[7]


@pytest.mark.soak
@pytest.mark.parametrize("kind", KINDS)
def test_faults_are_recognised(
    curriculum: Curriculum, pool: WarmPool, tmp_path: Path, capsys: pytest.CaptureFixture[str], kind: str
) -> None:
    """Of many faults of a kind at least 95 % are told right; a row of the table says what others were taken for."""

    def told(seed: int) -> tuple[Fault, Report]:
        fault = plant(curriculum, kind, seed)
        return fault, graded(curriculum, pool, fault, tmp_path / f"planted_{seed}.py")

    with ThreadPoolExecutor(max_workers=max(1, min(4, os.cpu_count() or 2))) as threads:
        results = list(threads.map(told, range(FAULTS_A_KIND)))
    wrong = [(fault, report) for fault, report in results if not fault.is_recognised(report)]
    n_right = len(results) - len(wrong)
    commonest = Counter(f"{fault.exercise} {answer(report)}" for fault, report in wrong).most_common(3)
    mistaken = ", ".join(f"{count} × {what}" for what, count in commonest)
    with capsys.disabled():
        sys.stdout.write(f"\n{kind:34} {n_right:4} of {len(results)} right   {mistaken}")
    assert n_right >= RIGHT_SHARE * len(results), [
        f"{fault.exercise}: {fault.change}: {answer(report)}, seed {report.seed}" for fault, report in wrong
    ]
