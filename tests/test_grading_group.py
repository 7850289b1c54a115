"""A check of several ranks: what each gets and gives back, and what keeps one from answering."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from several_ranks import SOLUTION, made
from waiting import descendants, soon

from gpuprep.errors import UsageError
from gpuprep.grading.session import check
from gpuprep.model import Evidence, Outcome, Report, Tier
from gpuprep.render.report import next_command, report_page


def graded(folder: Path, text: str = SOLUTION, **options: int) -> Report:
    """What that curriculum's grader makes of a text, on gloo."""
    curriculum = made(folder / "curriculum")
    path = folder / "ex_01_exchange.py"
    path.write_text(text)
    return check(curriculum.exercise("ex_01"), curriculum, path, device="cpu", **options)


def with_before(line: str, inserted: str) -> str:
    """The solution with something in front of one of its lines."""
    assert line in SOLUTION
    return SOLUTION.replace(line, f"    {inserted}\n{line}", 1)


OUT = "    out = torch.empty_like(x)"
LOOP = "    for work in"


def test_every_rank_is_judged_in_every_world(tmp_path: Path) -> None:
    """A pass says how many ranks there were, what one sent, on which back end, and what was not graded."""
    report = graded(tmp_path)
    assert report.outcome is Outcome.PROVISIONAL
    assert sorted({result.case["world"] for result in report.cases}) == [1, 2, 4]
    work, speed = report.tier(Tier.WORK), report.tier(Tier.SPEED)
    assert work is not None
    assert speed is not None
    assert (work.outcome, work.evidence) == (Outcome.PASSED, Evidence.SELF_REPORTED)
    assert (speed.outcome, "gloo" in speed.reason) == (Outcome.SKIPPED, True)
    page = report_page(report, made(tmp_path / "curriculum").exercise("ex_01"), display=str).text()
    assert "4096 bytes sent in 1 message" in page


def test_one_number_of_ranks_can_be_asked_for(tmp_path: Path) -> None:
    """`--world 4` checks with four and nothing else; one that the exercise has no cases for is refused."""
    report = graded(tmp_path, world=4)
    assert {result.case["world"] for result in report.cases} == {4}
    with pytest.raises(UsageError, match="1, 2, 4"):
        graded(tmp_path, world=3)


def test_ranks_are_for_exercises_that_have_them(curriculum, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    """A vector add runs in one process."""
    exercise = curriculum.exercise("ex_01")
    with pytest.raises(UsageError, match="one process"):
        check(exercise, curriculum, curriculum.reference_path(exercise), world=2)


WRONG = {
    "one rank raises": (with_before(OUT, "if rank == 1: raise ValueError('no')"), Outcome.RAISED, 10, "rank 1"),
    "one rank leaves early": (with_before(OUT, "if rank == 1: return x.clone()"), Outcome.DEADLOCK, 14, "rank 1 had"),
    "all wait": (
        with_before(LOOP, "dist.recv(out, (rank + 1) % world)"),
        Outcome.DEADLOCK,
        12,
        "rank 0 at line 12, rank 1",
    ),
    "all would wait on cards": (
        SOLUTION.replace("dist.P2POp(dist.isend, ", "dist.isend(")
        .replace("dist.P2POp(dist.irecv, ", "dist.irecv(")
        .replace("dist.batch_isend_irecv(messages)", "messages"),
        Outcome.DEADLOCK,
        11,
        "this ends on gloo, but on GPUs both would wait for ever: they send to each other first: rank 0 at line 11",
    ),
    "one rank computes on": (with_before(LOOP, "while rank == 1: pass"), Outcome.TIMED_OUT, 12, "rank 1 at line 12"),
    "one rank is wrong": (
        SOLUTION.replace("return out", "return out * (rank != 1)"),
        Outcome.WRONG_VALUES,
        0,
        "rank 1",
    ),
    "a collective": (
        with_before(OUT, "rows = [torch.empty_like(x) for _ in range(world)]; dist.all_gather(rows, x)"),
        Outcome.BANNED_CALL,
        10,
        "all_gather",
    ),
    "messages too many": (
        with_before("    return out", "for work in dist.batch_isend_irecv(messages * 2): work.wait()"),
        Outcome.TOO_MUCH_WORK,
        0,
        "sent_bytes is 12288",
    ),
}


@pytest.mark.parametrize(("text", "outcome", "line", "words"), WRONG.values(), ids=WRONG)
def test_trouble_is_told_by_rank_and_line(tmp_path: Path, text: str, outcome: Outcome, line: int, words: str) -> None:
    """Whichever rank it is that fails, hangs or leaves, the report says which, what for, and where."""
    started, before = time.monotonic(), descendants()
    report = graded(tmp_path, text, timeout_s=4)
    failure = report.first_failure
    assert failure is not None
    assert (report.outcome, failure.where.line if failure.where else 0) == (outcome, line), failure.message
    assert words in failure.message.replace("allgather", "all_gather")
    assert time.monotonic() - started < 60
    assert next_command(report, made(tmp_path / "curriculum").exercise("ex_01")) == "gpuprep hint ex_01"
    assert soon(lambda: descendants() <= before)


def test_a_killed_rank_is_told_within_ten_seconds(tmp_path: Path) -> None:
    """Its death shows at once: nobody waits for the time limit, and no process is left."""
    told: list[float] = []
    before = descendants()

    def tell(event: str) -> None:
        if "case 3" in event:
            told.append(time.monotonic())

    curriculum = made(tmp_path / "curriculum")
    path = tmp_path / "ex_01_exchange.py"
    path.write_text(with_before(OUT, "import os; rank == 1 and os.kill(os.getpid(), 9)"))
    report = check(curriculum.exercise("ex_01"), curriculum, path, device="cpu", on_event=tell)
    assert time.monotonic() - told[0] < 10
    assert report.outcome is Outcome.CRASHED
    assert report.first_failure is not None
    assert "rank 1" in report.first_failure.message
    assert "SIGKILL" in report.first_failure.message
    assert soon(lambda: descendants() <= before)


@pytest.mark.gpu
def test_two_cards_are_timed_beside_the_baseline(tmp_path: Path) -> None:
    """With a card for each rank, ranks run on NCCL, and the same exchange takes the same time."""
    import torch

    if torch.cuda.device_count() < 2:
        pytest.skip("two GPUs are needed")
    curriculum = made(tmp_path / "curriculum")
    exercise = curriculum.exercise("ex_01")
    report = check(exercise, curriculum, curriculum.reference_path(exercise), device="cuda")
    assert report.outcome is Outcome.PASSED, report.message or report.first_failure
    figure = report.timings[0].figures[0]
    assert 0.7 < figure.value < 1.4
    assert not report.timings[0].audited
