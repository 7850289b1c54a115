"""Whether what a learner's file defines can be called: what its import came to, and its function's signature."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from gpuprep.grader import Grader
from gpuprep.grading.answers import source_line
from gpuprep.grading.asking import StopGradingError
from gpuprep.grading.raising import said
from gpuprep.model import Outcome


def judge_import(path: Path, grader: Grader, answer: Mapping[str, Any]) -> None:
    """Make sense of what importing a learner's file came to.

    Raises:
        StopGradingError: there is no function to call, or not with these parameters.
    """
    if answer["status"] == "missing":
        defined = ", ".join(answer["defined"]) or "nothing"
        raise StopGradingError(
            Outcome.WRONG_SIGNATURE, f"no function {grader.function}() in the file; it defines {defined}"
        )
    if answer["status"] == "raised":
        where = source_line(path, answer["line"], answer["path"])
        message = said(answer)
        if answer["lacks_back_end"]:
            raise StopGradingError(Outcome.SKIPPED, message, where)
        if answer["needs_device"]:
            raise StopGradingError(Outcome.SKIPPED, f"the file needs a GPU to be imported ({message})", where)
        outcome = Outcome.COMPILE_FAILED if answer["is_syntax"] else Outcome.RAISED
        raise StopGradingError(outcome, f"{message} (while importing the file)", where)
    if problem := signature_problem(grader, answer["parameters"]):
        raise StopGradingError(Outcome.WRONG_SIGNATURE, problem)


def signature_problem(grader: Grader, parameters: Sequence[dict[str, Any]] | None) -> str:
    """What is wrong with a function's parameters; empty where nothing is.

    Args:
        grader: says how the function is called.
        parameters: name, kind and whether it is required, of each; None where they can't be read.
    """
    wanted = f"{grader.function}({', '.join(grader.parameters)})"
    if parameters is None:
        return f"{grader.function} has no readable signature; it must be {wanted}"
    positional = [p for p in parameters if p["kind"] in ("POSITIONAL_ONLY", "POSITIONAL_OR_KEYWORD")]
    takes_any = any(p["kind"] == "VAR_POSITIONAL" for p in parameters)
    least = sum(p["required"] for p in positional)
    most = len(grader.parameters) if takes_any else len(positional)
    needs_keyword = any(p["kind"] == "KEYWORD_ONLY" and p["required"] for p in parameters)
    if least <= len(grader.parameters) <= most and not needs_keyword:
        return ""
    found = ", ".join(p["name"] for p in parameters)
    return f"the signature must be {wanted}, it is {grader.function}({found})"
