"""Where a workspace's curriculum was taken from, and what exactly was taken: the record that `init` keeps."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

_PASSWORD = re.compile(r"(?<=://)[^/@]*:[^/@]*@")
_SHOWN_DIGITS = 12
"""Of a commit or a hash: enough to tell two apart, and to look one up."""


class SourceKind(StrEnum):
    """What kinds of places a curriculum can be taken from."""

    FOLDER = "folder"
    GIT = "git"
    WHEEL = "wheel"


@dataclass(frozen=True)
class Source:
    """A place, and the state of it that was taken."""

    kind: SourceKind
    location: str
    """The folder's or the wheel's path, or the repository's address."""
    revision: str
    """The commit; of a folder and of a wheel, the sha256 of what is in it."""
    ref: str = ""
    """The branch, tag or commit of a repository that was asked for; empty for its default branch."""
    folder: str = ""
    """Where in the repository the curriculum lies; empty at its top."""

    @property
    def is_copied(self) -> bool:
        """True where the curriculum is a copy in the cache, False where it is used in its place."""
        return self.kind is not SourceKind.FOLDER

    @property
    def shown(self) -> str:
        """For a person: the place, without a password, and the revision."""
        place = _PASSWORD.sub("", self.location)
        part = f"#{self.ref}" + (f":{self.folder}" if self.folder else "") if self.ref or self.folder else ""
        word = "commit" if self.kind is SourceKind.GIT else "sha256"
        return f"{place}{part}, {word} {self.revision[:_SHOWN_DIGITS]}"

    def as_dict(self) -> dict[str, str]:
        """As `workspace.json` has it."""
        return {key: str(value) for key, value in asdict(self).items()}

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> Source:
        """What `as_dict` made.

        Raises:
            TypeError, ValueError: it is something else.
        """
        if not all(isinstance(value, str) for value in content.values()):
            raise TypeError("a value has the wrong type")
        return cls(**{**content, "kind": SourceKind(content["kind"])})
