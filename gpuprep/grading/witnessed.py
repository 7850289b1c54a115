"""Witnessed work: what the counting worker saw when it did again, from kernels' source alone, what a file had done.

The learner's worker runs the file and writes a recipe: allocations, launches with their kernels' source, where the
outputs are. The counting worker (device `witness`), in which no host code of a learner ever runs, follows the recipe on
inputs that were drawn afterwards. Its outputs are judged like any others, its counts are the counts, and what it can't
follow is skipped by name.

Nothing that host code knew of its own inputs is worth anything there: a result that it computed and handed over, in a
scalar or a tensor or an argument's bits, is the result for other inputs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from gpuprep.grader import HOST_OPS
from gpuprep.grading.answers import Answer, Asked, result_of
from gpuprep.grading.work import budget_fault, packet
from gpuprep.model import CaseResult, Diagnosis, Outcome

SEED_STEP = 1_000_003
"""Added to a check's seed for the inputs that the learner's worker never sees; timed rounds use smaller steps."""

Ask = Callable[[dict[str, Any]], Answer]
"""Sends a request to the counting worker and waits for its answer."""
Call = Callable[..., Answer]
"""Has the learner's worker call the function with these arguments; options are those of a request to it."""

_FOLLOWED = HOST_OPS - {"aten._local_scalar_dense", "aten.item"}
"""Host operations that a recipe can hold, or that do nothing which it would have to."""


def unseen(args: Sequence[Any], drawn: Sequence[Any]) -> tuple[Any, ...] | None:
    """The arguments of a call with newly drawn tensors in place of those that the learner's worker has seen.

    Args:
        args: the call's own arguments. What is no tensor stays: launches may depend on it.
        drawn: the same case's arguments from another seed.

    Returns:
        None where the two don't match: then a recipe for one says nothing about the other.
    """
    if len(args) != len(drawn):
        return None
    pairs = [_exchanged(old, new) for old, new in zip(args, drawn, strict=True)]
    return None if any(pair is None for pair in pairs) else tuple(pair[0] for pair in pairs if pair)


def _exchanged(old: Any, new: Any) -> tuple[Any] | None:
    import torch

    if isinstance(old, list | tuple) and isinstance(new, list | tuple):
        items = unseen(old, new)
        return None if items is None else (type(old)(items),)
    if isinstance(old, torch.Tensor) != isinstance(new, torch.Tensor):
        return None
    if not isinstance(old, torch.Tensor):
        return (old,)
    return (new,) if _layout(old) == _layout(new) else None


def _layout(tensor: Any) -> tuple[Any, ...]:
    size = tensor.untyped_storage().nbytes()
    return tensor.dtype, tuple(tensor.shape), tensor.stride(), tensor.storage_offset(), size


def witnessed_result(asked: Asked, told: Answer, drawn: Sequence[Any], ask: Ask, call: Call) -> CaseResult:
    """Judge a case that the learner's worker passed by what the counting worker sees.

    Args:
        asked: the case as the learner's worker was asked it.
        told: its answer, with its recipe.
        drawn: the same case's arguments from another seed.
        ask: sends a request to the counting worker.
        call: has the learner's worker called again, when all that the counting worker could say is said.

    Returns:
        A pass or failure of its own, or SKIPPED where the counting worker could not follow.

    Raises:
        ValueError: the recipe is none.
    """
    args = unseen(asked.args, drawn)
    if args is None:
        return _skipped(asked, "its inputs have another layout each time they are drawn")
    if why_not := told["recipe"]["why_not"]:
        return _skipped(asked, str(why_not))
    asked = replace(asked, args=args)
    request = {"do": "replay", "recipe": told["recipe"], "args": args}
    seen = ask({**request, "reverse": False})
    if seen["status"] in _BEYOND:
        return _beyond(asked, seen)

    def again(**options: Any) -> Answer:
        other = ask({**request, "reverse": False, **options})
        if other["status"] in _BEYOND and "garbage" not in options:
            raise _BeyondRecipesError(other)
        # What garbage alone leads beyond is not held against a file.
        return seen if other["status"] in _BEYOND and "reverse" not in options else other

    try:
        result = result_of(asked, seen, again)
    except _BeyondRecipesError as beyond:
        return _beyond(asked, beyond.answer)
    if result.outcome is Outcome.WRONG_VALUES:
        # Wrong by the file's own doing, if it is wrong there too: a mistake that shows for some values only.
        own = result_of(asked, call(args), partial(call, args))
        return _elsewhere(asked, told, result) if own.outcome.is_pass else own
    return budget_fault(asked, seen, result) or _unaccounted(asked, seen, result) or result


def beyond_recipes(host_ops: Sequence[Mapping[str, Any]]) -> str:
    """The first host operation that a recipe has no words for; empty where there is none."""
    return next((str(op["name"]) for op in host_ops if packet(op) not in _FOLLOWED), "")


def _skipped(asked: Asked, message: str) -> CaseResult:
    return asked.failed(Outcome.SKIPPED, f"its work can't be witnessed: {message}")


def _banned(asked: Asked, message: str, **more: Any) -> CaseResult:
    diagnosis = Diagnosis("banned", "The right values came from outside the kernel.")
    return asked.failed(Outcome.BANNED_CALL, message, diagnosis=diagnosis, **more)


def _broken(_asked: Asked, message: str) -> CaseResult:
    raise ValueError(f"a broken recipe: {message}")


_BEYOND: Mapping[str, Callable[[Asked, str], CaseResult]] = {
    "unfollowed": _skipped,
    "raised": lambda asked, message: _skipped(asked, f"from its source alone, a kernel raised {message}"),
    "forbidden": _banned,
    "broken": _broken,
}
"""What is made of a recipe that leads to no outputs."""


def _beyond(asked: Asked, answer: Answer) -> CaseResult:
    return _BEYOND[answer["status"]](asked, str(answer["message"]))


class _BeyondRecipesError(Exception):
    """The other order of programs leads to no outputs."""

    def __init__(self, answer: Answer) -> None:
        super().__init__(answer["message"])
        self.answer = answer


def _elsewhere(asked: Asked, told: Answer, result: CaseResult) -> CaseResult:
    """Right values for the same inputs where the file ran, wrong ones from launches that it made for others."""
    if op := beyond_recipes(told["host_ops"]):
        # Claimed by the learner's worker; but a skip is no pass, so a false claim gains nothing.
        return _skipped(asked, f"host code uses {op}, which can't be done again on other inputs")
    return _banned(
        asked,
        "the launches alone, done again on inputs that host code had not seen, give wrong values: something else "
        f"computed the result ({result.message})",
        work=result.work,
        budgets=result.budgets,
    )


def _unaccounted(asked: Asked, seen: Answer, result: CaseResult) -> CaseResult | None:
    """Outputs that neither a kernel nor a constant wrote last: copies of inputs, tables that host code made."""
    if not result.outcome.is_pass:
        return None
    for output, stored in zip(seen["outputs"], seen["stored"], strict=True):
        if output.numel() != stored:
            message = (
                f"kernels stored {stored} of the output's {output.numel()} elements: something else wrote the rest"
            )
            return _banned(asked, message, work=result.work, budgets=result.budgets)
    return None
