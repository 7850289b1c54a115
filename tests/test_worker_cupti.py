"""CUPTI's records, read from bytes and from a library that plays CUPTI."""

from __future__ import annotations

import ctypes
import struct
import time

import pytest

from gpuprep.worker import cupti
from gpuprep.worker.cupti import Activity, Cupti, CuptiError, candidates, demangled, is_known, parse

KERNEL_BYTES = 216
"""CUpti_ActivityKernel10; memory records are padded to it by the fake, since only steps between records matter."""


def kernel_record(start_ns, end_ns, stream=7, name=0):
    """The bytes of a kernel's record, with rubbish wherever nothing should be read."""
    record = bytearray(b"\xee" * KERNEL_BYTES)
    struct.pack_into("<I", record, 0, 10)
    struct.pack_into("<QQ", record, 16, start_ns, end_ns)
    struct.pack_into("<I", record, 48, stream)
    struct.pack_into("<Q", record, 104, name)
    return bytes(record)


def memory_record(kind, start_ns, end_ns, stream=7):
    """The bytes of a copy's or fill's record."""
    record = bytearray(b"\xee" * KERNEL_BYTES)
    struct.pack_into("<I", record, 0, kind)
    struct.pack_into("<QQI", record, 16, start_ns, end_ns, 0)
    struct.pack_into("<I", record, 40, stream)
    return bytes(record)


class FakeLibrary:
    """Plays libcupti: hands over `records` when it is flushed."""

    def __init__(self, version=130001, records=(), refuses=(), n_lost=0, is_foreign=False):
        self.version, self.records, self.refuses = version, records, refuses
        self.n_lost, self.is_foreign = n_lost, is_foreign
        self.enabled = set()

    def cuptiGetVersion(self, version):  # noqa: N802  CUPTI's names, here and below
        version._obj.value = self.version
        return 0

    def cuptiActivityRegisterCallbacks(self, requested, completed):  # noqa: N802
        self.requested, self.completed = requested, completed
        return 0

    def cuptiActivityRegisterTimestampCallback(self, clock):  # noqa: N802
        clock.restype = ctypes.c_uint64
        self.clock = clock
        return 0

    def cuptiActivityEnable(self, kind):  # noqa: N802
        if kind in self.refuses:
            return 39
        self.enabled.add(kind)
        return 0

    def cuptiActivityDisable(self, kind):  # noqa: N802
        self.enabled.discard(kind)
        return 0

    def cuptiActivityFlushAll(self, flag):  # noqa: N802
        data = b"".join(self.records)
        address, size, most = ctypes.c_void_p(), ctypes.c_size_t(), ctypes.c_size_t(99)
        self.requested(ctypes.pointer(address), ctypes.pointer(size), ctypes.pointer(most))
        assert address.value % 8 == 0
        assert most.value == 0
        assert len(data) <= size.value
        ctypes.memmove(address.value, data, len(data))
        if self.is_foreign:
            self.completed(None, 0, 12345, size.value, 8)
        self.completed(None, 0, address.value, size.value, len(data))
        return 0

    def cuptiActivityGetNextRecord(self, buffer, n_bytes, record):  # noqa: N802
        following = (record._obj.value or buffer.value - KERNEL_BYTES) + KERNEL_BYTES
        if following >= buffer.value + n_bytes.value:
            return 12
        record._obj.value = following
        return 0

    def cuptiActivityGetNumDroppedRecords(self, context, stream, dropped):  # noqa: N802
        dropped._obj.value = self.n_lost
        return 0

    def cuptiGetResultString(self, status, text):  # noqa: N802
        text._obj.value = b"CUPTI_ERROR_OF_SOME_KIND"
        return 0


def test_a_kernels_record_is_read_by_its_stable_part():
    """Name, times and stream; nothing else of the record matters."""
    found = parse(kernel_record(1000, 3000, stream=13, name=0xABC), {0xABC: "_add_kernel"}.__getitem__)

    assert found == Activity("kernel", "_add_kernel", 1000, 3000, 13)


@pytest.mark.parametrize(("kind", "expected"), [(1, "memcpy"), (2, "memset"), (22, "memcpy")])
def test_copies_and_fills_are_read(kind, expected):
    """Within a card, to and from the host, and from card to card."""
    assert parse(memory_record(kind, 5, 6, stream=9), str) == Activity(expected, "", 5, 6, 9)


def test_other_records_are_passed_over():
    """What another subscriber may have switched on."""
    assert parse(memory_record(3, 5, 6), str) is None


@pytest.mark.parametrize(("start_ns", "end_ns"), [(0, 0), (5, 4)])
def test_a_record_without_times_is_refused(start_ns, end_ns):
    """CUPTI writes zeros where it could not take the time; a total of such would flatter."""
    with pytest.raises(CuptiError):
        parse(kernel_record(start_ns, end_ns), str)


@pytest.mark.parametrize(
    ("version", "expected"), [(12, False), (18, True), (26, True), (100000, False), (130001, True), (140000, False)]
)
def test_only_versions_whose_headers_were_read_are_known(version, expected):
    """CUDA 12.1 to 13.4, and none that is yet to come."""
    assert is_known(version) is expected


def test_an_unknown_version_is_refused():
    """Before anything is recorded: its records may hold a number where ours hold a pointer."""
    with pytest.raises(CuptiError):
        Cupti(FakeLibrary(version=150000))


def test_what_ran_is_recorded_in_order_of_time():
    """From start to stop, and nothing is recorded afterwards."""
    name = ctypes.create_string_buffer(b"_add_kernel")
    records = [kernel_record(500, 900, name=ctypes.addressof(name)), memory_record(1, 100, 200), memory_record(3, 1, 2)]
    library = FakeLibrary(records=records)
    recorder = Cupti(library)

    recorder.start()
    during = set(library.enabled)
    found = recorder.stop()

    assert found == [Activity("memcpy", "", 100, 200, 7), Activity("kernel", "_add_kernel", 500, 900, 7)]
    assert during == {1, 2, 10, 22}
    assert library.enabled == set()


def test_times_are_nanoseconds_whoever_set_the_clock_before():
    """torch's profiler leaves a clock behind that ticks in CPU cycles."""
    library = FakeLibrary()
    Cupti(library).start()

    before = time.monotonic_ns()
    found = library.clock()
    assert before <= found <= time.monotonic_ns()


def test_buffers_are_used_again():
    """A hundred traces need no more memory than one."""
    recorder = Cupti(FakeLibrary(records=[memory_record(1, 100, 200)]))
    for _ in range(100):
        recorder.start()
        assert len(recorder.stop()) == 1

    assert len(recorder._free) == 1
    assert recorder._lent == {}


def test_a_refusal_leaves_nothing_switched_on():
    """Another profiler holds what we ask for."""
    library = FakeLibrary(refuses=[2])

    with pytest.raises(CuptiError, match="CUPTI_ERROR_OF_SOME_KIND"):
        Cupti(library).start()
    assert library.enabled == set()


@pytest.mark.parametrize("trouble", [{"n_lost": 3}, {"is_foreign": True}])
def test_an_incomplete_recording_is_refused(trouble):
    """Lost records, or a buffer that isn't ours: part of the work would be missing."""
    library = FakeLibrary(records=[memory_record(1, 100, 200)], **trouble)
    recorder = Cupti(library)
    recorder.start()

    with pytest.raises(CuptiError):
        recorder.stop()
    assert library.enabled == set()
    assert recorder._lent == {}


def test_a_loaded_cupti_is_the_only_candidate(tmp_path):
    """A second one in the same process would see nothing."""
    maps = "7f00-7f01 r--p 00000000 08:01 42    /opt/nvidia/cu13/lib/libcupti.so.13\n7f02-7f03 rw-p 00000000 00:00 0\n"

    assert candidates(maps, tmp_path, "13.0") == ["/opt/nvidia/cu13/lib/libcupti.so.13"]


@pytest.mark.parametrize(("cuda", "folder"), [("13.0", "cu13"), ("12.8", "cuda_cupti")])
def test_the_wheels_cupti_comes_before_the_linkers(tmp_path, cuda, folder):
    """Where the torch wheel's dependencies put it, by CUDA's major version."""
    major = cuda.split(".")[0]
    library = tmp_path / "nvidia" / folder / "lib" / f"libcupti.so.{major}"
    library.parent.mkdir(parents=True)
    library.touch()

    found = candidates("", tmp_path / "torch", cuda)

    assert found[0] == str(library)
    assert f"libcupti.so.{major}" in found


@pytest.mark.parametrize(
    ("name", "expected"),
    [("_Z3addIfEvPT_", "void add<float>(float*)"), ("_add_kernel", "_add_kernel"), ("_Znonsense", "_Znonsense")],
)
def test_names_are_demangled(name, expected):
    """C++ names become readable; others, Triton's among them, stay."""
    assert demangled(name) == expected


def test_nothing_to_load_is_a_cupti_error(monkeypatch):
    """No library anywhere: the caller falls back."""
    monkeypatch.setattr(cupti, "candidates", lambda *_: ["/nowhere/libcupti.so.13"])
    cupti.load.cache_clear()

    with pytest.raises(CuptiError):
        cupti.load()
