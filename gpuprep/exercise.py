"""What `curriculum.yaml` says of an exercise: frozen, standard library only."""

from __future__ import annotations

from dataclasses import dataclass

SHARES = ("share_of_copy", "share_of_matmul")
"""Of ceilings that are measured on this card."""
MOST_OF_A_CEILING = 1.05
"""More than this of what the card itself was seen to do is impossible."""
TIMES = (
    "times_eager",
    "times_compiled",
    "times_f16",
    "times_sdpa",
    "times_unsplit",
    "times_unfused",
    "times_all_reduce",
    "times_one_gpu",
)
"""Of what a learner would use instead: its time divided by the learner's. The rest of the name is a baseline's key."""
QUALITIES = ("sqnr_db",)
"""Of what is computed, not how fast: graded everywhere. Decibels of signal over quantization noise."""
FIGURES = (*SHARES, *TIMES, *QUALITIES)


@dataclass(frozen=True)
class Hint:
    """One step of help. `diagnoses` names the diagnosis ids that this hint answers, if any."""

    text: str
    diagnoses: tuple[str, ...] = ()


@dataclass(frozen=True)
class Target:
    """A figure, one of FIGURES, and the values that pass and that are gold."""

    figure: str
    pass_at: float
    gold_at: float | None = None
    of: str = ""
    """The operation that it is a figure of (`Case.op`), where an exercise has several that are timed apart."""

    def __post_init__(self) -> None:
        if self.figure not in FIGURES:
            raise ValueError(f"unknown figure {self.figure!r}; one of {', '.join(FIGURES)}")
        if self.pass_at <= 0 or (self.gold_at is not None and self.gold_at < self.pass_at):
            raise ValueError(f"{self.figure}: need 0 < pass ≤ gold, have pass {self.pass_at}, gold {self.gold_at}")
        if self.figure in SHARES and max(self.pass_at, self.gold_at or 0.0) > MOST_OF_A_CEILING:
            raise ValueError(f"{self.figure}: a share is at most {MOST_OF_A_CEILING}, such as 0.8")


@dataclass(frozen=True)
class Exercise:
    """One entry of `curriculum.yaml`. Everything else about an exercise is derived from its id, name and module."""

    id: str
    """`ex_01`; never changes, never reused."""
    name: str
    """`vector_add`: the rest of the file name."""
    title: str
    module: str
    """`00_foundations`."""
    language: str
    """triton, cuda, pytorch, distributed or python."""
    summary: str
    """One line: what is implemented."""
    minutes: int
    hints: tuple[Hint, ...]
    targets: tuple[Target, ...] = ()
    needs: tuple[str, ...] = ()
    topics: tuple[str, ...] = ()

    @property
    def slug(self) -> str:
        """`ex_01_vector_add`."""
        return f"{self.id}_{self.name}"
