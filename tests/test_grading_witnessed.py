"""Witnessed work: honest files pass with the counts that they had; what a process says of itself is worth nothing."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from gpuprep import curriculum as curricula
from gpuprep.authoring.wrong import expected_outcomes
from gpuprep.curriculum import Curriculum
from gpuprep.exercise import Exercise
from gpuprep.grader import Budget, Case, ErrorModel, Expected, Grader
from gpuprep.grading import witnessing
from gpuprep.grading.answers import Asked
from gpuprep.grading.loading import load_grader
from gpuprep.grading.pool import WarmPool
from gpuprep.grading.session import check
from gpuprep.grading.witnessed import unseen, witnessed_result
from gpuprep.model import CaseResult, Evidence, Outcome, Report, Tier

CURRICULUM = curricula.load(Path(__file__).resolve().parent.parent)
IMPORTS = "import torch\nimport triton\nimport triton.language as tl\n"


def exercise_of(path: Path) -> Exercise:
    """The exercise that the file's folder is named after, or else whose function it defines."""
    if named := [ex for ex in CURRICULUM.exercises if ex.slug == path.parent.name]:
        return named[0]
    defined = set(re.findall(r"^def (\w+)\(", path.read_text(), re.MULTILINE))
    (found,) = [ex for ex in CURRICULUM.exercises if load_grader(CURRICULUM, ex).function in defined]
    return found


Witnessed = Callable[[Exercise, Path], Report]
WitnessedText = Callable[[str, str], Report]


@pytest.fixture(scope="module")
def witnessed() -> Iterator[Witnessed]:
    """Checks a file with a witness. Every check has processes of its own, forked from warm ones."""
    with WarmPool() as pool:
        yield lambda exercise, path: check(exercise, CURRICULUM, path, device="cpu", witnessed=True, pool=pool)


@pytest.fixture
def witnessed_text(witnessed: Witnessed, tmp_path: Path) -> WitnessedText:
    """The same for the text of a solution."""

    def checked(exercise_id: str, body: str) -> Report:
        exercise = CURRICULUM.exercise(exercise_id)
        path = tmp_path / f"{exercise.slug}.py"
        path.write_text(IMPORTS + textwrap.dedent(body))
        return witnessed(exercise, path)

    return checked


def said(report: Report) -> str:
    """Why, for a failing assertion."""
    failure = report.first_failure
    return f"{report.outcome}: {failure.message if failure else report.message} {report.tiers}"


WITH_KERNELS = [exercise for exercise in CURRICULUM.exercises if exercise.language in ("triton", "cuda")]


@pytest.mark.parametrize("exercise", WITH_KERNELS, ids=lambda exercise: exercise.id)
def test_reference_is_witnessed_with_the_counts_that_it_reports(
    witnessed: Witnessed, exercise: Exercise, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A reference passes, and in every case the counting worker counts what the learner's worker counted."""
    counts: list[tuple[Any, Any]] = []

    def noting(asked: Asked, told: Any, drawn: Any, ask: Callable[..., Any], call: Callable[..., Any]) -> CaseResult:
        def noted(request: dict[str, Any]) -> Any:
            answer = ask(request)
            counts.append((told["work"], answer["work"]))
            return answer

        return witnessed_result(asked, told, drawn, noted, call)

    monkeypatch.setattr(witnessing, "witnessed_result", noting)
    report = witnessed(exercise, CURRICULUM.reference_path(exercise))
    work = report.tier(Tier.WORK)
    assert report.outcome.is_pass, said(report)
    assert work is not None
    assert work.evidence is Evidence.WITNESSED
    assert counts
    for self_reported, seen in counts:
        # How long memory is held is seen where host code runs, and nowhere else; and where addresses come from inputs,
        # other inputs lie in other sectors.
        apart = {"peak_bytes": 0, **({"sectors_loaded": 0, "sectors_stored": 0} if exercise.id == "ex_24" else {})}
        assert {**self_reported, **apart} == {**seen, **apart}


@pytest.mark.parametrize(
    "name",
    [
        "ex_01_vector_add/every_program_twice",
        "ex_02_reduction/read_modify_write",
        "ex_03_tiled_matmul/only_square",
        "ex_04_softmax/in_place",
        "ex_04_softmax/zeros_past_the_end",
    ],
)
def test_wrong_solution_keeps_its_outcome(witnessed: Witnessed, name: str) -> None:
    """With a witness, an honest mistake is still told by its own name."""
    path = CURRICULUM.root / "tests" / "wrong" / f"{name}.py"
    report = witnessed(exercise_of(path), path)
    assert report.outcome in expected_outcomes(path), said(report)


ADD = """
    @triton.jit
    def _add_kernel(x_ptr, y_ptr, out_ptr, n_elements, BLOCK_SIZE: tl.constexpr):
        offsets = tl.program_id(0) * BLOCK_SIZE + tl.arange(0, BLOCK_SIZE)
        mask = offsets < n_elements
        x = tl.load(x_ptr + offsets, mask=mask)
        tl.store(out_ptr + offsets, x + tl.load(y_ptr + offsets, mask=mask), mask=mask)
"""
HONEST = {
    "autotuned": (
        "ex_01",
        """
        @triton.autotune([triton.Config({"BLOCK_SIZE": size}) for size in (2048, 512)], key=["n_elements"])
        """
        + textwrap.dedent(ADD).strip("\n").replace("\n", "\n        ")
        + """

        def add(x, y):
            out = torch.empty_like(x)
            _add_kernel[lambda meta: (triton.cdiv(x.numel(), meta["BLOCK_SIZE"]),)](x, y, out, x.numel())
            return out
        """,
    ),
    "heuristics, jit functions, globals, an annotated default": (
        "ex_01",
        """
        WIDTH: tl.constexpr = tl.constexpr(64)
        ZERO = 0

        @triton.jit
        def both(x, y):
            return plus(x, y)

        @triton.jit
        def plus(x, y):
            return x + y

        @triton.heuristics({"IS_WHOLE": lambda args: args["n_elements"] % 1024 == 0})
        @triton.jit
        def _add_kernel(
            x_ptr: torch.Tensor, y_ptr, out_ptr, n_elements: int, IS_WHOLE: "tl.constexpr", ROWS: tl.constexpr = 16
        ) -> None:
            start = tl.program_id(0).to(tl.int64) * (ROWS * WIDTH)
            rows, cols = tl.arange(0, ROWS), tl.arange(0, WIDTH)
            offsets = start + rows[:, None] * WIDTH + cols[None, :]
            tl.static_assert(ROWS * WIDTH == 1024, f"{ROWS} rows")
            if IS_WHOLE:
                tl.store(out_ptr + offsets, both(tl.load(x_ptr + offsets), tl.load(y_ptr + offsets)))
            else:
                mask = (ZERO <= offsets) & (offsets < n_elements)
                x = tl.load(x_ptr + offsets, mask=mask)
                tl.store(out_ptr + offsets, both(x, tl.load(y_ptr + offsets, mask=mask)), mask=mask)

        def add(x, y):
            out = torch.empty_like(x)
            _add_kernel[(triton.cdiv(x.numel(), 1024), 1)](x, y, out, n_elements=x.numel())
            return out
        """,
    ),
    "atomics into a zero, rounded on the host": (
        "ex_02",
        """
        @triton.jit
        def _sum_kernel(x_ptr, out_ptr, n_elements, BLOCK_SIZE: tl.constexpr):
            offsets = tl.program_id(0) * BLOCK_SIZE + tl.arange(0, BLOCK_SIZE)
            x = tl.load(x_ptr + offsets, mask=offsets < n_elements, other=0.0).to(tl.float32)
            tl.atomic_add(out_ptr, tl.sum(x, axis=0))

        def total(x):
            if x.numel() == 0:
                return torch.zeros((), dtype=x.dtype, device=x.device)
            out = torch.empty(1, dtype=torch.float32, device=x.device).zero_()
            _sum_kernel[(triton.cdiv(x.numel(), 4096),)](x, out, x.numel(), BLOCK_SIZE=4096)
            return (out * 1.0).to(x.dtype).view(())
        """,
    ),
    "a buffer kept between calls": (
        "ex_02",
        """
        partials = torch.zeros(4096)

        @triton.jit
        def _partials_kernel(x_ptr, partials_ptr, n_elements, BLOCK_SIZE: tl.constexpr):
            offsets = tl.program_id(0) * BLOCK_SIZE + tl.arange(0, BLOCK_SIZE)
            x = tl.load(x_ptr + offsets, mask=offsets < n_elements, other=0.0).to(tl.float32)
            tl.store(partials_ptr + tl.program_id(0), tl.sum(x, axis=0))

        @triton.jit
        def _total_kernel(partials_ptr, out_ptr, n_partials, BLOCK_SIZE: tl.constexpr):
            offsets = tl.arange(0, BLOCK_SIZE)
            tl.store(out_ptr, tl.sum(tl.load(partials_ptr + offsets, mask=offsets < n_partials, other=0.0), axis=0))

        def total(x):
            n_partials = triton.cdiv(x.numel(), 8192)
            out = torch.empty((), dtype=x.dtype, device=x.device)
            _partials_kernel[(n_partials,)](x, partials, x.numel(), BLOCK_SIZE=8192)
            _total_kernel[(1,)](partials, out, n_partials, BLOCK_SIZE=4096)
            return out
        """,
    ),
    "a contiguous copy": (
        "ex_04",
        """
        @triton.jit
        def _softmax_kernel(x_ptr, out_ptr, n_cols, BLOCK_SIZE: tl.constexpr):
            row, cols = tl.program_id(0), tl.arange(0, BLOCK_SIZE)
            mask = cols < n_cols
            x = tl.load(x_ptr + row * n_cols + cols, mask=mask, other=float("-inf")).to(tl.float32)
            tl.store(out_ptr + row * n_cols + cols, tl.softmax(x), mask=mask)

        def softmax(x):
            x = x.contiguous()
            out = torch.empty_like(x)
            _softmax_kernel[(x.shape[0],)](x, out, x.shape[1], BLOCK_SIZE=triton.next_power_of_2(x.shape[1]))
            return out
        """,
    ),
}  # fmt: skip


@pytest.mark.parametrize(("exercise_id", "body"), HONEST.values(), ids=HONEST)
def test_honest_variant_is_witnessed(witnessed_text: WitnessedText, exercise_id: str, body: str) -> None:
    """What host code usually does around a kernel is followed: tuning, scalars, copies, buffers of its own."""
    report = witnessed_text(exercise_id, body)
    work = report.tier(Tier.WORK)
    assert report.outcome is Outcome.PROVISIONAL, said(report)
    assert work is not None
    assert (work.outcome, work.evidence) == (Outcome.PASSED, Evidence.WITNESSED)


BEYOND = {
    "a value read on the host": (
        """
        @triton.jit
        def _add_kernel(x_ptr, y_ptr, out_ptr, first, n_elements, BLOCK_SIZE: tl.constexpr):
            offsets = tl.program_id(0) * BLOCK_SIZE + tl.arange(0, BLOCK_SIZE)
            mask = offsets < n_elements
            y = tl.load(y_ptr + offsets, mask=mask)
            x = tl.where(offsets == 0, first, tl.load(x_ptr + offsets, mask=mask))
            tl.store(out_ptr + offsets, x + y, mask=mask)

        def add(x, y):
            out = torch.empty_like(x)
            _add_kernel[(triton.cdiv(x.numel(), 1024),)](x, y, out, x[0].item(), x.numel(), BLOCK_SIZE=1024)
            return out
        """,
        "_local_scalar_dense",
    ),
    "a kernel without source": (
        f"""
        exec(compile({(IMPORTS + textwrap.dedent(ADD))!r}, "nowhere", "exec"), space := {{}})
        _add_kernel = space["_add_kernel"]

        def add(x, y):
            out = torch.empty_like(x)
            _add_kernel[(triton.cdiv(x.numel(), 1024),)](x, y, out, x.numel(), BLOCK_SIZE=1024)
            return out
        """,
        "no source text",
    ),
    "a function that is no kernel": (
        """
        def plus(x, y):
            return x + y

        @triton.jit
        def _add_kernel(x_ptr, y_ptr, out_ptr, n_elements, BLOCK_SIZE: tl.constexpr):
            offsets = tl.program_id(0) * BLOCK_SIZE + tl.arange(0, BLOCK_SIZE)
            mask = offsets < n_elements
            x = tl.load(x_ptr + offsets, mask=mask)
            tl.store(out_ptr + offsets, plus(x, tl.load(y_ptr + offsets, mask=mask)), mask=mask)

        def add(x, y):
            out = torch.empty_like(x)
            _add_kernel[(triton.cdiv(x.numel(), 1024),)](x, y, out, x.numel(), BLOCK_SIZE=1024)
            return out
        """,
        "plus, which is a function",
    ),
}


@pytest.mark.parametrize(("body", "word"), BEYOND.values(), ids=BEYOND)
def test_what_cannot_be_followed_is_skipped_by_name(witnessed_text: WitnessedText, body: str, word: str) -> None:
    """The work tier is SKIPPED with the reason; it is neither a pass nor a failure, and correctness still counts."""
    report = witnessed_text("ex_01", body)
    work, correct = report.tier(Tier.WORK), report.tier(Tier.CORRECT)
    assert work is not None
    assert correct is not None
    assert (work.outcome, work.evidence, correct.outcome) == (Outcome.SKIPPED, None, Outcome.PASSED), said(report)
    assert word in work.reason


# Judging, with a counting worker of our own making


class Doubling(Grader):
    """The output is twice x."""

    function = "double"
    parameters = ("x", "factor")

    def cases(self, rng):
        return [Case({"n": 4, "dtype": "float32"}, tier=Tier.WORK)]

    def inputs(self, case, draw):
        return draw.tensor(4), 2

    def oracle(self, case, x, factor):
        return (Expected(x.double() * factor, "float32"),)

    def honest(self, case, x, factor, order=None):
        return (x * factor,)

    def error_model(self, case):
        return ErrorModel(roundings=1)

    def budgets(self, case):
        return (Budget("launches", 1, 1, "one"),)


TOLD = {"recipe": {"why_not": ""}, "host_ops": []}
SEEN, DRAWN = torch.arange(4.0), torch.arange(4.0) + 10


def judged(
    told: dict[str, Any] | None = None,
    own_factor: float = 2.0,
    beyond: Callable[[dict[str, Any]], bool] = lambda request: False,
    **seen: Any,
) -> CaseResult:
    """The result of a case in which the counting worker sees this, for inputs that count from 10.

    Called on them itself, the file multiplies by `own_factor`. What is `beyond` the counting worker raises there.
    """
    grader = Doubling()
    (case,) = grader.cases(None)

    def answered(args: Any, factor: float) -> dict[str, Any]:
        x, _ = args
        work = dict.fromkeys(("bytes_loaded", "bytes_stored", "dot_flops"), 0) | {"launches": 1, "programs": 2}
        answer = {"status": "returned", "args": list(args), "outputs": [x * factor], "devices": ["cpu"], "work": work}
        return {**answer, "findings": [], "host_ops": [], "stored": [4]}

    def ask(request: dict[str, Any]) -> dict[str, Any]:
        if beyond(request):
            return {"status": "raised", "message": "an AssertionError"}
        return {**answered(request["args"], request["args"][1]), **seen}

    def call(args: Any, **_: Any) -> dict[str, Any]:
        return answered(args, own_factor)

    return witnessed_result(Asked(grader, case, "cpu", (SEEN, 2), ""), told or TOLD, (DRAWN, 3), ask, call)


def test_outputs_are_judged_on_inputs_that_were_not_seen() -> None:
    """Twice the new x, by the factor that the learner's worker got, is right."""
    assert judged().outcome is Outcome.PASSED


@pytest.mark.parametrize(
    ("seen", "outcome"),
    [
        ({"outputs": [SEEN * 2]}, Outcome.BANNED_CALL),
        ({"stored": [3]}, Outcome.BANNED_CALL),
        ({"status": "forbidden", "message": "an import"}, Outcome.BANNED_CALL),
        ({"status": "unfollowed", "message": "a descriptor"}, Outcome.SKIPPED),
        ({"status": "raised", "message": "a ValueError"}, Outcome.SKIPPED),
        ({"args": [DRAWN * 0, 2]}, Outcome.MUTATED_INPUT),
        ({"host_ops": [{"name": "aten.clone", "numel": 4, "path": "", "line": 0}]}, Outcome.TOO_MUCH_WORK),
    ],
    ids=["right for seen inputs", "a copy", "no kernel", "beyond", "raised", "changed x", "a copy that counts"],
)
def test_what_the_counting_worker_sees_decides(seen: dict[str, Any], outcome: Outcome) -> None:
    """Whatever the learner's worker said of the case."""
    result = judged(**seen)
    assert result.outcome is outcome
    assert result.message


@pytest.mark.parametrize(
    ("beyond", "outcome"),
    [
        (lambda request: request["reverse"], Outcome.SKIPPED),
        (lambda request: "garbage" in request, Outcome.PASSED),
        (lambda request: request["reverse"] and "garbage" in request, Outcome.PASSED),
    ],
    ids=["in the other order", "with garbage", "with both"],
)
def test_what_goes_beyond_the_counting_worker_when_done_again(
    beyond: Callable[[dict[str, Any]], bool], outcome: Outcome
) -> None:
    """Another order has to work as well; what garbage in masked lanes leads to is not held against a file."""
    unset = {"kind": "unset_lanes", "message": "", "line": 1, "path": "", "severity": "note"}
    assert judged(beyond=beyond, findings=[unset]).outcome is outcome


def test_mistake_that_shows_for_some_values_only_is_no_cheat() -> None:
    """Wrong in the counting worker and wrong in its own: the file computes what its launches compute."""
    result = judged(own_factor=2.5, outputs=[DRAWN * 2.5])
    assert result.outcome is Outcome.WRONG_VALUES
    assert result.n_wrong == 4


def test_host_operation_that_no_recipe_holds_is_skipped_by_name() -> None:
    """Right in its own worker, wrong from its launches: allowed host code may have had a part in it."""
    reading = {"name": "aten._local_scalar_dense.default", "numel": 1, "path": "", "line": 3}
    result = judged({**TOLD, "host_ops": [reading]}, outputs=[DRAWN * 2.5])
    assert result.outcome is Outcome.SKIPPED
    assert "_local_scalar_dense" in result.message


def test_what_a_recipe_has_no_words_for_is_skipped() -> None:
    """The reason that the learner's worker gives stands in the message."""
    result = judged({"recipe": {"why_not": "argument x_ptr is a TensorDescriptor"}, "host_ops": []})
    assert result.outcome is Outcome.SKIPPED
    assert "TensorDescriptor" in result.message


def test_broken_recipe_makes_no_sense() -> None:
    """No honest worker writes one, so the session takes it for a broken answer."""
    with pytest.raises(ValueError, match="KeyError"):
        judged(status="broken", message="KeyError: 'launch'")


def test_unseen_arguments_keep_all_but_contents() -> None:
    """Tensors are exchanged, also in lists; numbers and everything else stay."""
    old = (SEEN, [SEEN, 1], 2, None, "mode")
    new = (DRAWN, [DRAWN, 5], 6, None, "other")
    found = unseen(old, new)
    assert found is not None
    assert found[0] is DRAWN
    assert found[1][0] is DRAWN
    assert (found[1][1], *found[2:]) == (1, 2, None, "mode")


@pytest.mark.parametrize(
    "drawn", [torch.arange(5.0), torch.arange(4), torch.arange(8.0)[::2], torch.arange(8.0)[:4], 3, None]
)
def test_unseen_arguments_of_another_layout_are_none(drawn: Any) -> None:
    """A recipe for one layout says nothing about another."""
    assert unseen((SEEN,), (drawn,)) is None
    assert unseen((SEEN,), ()) is None


def test_without_a_witness_counts_are_the_learners_word(curriculum: Curriculum) -> None:
    """The default check says so."""
    exercise = curriculum.exercise("ex_01")
    work = check(exercise, curriculum, curriculum.reference_path(exercise), device="cpu").tier(Tier.WORK)
    assert work is not None
    assert work.evidence is Evidence.SELF_REPORTED
