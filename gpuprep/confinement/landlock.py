"""Landlock: a process gives up, for itself and all that comes of it, every file but those that it names."""

from __future__ import annotations

import contextlib
import errno
import functools
import os
import stat
import struct
from collections.abc import Iterable
from dataclasses import dataclass

from gpuprep.confinement import kernel
from gpuprep.confinement.kernel import RefusedError

EXECUTE, WRITE_FILE, READ_FILE, READ_DIR = 1, 2, 4, 8
_REMOVE_AND_MAKE = 0b1_1111_1111 << 4
"""Remove a folder or a file; make a device, folder, file, socket, FIFO, block device or symbolic link."""
_REFER, TRUNCATE, _IOCTL_DEVICE = 1 << 13, 1 << 14, 1 << 15
_NETWORK, _SCOPES = 0b11, 0b11
"""Bind and connect TCP; abstract Unix sockets and signals."""
_VERSION_1 = (1 << 13) - 1
_FOR_FILES = EXECUTE | WRITE_FILE | READ_FILE | TRUNCATE | _IOCTL_DEVICE
READ = EXECUTE | READ_FILE | READ_DIR
WRITE = READ | WRITE_FILE | _REMOVE_AND_MAKE | _REFER | TRUNCATE
DEVICE = READ_FILE | WRITE_FILE | _IOCTL_DEVICE
_RULE_PATH_BENEATH = 1


@dataclass(frozen=True)
class Handled:
    """What this kernel's Landlock can take away."""

    files: int
    network: int
    scopes: int

    @property
    def packed(self) -> bytes:
        """The attribute of a ruleset; an older kernel wants a shorter one where the rest is zero anyway."""
        fields = [self.files, self.network, self.scopes]
        while fields and not fields[-1]:
            fields.pop()
        return struct.pack(f"@{len(fields)}Q", *fields)


_TO_TRY = (
    Handled(_VERSION_1 | _REFER | TRUNCATE | _IOCTL_DEVICE, _NETWORK, _SCOPES),
    Handled(_VERSION_1 | _REFER | TRUNCATE | _IOCTL_DEVICE, _NETWORK, 0),
    Handled(_VERSION_1 | _REFER | TRUNCATE, _NETWORK, 0),
    Handled(_VERSION_1 | _REFER | TRUNCATE, 0, 0),
    Handled(_VERSION_1 | _REFER, 0, 0),
    Handled(_VERSION_1, 0, 0),
)


@functools.cache
def handled() -> Handled:
    """The most that a ruleset can handle here, found by making one.

    Raises:
        RefusedError: there is no Landlock.
    """
    for attempt in _TO_TRY:
        try:
            os.close(_ruleset(attempt))
        except RefusedError as error:
            if error.errno not in (errno.EINVAL, errno.E2BIG):
                raise
        else:
            return attempt
    raise RefusedError(errno.EOPNOTSUPP, "no ruleset of Landlock can be made")


def scopes_signals() -> bool:
    """Whether it keeps signals from processes outside."""
    try:
        return bool(handled().scopes)
    except RefusedError:
        return False


def apply(rules: Iterable[tuple[str, int]], *, has_network: bool = False) -> None:
    """Give up every file but these, and, as far as this kernel can, TCP, and signals to others.

    Args:
        rules: paths, and what may be done at each and below it. A path that is not there is left out.
        has_network: keep TCP.

    Raises:
        RefusedError: there is no Landlock, or a process without `no_new_privs` asks.
    """
    most = handled()
    chosen = Handled(most.files, 0 if has_network else most.network, most.scopes)
    ruleset = _ruleset(chosen)
    try:
        for path, access in rules:
            with contextlib.suppress(FileNotFoundError, NotADirectoryError):
                _add(ruleset, path, access & chosen.files)
        kernel.call("landlock_restrict_self", ruleset, 0)
    finally:
        os.close(ruleset)


def _ruleset(wanted: Handled) -> int:
    attribute = wanted.packed
    return kernel.call("landlock_create_ruleset", attribute, len(attribute), 0)


def _add(ruleset: int, path: str, access: int) -> None:
    descriptor = os.open(path, os.O_PATH | os.O_CLOEXEC)
    try:
        if not stat.S_ISDIR(os.fstat(descriptor).st_mode):
            access &= _FOR_FILES
        # struct landlock_path_beneath_attr has no padding.
        kernel.call("landlock_add_rule", ruleset, _RULE_PATH_BENEATH, struct.pack("=Qi", access, descriptor), 0)
    finally:
        os.close(descriptor)
