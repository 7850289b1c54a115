"""Work without kernels: how good results are, what memory they take, and which operations make them."""

from __future__ import annotations

from pathlib import Path

import pytest
from rounding import SOLUTION, made

from gpuprep import curriculum as curricula
from gpuprep.errors import GraderFaultError
from gpuprep.grading.session import check
from gpuprep.model import Evidence, Outcome, Report, Tier
from gpuprep.render.report import report_page


def graded(folder: Path, text: str, **options: bool) -> Report:
    """What that curriculum's grader makes of a text."""
    curriculum = made(folder / "curriculum")
    path = folder / "ex_01_rounding.py"
    path.write_text(text)
    return check(curriculum.exercise("ex_01"), curriculum, path, device="cpu", **options)


@pytest.mark.parametrize(("steps", "is_gold"), [(16, False), (256, True)])
def test_quality_passes_or_is_gold(tmp_path: Path, steps: int, is_gold: bool) -> None:
    """A figure of quality is graded on every machine, and has two targets like one of speed."""
    report = graded(tmp_path, SOLUTION.format(steps=steps))
    assert (report.outcome, report.is_gold) == (Outcome.PASSED, is_gold)
    figure = report.cases[-1].figures[0]
    assert (figure.target.figure, figure.target.pass_at) == ("sqnr_db", 20.0)
    curriculum = made(tmp_path / "curriculum")
    page = report_page(report, curriculum.exercise("ex_01"), display=str).text()
    assert f"{figure.value:.1f} dB of signal over quantization noise (pass 20.0, gold 40.0)" in page


def test_too_little_quality_is_wrong(tmp_path: Path) -> None:
    """Results within the tolerance that are worse than the target fail, and the figure is told."""
    report = graded(tmp_path, SOLUTION.format(steps=2))
    failure = report.first_failure
    assert failure is not None
    assert (report.outcome, failure.diagnosis and failure.diagnosis.id) == (Outcome.WRONG_VALUES, "precision")
    assert f"{failure.figures[0].value:.1f}" in failure.message


@pytest.mark.parametrize(
    ("detour", "figure"),
    [("[x[:16].outer(x[:1024]) for _ in 'a']", "largest_tensor_bytes"), ("[x * 1 for _ in 'abc']", "peak_bytes")],
)
def test_memory_beyond_its_budget_is_too_much_work(tmp_path: Path, detour: str, figure: str) -> None:
    """One tensor that is too large, and several that are kept together, are both told by their figure."""
    text = f"def rounded(x):\n    kept = {detour}\n    return x + 0\n"
    failure = graded(tmp_path, text).first_failure
    assert failure is not None
    assert (failure.outcome, failure.diagnosis and failure.diagnosis.id) == (Outcome.TOO_MUCH_WORK, "too_much_memory")
    assert failure.message.startswith(figure)


def test_the_operation_that_does_it_all_is_banned(tmp_path: Path) -> None:
    """Arithmetic is allowed, a library's own attention or quantization is not, and the line is named."""
    text = (
        "import torch\n\n\ndef rounded(x):\n    return torch.fake_quantize_per_tensor_affine(x, 0.01, 0, -999, 999)\n"
    )
    failure = graded(tmp_path, text).first_failure
    assert failure is not None
    assert (failure.outcome, failure.where and failure.where.line) == (Outcome.BANNED_CALL, 5)
    assert "kernel" not in failure.message + (failure.diagnosis.text if failure.diagnosis else "")


def test_what_torch_does_is_never_called_witnessed(tmp_path: Path) -> None:
    """Operations of host code are seen in its own process alone, whatever was asked for."""
    tier = graded(tmp_path, SOLUTION.format(steps=256), witnessed=True).tier(Tier.WORK)
    assert tier is not None
    assert (tier.outcome, tier.evidence) == (Outcome.PASSED, Evidence.SELF_REPORTED)


@pytest.mark.parametrize(
    ("old", "new"), [("tier) for n", "Tier.CORRECT) for n"), ("sqnr_db: {pass", "times_f16: {pass")]
)
def test_a_target_that_nothing_is_measured_for_is_the_graders_fault(tmp_path: Path, old: str, new: str) -> None:
    """Else every value would do."""
    curriculum = made(tmp_path)
    for file in (tmp_path / "curriculum.yaml", curriculum.grader_path(curriculum.exercise("ex_01"))):
        file.write_text(file.read_text().replace(old, new))
    curriculum = curricula.load(tmp_path)
    path = tmp_path / "solution.py"
    path.write_text(SOLUTION.format(steps=3))
    with pytest.raises(GraderFaultError, match="target"):
        check(curriculum.exercise("ex_01"), curriculum, path, device="cpu")
