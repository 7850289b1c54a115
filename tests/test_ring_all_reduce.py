"""ex_28's reference with vectors that are large enough for several rings at once."""

from __future__ import annotations

from pathlib import Path

import pytest

from gpuprep.curriculum import Curriculum
from gpuprep.grading.session import check
from gpuprep.model import Outcome


@pytest.mark.parametrize("ring_bytes", [1, 4096])
def test_several_rings_are_as_right_as_one(curriculum: Curriculum, tmp_path: Path, ring_bytes: int) -> None:
    """With a threshold so low that every vector goes round all ways at once, sums and bytes are the same."""
    exercise = curriculum.exercise("ex_28")
    text = curriculum.reference_path(exercise).read_text(encoding="utf-8")
    assert "RING_BYTES = 32 * 2**20" in text
    path = tmp_path / "ex_28_ring_all_reduce.py"
    path.write_text(text.replace("RING_BYTES = 32 * 2**20", f"RING_BYTES = {ring_bytes}"), encoding="utf-8")
    report = check(exercise, curriculum, path, device="cpu")
    assert report.outcome is Outcome.PROVISIONAL, report.message or report.first_failure
