"""Reads CUDA C source as tokens: comments and strings aside, each token with its line."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

_TOKEN = re.compile(
    r"""(?P<space>\s+)
      | (?P<comment>//[^\n]*|/\*.*?(?:\*/|\Z))
      | (?P<string>(?:u8|u|U|L)?R"(?P<mark>[^()\\\s]{0,16})\(.*?\)(?P=mark)"|(?:u8|u|U|L)?"(?:\\.|[^"\\\n])*"?)
      | (?P<character>(?:u8|u|U|L)?'(?:\\.|[^'\\\n])*'?)
      | (?P<number>\.?\d(?:'?[\w.]|(?<=[eEpP])[+-])*)
      | (?P<name>[^\W\d]\w*)
      | (?P<sign><<<|>>>|::|->|\#\#|.)""",
    re.VERBOSE | re.DOTALL,
)
_EXPORTING = re.compile(r'#\s*define\s+(\w+)[^\n]*\bextern\s*"C"')
_SPLICE = re.compile(r"\\[ \t]*\r?\n")
_BRACKETS = {"(": ")", "[": "]", "{": "}"}


@dataclass(frozen=True)
class Token:
    """A token that is neither space nor comment."""

    text: str
    kind: str
    """`name`, `number`, `string`, `character`, `sign`, or `directive`: a whole `#` line, comments removed."""
    line: int


@dataclass(frozen=True)
class KernelDeclaration:
    """A `__global__` function as the source declares it."""

    name: str
    """Qualified with its namespaces."""
    parameters: tuple[str, ...]
    line: int
    is_template: bool
    is_exported: bool = True
    """Declared `extern "C"`: others find it by its name."""


def tokens(source: str) -> tuple[Token, ...]:
    """The source's tokens. Lines that end in a backslash are joined first; tokens keep the line they begin on."""
    joined, lines = _joined(source)
    return tuple(_tokens(joined, lines))


def _joined(source: str) -> tuple[str, list[int]]:
    """The source without line splices, and for each of its lines the line of the original."""
    pieces, lines, at, line = [], [1], 0, 1
    for splice in _SPLICE.finditer(source):
        pieces.append(source[at : splice.start()])
        for _ in range(pieces[-1].count("\n")):
            line += 1
            lines.append(line)
        line += 1
        at = splice.end()
    pieces.append(source[at:])
    for _ in range(pieces[-1].count("\n")):
        line += 1
        lines.append(line)
    return "".join(pieces), lines


def _tokens(source: str, lines: Sequence[int]) -> Iterator[Token]:
    at, row, is_line_start = 0, 0, True
    while at < len(source):
        match = _TOKEN.match(source, at)
        if match is None:  # can't be: the last alternative takes any character
            break
        text, kind = match.group(), match.lastgroup or "sign"
        kind = "string" if kind == "mark" else kind
        if text == "#" and is_line_start:
            end = _directive_end(source, at)
            text, kind = source[at:end], "directive"
            yield Token(_without_comments(text), kind, lines[row])
        elif kind not in ("space", "comment"):
            yield Token(text, kind, lines[row])
        if "\n" in text and kind == "space":
            is_line_start = True
        elif kind not in ("space", "comment"):
            is_line_start = kind == "directive"
        row += text.count("\n")
        at += len(text)


def _directive_end(source: str, at: int) -> int:
    """Where a `#` line ends: at a newline that is in no comment."""
    while at < len(source) and source[at] != "\n":
        if source.startswith("/*", at):
            close = source.find("*/", at)
            at = len(source) if close < 0 else close + 2
        elif source.startswith("//", at):
            newline = source.find("\n", at)
            return len(source) if newline < 0 else newline
        else:
            at += 1
    return at


def _without_comments(directive: str) -> str:
    return re.sub(r"/\*.*?\*/|//[^\n]*", " ", directive, flags=re.DOTALL)


def kernels(source_tokens: Sequence[Token]) -> tuple[KernelDeclaration, ...]:
    """The kernels that the source declares, each once."""
    code = [token for token in source_tokens if token.kind != "directive"]
    exporting = _exporting_macros(source_tokens)
    found: dict[str, KernelDeclaration] = {}
    spaces: list[str] = []
    exports: list[bool] = []
    start = 0
    for at, token in enumerate(code):
        if token.text == "{":
            spaces.append(_namespace(code[start:at]))
            exports.append(_exports(code[start:at], exporting))
            start = at + 1
        elif token.text == "}":
            if spaces:
                spaces.pop()
                exports.pop()
            start = at + 1
        elif token.text == ";":
            start = at + 1
        elif token.text == "__global__":
            is_template = any(before.text == "template" for before in code[start:at])
            declared = _declaration(code, at, "".join(f"{space}::" for space in spaces if space), is_template)
            if declared is not None:
                is_exported = any(exports) or _exports(code[start:at], exporting)
                # One declaration that says so is enough.
                before = found.setdefault(declared.name, declared)
                is_exported = is_exported or (before is not declared and before.is_exported)
                found[declared.name] = replace(before, is_exported=is_exported)
    return tuple(found.values())


def _exporting_macros(source_tokens: Sequence[Token]) -> frozenset[str]:
    """Names of macros that stand for `extern "C"`, with or without more."""
    directives = (token.text for token in source_tokens if token.kind == "directive")
    return frozenset(match[1] for text in directives if (match := _EXPORTING.match(text)))


def _exports(statement: Sequence[Token], macros: frozenset[str]) -> bool:
    texts = [token.text for token in statement]
    return any(pair == ("extern", '"C"') for pair in itertools.pairwise(texts)) or not macros.isdisjoint(texts)


def _namespace(statement: Sequence[Token]) -> str:
    """The name of the namespace that an opening brace belongs to; empty for other braces."""
    texts = [token.text for token in statement]
    if "namespace" not in texts:
        return ""
    return "".join(texts[texts.index("namespace") + 1 :])


_DECORATIONS = frozenset(
    ("__launch_bounds__", "__attribute__", "__align__", "alignas", "__cluster_dims__", "__maxnreg__")
)


def _declaration(code: Sequence[Token], at: int, prefix: str, is_template: bool) -> KernelDeclaration | None:
    """The kernel whose `__global__` stands at `at`."""
    line = code[at].line
    while at + 1 < len(code) and code[at].text not in (";", "{"):
        if code[at].kind == "name" and code[at + 1].text == "(":
            close = closing(code, at + 1)
            if code[at].text not in _DECORATIONS:
                return KernelDeclaration(
                    prefix + code[at].text, _parameter_names(code[at + 2 : close]), line, is_template
                )
            at = close
        at += 1
    return None


def closing(code: Sequence[Token], at: int) -> int:
    """The index of the bracket that closes the one at `at`; the end where there is none."""
    depth = 0
    for index in range(at, len(code)):
        if code[index].text in _BRACKETS:
            depth += 1
        elif code[index].text in _BRACKETS.values():
            depth -= 1
            if depth == 0:
                return index
    return len(code)


def _parameter_names(inside: Sequence[Token]) -> tuple[str, ...]:
    """The names of a parameter list: of each parameter, the last name before a default or an array's bracket."""
    names: list[str] = []
    depth, name, is_open = 0, "", True
    for token in [*inside, Token(",", "sign", 0)]:
        if token.text in ("(", "[", "{", "<"):
            depth += 1
        elif token.text in (")", "]", "}", ">"):
            depth -= 1
        elif depth == 0 and token.text == ",":
            names.append(name)
            name, is_open = "", True
        elif depth == 0 and token.text == "=":
            is_open = False
        elif depth == 0 and token.kind == "name" and is_open:
            name = token.text
    return tuple(names) if inside and [token.text for token in inside] != ["void"] else ()


def constants(source_tokens: Sequence[Token]) -> frozenset[str]:
    """The names of `__constant__` variables."""
    found = set()
    for at, token in enumerate(source_tokens):
        if token.text != "__constant__":
            continue
        name = ""
        for later in source_tokens[at + 1 :]:
            if later.text in (";", "=", "[", "{", "("):
                break
            name = later.text if later.kind == "name" else name
        found.add(name)
    return frozenset(found)


def indexed_arrays(source_tokens: Sequence[Token]) -> dict[int, list[str]]:
    """For each line the arrays of a fixed size that it indexes."""
    pairs = list(zip(source_tokens, source_tokens[1:], source_tokens[2:], strict=False))
    declared = {name.text for type_, name, sign in pairs if type_.kind == name.kind == "name" and sign.text == "["}
    lines: dict[int, list[str]] = {}
    for _, name, sign in pairs:
        if name.kind == "name" and sign.text == "[" and name.text in declared:
            names = lines.setdefault(name.line, [])
            if name.text not in names:
                names.append(name.text)
    return lines
