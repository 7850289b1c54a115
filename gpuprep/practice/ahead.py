"""A check that is asked for while its command is still being imported.

With a pool that runs, most of a quick check's time is the command's own imports; the pool can grade meanwhile.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence

from gpuprep.errors import GpuprepError

_CHANGES_NOTHING = "--json"


def call_ahead(words: Sequence[str]) -> None:
    """Have a pool that runs get ready for a check, and start the one that is meant where that is plain.

    A guess, which the command itself confirms or drops: nothing is shown or recorded here.

    Args:
        words: what follows `gpuprep check`.
    """
    from gpuprep.grading import pool_line

    if "--require" in words or not pool_line.call_ahead():
        return
    queries = [word for word in words if word != _CHANGES_NOTHING]
    if any(query.startswith("-") for query in queries):
        return
    from gpuprep.practice.checking import Options, ask_ahead
    from gpuprep.practice.desk import open_desk

    # The command will find the same error, and say so.
    with contextlib.suppress(GpuprepError):
        desk = open_desk()
        ask_ahead(desk.workspace, desk.curriculum, desk.exercises(queries), Options())
