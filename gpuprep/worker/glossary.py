"""Puts kernels and plain values into words that mean the same in another process."""

from __future__ import annotations

import ast
import functools
import inspect
import textwrap
from collections.abc import Callable
from types import ModuleType
from typing import Any

import triton.language as tl
from triton.runtime.interpreter import InterpretedFunction
from triton.runtime.jit import JITFunction

_MODULES = ("triton", "triton.language", "triton.language.math", "math")
"""Modules that a kernel may name; the counting worker knows the same ones."""
JIT_OPTIONS = ("do_not_specialize", "do_not_specialize_on_alignment", "noinline")
"""What `triton.jit` is told of a function that changes what it is compiled to."""


class UnwritableError(Exception):
    """Something that a recipe has no words for."""


class Glossary:
    """Every function that has been named so far, with its text and what the names in it mean."""

    def __init__(self) -> None:
        self.functions: list[dict[str, Any]] = []
        self._places: dict[int, int] = {}
        # Kept alive, so that no later function takes the identity of one that is gone.
        self._kept: list[Any] = []

    def value(self, value: Any) -> Any:
        """A number, a string, a dtype, a function, a module of Triton's, or a tuple of such.

        Raises:
            UnwritableError: it is something else.
        """
        if value is None or type(value) in (bool, int, float, str):
            return value
        if type(value) is tl.dtype:
            return {"dtype": value.name}
        if isinstance(value, tl.constexpr):
            return {"constexpr": self.value(value.value)}
        if type(value) is tuple:
            return {"tuple": [self.value(item) for item in value]}
        if isinstance(value, InterpretedFunction | JITFunction):
            return {"function": self.function(value)}
        if isinstance(value, ModuleType):
            if value.__name__ in _MODULES:
                return {"module": value.__name__}
            raise UnwritableError(f"module {value.__name__}")
        raise UnwritableError(f"a {type(value).__name__}")

    def function(self, kernel: Any) -> int:
        """The place of a jit function among `functions`; its text is looked up when it is first named.

        Raises:
            UnwritableError: it has no source text.
        """
        place = self._places.get(id(kernel))
        if place is not None:
            return place
        source, line, names = _source(kernel.fn)
        meanings: dict[str, Any] = {}
        place = self._places[id(kernel)] = len(self.functions)
        self._kept.append(kernel)
        path = inspect.getsourcefile(kernel.fn) or ""
        name = kernel.fn.__name__
        function = {"name": name, "source": source, "line": line, "path": path, "globals": meanings}
        if isinstance(kernel, JITFunction):
            function["options"] = {option: _plain(getattr(kernel, option, None)) for option in JIT_OPTIONS}
        self.functions.append(function)
        # Afterwards: functions may name each other, and themselves.
        for name in sorted(names & kernel.fn.__globals__.keys()):
            try:
                meanings[name] = self.value(kernel.fn.__globals__[name])
            except UnwritableError as error:
                meanings[name] = {"other": str(error)}
        return place


def _plain(option: Any) -> Any:
    """An option as JSON has it: a collection of names and places is a list."""
    return list(option) if isinstance(option, list | tuple | set | frozenset) else option


@functools.cache
def _source(function: Callable[..., Any]) -> tuple[str, int, set[str]]:
    """Text, first line, and the names that aren't the function's own."""
    try:
        lines, first = inspect.getsourcelines(function)
        source = textwrap.dedent("".join(lines))
        (definition,) = ast.parse(source).body
    except (OSError, TypeError, SyntaxError, ValueError) as error:
        raise UnwritableError(f"kernel {function.__name__} has no source text ({error})") from error
    if not isinstance(definition, ast.FunctionDef):
        raise UnwritableError(f"kernel {function.__name__} has the source text of something else")
    definition.decorator_list = []
    names = [node for node in ast.walk(definition) if isinstance(node, ast.Name)]
    own = {node.id for node in names if isinstance(node.ctx, ast.Store)}
    own |= {node.arg for node in ast.walk(definition) if isinstance(node, ast.arg)}
    return source, first, {node.id for node in names} - own
