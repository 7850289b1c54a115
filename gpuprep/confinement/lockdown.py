"""Puts a worker's process under its confinement, step by step, and gives it a folder of its own."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, MutableMapping
from pathlib import Path

from gpuprep.confinement import kernel, landlock, namespaces, permits, rights, seccomp
from gpuprep.confinement.kernel import RefusedError
from gpuprep.confinement.permits import Confinement, Level

_OWN_FOLDERS = {
    "HOME": "home",
    "TMPDIR": "tmp",
    "TRITON_CACHE_DIR": "triton",
    "XDG_CACHE_HOME": "cache",
    "CUPY_CACHE_DIR": "cupy",
}
"""Variables that lead to folders for writing, and what they are called in a worker's own."""
_CLEAR_AWAY_S = 60.0


@contextlib.contextmanager
def private_folder(confinement: Confinement | None) -> Iterator[str]:
    """A worker's own folder, which goes with the worker. To be made by the process that watches over it."""
    if confinement is None or confinement.level is not Level.LANDLOCK:
        # None, or one that goes with the worker's mounts.
        yield namespaces.PRIVATE
        return
    folder = tempfile.mkdtemp(prefix="gpuprep-worker-")
    try:
        if confinement.uid:
            os.chown(folder, confinement.uid, confinement.uid)
        yield folder
    finally:
        _remove(folder)


def settle(confinement: Confinement, folder: str, environment: MutableMapping[str, str]) -> None:
    """Lead every variable that names a place for writing into the worker's own folder, and go there."""
    for name, place in _OWN_FOLDERS.items():
        path = Path(folder, place)
        path.mkdir(mode=0o700, exist_ok=True)
        environment[name] = str(path)
    for place, file in confinement.links:
        path = Path(folder, place)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.symlink_to(file)
    environment["USER"] = environment["LOGNAME"] = "learner"
    os.chdir(folder)


def confine(confinement: Confinement, folder: str) -> None:
    """Take from this process all that its level takes, for good, and for all that comes of it.

    Args:
        confinement: of a level other than NONE. At FULL, `namespaces.enter` came before.
        folder: its own.

    Raises:
        RefusedError: the kernel won't, or there are threads already: they would stay free.
    """
    n_threads = sum(1 for _ in Path("/proc/self/task").iterdir())
    if n_threads != 1:
        raise RefusedError(0, f"{n_threads} threads are running")
    is_full = confinement.level is Level.FULL
    # In a user namespace only those in it are counted, and a user of its own has no others.
    has_others = not is_full and not confinement.uid
    rights.limit(confinement.device, n_tasks_before=rights.n_tasks() if has_others else 0)
    rules = _rules_in_namespaces(confinement) if is_full else _rules(confinement, folder)
    # What Landlock then allows is to be read whatever its mode, as root would have read it.
    keeps = rights.DAC_READ_SEARCH if confinement.uid and not is_full else None
    rights.become(confinement.uid, keeps=keeps)
    kernel.set_dumpable(True)
    kernel.renounce_new_privileges()
    if not is_full or _has_landlock():
        landlock.apply(rules, has_network=confinement.has_loopback)
    seccomp.apply(
        seccomp.Rules(
            sees_others_files=not is_full,
            signals_reach_others=not is_full and not landlock.scopes_signals(),
            families=seccomp.internet() if confinement.has_loopback else (),
            has_card=confinement.device == "cuda",
        )
    )


def _rules(confinement: Confinement, folder: str) -> list[tuple[str, int]]:
    """What of the machine's files may be used."""
    is_card = confinement.device == "cuda"
    hidden = [os.path.realpath(path) for path in confinement.hidden]
    found: list[tuple[str, int]] = []
    trees = permits.trees()
    facts = [f"/proc/{name}" for name in permits.PROC_FACTS]
    if is_card:
        trees += permits.card_trees(os.environ)
        facts += ["/sys", "/proc/driver", "/proc/devices", "/proc/modules"]
        found += [(path, landlock.DEVICE) for path in permits.card_devices()]
    for tree in trees:
        whole, names = permits.without(os.path.realpath(tree), hidden)
        found += [(path, landlock.READ) for path in whole]
        found += [(path, landlock.READ_DIR) for path in names]
    found += [(path, landlock.READ) for path in (*permits.SYSTEM_FILES, *permits.CPU_FACTS, *facts)]
    found += [(f"/dev/{name}", landlock.DEVICE) for name in permits.DEVICES]
    found.append((f"/proc/{os.getpid()}", landlock.WRITE if is_card else landlock.READ))
    found += [(path, landlock.READ) for path in confinement.read]
    found += [(path, landlock.WRITE) for path in (*confinement.write, folder)]
    return found


def _rules_in_namespaces(confinement: Confinement) -> list[tuple[str, int]]:
    """The same once more where nothing else is there: two walls, of which each would do."""
    nodes = permits.DEVICES if confinement.device != "cuda" else ("",)
    own = (namespaces.PRIVATE, namespaces.SHARED_MEMORY)
    found = [("/", landlock.READ), *((path, landlock.WRITE) for path in own)]
    found += [(f"/dev/{name}", landlock.DEVICE) for name in nodes]
    found += [(path, landlock.WRITE) for path in confinement.write]
    return [*found, ("/proc", landlock.WRITE)] if confinement.device == "cuda" else found


def _has_landlock() -> bool:
    try:
        landlock.handled()
    except RefusedError:
        return False
    return True


def _remove(folder: str) -> None:
    with contextlib.suppress(RecursionError):
        shutil.rmtree(folder, ignore_errors=True)
    if not os.path.lexists(folder):
        return
    # Folders without rights, or nested deeper than Python follows.
    for command in (["chmod", "-R", "u+rwX", "--", folder], ["rm", "-rf", "--", folder]):
        with contextlib.suppress(OSError, subprocess.TimeoutExpired):
            subprocess.run(command, check=False, capture_output=True, timeout=_CLEAR_AWAY_S)
