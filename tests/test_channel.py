"""The channel: what is sent arrives as it was, and nothing that is made up does any harm."""

from __future__ import annotations

import json
import math
import os
import random
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

from gpuprep import channel as wire
from gpuprep.channel import ENVELOPE, HEADER, MAGIC, Channel, ChannelClosedError, ChannelError, storage_id

NONCE = bytes(range(16))
Ends = tuple[socket.socket, socket.socket]


@pytest.fixture
def ends() -> Iterator[Ends]:
    """Two connected sockets: the other side's, and the one that our channel reads."""
    theirs, ours = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with theirs, ours:
        yield theirs, ours


def passed_on(ends: Ends, body: dict[str, object]) -> dict[str, object]:
    """The body as it comes out at the other end."""
    theirs, ours = ends
    Channel(theirs, NONCE).send(body)
    return Channel(ours, NONCE).receive(deadline=time.monotonic() + 5)


def open_descriptors() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


# Round trips

TENSORS: dict[str, Callable[[], torch.Tensor]] = {
    "contiguous": lambda: torch.randn(3, 5),
    "transposed": lambda: torch.randn(3, 5).t(),
    "strided": lambda: torch.arange(20)[::3],
    "offset": lambda: torch.randn(100)[7:19],
    "expanded": lambda: torch.randn(1, 4).expand(6, 4),
    "scalar": lambda: torch.tensor(2.5),
    "empty": lambda: torch.empty(0),
    "empty rows": lambda: torch.empty(3, 0, 4),
    "empty, offset": lambda: torch.arange(10.0)[10:],
    "bfloat16": lambda: torch.randn(33).bfloat16(),
    "float16": lambda: torch.randn(5).half(),
    "bool": lambda: torch.randn(9) > 0,
    "int8": lambda: torch.arange(-4, 4, dtype=torch.int8),
    "uint16": lambda: torch.arange(4).to(torch.uint16),
    "complex128": lambda: torch.randn(3, dtype=torch.complex128),
    "float8": lambda: torch.randn(8).to(torch.float8_e4m3fn),
    "many axes": lambda: torch.randn([1] * 40 + [2]),
    "needs gradients": lambda: torch.randn(3, requires_grad=True),
}


@pytest.mark.parametrize("make", TENSORS.values(), ids=TENSORS)
def test_tensor_arrives_as_it_was(ends: Ends, make: Callable[[], torch.Tensor]) -> None:
    """Shape, strides, offset, dtype and every byte of the storage survive, whatever the view."""
    sent = make()
    got = passed_on(ends, {"it": sent})["it"]
    assert isinstance(got, torch.Tensor)
    assert (got.dtype, got.shape, got.stride()) == (sent.dtype, sent.shape, sent.stride())
    assert got.numel() == 0 or got.storage_offset() == sent.storage_offset()
    assert bytes(got.untyped_storage()) == bytes(sent.untyped_storage())


def test_nan_payloads_and_negative_zero_keep_their_bits(ends: Ends) -> None:
    """Tensors travel as bytes: no float is touched."""
    bits = torch.tensor([0x7FC00001, 0x7F800001, -0x80000000, 0x7F800000], dtype=torch.int64).to(torch.int32)
    got = passed_on(ends, {"it": bits.view(torch.float32)})["it"]
    assert isinstance(got, torch.Tensor)
    assert torch.equal(got.view(torch.int32), bits)


def test_shared_storage_stays_shared(ends: Ends) -> None:
    """Two views of one storage are two views of one storage on the other side; separate ones stay separate."""
    base = torch.arange(10.0)
    got = passed_on(ends, {"views": [base, base[3:]], "other": base.clone()})
    first, second = got["views"]  # type: ignore[misc]
    other = got["other"]
    assert storage_id(first) == storage_id(second) != storage_id(other)  # type: ignore[arg-type]
    first[3] = 99
    assert second[0] == 99


def test_empty_storages_are_not_taken_for_one(ends: Ends) -> None:
    """Empty tensors all live at address 0 and are still different ones."""
    got = passed_on(ends, {"a": torch.empty(0), "b": torch.empty(0)})
    assert storage_id(got["a"]) != storage_id(got["b"])  # type: ignore[arg-type]


def test_scalars_and_nesting(ends: Ends) -> None:
    """Plain values arrive with their types; tuples become lists."""
    body = {"a": [1, -(2**70), 2.5, True, None, "ü\n\0"], "b": {"c": {"d": []}}, "e": (1, (2, {}))}
    assert passed_on(ends, body) == {**body, "e": [1, [2, {}]]}
    assert type(passed_on(ends, {"a": True})["a"]) is bool


def test_floats_that_json_lacks(ends: Ends) -> None:
    """NaN, infinities and −0.0 survive."""
    nan, plus, minus, zero = passed_on(ends, {"a": [math.nan, math.inf, -math.inf, -0.0]})["a"]  # type: ignore[misc]
    assert math.isnan(nan)
    assert (plus, minus) == (math.inf, -math.inf)
    assert math.copysign(1, zero) == -1


def test_text_with_half_a_character(ends: Ends) -> None:
    """What can't be written to a file or a terminal is replaced where it is sent."""
    assert passed_on(ends, {"a": "x\udc80y 🚀"}) == {"a": "x?y 🚀"}


def test_messages_keep_their_order(ends: Ends) -> None:
    """Several messages in flight are received one at a time, first in first out."""
    theirs, ours = (Channel(end, NONCE) for end in ends)
    for number in range(5):
        theirs.send({"number": number})
    assert [ours.receive()["number"] for _ in range(5)] == list(range(5))


UNSENDABLE = {"object": object(), "bytes": b"bytes", "set": {1, 2}, "complex": 1j, "reference": {"$tensor": 0}}


@pytest.mark.parametrize("value", UNSENDABLE.values(), ids=UNSENDABLE)
def test_what_cannot_be_sent_is_refused_where_it_is_sent(ends: Ends, value: object) -> None:
    """The sender learns that a value has no form in a message; nothing is sent."""
    with pytest.raises(ChannelError):
        Channel(ends[0], NONCE).send({"it": value})
    with pytest.raises(TimeoutError):
        Channel(ends[1], NONCE).receive(deadline=time.monotonic() + 0.05)


def test_body_that_is_too_large_is_refused_where_it_is_sent(ends: Ends, monkeypatch: pytest.MonkeyPatch) -> None:
    """The JSON part is capped on both sides."""
    monkeypatch.setattr(wire, "MAX_JSON_BYTES", 1000)
    with pytest.raises(ChannelError):
        Channel(ends[0], NONCE).send({"it": "x" * 1000})


# Waiting and ending


def test_deadline(ends: Ends) -> None:
    """Nothing comes: TimeoutError at the deadline, also when it has passed; afterwards the channel still works."""
    ours = Channel(ends[1], NONCE)
    started = time.monotonic()
    with pytest.raises(TimeoutError):
        ours.receive(deadline=started + 0.1)
    with pytest.raises(TimeoutError):
        ours.receive(deadline=started)
    assert 0.1 <= time.monotonic() - started < 2
    assert passed_on(ends, {"a": 1}) == {"a": 1}


def test_waiting_for_ever_ends_with_the_message(ends: Ends) -> None:
    """Without a deadline `receive` blocks until something comes."""
    timer = threading.Timer(0.1, lambda: Channel(ends[0], NONCE).send({"late": True}))
    timer.start()
    assert Channel(ends[1], NONCE).receive() == {"late": True}
    timer.join()


def test_closed_peer(ends: Ends) -> None:
    """Both directions say that the other side is gone; what it sent before is still received."""
    theirs, ours = (Channel(end, NONCE) for end in ends)
    theirs.send({"last": 1})
    theirs.close()
    assert ours.receive() == {"last": 1}
    with pytest.raises(ChannelClosedError):
        ours.receive(deadline=time.monotonic() + 5)
    with pytest.raises(ChannelClosedError):
        ours.send({"a": 1})


def test_peer_closed_with_unread_requests(ends: Ends) -> None:
    """A connection that the other side drops without reading counts as closed too."""
    ours = Channel(ends[1], NONCE)
    ours.send({"never": "read"})
    ends[0].close()
    with pytest.raises(ChannelClosedError):
        ours.receive(deadline=time.monotonic() + 5)


def test_wrong_nonce(ends: Ends) -> None:
    """A message from another check is refused."""
    Channel(ends[0], b"x" * 16).send({"a": 1})
    with pytest.raises(ChannelError):
        Channel(ends[1], NONCE).receive()


def test_larger_than_allowed(ends: Ends) -> None:
    """The receiver's cap holds, whatever the sender's is."""
    Channel(ends[0], NONCE).send({"it": torch.zeros(1000)})
    with pytest.raises(ChannelError):
        Channel(ends[1], NONCE, max_bytes=2000).receive()


# Made-up messages


def message(text: bytes, payload: bytes = b"", **header: object) -> bytes:
    """A message file; `header` replaces fields that would be right: magic, n_json, n_payload, total, nonce."""
    start = -(-(HEADER.size + len(text)) // 64) * 64
    right = {"magic": MAGIC, "n_json": len(text), "n_payload": len(payload), "total": start + len(payload)}
    fields = {**right, "nonce": NONCE, **header}
    return (HEADER.pack(*fields.values()) + text).ljust(start, b"\0") + payload


def memory_file(data: bytes, *, sealed: bool = True) -> int:
    descriptor = os.memfd_create("test", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    os.write(descriptor, data)
    if sealed:
        wire._seal(descriptor)
    return descriptor


def delivered(ends: Ends, descriptors: list[int], n_bytes: int, nonce: bytes = NONCE) -> dict[str, object]:
    """What our side makes of these descriptors, which are closed."""
    theirs, ours = ends
    try:
        socket.send_fds(theirs, [ENVELOPE.pack(nonce, n_bytes)], descriptors)
    finally:
        for descriptor in descriptors:
            os.close(descriptor)
    return Channel(ours, NONCE, max_bytes=2**20).receive(deadline=time.monotonic() + 5)


def read(ends: Ends, data: bytes) -> dict[str, object]:
    return delivered(ends, [memory_file(data)], len(data))


def tensor_row(**changes: object) -> dict[str, object]:
    return {"$tensor": 0, "dtype": "float32", "shape": [4], "strides": [1], "offset": 0, **changes}


def with_tensor(**changes: object) -> bytes:
    """A message with one tensor in a storage of 64 bytes."""
    root = {"body": {"it": tensor_row(**changes)}, "storages": [{"offset": 0, "bytes": 64}]}
    return message(json.dumps(root).encode(), bytes(64))


def with_storages(*rows: object, payload: int = 128) -> bytes:
    return message(json.dumps({"body": {}, "storages": rows}).encode(), bytes(payload))


def with_body(text: str) -> bytes:
    return message(f'{{"body":{text},"storages":[]}}'.encode())


def test_made_up_message_that_is_right(ends: Ends) -> None:
    """The builders below make valid messages, so what is refused is refused for its fault."""
    assert read(ends, with_body('{"a":1}')) == {"a": 1}
    assert torch.equal(read(ends, with_tensor())["it"], torch.zeros(4))  # type: ignore[arg-type]
    assert read(ends, with_storages({"offset": 0, "bytes": 60}, {"offset": 64, "bytes": 64})) == {}


HUGE = 2**39
BROKEN = {
    "no bytes": b"",
    "no header": b"gpuprep",
    "magic": message(b"{}", magic=b"GPUPREP\x01"),
    "nonce inside": message(b"{}", nonce=b"x" * 16),
    "lying total": message(b"{}", total=7),
    "lying JSON size": message(b"{}", n_json=2**31),
    "lying payload size": message(b"{}", n_payload=2**63),
    "no JSON": message(b""),
    "other JSON": message(b"[]"),
    "null": message(b"null"),
    "UTF-16": message('{"body":{},"storages":[]}'.encode("utf-16")),
    "no UTF-8": message(b'{"body":{"a":"\xff"},"storages":[]}'),
    "no storages": message(b'{"body":{}}'),
    "more keys": message(b'{"body":{},"storages":[],"more":1}'),
    "duplicate key": with_body('{"a":1,"a":2}'),
    "duplicate key inside": with_body('{"b":[{"a":1,"a":2}]}'),
    "NaN": with_body('{"a":NaN}'),
    "-Infinity": with_body('{"a":-Infinity}'),
    "infinity in digits": with_body('{"a":1e999}'),
    "half a character": with_body('{"a":["\\ud800"]}'),
    "endless integer": with_body('{"a":' + "1" * 5000 + "}"),
    "list as body": with_body("[]"),
    "tensor as body": with_body(json.dumps(tensor_row(shape=[0]))),
    "float as body": with_body('{"$float":"nan"}'),
    "broken float": with_body('{"a":{"$float":"1.5"}}'),
    "float of a list": with_body('{"a":{"$float":["nan"]}}'),
    "float and more": with_body('{"a":{"$float":"nan","b":1}}'),
    "deep lists": with_body('{"a":' + "[" * 600 + "]" * 600 + "}"),
    "deep dicts": with_body('{"a":' * 600 + "1" + "}" * 600),
    "bottomless": with_body('{"a":' + "[" * 100_000 + "]" * 100_000 + "}"),
    "unknown dtype": with_tensor(dtype="float31"),
    "attribute as dtype": with_tensor(dtype="load"),
    "list as dtype": with_tensor(dtype=["float32"]),
    "no such storage": with_tensor(**{"$tensor": 1}),
    "negative storage": with_tensor(**{"$tensor": -1}),
    "boolean as storage": with_tensor(**{"$tensor": False}),
    "more keys in a tensor": with_tensor(more=1),
    "past the storage": with_tensor(shape=[17]),
    "stride past the storage": with_tensor(strides=[6]),
    "offset past the storage": with_tensor(offset=13),
    "negative size": with_tensor(shape=[-4]),
    "negative stride": with_tensor(strides=[-1]),
    "boolean as size": with_tensor(shape=[True]),
    "float as size": with_tensor(shape=[4.0]),
    "text as shape": with_tensor(shape="4"),
    "fewer strides": with_tensor(shape=[2, 2]),
    "too many axes": with_tensor(shape=[1] * 65, strides=[1] * 65),
    "huge, one element in memory": with_tensor(shape=[HUGE, HUGE], strides=[0, 0]),
    "huge with a zero last": with_tensor(shape=[HUGE, HUGE, 0], strides=[1, 1, 1]),
    "huge with a zero first": with_tensor(shape=[0, HUGE, HUGE], strides=[1, 1, 1]),
    "huge stride": with_tensor(shape=[1], strides=[2**70]),
    "huge offset of nothing": with_tensor(shape=[0], offset=2**70),
    "table that is none": message(b'{"body":{},"storages":{}}'),
    "row that is none": with_storages(7, payload=0),
    "row with more": with_storages({"offset": 0, "bytes": 128, "more": 1}),
    "overlapping": with_storages({"offset": 0, "bytes": 128}, {"offset": 64, "bytes": 64}),
    "same place twice": with_storages({"offset": 0, "bytes": 64}, {"offset": 0, "bytes": 64}),
    "gap": with_storages({"offset": 64, "bytes": 64}),
    "past the payload": with_storages({"offset": 0, "bytes": 2**62}),
    "negative bytes": with_storages({"offset": 0, "bytes": -64}),
    "boolean as bytes": with_storages({"offset": False, "bytes": 128}),
    "unaligned": with_storages({"offset": 1, "bytes": 127}),
    "bytes of no storage": with_storages({"offset": 0, "bytes": 64}),
    "too many storages": with_storages(*[{"offset": 0, "bytes": 0}] * 5000, payload=0),
}


@pytest.mark.parametrize("data", BROKEN.values(), ids=BROKEN)
def test_broken_message_is_refused(ends: Ends, data: bytes) -> None:
    """Whatever is wrong with a message, it is a ChannelError, and no descriptor is left open."""
    before = open_descriptors()
    with pytest.raises(ChannelError):
        read(ends, data)
    assert open_descriptors() == before


def test_empty_tensor_may_have_odd_strides(ends: Ends) -> None:
    """A zero in the shape makes strides and offset meaningless; such tensors are honest."""
    got = read(ends, with_tensor(shape=[3, 0, 1000], strides=[0, 1000, 1]))["it"]
    assert got.shape == (3, 0, 1000)  # type: ignore[attr-defined]


def test_storage_smaller_than_an_element(ends: Ends) -> None:
    """A storage whose size is no multiple of the element's is read up to its last whole element only."""
    root = {"body": {"it": tensor_row(shape=[1])}, "storages": [{"offset": 0, "bytes": 5}]}
    assert read(ends, message(json.dumps(root).encode(), bytes(64)))["it"].numel() == 1  # type: ignore[attr-defined]
    root["body"] = {"it": tensor_row(shape=[2])}
    with pytest.raises(ChannelError):
        read(ends, message(json.dumps(root).encode(), bytes(64)))


def test_size_announced_wrongly(ends: Ends) -> None:
    """The envelope and the file must agree."""
    data = with_body("{}")
    for n_bytes in (0, len(data) - 1, len(data) + 1, 2**63):
        with pytest.raises(ChannelError):
            delivered(ends, [memory_file(data)], n_bytes)


@pytest.mark.parametrize("n_files", [0, 2, 4, 9])
def test_not_one_descriptor(ends: Ends, n_files: int) -> None:
    """A message has exactly one file; others are closed again."""
    data = with_body("{}")
    before = open_descriptors()
    with pytest.raises(ChannelError):
        delivered(ends, [memory_file(data) for _ in range(n_files)], len(data))
    assert open_descriptors() == before


@pytest.mark.parametrize("envelope", [b"x", ENVELOPE.pack(NONCE, 64) + b"x"], ids=["short", "long"])
def test_envelope_of_another_size(ends: Ends, envelope: bytes) -> None:
    """What is no envelope is refused."""
    ends[0].send(envelope)
    with pytest.raises(ChannelError):
        Channel(ends[1], NONCE).receive()


def test_file_that_can_still_be_changed(ends: Ends) -> None:
    """A memory file without seals could shrink or change while it is read: it isn't read at all."""
    data = with_body("{}")
    with pytest.raises(ChannelError):
        delivered(ends, [memory_file(data, sealed=False)], len(data))


@pytest.mark.parametrize("what", ["folder", "file", "pipe", "socket", "device"])
def test_descriptor_of_something_else(ends: Ends, tmp_path: Path, what: str) -> None:
    """Folders, ordinary files, pipes, sockets and devices aren't messages, whatever size they claim."""
    if what == "pipe":
        descriptor, other = os.pipe()
        os.close(other)
    elif what == "socket":
        descriptor = socket.socket(socket.AF_UNIX).detach()
    else:
        place = {"folder": f"{tmp_path}", "file": f"{tmp_path}/message", "device": "/dev/zero"}[what]
        if what == "file":
            Path(place).write_bytes(with_body("{}"))
        descriptor = os.open(place, os.O_RDONLY)
    with pytest.raises(ChannelError):
        delivered(ends, [descriptor], os.fstat(descriptor).st_size)


def test_file_that_ends_early() -> None:
    """Reading past the end of a file is an error, never a wait or a crash."""
    descriptor = memory_file(b"12345678", sealed=False)
    try:
        os.ftruncate(descriptor, 4)
        with pytest.raises(ChannelError):
            wire._read_exactly(descriptor, 8, 0)
    finally:
        os.close(descriptor)


def test_no_memory_for_a_storage(ends: Ends, monkeypatch: pytest.MonkeyPatch) -> None:
    """A sparse file that is larger than memory is refused like any other broken message."""

    def full(*_: object, **__: object) -> torch.Tensor:
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory")

    data = with_storages({"offset": 0, "bytes": 128})
    monkeypatch.setattr(torch, "empty", full)
    with pytest.raises(ChannelError):
        read(ends, data)


# Fuzzing


def honest_message() -> bytes:
    """A message like those that a worker sends: scalars, nesting, several tensors, a shared and an empty storage."""
    base = torch.arange(40, dtype=torch.float32)
    body = {
        "status": "returned",
        "outputs": [base.view(5, 8)[:, ::2], base[3:]],
        "args": [torch.randn(6).half(), torch.empty(0, 3), 1.5, math.nan],
        "work": {"bytes_loaded": 12, "launches": 1},
        "findings": [{"kind": "race", "line": 3, "program": [0, 0, 0]}],
    }
    descriptor = os.memfd_create("test", os.MFD_CLOEXEC)
    try:
        return os.pread(descriptor, wire._write(descriptor, body, NONCE), 0)
    finally:
        os.close(descriptor)


VALUES: tuple[object, ...] = (
    *(0, 1, -1, 2, 63, 64, 2**31, 2**39, 2**63 - 1, 2**63, 2**64, -(2**63), 10**30, 0.5, 1e308, True, False, None),
    *("", "x", "float32", "float64", "bool", "$tensor", [], {}, [0], [2**39, 2**39, 0], [0, 2**62], {"$float": "nan"}),
    *({"$tensor": 0}, {"offset": 0, "bytes": 0}, [[[[[]]]]]),
)
NOISE = (b"NaN", b"Infinity", b"1e999", b"{", b"}", b"[", b"]", b",", b'"', b"\\", b"\xff", b"\0", b"-", b"9" * 30)


def places_in(tree: object) -> list[tuple[dict[str, object] | list[object], object]]:
    """Every (container, key) in a JSON tree."""
    found: list[tuple[dict[str, object] | list[object], object]] = []
    items = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ()
    for key, value in items:
        found += [(tree, key), *places_in(value)]  # type: ignore[list-item]
    return found


class Corruptor:
    """Breaks a valid message in one of many ways."""

    def __init__(self, data: bytes, seed: int) -> None:
        self.rng = random.Random(seed)
        self.data = data
        n_json = HEADER.unpack_from(data)[1]
        self.text = data[HEADER.size : HEADER.size + n_json]
        self.payload = data[-(-(HEADER.size + n_json) // 64) * 64 :]
        self.ways = (self.flip, self.header, self.cut, self.grow, self.value, self.value, self.text_noise, self.nest)

    def corrupted(self) -> bytes:
        return self.rng.choice(self.ways)()

    def flip(self) -> bytes:
        data = bytearray(self.data)
        reach = self.rng.choice((HEADER.size, HEADER.size + len(self.text), len(data)))
        for _ in range(self.rng.choice((1, 1, 2, 8))):
            data[self.rng.randrange(reach)] ^= 1 << self.rng.randrange(8)
        return bytes(data)

    def header(self) -> bytes:
        size = self.rng.choice((0, 1, 44, 64, 2**16, 2**31, 2**32 - 1, len(self.text) + 1, len(self.payload) + 64))
        field = self.rng.choice(("n_json", "n_payload", "total"))
        return message(self.text, self.payload, **{field: size})

    def cut(self) -> bytes:
        return self.data[: self.rng.randrange(len(self.data))]

    def grow(self) -> bytes:
        return message(self.text, self.payload + bytes(self.rng.choice((1, 64, 4096))))

    def value(self) -> bytes:
        root = json.loads(self.text)
        for _ in range(self.rng.choice((1, 1, 1, 3))):
            container, key = self.rng.choice(places_in(root))
            way = self.rng.randrange(4)
            if way == 0 and isinstance(container, dict):
                container.pop(key, None)
            elif way == 1 and isinstance(container, dict):
                container[self.rng.choice(("$tensor", "$float", "more"))] = self.rng.choice(VALUES)
            elif way == 2 and isinstance(container, list):
                container.append(self.rng.choice(VALUES))
            else:
                container[key] = self.rng.choice(VALUES)  # type: ignore[index,call-overload]
        return message(json.dumps(root).encode(), self.payload)

    def text_noise(self) -> bytes:
        at, text = self.rng.randrange(len(self.text)), self.text
        removed = self.rng.choice((0, 0, 1, 5))
        if self.rng.random() < 0.2:
            text = text.replace(b'"body":{', b'"body":{"status":1,', 1)  # a key twice
        return message(text[:at] + self.rng.choice(NOISE) + text[at + removed :], self.payload)

    def nest(self) -> bytes:
        depth = self.rng.choice((10, 40, 500, 990, 5000))
        opened, closed = self.rng.choice(((b"[", b"]"), (b'{"a":', b"}")))
        value = opened * depth + b"0" + closed * depth
        return message(self.text.replace(b'"status":"returned"', b'"status":' + value, 1), self.payload)


def fuzz(ends: Ends, seed: int, n_messages: int) -> tuple[int, int]:
    """How many of so many corrupted messages were accepted, and how many were refused."""
    corruptor = Corruptor(honest_message(), seed)
    n_accepted = n_refused = 0
    for _ in range(n_messages):
        data = corruptor.corrupted()
        try:
            for value in _tensors(read(ends, data)):
                # What is accepted must also be usable: touch every element of small ones.
                assert value.numel() > 2**20 or value.clone().numel() == value.numel()
            n_accepted += 1
        except ChannelError:
            n_refused += 1
    return n_accepted, n_refused


def _tensors(tree: object) -> Iterator[torch.Tensor]:
    if isinstance(tree, torch.Tensor):
        yield tree
    elif isinstance(tree, dict | list):
        for item in tree.values() if isinstance(tree, dict) else tree:
            yield from _tensors(item)


def test_honest_message_is_accepted(ends: Ends) -> None:
    """What the fuzzer starts from is valid, and its builder puts it together again byte for byte."""
    data = honest_message()
    corruptor = Corruptor(data, 0)
    assert message(corruptor.text, corruptor.payload) == data
    assert read(ends, data)["status"] == "returned"


@pytest.mark.parametrize("seed", range(5))
def test_corrupted_messages_do_no_harm(ends: Ends, seed: int) -> None:
    """A corrupted message is refused with a ChannelError, or still is a valid one; nothing else happens."""
    before = open_descriptors()
    n_accepted, n_refused = fuzz(ends, seed, 100)
    assert n_accepted + n_refused == 100
    assert n_refused > 40
    assert open_descriptors() == before


@pytest.mark.soak
def test_corrupted_messages_do_no_harm_for_long(ends: Ends) -> None:
    """The same, many times more."""
    before = open_descriptors()
    n_accepted, n_refused = fuzz(ends, 20_000, 10_000)
    assert n_accepted + n_refused == 10_000
    assert open_descriptors() == before


def test_file_shrinking_while_it_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """Even if a file without seals were read, truncating it all the while would give a ChannelError at most."""
    monkeypatch.setattr(wire, "_is_sealed", lambda _: True)
    data = with_tensor()
    descriptor = memory_file(data, sealed=False)
    stopped = threading.Event()

    def shrink_and_grow() -> None:
        while not stopped.is_set():
            os.ftruncate(descriptor, 10)
            os.ftruncate(descriptor, len(data))
            os.pwrite(descriptor, data, 0)

    thread = threading.Thread(target=shrink_and_grow)
    thread.start()
    outcomes = []
    try:
        for _ in range(200):
            try:
                outcomes.append(set(wire._read(descriptor, len(data), NONCE, 2**20)))
            except ChannelError:
                outcomes.append(set())
    finally:
        stopped.set()
        thread.join()
        os.close(descriptor)
    assert len(outcomes) == 200
    assert all(keys <= {"it"} for keys in outcomes)
