"""What it comes to when a learner's function raises, and what it usually means."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from gpuprep.model import CaseResult, Diagnosis, Outcome

if TYPE_CHECKING:
    from gpuprep.grading.answers import Asked

Answer = Mapping[str, Any]

_NAMES_A_GPU = re.compile(r"""['"]cuda|\.cuda\(""")
_CAUSES = (
    (
        re.compile(r"^TypeError: object of type 'int' has no len"),
        (
            "If this line launches a kernel: a grid is a tuple, of one number too, and that takes a comma. "
            "kernel[(triton.cdiv(n, 1024),)](…)"
        ),
    ),
    (
        re.compile(r"^BdbQuit"),
        (
            "Nobody can type to a debugger during a check. `gpuprep repro` writes a script with the failing inputs "
            "that opens one."
        ),
    ),
    (
        re.compile(r"^OverflowError: overflow to signed inf|^RuntimeWarning: overflow"),
        "A number became too large for its dtype: float16 ends at 65504. Add up in float32, and convert at the end.",
    ),
)
"""Of messages that say little, by pattern: what is mostly behind them."""


def raised(asked: Asked, answer: Answer) -> CaseResult:
    """What a call that raised comes to."""
    where = asked.line(answer["line"], answer["path"])
    what = said(answer)
    if answer["is_not_implemented"]:
        return asked.failed(Outcome.NOT_STARTED, _still_open(answer), where=where)
    if answer["lacks_back_end"]:
        return asked.failed(Outcome.SKIPPED, what, where=where)
    if answer["needs_device"] and where is not None and _NAMES_A_GPU.search(where.text):
        return asked.failed(
            Outcome.SKIPPED,
            f"line {where.line} asks for a GPU by name, and there is none here: device=x.device is right on any "
            f"machine ({what})",
            where=where,
        )
    if answer["needs_device"]:
        return asked.failed(
            Outcome.SKIPPED, f"needs a GPU, which the interpreter can't stand in for ({what})", where=where
        )
    if answer["is_syntax"]:
        return asked.failed(Outcome.COMPILE_FAILED, what, where=where)
    causes = (text for is_meant, text in _CAUSES if is_meant.search(f"{answer['type']}: {answer['message']}"))
    cause = next(causes, "")
    return asked.failed(Outcome.RAISED, what, where=where, diagnosis=Diagnosis("raised", cause) if cause else None)


def _still_open(answer: Answer) -> str:
    return ": ".join(filter(None, ("a TODO is still open", str(answer["message"]))))


def said(answer: Answer) -> str:
    """What was raised, in words."""
    # These say where they come from by themselves.
    is_ours = answer["type"] in ("CudaCompileError", "BackEndMissingError")
    return str(answer["message"]) if is_ours else f"{answer['type']}: {answer['message']}"
