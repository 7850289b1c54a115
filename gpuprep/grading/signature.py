"""Holds the signature of a learner's function against the task's."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from gpuprep.grader import Grader


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
