"""Cases of sizes that an instructor names: made of a grader's own, so that every grader can have them.

A shape says what is other than in a case that the grader has: `{n: 12345}`, `{M: 100, dtype: float16}`. Of the grader's
correctness cases the plainest one that fits gives the rest.
"""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Mapping, Sequence
from dataclasses import replace

from gpuprep.errors import GpuprepError
from gpuprep.grader import Draw, Grader, GroupGrader
from gpuprep.model import IS_HIDDEN, Case, Scalar, Tier
from gpuprep.yaml_nodes import suggestion

Shape = Mapping[str, Scalar]

FREE_FROM = 5
"""An axis that has at least so many sizes in a grader's own cases takes others, too; one with fewer is a choice."""
MOST_TIMES = 4
"""A size may be so many times a grader's largest, and a case so many times its largest: the interpreter is slow."""
TELLING = 3
"""In so many cases one axis must divide another for that to be a rule: heads and groups of heads, sizes and ranks."""


class ShapeError(GpuprepError):
    """A shape that a grader has no case for."""


def with_hidden(grader: Grader, cases: Sequence[Case], shapes: Sequence[Shape]) -> list[Case]:
    """A check's cases without those that are timed, and with those of shapes.

    Raises:
        ShapeError: one of the shapes makes no sense.
    """
    untimed = [case for case in cases if case.tier is not Tier.SPEED]
    return [*untimed, *(hidden_case(grader, shape) for shape in shapes)]


def hidden_case(grader: Grader, shape: Shape) -> Case:
    """The case of a shape.

    Args:
        grader: whose it will be.
        shape: what is other in it.

    Raises:
        ShapeError: there is no case with these axes, or such a size makes no sense.
    """
    # Always the same ones: what made sense once does so in every check.
    own = _own(grader.cases(random.Random(0)), shape)  # noqa: S311  sizes, no secrets
    fitting = [case for case in own if _fits(case, shape)]
    if not fitting:
        said = ", ".join(f"{key}={value}" for key, value in shape.items() if not _is_size(value))
        raise ShapeError(f"no case of its own has {said or 'all of these axes'}: take dtype and the like from one")
    problem: ShapeError | None = None
    # What the interpreter has time for is for all cards, too; what only a card can do comes second.
    for on_cpu in (True, False):
        near = [case for case in fitting if ("cpu" in case.devices) is on_cpu]
        if near:
            base = min(near, key=lambda case: len(case.params))
            sizes = {key: value for key, value in shape.items() if _is_size(value)}
            case = replace(base, params={**base.params, **sizes, IS_HIDDEN: True})
            try:
                _refuse_sizes(case, sizes, own, [case for case in own if ("cpu" in case.devices) is on_cpu])
            except ShapeError as error:
                problem = problem or error
            else:
                if why := grader.why_not(case):
                    raise ShapeError(why)
                return case
    assert problem is not None  # noqa: S101  something fits, and nothing was made of it
    raise problem


def refuse_senseless(grader: Grader, shape: Shape) -> None:
    """Make a shape's case once, to see that it can be made.

    Raises:
        ShapeError: it can't.
    """
    case = hidden_case(grader, shape)
    try:
        args = grader.inputs(case, Draw(0))
        if isinstance(grader, GroupGrader):
            for rank in range(case["world"]):
                grader.shard(case, args, rank)
        grader.oracle(case, *args)
    except Exception as error:
        raise ShapeError(f"its grader can't make {case.name} ({type(error).__name__}: {error})") from error


def _own(cases: Sequence[Case], shape: Shape) -> list[Case]:
    """The correctness cases of the operation that a shape is of."""
    judged = [case for case in cases if case.tier is Tier.CORRECT]
    ops = sorted({case.op for case in judged})
    if "op" in shape and shape["op"] not in ops:
        raise ShapeError(f"no operation {shape['op']!r}; {suggestion(str(shape['op']), ops)}")
    if "op" not in shape and len(ops) > 1:
        raise ShapeError(f"`op` says which operation: {', '.join(ops)}")
    own = [case for case in judged if case.op == shape.get("op", case.op)]
    known = {key: any(_is_size(case.get(key)) for case in own) for case in own for key in case.params}
    for key, value in shape.items():
        if key not in known:
            raise ShapeError(f"no axis {key!r}; {suggestion(key, sorted(known))}")
        if _is_size(value) and not known[key]:
            raise ShapeError(f"{key} is no size")
    if not any(_is_size(value) for value in shape.values()):
        axes = ", ".join(sorted(key for key, is_size in known.items() if is_size))
        raise ShapeError(f"name a size: {axes}" if axes else "its cases have no sizes")
    return own


def _is_size(value: object) -> bool:
    return type(value) is int


def _fits(case: Case, shape: Shape) -> bool:
    return all(_is_size(case.get(key)) if _is_size(value) else case.get(key) == value for key, value in shape.items())


def _refuse_sizes(case: Case, sizes: Shape, own: Sequence[Case], like: Sequence[Case]) -> None:
    """Hold sizes against those of the grader's own cases; `like` are those that run where this one will."""
    for key in sizes:
        size, known = int(case[key]), _sizes(own, key)
        if len(known) < FREE_FROM:
            if size not in known:
                raise ShapeError(f"{key} is one of {', '.join(map(str, sorted(known)))}, have {size}")
            continue
        least, most = min(known), MOST_TIMES * max(_sizes(like, key))
        if not least <= size <= most:
            raise ShapeError(f"{key} is from {least} to {most}, have {size}")
        if size % (step := math.gcd(*known) or 1):
            raise ShapeError(f"{key} is a multiple of {step}, have {size}")
    for whole, part in itertools.permutations([key for key, value in case.params.items() if _is_size(value)], 2):
        if _divides(own, part, whole) and int(case[whole]) % int(case[part]):
            raise ShapeError(f"{whole} is a multiple of {part}, have {case[whole]} and {case[part]}")
    most = MOST_TIMES * max(map(_volume, like))
    if _volume(case) > most:
        raise ShapeError(f"{case.name}: its axes come to {_volume(case):,}, of at most {most:,}")


def _sizes(cases: Sequence[Case], key: str) -> set[int]:
    return {int(case[key]) for case in cases if _is_size(case.get(key))}


def _divides(own: Sequence[Case], part: str, whole: str) -> bool:
    """True where it does in every case of the grader's own, and that is no chance."""
    pairs = {(int(case[part]), int(case[whole])) for case in own if {part, whole} <= set(case.params)}
    if any(part < 1 or whole % part for part, whole in pairs):
        return False
    return sum(part > 1 for part, _ in pairs) >= TELLING


def _volume(case: Case) -> int:
    return math.prod(max(1, value) for value in case.params.values() if type(value) is int)
