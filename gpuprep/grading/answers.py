"""Turns a worker's answer for one case into a CaseResult: every fault that shows, the first by precedence wins."""

from __future__ import annotations

import linecache
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gpuprep.channel import storage_id
from gpuprep.exercise import Target
from gpuprep.grader import Expected, Grader
from gpuprep.grading.diagnosis import Evidence, Recompute, diagnose
from gpuprep.grading.judge import judge
from gpuprep.grading.kernel_faults import OUT_OF_BOUNDS, finding_faults, order_matters, remarks
from gpuprep.grading.masked_lanes import LOUDLY, Again, has_unset_lanes, with_masked_lanes
from gpuprep.grading.raising import raised
from gpuprep.grading.work import budgets_of, counted_work, packet, qualities
from gpuprep.model import Budget, Case, CaseResult, Diagnosis, Outcome, SourceLine, Tier, Work

if TYPE_CHECKING:
    import torch

Answer = Mapping[str, Any]

_HOST_RULE = "Host code may allocate and view tensors; what is computed, a kernel computes."
_TORCH_RULE = (
    "The exercise is to write this out: arithmetic on tensors is allowed, an operation that does it all is not."
)


@dataclass(frozen=True)
class Asked:
    """One call as the trusted side made it. `args` are the pristine originals: the worker got copies."""

    grader: Grader
    case: Case
    device: str
    args: Sequence[Any]
    path: str
    targets: tuple[Target, ...] = ()
    """Those of the case's operation."""

    def passed(self, **more: Any) -> CaseResult:
        """A pass of this case."""
        return CaseResult(self.case, self.device, Outcome.PASSED, **more)

    def failed(self, outcome: Outcome, message: str, **more: Any) -> CaseResult:
        """A failure of this case."""
        return CaseResult(self.case, self.device, outcome, message, **more)

    def line(self, number: int, path: str | None = None) -> SourceLine | None:
        """A line of the learner's file or of the `.cu` beside it; None where it isn't known or is another file's."""
        # Another file's line could be any file's: what the worker names is not opened.
        return source_line(Path(self.path), number, self.path if path is None else path)


def source_line(graded: Path, number: int, path: str) -> SourceLine | None:
    """A line of the graded file or of the `.cu` beside it.

    Args:
        graded: the learner's Python file.
        number: which line; nothing for 0.
        path: which of the two, as the worker names it; nothing for any other file.
    """
    for own in (graded, graded.with_suffix(".cu")):
        if number > 0 and path in (str(own), str(own.resolve())):
            return SourceLine(str(own), number, linecache.getline(str(own), number).strip())
    return None


def result_of(asked: Asked, answer: Answer, again: Again | None = None) -> CaseResult:
    """Judge one case.

    Args:
        asked: the call.
        answer: what the worker sent back.
        again: asks it for the same call with its programs in reversed order (`reverse=True`) or with other garbage in
            masked lanes (`garbage=`), where that can be done.
    """
    faults = list(_faults(asked, answer))
    if again is not None and answer["status"] == "returned":
        faults = _once_more(asked, answer, faults, again)
    work, budgets = _work(asked, answer)
    noticed = remarks(asked, answer)
    if faults:
        first = min(faults, key=lambda fault: fault.outcome.precedence)
        first = replace(first, remarks=(*first.remarks, *noticed))
        return replace(first, work=work, budgets=budgets) if first.outcome in _WORK_OUTCOMES else first
    figures = qualities(asked, answer) if asked.case.tier is Tier.WORK and asked.targets else ()
    if missed := next((figure for figure in figures if figure.outcome is not Outcome.PASSED), None):
        name, least = missed.target.figure.replace("_", " "), missed.target.pass_at
        message = f"{name} is {missed.value:.1f}, at least {least:g} is wanted"
        return asked.failed(Outcome.WRONG_VALUES, message, diagnosis=_IMPRECISE, figures=figures)
    return asked.passed(work=work, budgets=budgets, figures=figures, remarks=noticed)


_IMPRECISE = Diagnosis(
    "precision",
    "Each value is what its steps lead to, but the steps lose too much: look at what sets the scale, and at how many "
    "values have to share one.",
)


_WORK_OUTCOMES = (Outcome.BANNED_CALL, Outcome.TOO_MUCH_WORK)
_ORDER_FREE = (
    *(Outcome.RAISED, Outcome.NOT_STARTED, Outcome.COMPILE_FAILED, Outcome.SKIPPED, Outcome.CRASHED),
    *(Outcome.DEADLOCK, Outcome.TIMED_OUT, Outcome.OUT_OF_BOUNDS, Outcome.BAD_SYNC),
)
"""What is wrong in any order."""


def _faults(asked: Asked, answer: Answer) -> Iterator[CaseResult]:
    yield from finding_faults(asked, answer)
    yield from banned_calls(asked, answer)
    if answer["status"] == "raised":
        yield raised(asked, answer)
    elif answer["status"] == "odd":
        yield asked.failed(
            Outcome.WRONG_SIGNATURE,
            f"{asked.grader.function} must return {_outputs_wanted(asked)}, it returned {answer['returned']}",
        )
    elif answer["status"] == "returned":
        yield from _output_faults(asked, answer)
        yield from _input_faults(asked, answer)
    elif answer["status"] != "stopped" or all(finding["severity"] != "error" for finding in answer["findings"]):
        # What is no fault would count as a pass.
        raise ValueError(f"status {answer['status']!r} with {len(answer['findings'])} findings")


def _outputs_wanted(asked: Asked) -> str:
    n_outputs = len(asked.grader.oracle(asked.case, *asked.args))
    return "one torch.Tensor" if n_outputs == 1 else f"{n_outputs} tensors"


def _output_faults(asked: Asked, answer: Answer) -> Iterator[CaseResult]:
    expected = asked.grader.oracle(asked.case, *asked.args)
    outputs: list[torch.Tensor] = answer["outputs"]
    if len(outputs) != len(expected):
        yield asked.failed(
            Outcome.WRONG_SIGNATURE,
            f"{asked.grader.function} must return {_outputs_wanted(asked)}, it returned {len(outputs)}",
        )
        return
    names = asked.grader.output_names(asked.case)
    for place, (want, got) in enumerate(zip(expected, outputs, strict=True)):
        name = names[place] if names else "the output" if len(outputs) == 1 else f"output {place}"
        fault = _form_fault(asked, name, want, got, answer["devices"][place])
        if fault is None and _shares_storage(got, answer["args"]):
            fault = asked.failed(
                Outcome.ALIASED_INPUT, f"{name} shares its memory with an input: it must be a tensor of its own"
            )
        if fault is None:
            fault = _value_fault(asked, name, place, want, got)
        if fault is not None:
            yield fault


def _form_fault(asked: Asked, name: str, want: Expected, got: torch.Tensor, device: str) -> CaseResult | None:
    shape, dtype = tuple(want.value.shape), str(got.dtype).removeprefix("torch.")
    if tuple(got.shape) != shape:
        return asked.failed(Outcome.WRONG_SHAPE, f"{name} has shape {list(got.shape)}, it must be {list(shape)}")
    if dtype != want.dtype:
        return asked.failed(Outcome.WRONG_DTYPE, f"{name} is {dtype}, it must be {want.dtype}")
    if device != asked.device:
        return asked.failed(Outcome.WRONG_DTYPE, f"{name} is on {device}, its inputs are on {asked.device}")
    if want.strides is not None and tuple(got.stride()) != want.strides:
        return asked.failed(
            Outcome.WRONG_STRIDES, f"{name} has strides {list(got.stride())}, they must be {list(want.strides)}"
        )
    return None


def _shares_storage(output: torch.Tensor, args: Sequence[Any]) -> bool:
    import torch

    return any(isinstance(arg, torch.Tensor) and storage_id(arg) == storage_id(output) for arg in args)


def _recompute(asked: Asked, place: int) -> Recompute:
    import torch

    def recompute(args: Sequence[Any], order: torch.Tensor | None = None) -> torch.Tensor | None:
        is_float = [isinstance(arg, torch.Tensor) and arg.is_floating_point() for arg in args]
        exact = [arg.double() if whether else arg for arg, whether in zip(args, is_float, strict=True)]
        try:
            return asked.grader.honest(asked.case, *exact, order=order)[place]
        except Exception:  # noqa: BLE001  a grader answers for its own cases only, and this is just a guess
            return None

    return recompute


def _value_fault(asked: Asked, name: str, place: int, want: Expected, got: torch.Tensor) -> CaseResult | None:
    judgement = judge(want, got, asked.grader.error_model(asked.case))
    if judgement.is_right:
        return None
    n_terms = asked.grader.reduction_size(asked.case)
    evidence = Evidence(
        want,
        got,
        judgement.wrong,
        asked.args,
        n_terms,
        _recompute(asked, place),
        own_part=asked.grader.own_part(asked.case, place),
        has_kernels=asked.grader.uses_kernels(asked.case),
    )
    return asked.failed(
        Outcome.WRONG_VALUES,
        f"{judgement.n_wrong} of {got.numel()} elements of {name} are wrong",
        diagnosis=Diagnosis("wrong_values", want.means) if want.means else diagnose(evidence),
        samples=judgement.samples,
        n_wrong=judgement.n_wrong,
        n_total=got.numel(),
    )


def _input_faults(asked: Asked, answer: Answer) -> Iterator[CaseResult]:
    import torch

    if len(answer["args"]) != len(asked.args):
        raise ValueError(f"{len(answer['args'])} arguments came back of {len(asked.args)}")
    names = asked.grader.argument_names(asked.case)
    for place, (before, after) in enumerate(zip(asked.args, answer["args"], strict=True)):
        name = names[place] if place < len(names) else f"argument {place + 1}"
        if not isinstance(before, torch.Tensor):
            continue
        if not isinstance(after, torch.Tensor) or after.shape != before.shape or after.dtype != before.dtype:
            yield asked.failed(Outcome.MUTATED_INPUT, f"{name} was replaced by something else")
            continue
        if not _same_bytes(before, after):
            yield asked.failed(Outcome.MUTATED_INPUT, f"{name} was changed: inputs are read-only")
        if not _same_around(before, after):
            yield asked.failed(
                Outcome.OUT_OF_BOUNDS,
                f"memory just outside {name} was overwritten",
                diagnosis=OUT_OF_BOUNDS,
            )


def _same_bytes(before: torch.Tensor, after: torch.Tensor) -> bool:
    import torch

    # As bytes: NaN differs from itself, and −0.0 equals 0.0.
    first, second = before.contiguous().flatten(), after.contiguous().flatten()
    return torch.equal(first.view(torch.uint8), second.view(torch.uint8))


def _same_around(before: torch.Tensor, after: torch.Tensor) -> bool:
    """True where the storages are equal but for the tensor's own elements."""
    import torch

    first, second = _storage_bytes(before), _storage_bytes(after)
    if first.shape != second.shape:
        return False
    if torch.equal(first, second):
        return True
    restored = second.clone()
    whole = torch.empty(0, dtype=before.dtype, device=restored.device).set_(restored.untyped_storage())
    whole.as_strided(before.shape, before.stride(), before.storage_offset()).copy_(before)
    return torch.equal(first, restored)


def _storage_bytes(tensor: torch.Tensor) -> torch.Tensor:
    import torch

    return torch.empty(0, dtype=torch.uint8, device=tensor.device).set_(tensor.untyped_storage())


def banned_calls(asked: Asked, answer: Answer) -> Iterator[CaseResult]:
    """Operations of host code that the exercise does not allow, a fault each."""
    has_kernels = asked.grader.uses_kernels(asked.case)
    for op in answer["host_ops"]:
        name = packet(op)
        if name in asked.grader.allowed_in(asked.case) or op["numel"] <= 1:
            continue
        where = asked.line(int(op["line"]), str(op["path"]))
        yield asked.failed(
            Outcome.BANNED_CALL,
            _ban(_spoken(name), op["numel"], where, has_kernels=has_kernels),
            diagnosis=Diagnosis("banned", _HOST_RULE if has_kernels else _TORCH_RULE),
            where=where,
        )


def _ban(name: str, numel: int, where: SourceLine | None, *, has_kernels: bool) -> str:
    if where is not None and "print(" in where.text:
        return (
            f"printing reads {numel} elements on the host, which could compute with them: print a shape, or look at "
            "values in the script that `gpuprep repro` writes"
        )
    return f"{name} on {numel} elements: {'the kernel has' if has_kernels else 'you have'} to do this, not a library"


def _spoken(op_name: str) -> str:
    library, _, name = op_name.partition(".")
    if library in ("c10d", "_c10d_functional"):
        # dist.all_gather_into_tensor has a namesake that may be banned where it is allowed itself.
        kind = "functional collective" if library.startswith("_") else "torch.distributed's"
        return f"{kind} {name.strip('_')}"
    return f"torch's {name}" if library == "aten" else op_name


def _once_more(asked: Asked, answer: Answer, faults: list[CaseResult], again: Again) -> list[CaseResult]:
    """The faults, and those that show in what a card leaves open: which program runs first, what masked lanes hold."""
    judge_answer = partial(_faults, asked)
    has_order = answer["work"]["programs"] > 1 and not answer.get("is_order_free")
    if has_order and has_unset_lanes(answer) and not faults:
        # Both at once, and each by itself only where that is not right.
        other = again(reverse=True, garbage=LOUDLY)
        if other["status"] == "returned" and not any(judge_answer(other)):
            return []
    if has_order and not any(fault.outcome in _ORDER_FREE for fault in faults):
        faults = [*faults, *_order_faults(asked, answer, again(reverse=True), faults)]
    return with_masked_lanes(asked, answer, faults, again, judge_answer)


def _order_faults(
    asked: Asked, answer: Answer, reversed_answer: Answer, faults: Sequence[CaseResult]
) -> Iterator[CaseResult]:
    known = {fault.outcome for fault in faults}
    again = [fault for fault in _faults(asked, reversed_answer) if fault.outcome is not Outcome.BANNED_CALL]
    # It is a second call of the same function, too: what fails only then, fails.
    yield from (
        fault for fault in again if fault.outcome is Outcome.RACE or fault.outcome not in (*known, Outcome.WRONG_VALUES)
    )
    differs = next((fault for fault in again if fault.outcome is Outcome.WRONG_VALUES), None)
    if any(map(_is_of_unwritten, (*faults, *again))):
        # Shared memory that no thread wrote was read: what came of that in another order means nothing.
        yield from filter(_is_of_unwritten, again)
    elif differs is not None and Outcome.WRONG_VALUES not in known:
        yield replace(
            differs,
            outcome=Outcome.RACE,
            message=f"run with its programs in another order, {differs.message}",
            diagnosis=order_matters(asked),
        )
    elif differs is not None and _differ(answer, reversed_answer) and not _all_poison(answer):
        yield replace(
            differs,
            outcome=Outcome.RACE,
            message="the result depends on the order in which programs run",
            diagnosis=order_matters(asked),
        )


def _is_of_unwritten(fault: CaseResult) -> bool:
    return fault.diagnosis is not None and fault.diagnosis.id == "uninitialised"


def _differ(answer: Answer, other: Answer) -> bool:
    import torch

    if answer["status"] != "returned" or other["status"] != "returned":
        return False
    for first, second in zip(answer["outputs"], other["outputs"], strict=False):
        if first.shape != second.shape or first.dtype != second.dtype:
            return True
        if not torch.allclose(first.double(), second.double(), rtol=2.0**-6, atol=1e-6, equal_nan=True):
            return True
    return False


def _all_poison(answer: Answer) -> bool:
    return all(bool(output.isnan().all()) for output in answer["outputs"] if output.dtype.is_floating_point)


def _work(asked: Asked, answer: Answer) -> tuple[Work | None, tuple[Budget, ...]]:
    if asked.case.tier is not Tier.WORK or answer["status"] != "returned":
        return None, ()
    return counted_work(asked, answer), budgets_of(asked)
