"""From a worker's answer to a CaseResult: each fault has its outcome, and the first by precedence wins."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch

from gpuprep import curriculum as curricula
from gpuprep.curriculum import Curriculum
from gpuprep.errors import GraderFaultError
from gpuprep.grader import Budget, Case, Draw, ErrorModel, Expected, Grader, Tier
from gpuprep.grading import session
from gpuprep.grading.answers import Asked, result_of
from gpuprep.grading.masked_lanes import OTHERWISE
from gpuprep.grading.work import budget_fault, counted_work
from gpuprep.model import CaseResult, Diagnosis, Outcome, SourceLine, Work

N = 8
BYTES = 4 * N
NAN = float("nan")


class Doubling(Grader):
    """out = 2·x, and with `pair` also −x."""

    function = "twice"
    parameters = ("x", "factor")

    def __init__(self, *, is_pair: bool = False, strides: tuple[int, ...] | None = None, means: str = "") -> None:
        self.is_pair = is_pair
        self.strides = strides
        self.means = means

    def cases(self, rng: object) -> Sequence[Case]:
        return ()

    def inputs(self, case: Case, draw: Draw) -> tuple[Any, ...]:
        return draw.tensor(N), 2

    def oracle(self, case: Case, *args: Any) -> tuple[Expected, ...]:
        outputs = (Expected(2 * args[0].double(), "float32", strides=self.strides, means=self.means),)
        return (*outputs, Expected(-args[0].double(), "float32")) if self.is_pair else outputs

    def honest(self, case: Case, *args: Any, order: object = None) -> tuple[torch.Tensor, ...]:
        return (2 * args[0],)

    def error_model(self, case: Case) -> ErrorModel:
        return ErrorModel(roundings=1)

    def budgets(self, case: Case) -> tuple[Budget, ...]:
        return (
            Budget("bytes_loaded", BYTES, BYTES, "n·itemsize"),
            Budget("bytes_stored", BYTES, BYTES, "n·itemsize"),
            Budget("launches", 1, 2, "at most two"),
        )


CORRECT = Case({"n": N, "dtype": "float32"})
WORK_CASE = Case({"n": N, "dtype": "float32"}, tier=Tier.WORK)
WORK = {"bytes_loaded": BYTES, "bytes_stored": BYTES, "launches": 1, "programs": 2}


def asked_for(case: Case = CORRECT, grader: Grader | None = None, path: str = "/nowhere/x.py") -> Asked:
    grader = grader or Doubling()
    return Asked(grader, case, "cpu", grader.inputs(case, Draw(1)), path)


def answered(asked: Asked, outputs: Sequence[torch.Tensor] | None = None, **more: Any) -> dict[str, Any]:
    """What an honest worker sends back: copies of the arguments, and the right outputs or other ones."""
    x = Draw(0).place(asked.args[0])
    right = [2 * x, -x] if asked.grader.is_pair else [2 * x]  # type: ignore[attr-defined]
    outputs = right if outputs is None else list(outputs)
    return {
        "status": "returned",
        "args": [x, *asked.args[1:]],
        "outputs": outputs,
        "devices": ["cpu"] * len(outputs),
        "work": dict(WORK),
        "findings": [],
        "host_ops": [],
        "sites": [],
        "stored": [output.numel() for output in outputs],
        **more,
    }


def raised(**more: Any) -> dict[str, Any]:
    return {
        "status": "raised",
        "type": "ValueError",
        "message": "no",
        "line": 0,
        "path": "",
        "is_syntax": False,
        "is_not_implemented": False,
        "needs_device": False,
        "lacks_back_end": False,
        "findings": [],
        "host_ops": [],
        **more,
    }


def finding(kind: str, line: int = 0, path: str = "", **more: Any) -> dict[str, Any]:
    known = {"thread": None, "other_line": 0, "severity": "error"}
    return {"kind": kind, "message": f"{kind} at x", "line": line, "path": path, **known, **more}


def host_op(name: str, numel: int = N, line: int = 0, path: str = "") -> dict[str, Any]:
    return {"name": name, "numel": numel, "line": line, "path": path}


def outcome(outputs: Sequence[torch.Tensor] | None = None, grader: Grader | None = None, **more: Any) -> Outcome:
    """The outcome of a correctness case answered like this."""
    asked = asked_for(grader=grader)
    return result_of(asked, answered(asked, outputs, **more)).outcome


def test_right_answer_passes() -> None:
    """An honest answer is a pass with nothing to say."""
    asked = asked_for()
    assert result_of(asked, answered(asked)) == CaseResult(CORRECT, "cpu", Outcome.PASSED)


# Outputs

X = asked_for().args[0].clone()
FORMS: dict[str, tuple[Callable[[], list[torch.Tensor]], Outcome]] = {
    "longer": (lambda: [torch.zeros(N + 1)], Outcome.WRONG_SHAPE),
    "one axis more": (lambda: [(2 * X)[None]], Outcome.WRONG_SHAPE),
    "scalar": (lambda: [torch.zeros(())], Outcome.WRONG_SHAPE),
    "float64": (lambda: [2 * X.double()], Outcome.WRONG_DTYPE),
    "integers": (lambda: [torch.zeros(N, dtype=torch.int32)], Outcome.WRONG_DTYPE),
    "complex": (lambda: [torch.zeros(N, dtype=torch.complex64)], Outcome.WRONG_DTYPE),
    "wrong shape and dtype": (lambda: [torch.zeros(3).half()], Outcome.WRONG_SHAPE),
    "two": (lambda: [2 * X, 2 * X], Outcome.WRONG_SIGNATURE),
    "wrong values": (lambda: [3 * X], Outcome.WRONG_VALUES),
    "NaN": (lambda: [NAN * X], Outcome.WRONG_VALUES),
    "not contiguous but right": (lambda: [torch.stack([2 * X, X], 1)[:, 0]], Outcome.PASSED),
}


@pytest.mark.parametrize(("make", "expected"), FORMS.values(), ids=FORMS)
def test_form_of_the_output(make: Callable[[], list[torch.Tensor]], expected: Outcome) -> None:
    """Number, shape, dtype and values of the outputs each have their outcome."""
    assert outcome(make()) is expected


def test_strides_where_the_task_says_so() -> None:
    """A right result in the wrong layout, only where the layout is asked for."""
    strided = torch.stack([2 * X, X], 1)[:, 0]
    assert outcome([strided], Doubling(strides=(1,))) is Outcome.WRONG_STRIDES
    assert outcome([2 * X], Doubling(strides=(1,))) is Outcome.PASSED


def test_output_on_another_device() -> None:
    """An output that isn't where its inputs are is refused like a wrong dtype."""
    assert outcome(devices=["cuda"]) is Outcome.WRONG_DTYPE


def test_output_that_is_an_input() -> None:
    """Returning an input, or a view of one, is aliasing, also when the values are right."""
    asked = asked_for()
    answer = answered(asked)
    answer["outputs"] = [answer["args"][0]]
    assert result_of(asked, answer).outcome is Outcome.ALIASED_INPUT


@pytest.mark.parametrize(
    ("line", "said"), [("print(x[:3])", "printing reads 3 elements"), ("y = x.tolist()", "Tensor.tolist on 3")]
)
def test_printing_a_tensor_is_told_as_that(tmp_path: Path, line: str, said: str) -> None:
    """Nobody who prints has called `tolist`."""
    path = tmp_path / "x.py"
    path.write_text(line + "\n")
    op = {"name": "Tensor.tolist", "numel": 3, "path": str(path), "line": 1}
    asked = asked_for(path=str(path))
    result = result_of(asked, answered(asked, host_ops=[op]))
    assert result.outcome is Outcome.BANNED_CALL
    assert result.message.startswith(said)


@pytest.mark.parametrize(
    ("kind", "message", "said"),
    [
        ("TypeError", "object of type 'int' has no len()", "a grid is a tuple"),
        ("BdbQuit", "BdbQuit", "`gpuprep repro`"),
        ("OverflowError", "overflow to signed inf", "Add up in float32"),
    ],
)
def test_exception_that_says_little_is_explained(kind: str, message: str, said: str) -> None:
    """What is mostly behind it."""
    result = result_of(asked_for(), raised(type=kind, message=message))
    assert result.outcome is Outcome.RAISED
    assert result.diagnosis is not None
    assert said in result.diagnosis.text
    assert result_of(asked_for(), raised()).diagnosis is None


def test_gpu_that_is_asked_for_by_name(tmp_path: Path) -> None:
    """The line has to change, whatever machine there is."""
    path = tmp_path / "x.py"
    path.write_text('out = torch.empty(3, device="cuda")\ntorch.cuda.get_device_properties(0)\n')
    told = {"message": "Torch not compiled with CUDA enabled", "needs_device": True, "path": str(path)}
    named, needed = (result_of(asked_for(path=str(path)), raised(**told, line=line)) for line in (1, 2))
    assert named.outcome is needed.outcome is Outcome.SKIPPED
    assert named.message.startswith("line 1 asks for a GPU by name, and there is none here: device=x.device")
    assert needed.message.startswith("needs a GPU")


def test_order_matters_in_cuda_without_a_race(tmp_path: Path) -> None:
    """There every access is followed, so it is something else: what nobody wrote is read."""
    asked = asked_for(path=str(tmp_path / "x.py"))
    other = answered(asked, [3 * X])
    assert result_of(asked, answered(asked), lambda **_: other).diagnosis.id == "race"  # type: ignore[union-attr]
    (tmp_path / "x.cu").touch()
    result = result_of(asked, answered(asked), lambda **_: other)
    assert (result.outcome, result.diagnosis.id) == (Outcome.RACE, "uninitialised")  # type: ignore[union-attr]


def test_unwritten_shared_memory_is_no_race() -> None:
    """It holds something else in another order, and is told as what it is, whichever call showed it."""
    asked = asked_for()
    unwritten = finding("uninitialised", thread=(0, 0, 0))
    right, wrong = answered(asked), answered(asked, [3 * X], findings=[unwritten])
    for answer, other in ((right, wrong), (wrong, answered(asked, [4 * X], findings=[unwritten]))):
        result = result_of(asked, answer, lambda other=other, **_: other)
        assert (result.outcome, result.message) == (Outcome.WRONG_VALUES, "uninitialised at x")


def test_several_outputs() -> None:
    """Each output is judged; the message says which one is wrong."""
    grader = Doubling(is_pair=True)
    asked = asked_for(grader=grader)
    assert result_of(asked, answered(asked)).outcome is Outcome.PASSED
    result = result_of(asked, answered(asked, [2 * X, X]))
    assert result.outcome is Outcome.WRONG_VALUES
    assert "output 1" in result.message
    assert result_of(asked, answered(asked, [2 * X])).outcome is Outcome.WRONG_SIGNATURE
    assert result_of(asked, answered(asked, [3 * X, -X.half()])).outcome is Outcome.WRONG_DTYPE


def test_wrong_values_are_shown_and_diagnosed() -> None:
    """Samples, counts and a likely cause come with wrong values."""
    got = 2 * X
    got[-1] = NAN
    result = result_of(asked_for(), answered(asked_for(), [got]))
    assert (result.n_wrong, result.n_total) == (1, N)
    assert result.samples[0].index == (N - 1,)
    assert result.diagnosis is not None
    assert result.diagnosis.id == "tail"


def test_case_says_what_its_wrong_values_mean() -> None:
    """Where it knows better than their pattern does."""
    asked = asked_for(grader=Doubling(means="the trap was not seen"))
    result = result_of(asked, answered(asked, [3 * X]))
    assert result.diagnosis == Diagnosis("wrong_values", "the trap was not seen")


def test_no_tensor_came_back() -> None:
    """What the worker could not send as tensors is a wrong signature, named."""
    asked = asked_for()
    odd = {"status": "odd", "returned": "list of int", "work": {}, "findings": [], "host_ops": [], "stored": []}
    result = result_of(asked, odd)
    assert result.outcome is Outcome.WRONG_SIGNATURE
    assert "list of int" in result.message


# Inputs


def test_changed_input() -> None:
    """Writing to an input is found, down to the sign of a zero and the bits of a NaN."""
    asked = asked_for()
    for bits in (0, -(2**31), 0x7FC00001):
        answer = answered(asked)
        answer["args"][0].view(torch.int32)[3] = bits
        assert result_of(asked, answer).outcome is Outcome.MUTATED_INPUT


def test_inputs_with_nan_may_stay_as_they_are() -> None:
    """NaN differs from itself, but not from its own bytes."""
    grader = Doubling()
    x = Draw(1).tensor(N)
    x[2] = NAN
    asked = Asked(grader, CORRECT, "cpu", (x, 2), "/nowhere/x.py")
    assert result_of(asked, answered(asked)).outcome is Outcome.PASSED


def test_guard_band_hit() -> None:
    """A write just outside an input is out of bounds, and wins over a change of the input itself."""
    asked = asked_for()
    answer = answered(asked)
    around = torch.as_strided(answer["args"][0], (N + 1,), (1,))
    around[N] = 1
    assert result_of(asked, answer).outcome is Outcome.OUT_OF_BOUNDS
    around[0] = 1
    assert result_of(asked, answer).outcome is Outcome.OUT_OF_BOUNDS


@pytest.mark.parametrize("replacement", [3, torch.zeros(N + 1), torch.zeros(N).half()], ids=["int", "longer", "half"])
def test_replaced_input(replacement: object) -> None:
    """An argument that became something else was changed."""
    asked = asked_for()
    assert outcome(args=[replacement, 2]) is Outcome.MUTATED_INPUT
    assert outcome(args=[answered(asked)["args"][0], 2]) is Outcome.PASSED


# Exceptions and findings

RAISED = {
    "an error": ({}, Outcome.RAISED),
    "open TODO": ({"is_not_implemented": True}, Outcome.NOT_STARTED),
    "no device": ({"needs_device": True}, Outcome.SKIPPED),
    "no compiler": ({"lacks_back_end": True}, Outcome.SKIPPED),
    "compile error": ({"is_syntax": True}, Outcome.COMPILE_FAILED),
    "after a banned call": ({"host_ops": [host_op("aten.add.Tensor")]}, Outcome.RAISED),
    "after a race": ({"findings": [finding("race")]}, Outcome.RAISED),
}


@pytest.mark.parametrize(("more", "expected"), RAISED.values(), ids=RAISED)
def test_what_was_raised(more: dict[str, Any], expected: Outcome) -> None:
    """An exception's kind decides, before whatever else was seen."""
    assert result_of(asked_for(), raised(**more)).outcome is expected


CUDA_FINDINGS = {
    "bad_sync": Outcome.BAD_SYNC,
    "uninitialised": Outcome.WRONG_VALUES,
    "assert": Outcome.RAISED,
    "deadlock": Outcome.DEADLOCK,
    "stack_overflow": Outcome.CRASHED,
    "division_by_zero": Outcome.CRASHED,
    "endless_loop": Outcome.TIMED_OUT,
    "misaligned": Outcome.MISALIGNED,
    "race": Outcome.RACE,
}


@pytest.mark.parametrize("kind", CUDA_FINDINGS)
def test_fault_of_a_cuda_kernel(tmp_path: Path, kind: str) -> None:
    """Each kind has its outcome, a diagnosis of its own, and the line of the `.cu` beside the file."""
    kernels = tmp_path / "x.cu"
    kernels.write_text("first\n  second;\n")
    asked = replace(asked_for(), path=str(tmp_path / "x.py"))
    result = result_of(
        asked, answered(asked, findings=[finding(kind, 2, str(kernels), thread=[0, 0, 0], other_line=1)])
    )
    assert (result.outcome, result.diagnosis and result.diagnosis.id) == (CUDA_FINDINGS[kind], kind)
    assert result.where == SourceLine(str(kernels), 2, "second;")
    assert [remark.where for remark in result.remarks] == [SourceLine(str(kernels), 1, "first")]


def test_warnings_and_notes_decide_nothing() -> None:
    """They are kept beside a pass, a few of them."""
    asked = asked_for()
    found = [finding("race", severity="warning"), *(finding("race", severity="note") for _ in range(20))]
    result = result_of(asked, answered(asked, findings=found))
    assert result.outcome is Outcome.PASSED
    assert result.remarks[0].text == "warning: race at x"
    assert 1 < len(result.remarks) < 20


@pytest.mark.parametrize("severity", ["", "harmless", None])
def test_finding_of_no_known_severity_is_nonsense(severity: object) -> None:
    """A worker can't make a fault harmless by another word; nor end a call without one."""
    asked = asked_for()
    with pytest.raises(ValueError, match="a finding that is"):
        result_of(asked, answered(asked, findings=[finding("race", severity=severity)]))
    stopped = {**answered(asked, findings=[finding("race", severity="note")]), "status": "stopped"}
    with pytest.raises(ValueError, match="stopped"):
        result_of(asked, stopped)


def test_line_of_another_file_is_not_opened(tmp_path: Path) -> None:
    """Only the graded file and the `.cu` beside it have lines that are shown."""
    (tmp_path / "other.cu").write_text("secret\n")
    asked = replace(asked_for(), path=str(tmp_path / "x.py"))
    assert asked.line(1, str(tmp_path / "other.cu")) is None
    assert asked.line(0, asked.path) is None


def test_banned_call_wins_over_a_missing_device() -> None:
    """Code that uses the library and then asks for a card is not let off as ungraded."""
    answer = raised(needs_device=True, host_ops=[host_op("aten.add.Tensor")])
    assert result_of(asked_for(), answer).outcome is Outcome.BANNED_CALL


FINDINGS = {
    "out_of_bounds": Outcome.OUT_OF_BOUNDS,
    "misaligned": Outcome.MISALIGNED,
    "race": Outcome.RACE,
}


@pytest.mark.parametrize(("kind", "expected"), FINDINGS.items())
def test_findings(kind: str, expected: Outcome) -> None:
    """What the counters find is a fault, also when the values are right."""
    assert outcome(findings=[finding(kind)]) is expected
    assert outcome([3 * X], findings=[finding(kind)]) is expected


def test_run_stopped_by_an_access() -> None:
    """A run that ended at an address outside every tensor has no outputs; the finding says it all."""
    stopped = {"status": "stopped", "findings": [finding("out_of_bounds")], "host_ops": [], "work": {}, "stored": []}
    assert result_of(asked_for(), stopped).outcome is Outcome.OUT_OF_BOUNDS


def test_line_of_the_learners_file(tmp_path: Path) -> None:
    """A fault shows the learner's line, never one of another file that the worker names."""
    path = tmp_path / "x.py"
    path.write_text("first\nsecond\n")
    secret = tmp_path / "secret.py"
    secret.write_text("hidden\nhidden\n")
    asked = asked_for(path=str(path))
    shown = result_of(asked, answered(asked, findings=[finding("race", 2, str(path))])).where
    assert shown is not None
    assert (shown.line, shown.text) == (2, "second")
    for other in (str(secret), ""):
        for answer in (
            answered(asked, findings=[finding("race", 2, other)]),
            answered(asked, host_ops=[host_op("aten.add.Tensor", line=2, path=other)]),
        ):
            assert result_of(asked, answer).where is None


def test_line_of_a_file_named_relatively(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The worker knows the file by its absolute path, whatever it was called on the command line."""
    (tmp_path / "x.py").write_text("first\nsecond\n")
    monkeypatch.chdir(tmp_path)
    asked = asked_for(path="x.py")
    shown = result_of(asked, answered(asked, findings=[finding("race", 2, str(tmp_path / "x.py"))])).where
    assert shown is not None
    assert shown.text == "second"


# Host operations


@pytest.mark.parametrize(
    "name", ["aten.add.Tensor", "aten.mm.default", "aten.copy_.default", "Tensor.numpy", "aten.sum"]
)
def test_banned_call(name: str) -> None:
    """Whatever isn't on the allow-list is banned, and wins over wrong values."""
    assert outcome(host_ops=[host_op(name)]) is Outcome.BANNED_CALL
    assert outcome([3 * X], host_ops=[host_op(name)]) is Outcome.BANNED_CALL
    assert outcome([2 * X.double()], host_ops=[host_op(name)]) is Outcome.WRONG_DTYPE


@pytest.mark.parametrize(
    "name", ["aten.empty.memory_format", "aten.view.default", "aten.zeros_like", "aten.clone.default"]
)
def test_allowed_call(name: str) -> None:
    """Allocation, views and copies are host code's business."""
    assert outcome(host_ops=[host_op(name)]) is Outcome.PASSED


def test_arithmetic_on_one_element_is_free() -> None:
    """Scalars may be computed anywhere."""
    assert outcome(host_ops=[host_op("aten.add.Tensor", 1), host_op("aten.mul.Tensor", 0)]) is Outcome.PASSED


# The other order


def both_orders(outputs: Sequence[torch.Tensor], other: dict[str, Any] | Sequence[torch.Tensor]) -> CaseResult:
    asked = asked_for()
    reversed_answer = other if isinstance(other, dict) else answered(asked, other)
    return result_of(asked, answered(asked, outputs), lambda **_: reversed_answer)


def test_other_order_agrees() -> None:
    """The same right result in both orders is a pass; small differences within the tolerance are honest."""
    assert both_orders([2 * X], [2 * X]).outcome is Outcome.PASSED
    assert both_orders([2 * X], [2 * X * (1 + 2.0**-24)]).outcome is Outcome.PASSED


def test_wrong_in_the_other_order_only() -> None:
    """A result that depends on the order of programs is a race, though the usual order gives the right one."""
    assert both_orders([2 * X], [3 * X]).outcome is Outcome.RACE


def test_wrong_in_both_orders_but_differently() -> None:
    """Two different wrong results are a race too."""
    assert both_orders([3 * X], [4 * X]).outcome is Outcome.RACE


def test_wrong_in_both_orders_alike() -> None:
    """The same wrong result twice is just wrong."""
    assert both_orders([3 * X], [3 * X]).outcome is Outcome.WRONG_VALUES


UNSET = [finding("unset_lanes", severity="note")]


def with_garbage(nan: torch.Tensor, loud: torch.Tensor) -> CaseResult:
    """What is made of a call that came to `nan`, and to `loud` with large numbers in masked lanes."""
    asked = asked_for()

    def again(*, reverse: bool = False, garbage: object = None) -> dict[str, Any]:
        return answered(asked, [nan if garbage is None else loud])

    return result_of(asked, answered(asked, [nan], findings=UNSET), again)


def test_masked_lanes_without_a_value_are_no_fault() -> None:
    """Many kernels load them and never look: nothing is said."""
    assert with_garbage(2 * X, 2 * X) == CaseResult(CORRECT, "cpu", Outcome.PASSED)


@pytest.mark.parametrize(
    ("nan", "loud", "is_told"),
    [(NAN * X, 1e30 * X, True), (NAN * X, 2 * X, True), (2 * X, 1e30 * X, True), (3 * X, 3 * X, False)],
    ids=["comes through both ways", "only as NaN", "only as a large number", "wrong for another reason"],
)
def test_values_are_wrong_for_masked_lanes_where_these_matter(
    nan: torch.Tensor, loud: torch.Tensor, is_told: bool
) -> None:
    """Other garbage in them makes another result, or it has nothing to do with it."""
    result = with_garbage(nan, loud)
    assert result.outcome is Outcome.WRONG_VALUES
    assert result.diagnosis is not None
    assert (result.diagnosis.id == "uninitialised") is is_told
    assert result.message.startswith(OTHERWISE) is torch.equal(nan, 2 * X)


def test_masked_lanes_may_lead_out_of_bounds() -> None:
    """As an index, say: then that is what fails."""
    asked = asked_for()
    lost = {**answered(asked), "status": "stopped", "findings": [finding("out_of_bounds")]}
    result = result_of(
        asked, answered(asked, findings=UNSET), lambda **how: lost if "garbage" in how else answered(asked)
    )
    assert (result.outcome, result.message) == (Outcome.OUT_OF_BOUNDS, f"{OTHERWISE}out_of_bounds at x")


def test_the_load_whose_masked_lanes_matter_is_shown(tmp_path: Path) -> None:
    """Each is tried while the others hold 0; with one load there is nothing to try."""
    path = tmp_path / "x.py"
    path.write_text("import triton\nx = tl.load(p, mask=m)\ny = tl.load(q, mask=m)\n")
    asked = asked_for(path=str(path))
    seen = [finding("unset_lanes", line, str(path), severity="note") for line in (2, 3)]
    tried = []

    def again(*, reverse: bool = False, garbage: Mapping[str, Any] | None = None) -> dict[str, Any]:
        if garbage is None:
            return answered(asked)
        if not reverse:
            tried.append(garbage)
        is_wrong = garbage.get("line", 3) == 3 and garbage["kind"] == "loud"
        return answered(asked, [X if is_wrong else 2 * X])

    result = result_of(asked, answered(asked, findings=seen), again)
    assert result.where == SourceLine(str(path), 3, "y = tl.load(q, mask=m)")
    assert tried == [{"kind": "loud"}, *({"kind": kind, "line": line} for line in (2, 3) for kind in ("nan", "loud"))]
    tried.clear()
    assert result_of(asked, answered(asked, findings=seen[:1]), again).where == SourceLine(
        str(path), 2, "x = tl.load(p, mask=m)"
    )
    assert tried == [{"kind": "loud"}]


@pytest.mark.parametrize(
    ("wrong_when", "outcome", "is_uninitialised", "n_calls"),
    [
        ("never", Outcome.PASSED, False, 1),
        ("reversed", Outcome.RACE, False, 3),
        ("loud", Outcome.WRONG_VALUES, True, 3),
    ],
)
def test_one_more_call_will_do_for_what_is_right(
    wrong_when: str, outcome: Outcome, is_uninitialised: bool, n_calls: int
) -> None:
    """The other order and other garbage together; each by itself only tells which of them makes a result wrong."""
    asked = asked_for()
    calls = []

    def again(*, reverse: bool = False, garbage: object = None) -> dict[str, Any]:
        calls.append((reverse, garbage is not None))
        is_wrong = {"never": False, "reversed": reverse, "loud": garbage is not None}[wrong_when]
        return answered(asked, [X if is_wrong else 2 * X])

    result = result_of(asked, answered(asked, findings=UNSET), again)
    assert result.outcome is outcome
    assert (result.diagnosis is not None and result.diagnosis.id == "uninitialised") is is_uninitialised
    assert calls == [(True, True), (True, False), (False, True)][:n_calls]


def test_never_written_is_no_race() -> None:
    """Poison in one run and other leftovers in the next are still memory that nobody wrote."""
    assert both_orders([NAN * X], [3 * X]).outcome is Outcome.WRONG_VALUES


def test_race_found_in_the_other_order_only() -> None:
    """A finding of the second run counts."""
    asked = asked_for()
    assert both_orders([2 * X], answered(asked, findings=[finding("race")])).outcome is Outcome.RACE


def test_second_call_fails_otherwise() -> None:
    """Code that is right once and then raises, or returns something else, is not right."""
    asked = asked_for()
    assert both_orders([2 * X], raised()).outcome is Outcome.RAISED
    assert both_orders([2 * X], answered(asked, [torch.zeros(3)])).outcome is Outcome.WRONG_SHAPE
    stopped = {"status": "stopped", "findings": [finding("out_of_bounds")], "host_ops": [], "work": {}, "stored": []}
    assert both_orders([2 * X], stopped).outcome is Outcome.OUT_OF_BOUNDS


# Counted work


def work_result(**more: Any) -> CaseResult:
    """What becomes of a right answer to a work case."""
    asked = asked_for(WORK_CASE)
    answer = answered(asked, **more)
    result = result_of(asked, answer)
    return budget_fault(asked, answer, result) or result


def test_work_within_its_budgets() -> None:
    """A work case that fits passes, and says what was counted and what was allowed."""
    result = work_result()
    assert result.outcome is Outcome.PASSED
    assert result.work == Work(**WORK)
    assert [budget.figure for budget in result.budgets] == ["bytes_loaded", "bytes_stored", "launches"]


BUDGETS: dict[str, tuple[dict[str, int], Outcome]] = {
    "loads too much": ({"bytes_loaded": BYTES + 1}, Outcome.TOO_MUCH_WORK),
    "stores too much": ({"bytes_stored": 2 * BYTES}, Outcome.TOO_MUCH_WORK),
    "launches too often": ({"launches": 3}, Outcome.TOO_MUCH_WORK),
    "at the limit": ({"launches": 2}, Outcome.PASSED),
    "loads too little": ({"bytes_loaded": BYTES - 1}, Outcome.BANNED_CALL),
    "launches nothing": ({"launches": 0}, Outcome.BANNED_CALL),
    "too much and too little": ({"bytes_loaded": 2 * BYTES, "bytes_stored": 0}, Outcome.BANNED_CALL),
}


@pytest.mark.parametrize(("change", "expected"), BUDGETS.values(), ids=BUDGETS)
def test_budgets(change: dict[str, int], expected: Outcome) -> None:
    """Above a budget is too much work; below the least possible, something else did it; the latter wins."""
    result = work_result(work={**WORK, **change})
    assert result.outcome is expected
    assert result.work is not None
    assert result.budgets


def test_launches_have_their_own_diagnosis() -> None:
    """Too many launches and too much traffic are different mistakes."""
    launches, loads = work_result(work={**WORK, "launches": 3}), work_result(work={**WORK, "bytes_loaded": 2 * BYTES})
    assert launches.diagnosis is not None
    assert loads.diagnosis is not None
    assert (launches.diagnosis.id, loads.diagnosis.id) == ("too_many_launches", "extra_work")


@pytest.mark.parametrize(
    ("name", "numel", "loaded", "stored", "launches"),
    [
        ("aten.clone.default", N, BYTES, BYTES, 1),
        ("aten.zeros_like.default", N, 0, BYTES, 1),
        ("aten.full.default", 2 * N, 0, 2 * BYTES, 1),
        ("aten.zeros.default", 1, 0, 0, 0),
        ("aten.empty_like.default", N, 0, 0, 0),
        ("aten.view.default", N, 0, 0, 0),
    ],
)
def test_copies_and_fills_of_host_code_are_counted(
    name: str, numel: int, loaded: int, stored: int, launches: int
) -> None:
    """torch's copies and fills move bytes and launch kernels too; a scalar's are free, views cost nothing."""
    asked = asked_for(WORK_CASE)
    found = counted_work(asked, answered(asked, host_ops=[host_op(name, numel)]))
    assert found.bytes_loaded == BYTES + loaded
    assert found.bytes_stored == BYTES + stored
    assert found.launches == 1 + launches


def test_copy_does_not_stand_in_for_the_kernel() -> None:
    """What host code copies adds to the work, but never makes up for work that the kernels left out."""
    result = work_result(work={**WORK, "bytes_loaded": 0}, host_ops=[host_op("aten.clone.default")])
    assert result.outcome is Outcome.BANNED_CALL


def test_output_that_no_kernel_wrote() -> None:
    """Right values in memory that no kernel stored to came from elsewhere."""
    assert work_result(stored=[N - 1]).outcome is Outcome.BANNED_CALL
    assert work_result(stored=[0], work={**WORK, "bytes_loaded": 2 * BYTES}).outcome is Outcome.BANNED_CALL


def test_copied_output_need_not_be_stored_by_a_kernel() -> None:
    """A copy of what kernels wrote is honest, if wasteful; a copy of something smaller is no excuse."""
    assert work_result(stored=[0], host_ops=[host_op("aten.clone.default")]).outcome is Outcome.TOO_MUCH_WORK
    assert work_result(stored=[0], host_ops=[host_op("aten.clone.default", 2)]).outcome is Outcome.BANNED_CALL


def test_wrong_values_come_before_budgets() -> None:
    """Work is held against budgets only where the result is right."""
    asked = asked_for(WORK_CASE)
    answer = answered(asked, [3 * X], work={**WORK, "launches": 9})
    result = result_of(asked, answer)
    assert result.outcome is Outcome.WRONG_VALUES
    assert budget_fault(asked, answer, result) is None


def test_correctness_cases_have_no_budgets() -> None:
    """Odd shapes may cost what they cost."""
    asked = asked_for()
    answer = answered(asked, work={**WORK, "launches": 99}, stored=[0])
    result = result_of(asked, answer)
    assert budget_fault(asked, answer, result) is None
    assert result.work is None


# Answers that no worker sends


NONSENSE: dict[str, Callable[[dict[str, Any]], object]] = {
    "no status": lambda answer: answer.pop("status"),
    "unknown status": lambda answer: answer.update(status="passed"),
    "stopped by nothing": lambda answer: answer.update(status="stopped"),
    "raised nothing": lambda answer: answer.update(status="raised"),
    "no outputs": lambda answer: answer.pop("outputs"),
    "outputs that are none": lambda answer: answer.update(outputs=[3]),
    "outputs missing": lambda answer: answer.update(outputs=None),
    "no devices": lambda answer: answer.update(devices=[]),
    "no arguments": lambda answer: answer.update(args=[]),
    "findings that are none": lambda answer: answer.update(findings=[3]),
    "unknown finding": lambda answer: answer.update(findings=[finding("praise")]),
    "line that is none": lambda answer: answer.update(findings=[{**finding("race"), "line": "x"}]),
    "endless line": lambda answer: answer.update(findings=[{**finding("race"), "line": float("inf")}]),
    "host operations that are none": lambda answer: answer.update(host_ops=7),
    "nameless operation": lambda answer: answer.update(host_ops=[{"numel": 3}]),
    "work that is none": lambda answer: answer.update(work=[]),
    "unknown work": lambda answer: answer.update(work={"effort": 1}),
    "work as text": lambda answer: answer.update(work={**WORK, "launches": "1"}),
    "negative work": lambda answer: answer.update(work={**WORK, "bytes_loaded": -1}),
    "boolean work": lambda answer: answer.update(work={**WORK, "launches": True}),
    "endless work": lambda answer: answer.update(work={**WORK, "launches": float("inf")}),
    "stores of no output": lambda answer: answer.update(stored=[]),
}


@pytest.mark.parametrize("spoil", NONSENSE.values(), ids=NONSENSE)
def test_nonsense_is_never_a_pass(spoil: Callable[[dict[str, Any]], object]) -> None:
    """An answer with missing keys or wrong types raises, for the session to catch, or is a failure."""
    asked = asked_for(WORK_CASE)
    answer = answered(asked)
    spoil(answer)
    try:
        result = result_of(asked, answer)
        is_pass = (budget_fault(asked, answer, result) or result).outcome.is_pass
    except Exception:  # noqa: BLE001  any exception will do: the session takes them all
        is_pass = False
    assert not is_pass


class FakeWorker:
    """Stands in for a worker process, and answers what it is told to."""

    device = "cpu"
    versions: ClassVar[dict[str, str]] = {}
    can_count = True
    loaded: ClassVar[dict[str, Any]] = {}
    called: ClassVar[dict[str, Any]] = {}

    def __init__(self, device: str, *_: object, **__: object) -> None:
        assert device == "cpu"

    def __enter__(self) -> FakeWorker:
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing to stop."""

    def stop(self, **_: object) -> None:
        """Nothing to stop."""

    def wait_until_ready(self) -> None:
        """Always ready."""

    def output(self) -> str:
        return ""

    def ask(self, request: dict[str, Any], **_: object) -> dict[str, Any]:
        return self.loaded if request["do"] == "load" else self.called


LOADED = {
    "status": "loaded",
    "parameters": [{"name": name, "kind": "POSITIONAL_OR_KEYWORD", "required": True} for name in ("x", "y")],
}
LIES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "import without a status": ({}, {}),
    "import raised nothing": ({"status": "raised"}, {}),
    "parameters that are none": ({"status": "loaded", "parameters": [3]}, {}),
    "line that is none": ({**raised(), "line": "x"}, {}),
    "call without a status": (LOADED, {}),
    "unknown status": (LOADED, {"status": "fine", "findings": [], "host_ops": []}),
    "work of the wrong type": (LOADED, {"status": "returned", "work": 3}),
    "endless numbers": (LOADED, {"status": "raised", "findings": [], "host_ops": [host_op("x", float("inf"))]}),
}


@pytest.mark.parametrize(("loaded", "called"), LIES.values(), ids=LIES)
def test_session_says_crashed(
    curriculum: Curriculum,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    loaded: dict[str, Any],
    called: dict[str, Any],
) -> None:
    """Whatever nonsense a worker answers, the check ends with CRASHED and a message."""
    monkeypatch.setattr(session, "WorkerProcess", FakeWorker)
    monkeypatch.setattr(FakeWorker, "loaded", loaded)
    monkeypatch.setattr(FakeWorker, "called", called)
    path = tmp_path / "solution.py"
    path.write_text("def add(x, y): ...\n")
    report = session.check(curriculum.exercise("ex_01"), curriculum, path, device="cpu")
    assert report.outcome is Outcome.CRASHED
    assert report.message or report.first_failure


def test_exception_in_an_oracle_is_the_graders_fault(
    curriculum: Curriculum, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a grader raises while an answer is judged is not the learner's fault, whatever its type."""
    monkeypatch.setattr(session, "WorkerProcess", FakeWorker)
    monkeypatch.setattr(FakeWorker, "loaded", LOADED)
    monkeypatch.setattr(FakeWorker, "called", answered(asked_for()))
    (tmp_path / "curriculum.yaml").write_bytes((curriculum.root / "curriculum.yaml").read_bytes())
    copied = curricula.load(tmp_path)
    exercise = copied.exercise("ex_01")
    grader = copied.grader_path(exercise)
    grader.parent.mkdir(parents=True)
    text = curriculum.grader_path(exercise).read_text()
    broken = text.replace('        return (Expected(x.double().add_(y), case["dtype"]),)', "        return 1 / 0")
    assert broken != text
    grader.write_text(broken)
    path = tmp_path / "solution.py"
    path.write_text("def add(x, y): ...\n")
    for root in (tmp_path, Path()):
        monkeypatch.chdir(tmp_path)
        with pytest.raises(GraderFaultError, match="ZeroDivisionError"):
            session.check(exercise, replace(copied, root=root), path, device="cpu")
