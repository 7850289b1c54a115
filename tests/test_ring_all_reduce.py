"""ex_28's reference with vectors that are large enough for several circles at once."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from gpuprep.curriculum import Curriculum
from gpuprep.grading.group import WorkerGroup
from gpuprep.grading.pool import WarmPool
from gpuprep.grading.session import check
from gpuprep.model import Outcome


@pytest.mark.parametrize("n_bytes", [1, 4096])
def test_several_circles_are_as_right_as_one(curriculum: Curriculum, tmp_path: Path, n_bytes: int) -> None:
    """With a threshold so low that every vector goes round all circles, sums and bytes are the same."""
    exercise = curriculum.exercise("ex_28")
    text = curriculum.reference_path(exercise).read_text(encoding="utf-8")
    threshold = "SEVERAL_BYTES = 32 * 2**20"
    assert threshold in text
    path = tmp_path / "ex_28_ring_all_reduce.py"
    path.write_text(text.replace(threshold, f"SEVERAL_BYTES = {n_bytes}"), encoding="utf-8")
    report = check(exercise, curriculum, path, device="cpu")
    assert report.outcome is Outcome.PROVISIONAL, report.message or report.first_failure


@pytest.mark.parametrize(("n", "sent"), [(10, [15, 16, 15, 14]), (16, [24, 24, 24, 24]), (3, [4, 5, 5, 4])])
def test_every_rank_sends_all_but_two_chunks(curriculum: Curriculum, tmp_path: Path, n: int, sent: list[int]) -> None:
    """On 4 ranks: twice the vector, less the chunk that it completes and the one that comes back to it last."""
    exercise = curriculum.exercise("ex_28")
    path = curriculum.reference_path(exercise)
    with WarmPool() as pool, WorkerGroup("cpu", 4, path, pool) as group:
        group.wait_until_ready()
        driver = str(curriculum.driver_path(exercise))
        group.ask_all(
            {"do": "load", "path": str(path), "function": "ring_all_reduce", "driver": driver}, 30, "while loading"
        )
        group.join(4, tmp_path)
        vectors = [torch.full((n,), float(rank)) for rank in range(4)]
        answers = group.ask(
            [{"do": "call", "args": ("sum", vector), "reverse": False} for vector in vectors], 30, "in the test"
        )
    assert [answer["work"]["sent_bytes"] // 4 for answer in answers] == sent
    assert all(torch.equal(answer["outputs"][0], torch.full((n,), 6.0)) for answer in answers)
