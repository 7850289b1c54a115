"""Symbols and sections of an object file or program, read from its bytes: what `nm` and `readelf` would say."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

_HEADER = struct.Struct("<16sHHIQQQIHHHHHH")
_SECTION = struct.Struct("<IIQQQQIIQQ")
_SYMBOL = struct.Struct("<IBBHQQ")
_CONTENT, _SYMBOL_TABLE = 1, 2
_OBJECT, _FUNCTION, _THREAD_LOCAL = 1, 2, 6
_RESERVED = 0xFF00
"""Section numbers from here on are no sections: absolute and common symbols."""


@dataclass(frozen=True)
class Symbol:
    """A symbol of the file."""

    name: str
    address: int
    n_bytes: int
    section: str
    """Empty where the symbol is undefined."""
    is_function: bool
    is_object: bool
    is_thread_local: bool
    name_offset: int
    """Where its name stands in the file."""


class Elf:
    """A 64-bit little-endian ELF file."""

    def __init__(self, content: bytes) -> None:
        self._content = content
        header = _HEADER.unpack_from(content)
        offset, count, names_at = header[6], header[12], header[13]
        self._headers = [_SECTION.unpack_from(content, offset + i * _SECTION.size) for i in range(count)]
        names = self._headers[names_at]
        self.sections = tuple(self._text(names[4] + section[0]) for section in self._headers)
        self.symbols = tuple(self._symbols())

    def _text(self, offset: int) -> str:
        end = self._content.index(b"\0", offset)
        return self._content[offset:end].decode("utf-8", "replace")

    def _symbols(self) -> Iterator[Symbol]:
        for section in self._headers:
            if section[1] != _SYMBOL_TABLE:
                continue
            names = self._headers[section[6]][4]
            for at in range(section[4] + _SYMBOL.size, section[4] + section[5], _SYMBOL.size):
                name, info, _, number, value, size = _SYMBOL.unpack_from(self._content, at)
                kind = info & 0xF
                is_placed = 0 < number < _RESERVED
                yield Symbol(
                    self._text(names + name),
                    value,
                    size,
                    self.sections[number] if is_placed else ("" if number == 0 else "absolute"),
                    kind == _FUNCTION,
                    kind == _OBJECT,
                    kind == _THREAD_LOCAL,
                    names + name,
                )

    def read(self, address: int, n_bytes: int) -> bytes:
        """The initial bytes at an address of a program; zeros where the file keeps none."""
        for section in self._headers:
            if section[3] <= address and address + n_bytes <= section[3] + section[5] and section[1] == _CONTENT:
                start = section[4] + address - section[3]
                return self._content[start : start + n_bytes]
        return bytes(n_bytes)

    @property
    def undefined(self) -> tuple[Symbol, ...]:
        """What the file wants of others."""
        return tuple(symbol for symbol in self.symbols if not symbol.section and symbol.name)
