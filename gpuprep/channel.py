"""What passes between the trusted side and the worker: one message is one sealed memory file.

    header   magic, version, sizes of the parts, nonce          (fixed size, little endian)
    JSON     the body, with a reference in place of each tensor, and a table of storages
    bytes    the storages, each at a 64-byte boundary

The file's descriptor travels over a Unix socket. Tensors keep their strides, and tensors that shared a storage share
one again on the other side, so that an output which aliases an input is seen to. Nothing is ever unpickled: whatever
the other side wrote is copied once, then parsed, and anything odd is a ChannelError.
"""

from __future__ import annotations

import fcntl
import json
import math
import os
import socket
import struct
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NoReturn, cast

if TYPE_CHECKING:
    import torch
    from typing_extensions import Buffer

MAGIC = b"gpuprep\x01"
HEADER = struct.Struct("<8sIQQ16s")
"""magic, JSON bytes, payload bytes, message bytes in all, nonce."""
ENVELOPE = struct.Struct("<16sQ")
"""What travels beside the descriptor: nonce, message bytes in all."""
NONCE_BYTES = 16

MAX_JSON_BYTES = 16 * 2**20
MAX_STORAGES = 4096
MAX_AXES = 64
MAX_DEPTH = 32
"""Of nesting: far more than any honest body has, far less than Python's own limit."""
ALIGNMENT = 64
_MFD_NOEXEC_SEAL = 8
_SEALS = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE

_DTYPES = frozenset(
    "float64 float32 float16 bfloat16 float8_e4m3fn float8_e5m2 complex64 complex128 bool "
    "int64 int32 int16 int8 uint64 uint32 uint16 uint8".split()
)


class ChannelError(Exception):
    """The other side sent something that no honest side sends, or went away."""


class ChannelClosedError(ChannelError):
    """The other side closed the channel without answering."""


class Channel:
    """One end of the channel.

    Args:
        end: a connected Unix socket that keeps message boundaries.
        nonce: 16 bytes that both ends know; guards against mix-ups, not against theft.
        max_bytes: the largest message that is accepted.
    """

    def __init__(self, end: socket.socket, nonce: bytes, *, max_bytes: int = 16 * 2**30) -> None:
        self._socket = end
        self._nonce = nonce
        self._max_bytes = max_bytes

    def send(self, body: Mapping[str, Any]) -> None:
        """Send a tree of dicts, lists, scalars and dense tensors.


        Raises:
            ChannelError: the other side is gone, or the tree holds something that can't be sent.
        """
        descriptor = memory_file("gpuprep", os.MFD_ALLOW_SEALING)
        try:
            n_bytes = _write(descriptor, body, self._nonce)
            _seal(descriptor)
            socket.send_fds(self._socket, [ENVELOPE.pack(self._nonce, n_bytes)], [descriptor])
        except OSError as error:
            raise ChannelClosedError(f"the other side is gone: {error}") from error
        finally:
            os.close(descriptor)

    def receive(self, *, deadline: float | None = None) -> dict[str, Any]:
        """Wait for a message.

        Args:
            deadline: a `time.monotonic()` value, or None to wait for ever.

        Raises:
            TimeoutError: the deadline passed.
            ChannelClosedError: the other side went away.
            ChannelError: the message can't be trusted.
        """
        left = None if deadline is None else deadline - time.monotonic()
        if left is not None and left <= 0:
            raise TimeoutError
        self._socket.settimeout(left)
        try:
            envelope, descriptors, _, _ = socket.recv_fds(self._socket, ENVELOPE.size + 1, 4)
        except TimeoutError:
            raise
        except OSError as error:
            raise ChannelClosedError(f"the other side is gone: {error}") from error
        try:
            if not envelope:
                raise ChannelClosedError("the other side closed the channel")
            if len(envelope) != ENVELOPE.size or len(descriptors) != 1:
                raise ChannelError("a message without its envelope")
            nonce, n_bytes = ENVELOPE.unpack(envelope)
            if nonce != self._nonce:
                raise ChannelError("a message from another check")
            return _read(descriptors[0], n_bytes, self._nonce, self._max_bytes)
        except (OSError, MemoryError) as error:
            # No memory file at all, but a folder, say; or sizes that nobody has the memory for.
            raise ChannelError(f"a message that can't be read: {error}") from error
        finally:
            for descriptor in descriptors:
                os.close(descriptor)

    def close(self) -> None:
        """Close this end."""
        self._socket.close()


def memory_file(name: str, flags: int = 0) -> int:
    """A file that is in memory only, and that no program can be started from where the kernel knows of such files.

    A confined worker may make no others.

    Args:
        name: for whoever looks at the process.
        flags: more of `memfd_create`.
    """
    flags |= os.MFD_CLOEXEC
    try:
        return os.memfd_create(name, flags | _MFD_NOEXEC_SEAL)
    except OSError:
        return os.memfd_create(name, flags)


def _seal(descriptor: int) -> None:
    fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, _SEALS | fcntl.F_SEAL_SEAL)


def _is_sealed(descriptor: int) -> bool:
    try:
        return fcntl.fcntl(descriptor, fcntl.F_GET_SEALS) & _SEALS == _SEALS
    except OSError:
        # Not a memory file: reading it could hang, or run code of a file system's owner.
        return False


# Writing


def _write(descriptor: int, body: Mapping[str, Any], nonce: bytes) -> int:
    storages: list[torch.UntypedStorage] = []
    tree = _refer(body, storages, {})
    table: list[dict[str, Any]] = []
    parts: list[tuple[int, memoryview]] = []
    payload_bytes = 0
    for storage in storages:
        table.append({"offset": payload_bytes, "bytes": storage.nbytes()})
        parts.append((payload_bytes, _view(_as_bytes(storage).cpu())))
        payload_bytes = _aligned(payload_bytes + storage.nbytes())
    text = json.dumps({"body": tree, "storages": table}, allow_nan=False, separators=(",", ":")).encode()
    if len(text) > MAX_JSON_BYTES:
        raise ChannelError(f"the body takes {len(text)} bytes of JSON; {MAX_JSON_BYTES} are allowed")
    start = _aligned(HEADER.size + len(text))
    total = start + payload_bytes
    os.ftruncate(descriptor, total)
    _write_all(descriptor, memoryview(text), HEADER.size)
    for offset, data in parts:
        _write_all(descriptor, data, start + offset)
    # Last, so that a file without its magic is one whose writer did not finish.
    _write_all(descriptor, memoryview(HEADER.pack(MAGIC, len(text), payload_bytes, total, nonce)), 0)
    return total


def _refer(value: Any, storages: list[torch.UntypedStorage], places: dict[int, int]) -> Any:
    import torch

    if isinstance(value, torch.Tensor):
        return _refer_tensor(value, storages, places)
    if isinstance(value, Mapping):
        if any(str(key).startswith("$") for key in value):
            raise ChannelError("a key that starts with $ can't be sent")
        return {str(key): _refer(item, storages, places) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_refer(item, storages, places) for item in value]
    if isinstance(value, str):
        return value.encode(errors="replace").decode()
    if value is None or isinstance(value, int):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else {"$float": repr(value)}
    raise ChannelError(f"a {type(value).__name__} can't be sent")


def _refer_tensor(tensor: torch.Tensor, storages: list[torch.UntypedStorage], places: dict[int, int]) -> dict[str, Any]:
    storage = tensor.untyped_storage()
    key = storage_id(tensor)
    if key not in places:
        places[key] = len(storages)
        storages.append(storage)
    return {
        "$tensor": places[key],
        "dtype": str(tensor.dtype).removeprefix("torch."),
        "shape": list(tensor.shape),
        "strides": list(tensor.stride()),
        "offset": tensor.storage_offset(),
    }


def storage_id(tensor: torch.Tensor) -> int:
    """Equal for two tensors of this process that share a storage, and only for those."""
    # The storage's own handle, not its address: empty storages all live at address 0, and two of them are still two.
    return int(tensor.untyped_storage()._cdata)  # noqa: SLF001


def _as_bytes(storage: torch.UntypedStorage) -> torch.Tensor:
    import torch

    return torch.empty(0, dtype=torch.uint8, device=storage.device).set_(storage)


def _view(data: torch.Tensor) -> memoryview:
    return memoryview(cast("Buffer", data.numpy()))


def _write_all(descriptor: int, data: memoryview, offset: int) -> None:
    done = 0
    while done < data.nbytes:
        done += os.pwrite(descriptor, data[done:], offset + done)


def _aligned(offset: int) -> int:
    return -(-offset // ALIGNMENT) * ALIGNMENT


# Reading: nothing below may believe anything that the file says.


def _read(descriptor: int, n_bytes: int, nonce: bytes, max_bytes: int) -> dict[str, Any]:
    if not _is_sealed(descriptor):
        raise ChannelError("a message that can still be changed")
    size = os.fstat(descriptor).st_size
    if size != n_bytes or not HEADER.size <= size <= max_bytes:
        raise ChannelError(f"a message of {size} bytes, announced as {n_bytes}")
    magic, json_bytes, payload_bytes, total, found = HEADER.unpack(_read_exactly(descriptor, HEADER.size, 0))
    if magic != MAGIC or found != nonce or total != size:
        raise ChannelError("a message with a broken header")
    start = _aligned(HEADER.size + json_bytes)
    if json_bytes > MAX_JSON_BYTES or start + payload_bytes != size:
        raise ChannelError("a message whose parts don't fit its size")
    root = _parse(_read_exactly(descriptor, json_bytes, HEADER.size))
    if not isinstance(root, dict) or set(root) != {"body", "storages"} or not isinstance(root["body"], dict):
        raise ChannelError("a message without a body")
    storages = _read_storages(descriptor, root["storages"], start, payload_bytes)
    body = _restore(root["body"], storages)
    if not isinstance(body, dict):
        raise ChannelError("a reference in place of a body")
    return body


def _parse(text: bytes) -> Any:
    def refuse(constant: str) -> NoReturn:
        raise ChannelError(f"{constant} in JSON")

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) != len(pairs):
            raise ChannelError("a duplicate key in JSON")
        return found

    def finite(digits: str) -> float:
        # JSON's grammar has no infinity, but 1e999 is one.
        value = float(digits)
        return value if math.isfinite(value) else refuse(digits)

    try:
        return json.loads(text.decode(), parse_constant=refuse, parse_float=finite, object_pairs_hook=unique)
    except (ValueError, RecursionError) as error:
        raise ChannelError(f"broken JSON: {error}") from error


def _read_storages(descriptor: int, table: Any, start: int, payload_bytes: int) -> list[torch.UntypedStorage]:
    import torch

    if not isinstance(table, list) or len(table) > MAX_STORAGES:
        raise ChannelError("a broken table of storages")
    storages, end = [], 0
    for row in table:
        if not isinstance(row, dict) or set(row) != {"offset", "bytes"}:
            raise ChannelError("a broken row in the table of storages")
        offset, n_bytes = _natural(row["offset"]), _natural(row["bytes"])
        # In order and without overlap: each starts where the one before it ended.
        if offset != end or offset + n_bytes > payload_bytes:
            raise ChannelError("a storage outside its place")
        end = _aligned(offset + n_bytes)
        try:
            storage = torch.empty(n_bytes, dtype=torch.uint8)
        except RuntimeError as error:
            raise ChannelError(f"no memory for {n_bytes} bytes") from error
        _read_into(descriptor, _view(storage), start + offset)
        storages.append(storage.untyped_storage())
    if end != payload_bytes:
        raise ChannelError("bytes that belong to no storage")
    return storages


def _restore(value: Any, storages: list[torch.UntypedStorage], depth: int = 0) -> Any:
    if depth > MAX_DEPTH:
        raise ChannelError("a body nested too deeply")
    if isinstance(value, dict):
        if "$tensor" in value:
            return _restore_tensor(value, storages)
        if "$float" in value:
            if value not in ({"$float": "nan"}, {"$float": "inf"}, {"$float": "-inf"}):
                raise ChannelError("a broken float")
            return float(value["$float"])
        return {key: _restore(item, storages, depth + 1) for key, item in value.items()}
    if isinstance(value, list):
        return [_restore(item, storages, depth + 1) for item in value]
    if isinstance(value, str) and any("\ud800" <= character <= "\udfff" for character in value):
        raise ChannelError("half a character, which no file or terminal would take")
    return value


def _restore_tensor(row: dict[str, Any], storages: list[torch.UntypedStorage]) -> torch.Tensor:
    import torch

    if set(row) != {"$tensor", "dtype", "shape", "strides", "offset"}:
        raise ChannelError("a broken tensor")
    place, offset = _natural(row["$tensor"]), _natural(row["offset"])
    if place >= len(storages) or str(row["dtype"]) not in _DTYPES:
        raise ChannelError("a tensor of no known dtype or storage")
    shape, strides = row["shape"], row["strides"]
    if not isinstance(shape, list) or not isinstance(strides, list) or not len(shape) == len(strides) <= MAX_AXES:
        raise ChannelError("a tensor whose shape and strides disagree")
    shape, strides = [_natural(size) for size in shape], [_natural(stride) for stride in strides]
    dtype = getattr(torch, row["dtype"])
    storage = storages[place]
    # A zero anywhere makes the tensor empty, whatever the product of the other sizes is.
    extent = 0 if 0 in shape else 1 + sum((size - 1) * stride for size, stride in zip(shape, strides, strict=True))
    if extent and (offset + extent) * dtype.itemsize > storage.nbytes():
        raise ChannelError("a tensor that reaches past its storage")
    # Without the zeros: torch multiplies in 64 bits, and would overflow before it comes to them.
    n_elements = math.prod(size for size in shape if size)
    if n_elements > 2**40 or max([offset, *shape, *strides], default=0) >= 2**40:
        raise ChannelError("a tensor too large to be true")
    whole = torch.empty(0, dtype=dtype, device=storage.device).set_(storage)
    return whole.as_strided(shape, strides, offset if extent else 0)


def _natural(value: Any) -> int:
    if type(value) is not int or value < 0:
        raise ChannelError(f"{value!r} where a size belongs")
    return value


def _read_exactly(descriptor: int, n_bytes: int, offset: int) -> bytes:
    data = bytearray(n_bytes)
    _read_into(descriptor, memoryview(data), offset)
    return bytes(data)


def _read_into(descriptor: int, view: memoryview, offset: int) -> None:
    # Reading copies; a mapping could be truncated under us and would then kill the process.
    done = 0
    while done < view.nbytes:
        got = os.preadv(descriptor, [view[done:]], offset + done)
        if got == 0:
            raise ChannelError("a message cut short")
        done += got
