"""A filter over system calls: what no exercise needs, and what the other layers can't see.

Written by hand as a program of the kernel's filter machine, rather than with libseccomp: that would be one more
library to be there, for what is a list of names and a dozen comparisons. What is refused fails with EPERM, as if the
user had no right to it; what this list has never heard of fails with ENOSYS, as on an older kernel.
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import socket
import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from gpuprep.confinement import kernel

Instruction = tuple[int, int, int, int]
"""Code, jump if true, jump if false, operand."""

_LOAD, _EQUAL, _AT_LEAST, _ANY_BIT, _AND, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x54, 0x06
_ALLOW, _ERROR, _KILL = 0x7FFF0000, 0x00050000, 0x80000000
_ARCHITECTURES = {"x86_64": 0xC000003E, "AMD64": 0xC000003E, "aarch64": 0xC00000B7}
_AT_NUMBER, _AT_ARCHITECTURE, _AT_ARGUMENTS = 0, 4, 16
_SET_MODE_FILTER, _ALL_THREADS = 1, 1
_X32 = 0x40000000
"""The bit of the numbers of x86-64's other interface, which has each call a second time."""

_NEW_NAMESPACES = 0x7E020080
"""Every CLONE_NEW… of `clone`."""
_SHARED_ANONYMOUS = 0x21
_MFD_NOEXEC_SEAL = 8
_TERMINAL_INPUT = (0x5412, 0x541C)
"""ioctl: TIOCSTI and TIOCLINUX, which type into a terminal."""
_ALL_BITS = 0xFFFFFFFF
_KIND_OF_SOCKET = 0xF
"""Of `socket`'s second argument; the rest are flags."""
_FILE_SIGNALS = (8, 10, 15)
"""fcntl: F_SETOWN, F_SETSIG and F_SETOWN_EX, which have signals sent to others."""

_OTHER_PROCESSES = (
    "ptrace process_vm_readv process_vm_writev process_madvise process_mrelease pidfd_getfd kcmp "
    "migrate_pages move_pages setpriority ioprio_set"
)
_KERNEL = (
    "bpf perf_event_open io_uring_setup io_uring_enter io_uring_register userfaultfd keyctl add_key request_key "
    "kexec_load kexec_file_load init_module finit_module delete_module reboot swapon swapoff syslog acct quotactl "
    "quotactl_fd settimeofday clock_settime clock_adjtime adjtimex sethostname setdomainname iopl ioperm vhangup "
    "modify_ldt personality fanotify_init inotify_init inotify_init1 memfd_secret capset"
)
_MOUNTS = (
    "mount umount2 pivot_root chroot move_mount open_tree fsopen fsconfig fsmount fspick mount_setattr unshare setns "
    "open_by_handle_at execveat"
)
_SHARED_OBJECTS = "shmget shmat shmctl semget semop semctl semtimedop msgget msgsnd msgrcv msgctl mq_open mq_unlink"
REFUSED = tuple(f"{_OTHER_PROCESSES} {_KERNEL} {_MOUNTS} {_SHARED_OBJECTS}".split())
"""Refused at every level."""
OTHERS_FILES = tuple(
    "chmod fchmod fchmodat chown fchown lchown fchownat utime utimes utimensat futimesat setxattr lsetxattr fsetxattr "
    "removexattr lremovexattr fremovexattr truncate".split()
)
"""What an owner may do to a file that he may not open: refused where the files of others are to be seen."""
_OWN_ONLY = ("prlimit64", "sched_setaffinity", "sched_setscheduler", "sched_setparam", "sched_setattr")
"""Refused for any process but the caller, who calls itself 0."""
_SET_DUMPABLE = 4
"""prctl: it would hide from its guardian how much memory it takes."""
_SIGNALS_TO_ONE = ("tkill", "rt_sigqueueinfo", "rt_tgsigqueueinfo", "pidfd_send_signal")


@dataclass(frozen=True)
class Rules:
    """What depends on the level and the check."""

    sees_others_files: bool
    """Files of the same user are to be seen, though not opened."""
    signals_reach_others: bool
    """Nothing else keeps signals from the user's other processes."""
    families: tuple[int, ...] = ()
    """Of sockets that may be opened."""
    has_card: bool = False
    """It may have anonymous shared memory, which no limit on a process's own memory counts, and a socket that waits for
    others: CUDA starts with neither refused."""


def apply(rules: Rules) -> None:
    """Filter the calls of this process and all that comes of it, for good.

    Raises:
        RefusedError: the kernel has no such filters, or a process without `no_new_privs` asks.
    """
    code = b"".join(struct.pack("<HBBI", *instruction) for instruction in _program(rules))
    buffer = ctypes.create_string_buffer(code, len(code))
    # struct sock_fprog: how many, and where.
    described = struct.pack("@HP", len(code) // 8, ctypes.addressof(buffer))
    kernel.call("seccomp", _SET_MODE_FILTER, _ALL_THREADS, described)


def internet() -> tuple[int, ...]:
    """What ranks on one machine talk through: TCP, and the list of interfaces that they find it in."""
    return (socket.AF_UNIX, socket.AF_INET, socket.AF_INET6, socket.AF_NETLINK)


def _program(rules: Rules) -> list[Instruction]:
    refuse = _answer(_ERROR | errno.EPERM)
    program = [
        *((_LOAD, 0, 0, _AT_ARCHITECTURE), (_EQUAL, 1, 0, _ARCHITECTURES[platform.machine()]), _answer(_KILL)),
        *((_LOAD, 0, 0, _AT_NUMBER), (_AT_LEAST, 0, 1, _X32), _answer(_KILL)),
        *((_AT_LEAST, 0, 1, kernel.LAST_KNOWN + 1), _answer(_ERROR | errno.ENOSYS)),
    ]

    def add(names: Iterable[str], body: Sequence[Instruction]) -> None:
        for name in names:
            if (number := kernel.number(name)) is not None:
                program.extend([(_EQUAL, 0, len(body), number), *body])

    add(REFUSED, [refuse])
    # Whoever has only clone3 falls back to clone, whose flags can be read from here.
    add(["clone3"], [_answer(_ERROR | errno.ENOSYS)])
    add(["clone"], [_load(0), (_ANY_BIT, 0, 1, _NEW_NAMESPACES), refuse, _answer(_ALLOW)])
    if rules.has_card and not rules.families:
        # CUDA opens one to be found by other processes, and doesn't start without. It can reach nobody by it: packets
        # go nowhere before `connect`.
        add(["socket"], [*_must_be(0, socket.AF_UNIX), *_only(1, (socket.SOCK_SEQPACKET,), _KIND_OF_SOCKET)])
        add(["connect"], [refuse])
    else:
        add(["socket"], _only(0, rules.families))
    # Not of datagrams: each of those can be sent to an address.
    kinds = (socket.SOCK_STREAM, socket.SOCK_SEQPACKET)
    add(["socketpair"], [*_must_be(0, socket.AF_UNIX), *_only(1, kinds, _KIND_OF_SOCKET)])
    add(["ioctl"], _none_of(1, _TERMINAL_INPUT))
    add(["prctl"], _none_of(0, (_SET_DUMPABLE,)))
    # A file must not grow faster than its guardian looks; without it, the C library writes zeros.
    add(["fallocate"], [_answer(_ERROR | errno.EOPNOTSUPP)])
    add(_OWN_ONLY, _only(0, (0,)))
    if _can_forbid_execution():
        add(["memfd_create"], [_load(1), (_ANY_BIT, 1, 0, _MFD_NOEXEC_SEAL), refuse, _answer(_ALLOW)])
    if not rules.has_card:
        shared = (_EQUAL, 0, 1, _SHARED_ANONYMOUS)
        add(["mmap"], [_load(3), (_AND, 0, 0, _SHARED_ANONYMOUS), shared, refuse, _answer(_ALLOW)])
    if rules.sees_others_files:
        add(OTHERS_FILES, [refuse])
    if rules.signals_reach_others:
        pid = os.getpid()
        add(["kill"], _only(0, (pid, 0, -pid & 0xFFFFFFFF)))
        add(["tgkill"], _only(0, (pid,)))
        add(_SIGNALS_TO_ONE, [refuse])
        add(["fcntl"], _none_of(1, _FILE_SIGNALS))
    return [*program, _answer(_ALLOW)]


def _answer(action: int) -> Instruction:
    return (_RETURN, 0, 0, action)


def _load(place: int) -> Instruction:
    # The low half: all that these calls look at.
    return (_LOAD, 0, 0, _AT_ARGUMENTS + 8 * place)


def _only(place: int, values: Sequence[int], bits: int = _ALL_BITS) -> list[Instruction]:
    tests = [(_EQUAL, len(values) - index, 0, value) for index, value in enumerate(values)]
    return [_load(place), (_AND, 0, 0, bits), *tests, _answer(_ERROR | errno.EPERM), _answer(_ALLOW)]


def _must_be(place: int, value: int) -> list[Instruction]:
    """Refuse any other value; with this one, go on to what follows."""
    return [_load(place), (_EQUAL, 1, 0, value), _answer(_ERROR | errno.EPERM)]


def _none_of(place: int, values: Sequence[int]) -> list[Instruction]:
    tests = [(_EQUAL, len(values) - index, 0, value) for index, value in enumerate(values)]
    return [_load(place), *tests, _answer(_ALLOW), _answer(_ERROR | errno.EPERM)]


def _can_forbid_execution() -> bool:
    """Whether memory files can be made that no program is ever started from; then no others are."""
    try:
        os.close(os.memfd_create("gpuprep-probe", os.MFD_CLOEXEC | _MFD_NOEXEC_SEAL))
    except OSError:
        return False
    return True
