"""Namespaces: a worker in which there are no other processes, no network, and only the files that it was given.

    guardian   leave_processes(): what it forks next is the first process of a world of its own
      └─ init  enter(): files, network and shared objects of its own; forks the worker, and waits for it
           └─ worker

When the guardian kills init, the kernel kills all that is left in there, whatever it did to get away.

bubblewrap does the same for a program that it starts. Workers here are forked, so that torch is not imported for each
of them, and a fork has to make its namespaces by itself.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import socket
import stat
import struct
from pathlib import Path

from gpuprep.confinement import kernel, permits
from gpuprep.confinement.kernel import RefusedError
from gpuprep.confinement.permits import Confinement

PRIVATE = "/run/gpuprep"
"""The one folder that a worker can write to. Not /tmp, where the files that it is given may lie."""
SHARED_MEMORY = "/dev/shm"  # noqa: S108  its own as well
_SIZE = {"cpu": 2 * 2**30, "cuda": 8 * 2**30}
_MAX_NODES = 100_000
_OLD = "/.old"

_NEWNS, _NEWUTS, _NEWIPC, _NEWUSER, _NEWPID, _NEWNET = 0x20000, 0x4000000, 0x8000000, 1 << 28, 1 << 29, 1 << 30
_READ_ONLY, _NO_SUID, _NO_DEVICES, _NO_EXECUTION, _REMOUNT = 1, 2, 4, 8, 32
_BIND, _RECURSIVE, _PRIVATE_MOUNT, _DETACH = 1 << 12, 1 << 14, 1 << 18, 2
_AT_FDCWD, _AT_RECURSIVE = -100, 0x8000
_GET_FLAGS, _SET_FLAGS, _IS_UP = 0x8913, 0x8914, 1
_MAX_LINKS = 40
"""Symbolic links on one path; as many as the kernel follows."""


def leave_processes(confinement: Confinement, network: tuple[int, int] | None = None) -> None:
    """Have this process's next child be the first of a new process namespace.

    Args:
        confinement: root needs no user namespace, and its workers become users of their own.
        network: descriptors of a user and a network namespace to share, from `make_network`.

    Raises:
        RefusedError: the kernel won't.
    """
    if not confinement.uid:
        if network is None:
            _enter_user_namespace()
        else:
            kernel.call("setns", network[0], _NEWUSER)
    kernel.call("unshare", _NEWPID)


def make_network() -> tuple[int, int]:
    """A network namespace with a loopback interface and nothing else, for several workers.

    To be called in a process that does nothing more: it enters that namespace.

    Returns:
        Descriptors of its user namespace, and of itself.
    """
    if os.geteuid() != 0:
        _enter_user_namespace()
    kernel.call("unshare", _NEWNET)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        request = struct.pack("16sh14x", b"lo", 0)
        flags = struct.unpack("16sh14x", fcntl.ioctl(any_socket, _GET_FLAGS, request))[1]
        fcntl.ioctl(any_socket, _SET_FLAGS, struct.pack("16sh14x", b"lo", flags | _IS_UP))
    user, network = (os.open(f"/proc/self/ns/{name}", os.O_RDONLY | os.O_CLOEXEC) for name in ("user", "net"))
    return user, network


def hand_out_network(end: int) -> None:
    """Make a network, and send its descriptors. To be run in a process of its own.

    Args:
        end: an inherited socket.
    """
    with socket.socket(fileno=end) as connection:
        socket.send_fds(connection, [b"n"], make_network())


def enter(confinement: Confinement, network: tuple[int, int] | None = None) -> None:
    """Give this process files, a network and shared objects of its own. It is the first of its process namespace.

    Args:
        confinement: what it can see of the machine's files.
        network: as in `leave_processes`.

    Raises:
        RefusedError: the kernel won't.
    """
    kernel.call("unshare", _NEWNS | _NEWIPC | _NEWUTS | (0 if network else _NEWNET))
    if network:
        kernel.call("setns", network[1], _NEWNET)
    socket.sethostname("gpuprep")
    os.umask(0o022)
    kernel.mount("none", "/", None, _RECURSIVE | _PRIVATE_MOUNT)
    root = _Root(confinement)
    new = _mount_point()
    kernel.mount("tmpfs", new, "tmpfs", _NO_SUID | _NO_DEVICES, "mode=755,size=64m")
    Path(new + _OLD).mkdir()
    kernel.call("pivot_root", os.fsencode(new), os.fsencode(new + _OLD))
    os.chdir("/")
    root.build()
    kernel.call("umount2", os.fsencode(_OLD), _DETACH)
    Path(_OLD).rmdir()
    kernel.mount("none", "/", None, _REMOUNT | _BIND | _READ_ONLY | _NO_SUID | _NO_DEVICES)
    os.chdir(PRIVATE)


def _enter_user_namespace() -> None:
    uid, gid = os.geteuid(), os.getegid()
    kernel.call("unshare", _NEWUSER)
    for name, text in (("setgroups", "deny"), ("uid_map", f"{uid} {uid} 1"), ("gid_map", f"{gid} {gid} 1")):
        Path(f"/proc/self/{name}").write_text(text)


def _mount_point() -> str:
    return next(path for path in ("/tmp", "/mnt", "/var") if Path(path).is_dir())  # noqa: S108  any folder will do


class _Root:
    """A new root, on an empty file system. It is planned while the old one is `/`, and built when that is elsewhere."""

    def __init__(self, confinement: Confinement) -> None:
        self._confinement = confinement
        self._bound: list[str] = []
        self._is_card = confinement.device == "cuda"
        self._shown = [*permits.trees(), *permits.SYSTEM_FILES, permits.SYSTEM_LINKS]
        self._shown += ["/sys", *permits.card_trees(os.environ)] if self._is_card else permits.CPU_FACTS
        self._devices = [f"/dev/{name}" for name in permits.DEVICES]
        self._devices += permits.card_devices() if self._is_card else []

    def build(self) -> None:
        for path in self._shown:
            self._show(path)
        for path in self._confinement.hidden:
            self._hide(path)
        for path in self._confinement.read:
            self._copy(path)
        self._make_devices()
        for path in (PRIVATE, SHARED_MEMORY):
            self._make_private(path)
        for path in self._confinement.write:
            self._share(path)
        Path("/proc").mkdir(exist_ok=True)
        only_read = 0 if self._is_card else _READ_ONLY
        kernel.mount("proc", "/proc", "proc", _NO_SUID | _NO_DEVICES | _NO_EXECUTION | only_read)
        Path("/etc").mkdir(exist_ok=True)
        Path("/etc/passwd").write_text(f"learner:x:{self._uid}:{self._gid}::{PRIVATE}:/bin/sh\n")
        Path("/etc/group").write_text(f"learner:x:{self._gid}:\n")

    @property
    def _uid(self) -> int:
        return self._confinement.uid or os.geteuid()

    @property
    def _gid(self) -> int:
        return self._confinement.uid or os.getegid()

    def _show(self, path: str) -> None:
        """Have a tree or a file of the old root where it was, for reading."""
        place = _reproduced(path)
        if place is None or any(Path(place).is_relative_to(other) for other in self._bound):
            return
        self._bind(place, place)
        _only_read(place)
        self._bound.append(place)

    def _hide(self, path: str) -> None:
        """Cover a folder that lies in what is shown."""
        path = os.path.realpath(path)
        if Path(path).is_dir() and any(Path(path).is_relative_to(other) for other in self._bound):
            kernel.mount("tmpfs", path, "tmpfs", _NO_SUID | _NO_DEVICES, "mode=755,size=64m")

    def _copy(self, path: str) -> None:
        """Have a file where it was: as it is now, and readable whatever its mode was."""
        place = _reproduced(str(Path(path).parent))
        if place is None:
            raise RefusedError(0, f"{path} is not there")
        target = f"{place}/{Path(path).name}"
        if os.path.lexists(target):
            return
        # Not what a link leads to: that was not looked at when the file was allowed.
        descriptor = os.open(_OLD + path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(descriptor, "rb") as source, Path(target).open("xb") as copy:
            shutil.copyfileobj(source, copy)
        Path(target).chmod(0o444)

    def _share(self, path: str) -> None:
        """Have a folder where it was, for writing."""
        place = _reproduced(path)
        if place is not None:
            self._bind(place, place)

    def _make_devices(self) -> None:
        for path in self._devices:
            Path(path).parent.mkdir(parents=True, exist_ok=True)
            Path(path).touch()
            self._bind(path, path)
        Path("/dev/fd").symlink_to("/proc/self/fd")

    def _make_private(self, path: str) -> None:
        Path(path).mkdir(parents=True, exist_ok=True)
        size = _SIZE["cuda" if self._is_card else "cpu"]
        options = f"mode=700,size={size},nr_inodes={_MAX_NODES},uid={self._uid},gid={self._gid}"
        kernel.mount("tmpfs", path, "tmpfs", _NO_SUID | _NO_DEVICES, options)

    def _bind(self, old: str, new: str) -> None:
        kernel.mount(_OLD + old, new, None, _BIND | _RECURSIVE)


def _reproduced(path: str) -> str | None:
    """Make a path of the old root in the new one, with its links; what lies there stays to be put there.

    Returns:
        The path without links, or None where it is not there.
    """
    place, todo = "", [part for part in path.split("/") if part]
    n_links = 0
    while todo:
        part = todo.pop(0)
        if part == "..":
            place = place.rpartition("/")[0]
            continue
        if part == ".":
            continue
        step = f"{place}/{part}"
        try:
            mode = os.lstat(_OLD + step).st_mode
        except OSError:
            return None
        if not stat.S_ISLNK(mode):
            if not os.path.lexists(step):
                _make(step, is_folder=stat.S_ISDIR(mode))
            place = step
            continue
        target = str(Path(_OLD + step).readlink())
        n_links += 1
        if n_links > _MAX_LINKS:
            return None
        if not os.path.lexists(step):
            Path(step).symlink_to(target)
        todo = [part for part in target.split("/") if part] + todo
        place = "" if target.startswith("/") else place
    return place or None


def _make(path: str, *, is_folder: bool) -> None:
    if is_folder:
        Path(path).mkdir()
    else:
        Path(path).touch()


def _only_read(path: str) -> None:
    # struct mount_attr: what to set, what to clear, how it propagates, a user namespace.
    attribute = struct.pack("@4Q", _READ_ONLY | _NO_SUID, 0, 0, 0)
    kernel.call("mount_setattr", _AT_FDCWD, os.fsencode(path), _AT_RECURSIVE, attribute, len(attribute))
