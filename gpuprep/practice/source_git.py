"""A curriculum out of a git repository: one commit, by way of the `git` command."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

from gpuprep.errors import CurriculumError

PROTOCOLS = "file:git:http:https:ssh"
"""git also knows transports that run a command of the address's choice."""
TIMEOUT_S = 600.0

# Set by git for what it runs itself, such as hooks: they would turn our commands towards another repository.
_FOREIGN = ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_OBJECT_DIRECTORY", "GIT_COMMON_DIR", "GIT_NAMESPACE")


def fetch(url: str, ref: str, folder: Path) -> str:
    """Put one commit of a repository into a folder: its files, without history and without `.git`.

    Args:
        url: the repository's address.
        ref: a branch, a tag or a whole commit; empty for the default branch.
        folder: an empty folder.

    Returns:
        The commit.

    Raises:
        CurriculumError: git isn't installed, or can't get it.
    """
    if shutil.which("git") is None:
        raise CurriculumError(f"{url}: needs the git command", next_step="install git, or give a folder or a wheel")
    _git(folder, "init", "--quiet")
    # Unlike `clone`, this takes a commit as well as a branch, and is shallow for repositories on this machine too.
    _git(folder, "fetch", "--quiet", "--depth=1", "--no-tags", "--", url, ref or "HEAD", about=url)
    _git(folder, "checkout", "--quiet", "--detach", "FETCH_HEAD", about=url)
    commit = _git(folder, "rev-parse", "HEAD").strip()
    shutil.rmtree(folder / ".git")
    return commit


def _git(folder: Path, *arguments: str, about: str = "") -> str:
    # Without hooks and filters of the user's own: what is taken must not depend on whose machine it is.
    command = ["git", "-c", "core.hooksPath=/dev/null", "-c", "core.autocrlf=false", "-C", str(folder), *arguments]
    try:
        ran = subprocess.run(
            command, env=_environment(os.environ), capture_output=True, text=True, timeout=TIMEOUT_S, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise CurriculumError(f"{about}: git was not done after {TIMEOUT_S:.0f} s") from error
    if ran.returncode:
        said = [line for line in ran.stderr.splitlines() if line.strip()] or [f"exit code {ran.returncode}"]
        told = next((line for line in said if line.startswith(("fatal:", "error:"))), said[-1])
        raise CurriculumError(
            f"{about}: git {arguments[0]} failed: {told.split(':', 1)[-1].strip()}",
            next_step=f"git ls-remote {about}",
        )
    return ran.stdout


def _environment(outer: Mapping[str, str]) -> dict[str, str]:
    kept = {key: value for key, value in outer.items() if key not in _FOREIGN}
    # A question for a password would be asked in the middle of a script, or of a status line, and wait for ever.
    return {**kept, "GIT_TERMINAL_PROMPT": "0", "GIT_ALLOW_PROTOCOL": PROTOCOLS, "LC_ALL": "C"}
