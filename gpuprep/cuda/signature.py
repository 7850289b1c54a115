"""The parameters of each kernel, read off the source: enough to refuse a wrong call before it is launched.

A scan and no parser: what it can't be sure of (a template's type, a typedef, a macro) it leaves unknown, and unknown
parameters are not checked.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

POINTER_BYTES = 8

_SKIPPED = re.compile(r"//(?:\\\r?\n|[^\n])*|/\*.*?\*/|\"(?:\\.|[^\"\\\n])*\"|'(?:\\.|[^'\\\n])*'", re.DOTALL)
_CALLED = re.compile(r"\b(\w+)\s*\(")
_ATTRIBUTES = frozenset("__launch_bounds__ __cluster_dims__ __block_size__ __maxnreg__ __attribute__ alignas".split())
_QUALIFIERS = frozenset("const volatile __restrict__ __restrict restrict __grid_constant__ struct std".split())
_OPENING, _CLOSING = "([{<", ")]}>"

_INTEGER_WORDS = frozenset("int long short char unsigned signed".split())
_FIXED = {f"int{8 * size}_t": ("int", size) for size in (1, 2, 4, 8)} | {
    f"uint{8 * size}_t": ("uint", size) for size in (1, 2, 4, 8)
}
_TYPES: dict[str, tuple[str, int]] = {
    **_FIXED,
    "bool": ("uint", 1),
    "size_t": ("uint", 8),
    "ptrdiff_t": ("int", 8),
    "float": ("float", 4),
    "double": ("float", 8),
    "half": ("float", 2),
    "__half": ("float", 2),
    "nv_bfloat16": ("float", 2),
    "__nv_bfloat16": ("float", 2),
}


@dataclass(frozen=True)
class Declared:
    """One parameter of a kernel, as far as it is known."""

    name: str
    text: str
    """Its type as a person reads it: `const float*`."""
    kind: str = ""
    """pointer, int, uint, float or struct; empty where unknown."""
    n_bytes: int = 0
    """0 where unknown."""
    pointee_bytes: int = 0
    """Of a pointer to a floating-point type: that type's size; else 0."""


def declared_parameters(source: str) -> dict[str, tuple[Declared, ...]]:
    """The parameters of each `__global__` function, by name; none for a name that is defined in several ways."""
    code = _SKIPPED.sub(lambda match: " " if match[0].startswith("/") else '""', source)
    found: dict[str, tuple[Declared, ...]] = {}
    ambiguous: set[str] = set()
    for match in re.finditer(r"\b__global__\b", code):
        name, inside = _head(code, match.end())
        if not name:
            continue
        parameters = tuple(_declared(text) for text in _split(inside))
        if found.setdefault(name, parameters) != parameters:
            ambiguous.add(name)
    return {name: parameters for name, parameters in found.items() if name not in ambiguous}


def _head(code: str, start: int) -> tuple[str, str]:
    """The function's name and what stands between its parentheses."""
    while match := _CALLED.search(code, start):
        end = _closing(code, match.end() - 1)
        if match[1] not in _ATTRIBUTES:
            return match[1], code[match.end() : end]
        start = end + 1
    return "", ""


def _closing(code: str, opening: int) -> int:
    depth = 0
    for place in range(opening, len(code)):
        depth += (code[place] == "(") - (code[place] == ")")
        if depth == 0:
            return place
    return len(code)


def _split(inside: str) -> Iterator[str]:
    """The parts between commas that stand in no brackets."""
    depth, begin = 0, 0
    for place, letter in enumerate(inside):
        depth += (letter in _OPENING) - (letter in _CLOSING)
        if letter == "," and depth == 0:
            yield inside[begin:place]
            begin = place + 1
    rest = inside[begin:].strip()
    if rest and rest != "void":
        yield rest


def _declared(text: str) -> Declared:
    text = " ".join(text.partition("=")[0].split())
    words = re.findall(r"\w+", re.sub(r"\[.*?\]", "*", text))
    name = words[-1] if len(words) > 1 and not _is_type(words[-1]) else ""
    type_words = [word for word in (words[:-1] if name else words) if word not in _QUALIFIERS]
    shown = re.sub(rf"\s*\b{re.escape(name)}\b(?=\W*$)", "", text) if name else text
    kind, n_bytes = ("", 0) if "<" in text else _meaning(type_words)
    if "*" in text or "[" in text:
        return Declared(name, shown, "pointer", POINTER_BYTES, n_bytes if kind == "float" and _depth(text) == 1 else 0)
    if "&" in text:
        return Declared(name, shown)
    return Declared(name, shown, kind, n_bytes)


def _depth(text: str) -> int:
    return text.count("*") + text.count("[")


def _is_type(word: str) -> bool:
    return word in _TYPES or word in _INTEGER_WORDS or word in _QUALIFIERS


def _meaning(words: list[str]) -> tuple[str, int]:
    """Kind and size of a type by its words; unknown where it is none of the language's own."""
    if len(words) == 1 and words[0] in _TYPES:
        return _TYPES[words[0]]
    if not words or not _INTEGER_WORDS.issuperset(words):
        return "", 0
    kind = "uint" if "unsigned" in words else "int"
    if "long" in words:
        return kind, 8
    return kind, 2 if "short" in words else 1 if "char" in words else 4
