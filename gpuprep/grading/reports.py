"""Reads a Report back from the dictionary that `Report.as_dict` makes: the way home from another process.

Everything is checked against the fields' own types, and the classes' own rules then see the result.
"""

from __future__ import annotations

import functools
import types
import typing
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from enum import Enum
from typing import Any, TypeVar

from gpuprep.exercise import Exercise
from gpuprep.model import REPORT_VERSION, Report

Made = TypeVar("Made")

_DERIVED = ("version", "is_gold", "first_failure")
"""What `as_dict` adds to a report's fields."""


def report_from(content: Mapping[str, Any]) -> Report:
    """The report whose `as_dict`, passed through JSON, is `content`.

    Raises:
        ValueError: no report gives that.
    """
    if not isinstance(content, Mapping) or content.get("version") != REPORT_VERSION:
        raise ValueError(f"no report of version {REPORT_VERSION}")
    report = _made(Report, {key: value for key, value in content.items() if key not in _DERIVED}, "report")
    again = report.as_dict()
    for key in _DERIVED:
        if again[key] != content.get(key):
            raise ValueError(f"report.{key}: {content.get(key)!r} does not follow from the rest")
    return report


def exercise_from(content: Mapping[str, Any]) -> Exercise:
    """The exercise whose `dataclasses.asdict`, passed through JSON, is `content`.

    Raises:
        ValueError: no exercise gives that.
    """
    return _made(Exercise, content, "exercise")


def _made(kind: type[Made], content: Any, where: str) -> Made:
    assert is_dataclass(kind)  # noqa: S101  called with those alone
    if not isinstance(content, Mapping):
        raise ValueError(f"{where}: {type(content).__name__} in place of a {kind.__name__}")  # noqa: TRY004
    hints = _hints(kind)
    names = set(hints)
    if names != set(content):
        raise ValueError(f"{where}: {sorted(names ^ set(content))} are missing or unknown")
    return kind(**{name: _value(hints[name], content[name], f"{where}.{name}") for name in names})


@functools.cache
def _hints(kind: Any) -> dict[str, Any]:
    """The type of each field."""
    found = typing.get_type_hints(kind)
    return {field.name: found[field.name] for field in fields(kind)}


def _value(wanted: Any, value: Any, where: str) -> Any:
    origin, arguments = typing.get_origin(wanted), typing.get_args(wanted)
    if origin in (types.UnionType, typing.Union):
        return _one_of(arguments, value, where)
    if origin is tuple and isinstance(value, list):
        kinds = arguments[:1] * len(value) if arguments[1:] == (...,) else arguments
        if len(kinds) == len(value):
            pairs = enumerate(zip(kinds, value, strict=True))
            return tuple(_value(kind, item, f"{where}[{place}]") for place, (kind, item) in pairs)
    elif origin is not None and issubclass(origin, Mapping) and isinstance(value, dict):
        return {
            _value(arguments[0], key, where): _value(arguments[1], item, f"{where}.{key}")
            for key, item in value.items()
        }
    elif isinstance(wanted, type) and issubclass(wanted, Enum):
        return wanted(value)
    elif is_dataclass(wanted):
        return _made(typing.cast(type, wanted), value, where)
    elif wanted is Any or type(value) is wanted or (wanted is float and type(value) is int):
        return value
    raise ValueError(f"{where}: {value!r:.80} is no {wanted}")


def _one_of(kinds: tuple[Any, ...], value: Any, where: str) -> Any:
    if type(value) in kinds:
        return value
    for kind in kinds:
        try:
            return _value(kind, value, where)
        except ValueError as error:
            problem = error
    raise problem
