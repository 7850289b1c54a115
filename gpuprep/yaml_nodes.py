"""Reads a YAML file as a tree of typed values that know their file, line and key.

A plain `yaml.load` would do for a right file; a wrong one must be refused with the line that is wrong.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from pathlib import Path

import yaml

from gpuprep.errors import CurriculumError

# The C loader is some ten times faster, and the front of every command waits for it; PyYAML can be built without it.
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

_TAG = "tag:yaml.org,2002:"
_KINDS = {"map": "a mapping", "seq": "a list", "str": "text", "int": "a whole number", "float": "a number"}
_KINDS |= {"null": "nothing", "bool": "true or false", "timestamp": "a date"}


class Value:
    """One value of the file.

    Args:
        path: the file.
        node: where the value stands in the tree that PyYAML composed.
        key: how it is reached from the top: `modules[0].title`.
    """

    __slots__ = ("key", "node", "path")

    def __init__(self, path: Path, node: yaml.Node, key: str = "") -> None:
        self.path = path
        self.node = node
        self.key = key

    def fault(self, problem: str) -> CurriculumError:
        """The error to raise about this value, with its file, line and key."""
        return fault(self.path, self.line, f"{self.key}: {problem}" if self.key else problem)

    def text(self) -> str:
        """A string that isn't blank."""
        value = str(self._scalar("text", "str"))
        if not value.strip():
            raise self.fault("must not be blank")
        return value

    def integer(self) -> int:
        """A whole number."""
        value = self._scalar("a whole number", "int")
        try:
            return int(value)
        except ValueError:  # YAML 1.1 also knows 0b1010 and 1:30
            raise self.fault(f"want a plain whole number, have {value}") from None

    def number(self) -> float:
        """A whole or a decimal number; neither infinity nor not-a-number."""
        value = self._scalar("a number", "float", "int")
        try:
            number = float(value)
        except ValueError:  # .inf and .nan
            number = math.inf
        if not math.isfinite(number):
            raise self.fault(f"want a plain number, have {value}")
        return number

    def scalar(self) -> str:
        """What stands there, as it is written, where that is neither a list nor a mapping: a date, for one."""
        if not isinstance(self.node, yaml.ScalarNode):
            raise self._wrong_kind("one value")
        return str(self.node.value)

    def truth(self) -> bool:
        """True or false."""
        return self._scalar("true or false", "bool").lower() in ("true", "yes", "on")

    @property
    def line(self) -> int:
        """Where it stands."""
        return int(self.node.start_mark.line) + 1

    @property
    def is_integer(self) -> bool:
        """True where `integer` would find a number."""
        return bool(self.node.tag == _TAG + "int")

    @property
    def is_truth(self) -> bool:
        """True where `truth` would find something."""
        return bool(self.node.tag == _TAG + "bool")

    @property
    def is_text(self) -> bool:
        """True where `text` would find a string."""
        return bool(self.node.tag == _TAG + "str")

    @property
    def is_mapping(self) -> bool:
        """True where `fields` and `entries` would find keys."""
        return isinstance(self.node, yaml.MappingNode)

    def items(self) -> list[Value]:
        """The values of a list."""
        if not isinstance(self.node, yaml.SequenceNode):
            raise self._wrong_kind("a list")
        return [Value(self.path, item, f"{self.key}[{place}]") for place, item in enumerate(self.node.value)]

    def texts(self) -> tuple[str, ...]:
        """The strings of a list."""
        return tuple(item.text() for item in self.items())

    def fields(self, required: Sequence[str] = (), optional: Sequence[str] = ()) -> dict[str, Value]:
        """The values of a mapping with known keys, by key.

        Raises:
            CurriculumError: a key is unknown, missing or there twice.
        """
        known = (*required, *optional)
        found: dict[str, Value] = {}
        for key, value in self.entries():
            name = key.text()
            if name not in known:
                raise key.fault(f"unknown key {name!r}; {suggestion(name, known)}")
            found[name] = value
        for name in required:
            if name not in found:
                raise self.fault(f"key {name!r} is missing")
        return found

    def entries(self) -> list[tuple[Value, Value]]:
        """The keys of a mapping with free keys, each with its value."""
        if not isinstance(self.node, yaml.MappingNode):
            raise self._wrong_kind("a mapping")
        pairs: dict[str, tuple[Value, Value]] = {}
        for key_node, node in self.node.value:
            key = Value(self.path, key_node, self.key)
            if not key.is_text:
                raise key.fault(f"a key must be text, not {_kind(key_node)}")
            name = key_node.value
            if name in pairs:
                raise key.fault(f"key {name!r} stands here twice")
            pairs[name] = key, Value(self.path, node, f"{self.key}.{name}" if self.key else name)
        return list(pairs.values())

    def _scalar(self, wanted: str, *tags: str) -> str:
        if not isinstance(self.node, yaml.ScalarNode) or self.node.tag.removeprefix(_TAG) not in tags:
            raise self._wrong_kind(wanted)
        return str(self.node.value)

    def _wrong_kind(self, wanted: str) -> CurriculumError:
        return self.fault(f"want {wanted}, have {_kind(self.node)}")


def fault(path: Path, line: int, problem: str) -> CurriculumError:
    """An error about a line of a file."""
    return CurriculumError(f"{path}:{line}: {problem}", next_step=f"edit {path}, line {line}")


def suggestion(word: str, known: Iterable[str]) -> str:
    """`did you mean 'minutes'?` where something known is near, else everything that is known."""
    import difflib  # only a mistake needs it

    known = list(known)
    near = difflib.get_close_matches(word[:80], known, n=1)
    return f"did you mean {near[0]!r}?" if near else f"known here: {', '.join(known)}"


def read_text(path: Path) -> str:
    """The file's text, line ends as they are.

    Raises:
        CurriculumError: it isn't there, can't be read, or isn't UTF-8.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise CurriculumError(
            f"{path}: can't be read ({error.strerror})", next_step=f"make sure that {path} is there and readable"
        ) from error
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise fault(path, line, f"not UTF-8 (byte {data[error.start]:#04x})") from error


def compose(text: str, path: Path) -> Value:
    """The top value of a YAML text; `path` is named in errors.

    Raises:
        CurriculumError: the text isn't YAML, or holds nothing or several documents.
    """
    try:
        node: yaml.Node | None = yaml.compose(text, Loader=_LOADER)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        problem = ": ".join(part for part in (error.context, error.problem) if part)
        raise fault(path, mark.line + 1 if mark else 1, f"not YAML: {problem}") from error
    except yaml.reader.ReaderError as error:
        match = yaml.reader.Reader.NON_PRINTABLE.search(text)
        line = text.count("\n", 0, match.start()) + 1 if match else 1
        raise fault(path, line, "holds a control character, which YAML forbids") from error
    except RecursionError as error:
        raise fault(path, 1, "nested too deeply") from error
    if node is None:
        raise fault(path, 1, "the file is empty")
    return Value(path, node)


def _kind(node: yaml.Node) -> str:
    return _KINDS.get(node.tag.removeprefix(_TAG), f"a value tagged {node.tag}")
