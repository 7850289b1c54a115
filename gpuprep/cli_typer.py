"""Typer without pydantic where a command doesn't need it.

Typer converts every value through pydantic, whose import takes longer than all the rest of a quick command. A value
that has its type already, as text, flags, defaults and one of several words do, needs no conversion.
"""

from __future__ import annotations

from typing import Any, Literal, get_args, get_origin

from typer.core import TyperCommand, TyperGroup


class _AsTyped:
    """Takes a value as it is where that will do, and leaves everything else to Typer."""

    def __init__(self, annotation: Any) -> None:
        self._annotation = annotation

    def coerce(self, value: Any, param: Any, ctx: Any) -> Any:
        is_many = param.multiple or param.nargs == -1
        if value is None:
            return () if is_many else None
        if self._annotation in (str, bool) and isinstance(value, self._annotation) and not is_many:
            return value
        if get_origin(self._annotation) is Literal and value in get_args(self._annotation):
            return value
        if self._annotation == list[str] and isinstance(value, list | tuple):
            return list(value)
        if value == param.default:
            return value
        param._runtime_param = None  # noqa: SLF001  makes Typer build its own
        return param.get_runtime_param().coerce(value, param=param, ctx=ctx)


def _lightened(params: list[Any]) -> list[Any]:
    for param in params:
        # A version of Typer that converts in another way lacks these attributes, and is left alone.
        if getattr(param, "_runtime_param", "unknown") is None and hasattr(param, "type_descriptor"):
            param._runtime_param = _AsTyped(param.type_descriptor.annotation)  # noqa: SLF001
    return params


class QuickCommand(TyperCommand):
    """A command that starts without pydantic."""

    def get_params(self, ctx: Any) -> list[Any]:
        """All parameters, `--help` among them."""
        return _lightened(super().get_params(ctx))


class QuickGroup(TyperGroup):
    """A group of commands that starts without pydantic."""

    def get_params(self, ctx: Any) -> list[Any]:
        """All parameters, `--help` among them."""
        return _lightened(super().get_params(ctx))
