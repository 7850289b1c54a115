"""The vocabulary that files in `graders/` are written in. Importing it costs no torch.

A grader file defines one subclass of `Grader` and an instance of it named `GRADER`. It runs on the trusted side only;
the learner's process never sees it.
"""

from __future__ import annotations

import functools
import math
import random
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from gpuprep.allowed_ops import ARITHMETIC, COLLECTIVES, HOST_OPS, MESSAGES
from gpuprep.model import Budget, Case, Scalar, Tier

if TYPE_CHECKING:
    import torch

__all__ = [
    "ARITHMETIC",
    "COLLECTIVES",
    "EDGE_SIZES",
    "HOST_OPS",
    "ITEMSIZE",
    "MESSAGES",
    "UNIT_ROUNDOFF",
    "Baseline",
    "Budget",
    "Case",
    "Draw",
    "ErrorModel",
    "Expected",
    "Grader",
    "GroupGrader",
    "Scalar",
    "Tier",
    "Traffic",
    "cases_along",
    "compiled",
    "scaled_down",
]

EDGE_SIZES = (1, 3, 31, 32, 33, 1023, 1024, 1025)
"""Around a warp, around the commonest block, and the sizes that a mask forgets."""

ITEMSIZE = {"float64": 8, "float32": 4, "float16": 2, "bfloat16": 2, "int64": 8, "int32": 4, "int8": 1, "uint8": 1}
"""Bytes an element, by dtype name."""

UNIT_ROUNDOFF = {"float64": 2.0**-53, "float32": 2.0**-24, "float16": 2.0**-11, "bfloat16": 2.0**-8}
"""Largest relative error of one rounding to nearest, by dtype name."""

SWEEP_FACTORS, SWEEP_MULTIPLE = (4, 16, 64), 64
"""How far a sweep scales a size down, and which alignment of the full size it keeps: tiles and vectors rely on it."""

GUARD_ELEMENTS = 256
"""Poisoned elements before and after every tensor that a grader makes; keeps the 16-byte alignment kernels expect."""


@dataclass(frozen=True)
class ErrorModel:
    """How far an honest result may lie from the float64 oracle.

    allowed = u(dtype)·|value| + roundings·u(accumulate)·scale + floor(dtype)

    `scale` comes with `Expected`: Σ|terms| of a reduction, |value| elsewhere. Dividing by Σ|terms| keeps honest sums
    that cancel from being rejected.
    """

    roundings: float
    """Effective roundings in the accumulation dtype between the inputs and one output element."""
    accumulate: str = "float32"


@dataclass(frozen=True)
class Expected:
    """What one output must be.

    Args:
        value: the oracle's answer, float64 (integers where the task is exact), logical shape of the output.
        dtype: name of the dtype that must come back.
        scale: Σ|terms| of each element, same shape; None means |value|.
        strides: required strides in elements, or None where any will do.
        means: why a wrong value is wrong here, where the case says that; else it is told from the pattern of errors.
    """

    value: torch.Tensor
    dtype: str
    scale: torch.Tensor | None = None
    strides: tuple[int, ...] | None = None
    means: str = ""


@dataclass(frozen=True)
class Traffic:
    """The least that one call must move and compute: `bytes` through device memory, `flops` on `dtype` operands."""

    bytes: int
    flops: int = 0
    dtype: str = "float32"


@dataclass(frozen=True)
class Baseline:
    """What a learner would use instead, timed beside the learner's own.

    Args:
        key: the targets that it decides: `sdpa` of `times_sdpa`. Where several share a key, the fastest counts.
        title: what people call it: `cuDNN attention`.
        prepare: takes the arguments of one call and gives back a function of none, which is what is timed. What need
            not be done for each call (converting weights, compiling) is done before it returns. A RuntimeError or
            NotImplementedError says that it can't run on this card.
    """

    key: str
    title: str
    prepare: Callable[..., Callable[[], Any]]


def compiled(function: Callable[..., Any], title: str = "torch.compile") -> Baseline:
    """What torch.compile makes of a function of one call's arguments; compiling is not timed."""

    def prepare(*args: Any) -> Callable[[], Any]:
        import torch

        run = torch.compile(function, dynamic=False)
        run(*args)
        return functools.partial(run, *args)

    return Baseline("compiled", title, prepare)


def cases_along(axis: str, sizes: Iterable[int], **fixed: Scalar) -> list[Case]:
    """A correctness case for each size of one axis, all else fixed: `cases_along("n", EDGE_SIZES, dtype="float32")`."""
    return [Case({axis: size, **{key: value for key, value in fixed.items() if key != axis}}) for size in sizes]


def scaled_down(case: Case) -> tuple[Case, ...]:
    """The case with its first axis 4, 16 and 64 times as short, and as well aligned as before (SWEEP_MULTIPLE)."""
    axis = next((key for key, value in case.params.items() if type(value) is int and value > 1), None)
    if axis is None:
        return ()
    size = int(case[axis])
    multiple = min(size & -size, SWEEP_MULTIPLE)
    smaller = (size // factor // multiple * multiple for factor in SWEEP_FACTORS)
    return tuple(Case({**case.params, axis: found}, case.tier, case.devices) for found in smaller if found)


class Draw:
    """Makes input tensors from the check's secret seed, each between two guard bands of poison.

    Args:
        seed: any int; the same seed gives the same tensors on the same device type.
        device: where the tensors are made, `cpu` or `cuda`.
    """

    def __init__(self, seed: int, device: str = "cpu") -> None:
        import torch

        self.device = device
        self._generator = torch.Generator(device=device).manual_seed(seed)

    def like(self, case: Case, *shape: int) -> torch.Tensor:
        """A tensor with the case's dtype, distribution and layout."""
        return self.tensor(
            *shape,
            dtype=case.get("dtype", "float32"),
            distribution=case.get("distribution", "normal"),
            layout=case.get("layout", "contiguous"),
        )

    def tensor(
        self, *shape: int, dtype: str = "float32", distribution: str = "normal", layout: str = "contiguous"
    ) -> torch.Tensor:
        """A tensor of random values.

        Args:
            shape: logical shape.
            dtype: a key of UNIT_ROUNDOFF.
            distribution: `normal`; `offset` (mean 100, so that cancellation hurts); `wide` (magnitudes over many
                powers of two); `heavy` (Student's t with 2 degrees of freedom).
            layout: `contiguous`; `offset` (starts one element into its storage); `strided` (every second element of
                the last axis); `padded` (rows longer than the logical row); `transposed` (last two axes swapped).

        Raises:
            ValueError: an unknown distribution or layout.
        """
        import torch

        values = self._values(shape, distribution, dtype).to(getattr(torch, dtype))
        return self.place(values, layout)

    def place(self, values: torch.Tensor, layout: str = "contiguous") -> torch.Tensor:
        """The same values in a guarded storage of their own, laid out as asked (see `tensor`)."""
        import torch

        shape = tuple(values.shape)
        padded = list(shape)
        offset = 1 if layout == "offset" else 0
        if layout == "strided":
            padded[-1] *= 2
        elif layout == "padded":
            padded[-1] += 3
        elif layout == "transposed":
            padded[-1], padded[-2] = padded[-2], padded[-1]
        elif layout not in ("contiguous", "offset"):
            raise ValueError(f"unknown layout {layout!r}")
        n_elements = 1
        for size in padded:
            n_elements *= size
        storage = torch.empty(n_elements + offset + 2 * GUARD_ELEMENTS, dtype=values.dtype, device=values.device)
        storage.fill_(float("nan") if values.dtype.is_floating_point else torch.iinfo(values.dtype).max)
        view = storage[GUARD_ELEMENTS + offset : GUARD_ELEMENTS + offset + n_elements].view(padded)
        if layout == "strided":
            view = view[..., ::2]
        elif layout == "padded":
            view = view[..., : shape[-1]]
        elif layout == "transposed":
            view = view.transpose(-1, -2)
        view.copy_(values)
        return view

    def integers(self, low: int, high: int, *shape: int, dtype: str = "int32") -> torch.Tensor:
        """Uniform integers in [low, high), guarded."""
        import torch

        values = torch.randint(low, high, shape, generator=self._generator, device=self.device)
        return self.place(values.to(getattr(torch, dtype)))

    def permutation(self, n: int) -> torch.Tensor:
        """A random order of n things, int64 [n]."""
        import torch

        return torch.randperm(n, generator=self._generator, device=self.device)

    def _values(self, shape: tuple[int, ...], distribution: str, dtype: str) -> torch.Tensor:
        import torch

        normal = torch.randn(shape, generator=self._generator, device=self.device)
        if distribution == "normal":
            return normal
        if distribution == "offset":
            return normal + 100.0
        if distribution == "wide":
            octaves = torch.randn(shape, generator=self._generator, device=self.device).clamp(-2, 2)
            return normal * torch.exp2((5.0 if dtype == "float16" else 12.0) * octaves)
        if distribution == "heavy":
            chi = torch.randn((2, *shape), generator=self._generator, device=self.device).square().mean(0)
            return (normal / chi.sqrt().clamp_min(1e-2)).clamp(-200, 200)
        raise ValueError(f"unknown distribution {distribution!r}")


class Grader(ABC):
    """One exercise's cases, oracle and budgets. Subclass it, and bind an instance to `GRADER`."""

    function: ClassVar[str]
    """The name that the learner's file must define."""
    parameters: ClassVar[tuple[str, ...]]
    """Its positional parameters, in order."""
    allowed_ops: ClassVar[frozenset[str]] = HOST_OPS
    """Torch operations that the learner's host code may use on whole tensors; anything else is a banned call."""
    baseline: ClassVar[str] = ""
    """What `honest` is called when it is timed beside the learner's: `torch.softmax`."""
    tuning_limit_s: ClassVar[float] = math.inf
    """How long the first calls of a timed case may take, with all compiling and autotuning, from an empty cache."""

    @abstractmethod
    def cases(self, rng: random.Random) -> Sequence[Case]:
        """Every case of a check, quick ones first. `rng` carries the secret seed: jitter one size with it.

        Work cases (`tier=Tier.WORK`) have aligned shapes, run on the CPU, and are held against `budgets`; speed cases
        (`tier=Tier.SPEED`) have `devices=("cuda",)`, and the first one that fits the card's free memory is timed, so
        put the largest first. Where an exercise has several operations, the parameter `op` says which one a case calls;
        then one case of each is timed, against the targets that `curriculum.yaml` has for that operation. Together the
        cases that run on a CPU should launch at most some 200 programs of a usual solution.
        """

    @abstractmethod
    def inputs(self, case: Case, draw: Draw) -> tuple[Any, ...]:
        """The positional arguments of one call: tensors from `draw`, or plain scalars."""

    @abstractmethod
    def oracle(self, case: Case, *args: Any) -> tuple[Expected, ...]:
        """What must come back, computed in float64: one Expected an output."""

    @abstractmethod
    def honest(self, case: Case, *args: Any, order: torch.Tensor | None = None) -> tuple[torch.Tensor, ...]:
        """What torch itself computes in the case's dtypes; with `order`, its sums taken in that order.

        The author's check runs it in other orders (must pass) and on degraded inputs (must fail), and it is the
        baseline that a learner would use instead.
        """

    @abstractmethod
    def error_model(self, case: Case) -> ErrorModel:
        """How far an honest result may be off."""

    def argument_names(self, case: Case) -> tuple[str, ...]:  # noqa: ARG002  overridden where a driver takes others
        """What to call the values of `inputs` in messages: the function's parameters, where it is called directly."""
        return self.parameters

    def output_names(self, case: Case) -> tuple[str, ...]:  # noqa: ARG002  overridden where there are many
        """What to call the outputs in messages, where their numbers would say little."""
        return ()

    def own_part(self, case: Case, place: int) -> torch.Tensor | None:  # noqa: ARG002  as it is declared
        """What a rank's output would be if the others had sent nothing; None where there are none, or nobody knows."""
        return None

    def reduction_size(self, case: Case) -> int:  # noqa: ARG002  overridden where there are sums
        """Length of the axis that sums run over, which `honest` takes an order for; 0 where there is none."""
        return 0

    def budgets(self, case: Case) -> tuple[Budget, ...]:  # noqa: ARG002  overridden where work is counted
        """Bounds on the counted work of a work case."""
        return ()

    def quality(self, case: Case, args: Sequence[Any], outputs: Sequence[Any]) -> Mapping[str, float]:  # noqa: ARG002
        """Figures of a work case that passed, by name (see `exercise.QUALITIES`), held against the targets of its `op`.

        Args:
            case: a case with `tier=Tier.WORK`.
            args: the pristine arguments of the call.
            outputs: what came back, already judged right.
        """
        return {}

    def baselines(self, case: Case) -> Sequence[Baseline]:
        """What a learner would use instead of a speed case's solution, for targets and for `gpuprep bench`."""
        eager = Baseline("eager", self.baseline, lambda *args: functools.partial(self.honest, case, *args))
        return (eager,) if self.baseline else ()

    def allowed_in(self, case: Case) -> frozenset[str]:  # noqa: ARG002  overridden where operations differ
        """What host code may use in a case: `allowed_ops`, unless an operation has rules of its own."""
        return self.allowed_ops

    def uses_kernels(self, case: Case) -> bool:  # noqa: ARG002  overridden where some cases launch nothing
        """False where a case asks for what plain Python or torch works out: then there is nothing to witness."""
        return True

    def sweep(self, case: Case) -> Sequence[Case]:
        """Smaller cases of a speed case's operation, largest first, for `gpuprep bench --sweep`."""
        return scaled_down(case)

    def why_not(self, case: Case) -> str:  # noqa: ARG002  overridden where sizes depend on each other
        """Why a case of sizes that an instructor names makes no sense; empty where it does. See `grading.shapes`."""
        return ""

    def traffic(self, case: Case) -> Traffic:
        """The least that a speed case moves and computes.

        Raises:
            NotImplementedError: the exercise has a speed case but no figure for it.
        """
        raise NotImplementedError(f"{type(self).__name__} has a speed case but no traffic()")


class GroupGrader(Grader):
    """A grader of what several processes do together: a case runs on `case["world"]` ranks at once.

    `inputs` makes the whole's arguments, and `oracle` and `honest` say what must come back from all ranks: the outputs
    of rank 0, then as many of rank 1, and so on. The driver beside it makes the calls. A speed case runs with NCCL on a
    card for each rank; the driver makes its arguments there (`timed_args`), and computes `baseline` with them too, on
    ranks that hold nothing of the learner's.
    """

    baseline_key: ClassVar[str]
    """The targets that the driver's `baseline` decides."""

    @abstractmethod
    def shard(self, case: Case, args: Sequence[Any], rank: int) -> tuple[Any, ...]:
        """Of the whole's arguments, those of one rank's call."""

    def rank_budgets(self, case: Case, rank: int) -> tuple[Budget, ...]:  # noqa: ARG002  overridden where ranks differ
        """Bounds on the counted work of one rank."""
        return self.budgets(case)

    def baseline_ranks(self, case: Case) -> int:
        """How many ranks the baseline runs on."""
        return int(case["world"])

    def baselines(self, case: Case) -> Sequence[Baseline]:  # noqa: ARG002  overridden where there are several
        """The driver's, which runs in a group of its own."""

        def prepare(*_: Any) -> Callable[[], Any]:
            raise NotImplementedError("it runs on several ranks")

        return (Baseline(self.baseline_key, self.baseline, prepare),)

    def sweep(self, case: Case) -> Sequence[Case]:  # noqa: ARG002  as it is declared
        """None: the first axis is the number of ranks."""
        return ()

    def uses_kernels(self, case: Case) -> bool:  # noqa: ARG002  as it is declared
        """False: what ranks send each other is seen where torch sends it."""
        return False
