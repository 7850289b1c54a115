"""Files out of an archive that nobody trusts: read one by one into memory, never unpacked.

So no path of an archive's is ever written to, and no link of it followed. What is left to guard against is size: of one
file, of all together, and of what a few bytes unpack to.
"""

from __future__ import annotations

import bz2
import gzip
import lzma
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path, PurePath, PurePosixPath
from typing import IO, Protocol

SUFFIXES = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz")
MAX_ARCHIVE_BYTES = 64 * 2**20
"""As it is handed in. Kernels are some kilobytes; what makes archives large is what doesn't belong in them."""
MAX_UNPACKED_BYTES = 256 * 2**20
"""Of a tar file, which has to be unpacked up to its end to be read; of a zip file's wanted members together.
Thousands can have one name, and even share their packed bytes."""
MAX_RATIO = 200
"""Of a packed file's size and what it unpacks to. Source text gets to some 20."""
SMALL_BYTES = 2**20
"""What any archive may unpack to: a ratio says nothing about a few blocks of zeros."""
MAX_MEMBERS = 10_000
MAX_FILE_BYTES = 2**20
"""Of one file that is graded."""

Wanted = Callable[[PurePosixPath], bool]
_ENCRYPTED = 1
_LINK_MODE, _TYPE_MASK = 0o120000, 0o170000
_BROKEN = (OSError, EOFError, ValueError, RuntimeError, NotImplementedError, zlib.error, lzma.LZMAError)
"""What the standard library raises for archives that are none, or damaged."""


class RefusedError(Exception):
    """A submission that is not looked at any further, and why."""


def is_archive(path: PurePath) -> bool:
    """True where the name says so."""
    return path.name.lower().endswith(SUFFIXES)


def stem(path: Path) -> str:
    """The name without an archive's suffixes."""
    name = path.name
    longest = max((suffix for suffix in SUFFIXES if name.lower().endswith(suffix)), key=len, default="")
    return name[: len(name) - len(longest)]


def read(path: Path, is_wanted: Wanted) -> Iterator[tuple[PurePosixPath, bytes]]:
    """The wanted files of an archive, with their paths in it.

    Raises:
        RefusedError: it is damaged, too large, or names what an honest archive doesn't.
    """
    try:
        if path.stat().st_size > MAX_ARCHIVE_BYTES:
            raise RefusedError(f"{path.name} is larger than {MAX_ARCHIVE_BYTES >> 20} MiB")
        if path.name.lower().endswith(".zip"):
            yield from _read_zip(path, is_wanted)
        else:
            yield from _read_tar(path, is_wanted)
    except (*_BROKEN, zipfile.BadZipFile, tarfile.TarError) as error:
        # An OSError as a text has the path in it, which is no student's business.
        why = getattr(error, "strerror", None) or error or type(error).__name__
        raise RefusedError(f"{path.name} can't be read: {why}") from error


def _read_zip(path: Path, is_wanted: Wanted) -> Iterator[tuple[PurePosixPath, bytes]]:
    with zipfile.ZipFile(path) as archive:
        members = archive.infolist()
        if len(members) > MAX_MEMBERS:
            raise RefusedError(f"{path.name} holds more than {MAX_MEMBERS} files")
        left = MAX_UNPACKED_BYTES
        for member in members:
            place = _place(member.filename)
            if member.is_dir() or not is_wanted(place):
                continue
            if (member.external_attr >> 16) & _TYPE_MASK == _LINK_MODE:
                raise RefusedError(f"{place} is a link")
            if member.flag_bits & _ENCRYPTED:
                raise RefusedError(f"{place} is encrypted")
            packed = max(1, member.compress_size)
            if member.file_size > SMALL_BYTES and member.file_size / packed > MAX_RATIO:
                raise RefusedError(f"{place} unpacks to more than {MAX_RATIO} times its size")
            with archive.open(member) as source:
                data = _whole(source, place)
            left -= len(data)
            if left < 0:
                raise RefusedError(f"{path.name} unpacks to more than it may")
            yield place, data


def _read_tar(path: Path, is_wanted: Wanted) -> Iterator[tuple[PurePosixPath, bytes]]:
    with path.open("rb") as packed, _unpacking(path, packed) as unpacked:
        limit = max(SMALL_BYTES, min(MAX_UNPACKED_BYTES, MAX_RATIO * path.stat().st_size))
        # As a stream, and through a reader that stops: even a header may claim to be gigabytes long.
        with tarfile.open(fileobj=_Limited(unpacked, limit, path.name), mode="r|") as archive:  # type: ignore[call-overload]
            for count, member in enumerate(archive):
                if count >= MAX_MEMBERS:
                    raise RefusedError(f"{path.name} holds more than {MAX_MEMBERS} files")
                place = _place(member.name)
                if member.isdir() or not is_wanted(place):
                    continue
                if not member.isreg() or member.issparse():
                    raise RefusedError(f"{place} is a link or a device, no file")
                source = archive.extractfile(member)
                assert source is not None  # noqa: S101  a regular file has its content
                yield place, _whole(source, place)


def _unpacking(path: Path, packed: IO[bytes]) -> IO[bytes]:
    name = path.name.lower()
    if name.endswith(("gz", "tgz")):
        return gzip.GzipFile(fileobj=packed)  # type: ignore[return-value]
    if name.endswith("bz2"):
        return bz2.BZ2File(packed)
    return lzma.LZMAFile(packed) if name.endswith("xz") else packed


class Readable(Protocol):
    """What can be read from."""

    def read(self, size: int, /) -> bytes: ...


class _Limited:
    """Reads no more than a limit."""

    def __init__(self, source: Readable, limit: int, name: str) -> None:
        self._source = source
        self._left = limit
        self._name = name

    def read(self, size: int) -> bytes:
        """The next bytes.

        Raises:
            RefusedError: there are more than there may be.
        """
        data = self._source.read(size)
        self._left -= len(data)
        if self._left < 0:
            raise RefusedError(f"{self._name} unpacks to more than it may")
        return data


def _place(name: str) -> PurePosixPath:
    """A member's path.

    Raises:
        RefusedError: it leads out of the archive.
    """
    place = PurePosixPath(name.replace("\\", "/"))
    is_drive = bool(place.parts) and place.parts[0].endswith(":")
    if place.is_absolute() or ".." in place.parts or is_drive:
        raise RefusedError(f"it has a file that would land outside of it: {name[:80]!r}")
    return place


def _whole(source: Readable, place: PurePosixPath) -> bytes:
    data = source.read(MAX_FILE_BYTES + 1)
    if len(data) > MAX_FILE_BYTES:
        raise RefusedError(f"{place} is larger than {MAX_FILE_BYTES >> 10} KiB")
    return data
