"""What Triton's interpreter replaces in its language for each launch, found once instead of each time.

For a launch, and for each call of a function inside one (`tl.sum` is such a function), the interpreter looks through
all of `triton.language` for what it has to replace: a millisecond, of which a small check has hundreds. What it finds
is the same each time as long as nobody else has changed the language meanwhile; that is looked at, name by name.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from gpuprep.counters.launches import Launch

_Change = tuple[Any, str, Any, Any]
"""An object, the name of an attribute, what it was and what it becomes."""


class Patches:
    """Stands in for the interpreter's own patching, inside launches that are counted.

    Args:
        original: the interpreter's own, from a function to a scope that restores.
        interpreter: its module.
        launch: the launch that is going on.
    """

    def __init__(self, original: Callable[[Any], Any], interpreter: Any, launch: Callable[[], Launch | None]) -> None:
        self._original = original
        self._new_scope = interpreter._LangPatchScope  # noqa: SLF001 - there is no public hook
        self._missing = interpreter._MISSING  # noqa: SLF001
        self._languages = (interpreter.tl, interpreter.tl.core)
        self._launch = launch
        self._known: dict[tuple[frozenset[Any], frozenset[Any]], list[_Change]] = {}
        """By what was replaced already, and what a function sees beside it."""

    def __call__(self, function: Any) -> Any:
        launch = self._launch()
        seen = frozenset(
            value for value in function.__globals__.values() if any(value is each for each in self._languages)
        )
        if launch is None or not seen:
            return self._original(function)
        if seen <= launch.patched:
            return self._new_scope()
        place = launch.patched, seen - launch.patched
        launch.patched |= seen
        if place in self._known and (scope := self._again(self._known[place])):
            return scope
        scope = self._original(function)
        first = {(id(owner), name): (owner, name, old) for owner, name, old in reversed(scope._changes)}  # noqa: SLF001
        self._known[place] = [(owner, name, old, getattr(owner, name)) for owner, name, old in first.values()]
        return scope

    def _again(self, changes: list[_Change]) -> Any:
        """A scope with these changes made; None where something is no more as it was when they were found."""
        scope = self._new_scope()
        for owner, name, old, new in changes:
            now = getattr(owner, name, self._missing)
            if now is old:
                scope.set_attr(owner, name, new)
            elif now is not new:
                scope.restore()
                return None
        return scope
