"""CUPTI's activity API through ctypes: what ran on the card, and from when to when, by the card's own clock.

Only the part of each record is read that has been the same in every version since CUDA 12.1; a version that is not
known to have it is refused, because a wrong offset would be read as a pointer.
"""

from __future__ import annotations

import ctypes
import functools
import re
import struct
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

KERNEL, MEMCPY, MEMSET = "kernel", "memcpy", "memset"

_MEMCPY_KIND, _MEMSET_KIND, _KERNEL_KIND, _PEER_COPY_KIND = 1, 2, 10, 22
"""CUPTI's numbers; 10 is the kind of kernel record that lets kernels run side by side, as they do untraced."""
_MEMORY_KINDS = {_MEMCPY_KIND: MEMCPY, _MEMSET_KIND: MEMSET, _PEER_COPY_KIND: MEMCPY}

KERNEL_RECORD = struct.Struct("<I12xQQ8x8xI52xQ")
"""kind, start, end, stream, address of the name: CUpti_ActivityKernel9 to 13."""
MEMORY_RECORD = struct.Struct("<I12xQQ8xI")
"""kind, start, end, stream: CUpti_ActivityMemcpy5 to 7, CUpti_ActivityMemset4 and 5, CUpti_ActivityMemcpyPtoP4."""

KNOWN_VERSIONS = (range(18, 30), range(130000, 130500))
"""What cuptiGetVersion says from CUDA 12.1 to 12.9 and from 13.0 to 13.4; their headers were compared."""

_BUFFER_BYTES = 4 * 2**20
"""Some 17 000 launches; a larger trace takes several."""
_FORCED = 1
_NO_MORE_RECORDS = 12


class CuptiError(Exception):
    """CUPTI is not there, is of an unknown version, or refuses: another profiler may hold it."""


@dataclass(frozen=True)
class Activity:
    """One thing that the card did. `name` is a kernel's name as the linker knows it, else empty."""

    kind: str
    name: str
    start_ns: int
    end_ns: int
    stream: int


def parse(record: bytes, name_at: Callable[[int], str]) -> Activity | None:
    """The activity that a record tells of; None for a kind that wasn't asked for.

    Args:
        record: the bytes of one record, from its start.
        name_at: reads the string at an address.

    Raises:
        CuptiError: the record has no times.
    """
    (kind,) = struct.unpack_from("<I", record)
    if kind == _KERNEL_KIND:
        _, start_ns, end_ns, stream, address = KERNEL_RECORD.unpack_from(record)
        found = Activity(KERNEL, name_at(address), start_ns, end_ns, stream)
    elif kind in _MEMORY_KINDS:
        _, start_ns, end_ns, stream = MEMORY_RECORD.unpack_from(record)
        found = Activity(_MEMORY_KINDS[kind], "", start_ns, end_ns, stream)
    else:
        return None
    if not 0 < found.start_ns <= found.end_ns:
        raise CuptiError(f"a {found.kind} was recorded from {found.start_ns} to {found.end_ns} ns")
    return found


def is_known(version: int) -> bool:
    """True where records of this CUPTI begin as `parse` expects."""
    return any(version in known for known in KNOWN_VERSIONS)


def candidates(maps: str, torch_folder: Path, cuda: str) -> list[str]:
    """Where CUPTI may be, best first: loaded already, as the torch wheel brings it, a toolkit's, the linker's.

    Args:
        maps: what /proc/self/maps says. Two CUPTIs in one process see nothing of each other, so a loaded one decides.
        torch_folder: where torch is installed.
        cuda: the version of CUDA that torch was built for.
    """
    loaded = re.findall(r"(/\S*/libcupti\.so[.\d]*)$", maps, re.MULTILINE)
    if loaded:
        return loaded[:1]
    major = cuda.partition(".")[0]
    wheels = torch_folder.parent / "nvidia"
    patterns = (f"cu{major}/lib/libcupti.so.*", "cuda_cupti/lib/libcupti.so.*")
    found = [str(path) for pattern in patterns for path in sorted(wheels.glob(pattern))]
    toolkits = [f"/usr/local/cuda-{cuda}", f"/usr/local/cuda-{major}", "/usr/local/cuda"]
    for folder in (f"{toolkit}/{inside}" for toolkit in toolkits for inside in ("extras/CUPTI/lib64", "lib64", "lib")):
        found.extend(str(path) for path in sorted(Path(folder).glob("libcupti.so.*")))
    return [*dict.fromkeys(found), f"libcupti.so.{major}", "libcupti.so"]


@functools.cache
def load() -> Cupti:
    """This process's CUPTI.

    Raises:
        CuptiError: there is none, or none of a known version.
    """
    import torch

    reasons = []
    for path in candidates(_maps(), Path(torch.__file__).parent, torch.version.cuda or ""):
        try:
            return Cupti(ctypes.CDLL(path))
        except OSError as error:
            reasons.append(str(error))
    raise CuptiError(f"libcupti was not found ({reasons[-1]})")


def _maps() -> str:
    try:
        return Path("/proc/self/maps").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


_Requested = ctypes.CFUNCTYPE(
    None, ctypes.POINTER(ctypes.c_void_p), ctypes.POINTER(ctypes.c_size_t), ctypes.POINTER(ctypes.c_size_t)
)
_Completed = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_uint32, ctypes.c_void_p, ctypes.c_size_t, ctypes.c_size_t)


class Cupti:
    """Records kernels, copies and fills between `start` and `stop`.

    Args:
        library: libcupti, loaded.

    Raises:
        CuptiError: the records of this version may be laid out otherwise.
        OSError: there is no C++ runtime, whose clock is used.
    """

    def __init__(self, library: Any) -> None:
        self._library = library
        version = ctypes.c_uint32()
        self._call("cuptiGetVersion", ctypes.byref(version))
        self.version = version.value
        if not is_known(self.version):
            raise CuptiError(f"CUPTI {self.version} is not a version whose records are known")
        self._lent: dict[int, Any] = {}
        self._free: list[Any] = []
        self._filled: list[tuple[int, int]] = []
        self._n_foreign = 0
        self._clock = _steady_clock()
        # Kept for as long as the process lives: CUPTI may call them at any time.
        self._callbacks = (_Requested(self._lend), _Completed(self._take_back))

    def start(self) -> None:
        """Record from now on.

        Raises:
            CuptiError: CUPTI refuses; nothing is recorded then.
        """
        self._filled.clear()
        self._n_foreign = 0
        # Each time: torch's profiler registers its own, and the last registered counts. Its clock ticks in CPU cycles.
        self._call("cuptiActivityRegisterTimestampCallback", self._clock)
        self._call("cuptiActivityRegisterCallbacks", *self._callbacks)
        enabled: list[int] = []
        for kind in (_KERNEL_KIND, *_MEMORY_KINDS):
            try:
                self._call("cuptiActivityEnable", kind)
            except CuptiError:
                self._disable(enabled)
                raise
            enabled.append(kind)

    def stop(self) -> list[Activity]:
        """Record no more. The card must be idle: what is still running has no end yet.

        Raises:
            CuptiError: records were lost.
        """
        try:
            self._call("cuptiActivityFlushAll", _FORCED)
        finally:
            self._disable((_KERNEL_KIND, *_MEMORY_KINDS))
        filled, self._filled = self._filled, []
        found = [activity for address, n_bytes in filled for activity in self._read(address, n_bytes)]
        self._free.extend(self._lent.pop(address) for address, _ in filled)
        if self._n_foreign:
            raise CuptiError("another profiler in this process records as well")
        n_lost = ctypes.c_size_t()
        self._call("cuptiActivityGetNumDroppedRecords", None, 0, ctypes.byref(n_lost))
        if n_lost.value:
            raise CuptiError(f"CUPTI lost {n_lost.value} records")
        return sorted(found, key=lambda activity: activity.start_ns)

    def _disable(self, kinds: Sequence[int]) -> None:
        for kind in kinds:
            self._call("cuptiActivityDisable", kind)

    def _lend(self, address: Any, n_bytes: Any, n_records: Any) -> None:
        # Words, not bytes: records are aligned to 8. Fresh pages are zeroed by the system only where they are used.
        buffer = self._free.pop() if self._free else (ctypes.c_uint64 * (_BUFFER_BYTES // 8))()
        self._lent[ctypes.addressof(buffer)] = buffer
        address[0] = ctypes.addressof(buffer)
        n_bytes[0] = _BUFFER_BYTES
        n_records[0] = 0

    def _take_back(self, _context: int, _stream: int, address: int, _room: int, n_bytes: int) -> None:
        if address in self._lent:
            self._filled.append((address, n_bytes))
        else:
            self._n_foreign += 1

    def _read(self, buffer: int, n_bytes: int) -> Iterator[Activity]:
        record = ctypes.c_void_p()
        end = buffer + n_bytes
        following = self._library.cuptiActivityGetNextRecord
        arguments = (ctypes.c_void_p(buffer), ctypes.c_size_t(n_bytes), ctypes.byref(record))
        while (status := following(*arguments)) == 0:
            assert record.value is not None  # noqa: S101  what success means
            prefix = ctypes.string_at(record.value, min(KERNEL_RECORD.size, end - record.value))
            activity = parse(prefix, _string_at)
            if activity is not None:
                yield activity
        if status != _NO_MORE_RECORDS:
            raise CuptiError(f"cuptiActivityGetNextRecord: {self._spoken(status)}")

    def _call(self, name: str, *arguments: Any) -> None:
        status = getattr(self._library, name)(*arguments)
        if status:
            raise CuptiError(f"{name}: {self._spoken(status)}")

    def _spoken(self, status: int) -> str:
        text = ctypes.c_char_p()
        self._library.cuptiGetResultString(status, ctypes.byref(text))
        return (text.value or b"").decode(errors="replace") or f"error {status}"


def _steady_clock() -> Any:
    # std::chrono::steady_clock::now, which returns plain nanoseconds: CUPTI may call it anywhere, and it needs no GIL.
    return ctypes.CDLL("libstdc++.so.6")["_ZNSt6chrono3_V212steady_clock3nowEv"]


def _string_at(address: int) -> str:
    return ctypes.string_at(address).decode(errors="replace") if address else ""


@functools.cache
def demangled(name: str) -> str:
    """`void add<float>(float*)` for what the C++ linker calls `_Z3addIfEvPT_`; other names as they are."""
    if not name.startswith("_Z"):
        return name
    try:
        runtime = ctypes.CDLL("libstdc++.so.6")
        free = ctypes.CDLL(None).free
    except OSError:
        return name
    demangle = runtime["__cxa_demangle"]
    demangle.restype = ctypes.c_void_p
    status = ctypes.c_int()
    text = demangle(name.encode(), None, None, ctypes.byref(status))
    if not text:
        return name
    try:
        return _string_at(text)
    finally:
        free(ctypes.c_void_p(text))
