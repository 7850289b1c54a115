"""Opens an exercise in the learner's editor."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from gpuprep.errors import UsageError

VARIABLES = ("VISUAL", "EDITOR")
FALLBACKS = ("sensible-editor", "editor", "nano", "vim", "vi", "emacs")
"""Tried in this order where neither variable is set."""


def editor_command(environment: Mapping[str, str] = os.environ) -> list[str]:
    """The editor and its own arguments: $VISUAL, else $EDITOR, else the first editor that is installed.

    Raises:
        UsageError: there is none, or the one that is named is not installed.
    """
    import shlex
    import shutil

    for variable in VARIABLES:
        named = environment.get(variable, "").strip()
        if not named:
            continue
        try:
            command = shlex.split(named)
        except ValueError as error:
            raise UsageError(f"${variable} is {named!r}: {error}", next_step=f"export {variable}=nano") from error
        if shutil.which(command[0], path=environment.get("PATH")) is None:
            raise UsageError(f"${variable} is {named!r}, which is not installed", next_step=f"export {variable}=nano")
        return command
    for name in FALLBACKS:
        if shutil.which(name, path=environment.get("PATH")):
            return [name]
    raise UsageError(
        "no editor found: neither $VISUAL nor $EDITOR is set", next_step="export EDITOR=nano (or the editor you like)"
    )


def open_files(paths: Sequence[Path]) -> None:
    """Open the files and wait until the editor is closed.

    Raises:
        UsageError: there is no editor, or it fails.
    """
    import subprocess

    command = [*editor_command(), *map(str, paths)]
    try:
        code = subprocess.run(command, check=False).returncode
    except OSError as error:
        raise UsageError(f"{command[0]} can't be started: {error.strerror}", next_step="export EDITOR=nano") from error
    if code:
        raise UsageError(f"{command[0]} ended with exit code {code}", next_step=f"open {paths[0]} in another editor")
