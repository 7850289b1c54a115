"""The keys that results are signed with: Ed25519, in PEM files.

A private key is read by `gpuprep classroom sign` alone, which runs no learner's code. No environment variable holds a
passphrase: what a shell exports, every process has that is started from it, grading among them.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import shlex
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from gpuprep.errors import UsageError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

MODE = 0o600
MAX_BYTES = 2**16
"""Of a key's file: more is something else."""
_FINGERPRINT_DIGITS = 32
_HEX_KEY = re.compile(r"[0-9a-f]{64}")

AskPassphrase = Callable[[], str]


@dataclass(frozen=True)
class PublicKey:
    """What a signature is checked with. Anybody may have it."""

    raw: bytes
    """Its 32 bytes."""

    @property
    def hex(self) -> str:
        """As it stands in signed results."""
        return self.raw.hex()

    @property
    def fingerprint(self) -> str:
        """`1f2e:…`: half of the key's sha256, short enough to be compared by eye."""
        digits = hashlib.sha256(self.raw).hexdigest()[:_FINGERPRINT_DIGITS]
        return ":".join(digits[place : place + 4] for place in range(0, len(digits), 4))

    def holds(self, signature: bytes, message: bytes) -> bool:
        """True where this key's other half signed just that."""
        with _library():
            from cryptography.exceptions import InvalidSignature
            from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
        try:
            Ed25519PublicKey.from_public_bytes(self.raw).verify(signature, message)
        except (InvalidSignature, ValueError):
            return False
        return True


@dataclass(frozen=True)
class SigningKey:
    """What signs. It shows itself nowhere."""

    _key: Ed25519PrivateKey = field(repr=False)

    @property
    def public(self) -> PublicKey:
        """Its other half."""
        return PublicKey(self._key.public_key().public_bytes_raw())

    def sign(self, message: bytes) -> bytes:
        """64 bytes that only this key makes of it."""
        return self._key.sign(message)


@dataclass(frozen=True)
class MadeKey:
    """A new key, and where it is."""

    path: Path
    public_path: Path
    public: PublicKey
    is_encrypted: bool


def make_key(path: Path, passphrase: str | None = None) -> MadeKey:
    """Make a private key that nobody else may read, and its public half beside it.

    Args:
        path: where it goes; `.pub` is added for the public one.
        passphrase: what encrypts the file; None for a file as it is.

    Raises:
        UsageError: one of the files is there already, or can't be written; or the passphrase is empty.
    """
    if passphrase == "":
        raise UsageError("an empty passphrase protects nothing", next_step="type one, or leave out --passphrase")
    with _library():
        from cryptography.hazmat.primitives import serialization
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    key = Ed25519PrivateKey.generate()
    encryption = (
        serialization.BestAvailableEncryption(passphrase.encode()) if passphrase else serialization.NoEncryption()
    )
    private = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption)
    public = key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    public_path = path.with_name(f"{path.name}.pub")
    # The public one first: if it can't be written, there is no private key without it.
    _create(public_path, public, 0o644)
    try:
        _create(path, private, MODE)
    except BaseException:
        with contextlib.suppress(OSError):
            public_path.unlink()
        raise
    return MadeKey(path, public_path, SigningKey(key).public, passphrase is not None)


def read_private(path: Path, ask: AskPassphrase) -> SigningKey:
    """The private key in a file.

    Args:
        path: a PEM file that nobody else may read.
        ask: asks a person for the passphrase, where the file has one.

    Raises:
        UsageError: others may read it, it is no Ed25519 key, or the passphrase is another.
    """
    with _library():
        from cryptography.exceptions import UnsupportedAlgorithm
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
        from cryptography.hazmat.primitives.serialization import load_pem_private_key
    data, mode = _content(path)
    if b"PUBLIC KEY" in data:
        raise UsageError(
            f"{path}: this is a public key", next_step=f"name the private one: --key {path.with_suffix('')}"
        )
    if mode & 0o077:
        raise UsageError(
            f"{path}: others may read this key (mode {mode:04o})", next_step=f"chmod 600 {shlex.quote(str(path))}"
        )
    is_encrypted = b"ENCRYPTED" in data
    passphrase = ask().encode() if is_encrypted else None
    try:
        key = load_pem_private_key(data, passphrase)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        what = "the passphrase is another one" if is_encrypted else "no private key in PEM"
        raise UsageError(f"{path}: {what}", next_step="gpuprep classroom key --help") from error
    if not isinstance(key, Ed25519PrivateKey):
        raise UsageError(f"{path}: not an Ed25519 key", next_step="gpuprep classroom key FILE")
    return SigningKey(key)


def read_public(given: str) -> PublicKey:
    """A public key, as a PEM file or as its 64 hexadecimal digits.

    Raises:
        UsageError: it is neither.
    """
    if _HEX_KEY.fullmatch(given.lower()):
        return PublicKey(bytes.fromhex(given))
    with _library():
        from cryptography.exceptions import UnsupportedAlgorithm
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
        from cryptography.hazmat.primitives.serialization import load_pem_public_key
    path = Path(given).expanduser()
    data, _ = _content(path)
    try:
        key = load_pem_public_key(data)
    except (ValueError, UnsupportedAlgorithm) as error:
        is_private = b"PRIVATE" in data
        raise UsageError(
            f"{path}: {'this is a private key' if is_private else 'no public key in PEM'}",
            next_step=f"name the public one: --key {shlex.quote(f'{path}.pub')}"
            if is_private
            else "gpuprep verify --help",
        ) from error
    if not isinstance(key, Ed25519PublicKey):
        raise UsageError(f"{path}: not an Ed25519 key", next_step="gpuprep verify --help")
    return PublicKey(key.public_bytes_raw())


def _create(path: Path, data: bytes, mode: int) -> None:
    """Write a file that wasn't there.

    Raises:
        UsageError: it was, or it can't be written.
    """
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, mode)
        try:
            with open(descriptor, "wb") as file:  # noqa: PTH123  a descriptor
                os.fchmod(descriptor, mode)
                file.write(data)
                file.flush()
                os.fsync(descriptor)
        except BaseException:
            # Half a key would keep the next try from making a whole one.
            path.unlink()
            raise
    except FileExistsError:
        raise UsageError(
            f"{path} is there already; a key is never overwritten", next_step="name another file"
        ) from None
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}", next_step="name another file") from error


def _content(path: Path) -> tuple[bytes, int]:
    try:
        with path.open("rb") as file:
            status = os.fstat(file.fileno())
            return file.read(MAX_BYTES), stat.S_IMODE(status.st_mode)
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}", next_step="gpuprep classroom key --help") from error


@contextlib.contextmanager
def _library() -> Iterator[None]:
    """An import of what is installed only for signatures."""
    try:
        yield
    except ImportError as error:
        raise UsageError("signatures need the package cryptography", next_step="pip install 'gpuprep[sign]'") from error
