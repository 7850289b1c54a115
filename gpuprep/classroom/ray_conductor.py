"""Ray's driver, in a process of its own: starts graders in actors, hands parcels out, and passes on what they say.

It is told over a socket, and when that closes, all is ended: graders, Ray where it is ours, and the folder.
"""

from __future__ import annotations

import contextlib
import json
import os
import queue
import shutil
import signal
import socket
import sys
import threading
import time
import traceback
from collections.abc import Mapping
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

import psutil

from gpuprep.classroom.local import HANG_FACTOR, READY_LIMIT_S
from gpuprep.classroom.parcels import Kit
from gpuprep.classroom.ray_floor import TICK_S, Asked, Floor, UnstaffedError, brief
from gpuprep.classroom.remote_grader import RemoteGrader
from gpuprep.grading.asking import DEFAULT_LIMIT_S
from gpuprep.grading.births import become_reaper

END_LIMIT_S = 10.0
"""How long all processes of a Ray of our own may take to end by themselves."""
CONNECT_LIMIT_S = 15.0
STORE_BYTES = 128 * 2**20
"""Of shared memory for a Ray of our own: what it holds is one curriculum, and files of some kB."""


class RayGrader(RemoteGrader):
    """A grader in an actor."""

    def introduce(self) -> tuple[str, str]:
        """Ray's name of its machine, and why nothing can be graded there, if that is so."""
        import ray

        return ray.get_runtime_context().get_node_id(), self.why_unfit()


def needs(device: str, accelerator: str | None, *, has_gpus: bool) -> dict[str, Any]:
    """What Ray sets aside for a grader.

    Args:
        device: that is graded on; `auto` takes a GPU where the cluster has any, and then everybody does.
        accelerator: the type of GPU, as Ray calls it.
        has_gpus: whether it has.
    """
    found: dict[str, Any] = {"num_cpus": 1}
    if device == "cuda" or (device == "auto" and has_gpus):
        found["num_gpus"] = 1
    if accelerator:
        found["accelerator_type"] = accelerator
    return found


def elsewhere_than(unfit: frozenset[str]) -> dict[str, Any]:
    """Where Ray puts a grader: spread over all machines but some."""
    found: dict[str, Any] = {"scheduling_strategy": "SPREAD"}
    if unfit:
        found["label_selector"] = {"ray.io/node-id": f"!in({','.join(sorted(unfit))})"}
    return found


def hang_limit_s(device: str, limit_s: float | None, n_checks: int) -> float:
    """How long a task may take until its actor counts as hanging; the grader in it is found out before.

    Where a card is timed, others may have to be waited for, for as long as they need it.
    """
    if device != "cpu":
        return float("inf")
    return 2 * READY_LIMIT_S + HANG_FACTOR * (limit_s or DEFAULT_LIMIT_S["cpu"]) * n_checks


def main(descriptor: int, folder: str) -> NoReturn:
    """What the conductor's process does.

    Args:
        descriptor: an inherited socket.
        folder: for temporary files; it is removed at the end.
    """
    become_reaper()
    _end_on_sigterm()
    connection = socket.socket(fileno=descriptor)
    connection.set_inheritable(False)
    lines: queue.SimpleQueue[bytes] = queue.SimpleQueue()
    threading.Thread(target=_read, args=(connection, lines), daemon=True).start()
    code = 0
    try:
        if told := lines.get():
            _lead(json.loads(told), Path(folder), lines, connection)
    except Exception:  # noqa: BLE001  whoever waits for it reads the last line
        traceback.print_exc()
        code = 1
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        _end_descendants()
        shutil.rmtree(folder, ignore_errors=True)
        sys.stderr.flush()
        os._exit(code)


def _read(connection: socket.socket, lines: queue.SimpleQueue[bytes]) -> None:
    """Everything at once, so that whoever writes never waits for us; an empty line at the end."""
    with contextlib.suppress(OSError):
        for line in connection.makefile("rb"):
            lines.put(line)
    lines.put(b"")


def _lead(options: Mapping[str, Any], folder: Path, lines: queue.SimpleQueue[bytes], connection: socket.socket) -> None:
    import ray

    def say(what: Mapping[str, Any]) -> None:
        with contextlib.suppress(OSError):
            # Nobody there: that is heard as well.
            connection.sendall(json.dumps(what).encode() + b"\n")

    is_own = options["address"] is None
    try:
        _connect(ray, options, folder)
    except (OSError, RuntimeError, ValueError, ray.exceptions.RayError) as error:
        where, next_step = ("Ray doesn't start", None) if is_own else (f"no Ray at {options['address']}", "ray status")
        say({"error": f"{where}: {brief(error)}", "is_usage": not is_own, "next_step": next_step})
        return
    _end_on_sigterm()  # Ray has one of its own
    resources = ray.cluster_resources()
    wanted = needs(options["device"], options["accelerator"], has_gpus=bool(resources.get("GPU")))
    n_jobs = options["n_jobs"] or max(1, int(resources.get("GPU" if "num_gpus" in wanted else "CPU", 1)))
    say({"n_jobs": n_jobs})
    kit = ray.put(Kit.from_json(options["kit"]))
    actors = ray.remote(RayGrader)

    def make(unfit: frozenset[str]) -> Any:
        return actors.options(**wanted, **elsewhere_than(unfit)).remote(kit)

    floor = Floor(ray, make, n_jobs, is_own=is_own, say=say)
    try:
        while _took_in(floor, lines, options["device"]):
            floor.step()
    except UnstaffedError as error:
        say({"error": str(error), "next_step": error.next_step})
    finally:
        floor.close()
        ray.shutdown()


def _took_in(floor: Floor, lines: queue.SimpleQueue[bytes], device: str) -> bool:
    """Take in what was asked meanwhile; False at the end."""
    with contextlib.suppress(queue.Empty):
        while True:
            line = lines.get(block=not floor.is_busy)
            if not line:
                return False
            said = json.loads(line)
            floor.waiting.append(
                Asked(said["n"], said["parcel"], hang_limit_s(device, said["limit_s"], said["n_checks"]))
            )
    return True


def _connect(ray: Any, options: Mapping[str, Any], folder: Path) -> None:
    quiet = {"logging_level": "ERROR", "log_to_driver": False}
    address = options["address"]
    if address is not None:
        host, separator, port = address.rpartition(":")
        if separator and port.isdigit():
            # Ray itself would try for minutes.
            socket.create_connection((host.strip("[]"), int(port)), timeout=CONNECT_LIMIT_S).close()
        ray.init(address=address, **quiet)
        return
    ray.init(
        num_cpus=max(options["n_jobs"] or 1, len(os.sched_getaffinity(0))),
        num_gpus=0 if options["device"] == "cpu" else None,
        include_dashboard=False,
        object_store_memory=STORE_BYTES,
        _temp_dir=str(folder / "ray"),
        **quiet,
    )


def _end_descendants() -> None:
    """Wait until all that came of this process is gone, and kill what is not."""
    deadline = time.monotonic() + END_LIMIT_S
    while found := psutil.Process().children(recursive=True):
        for process in found:
            with contextlib.suppress(psutil.Error):
                if time.monotonic() > deadline:
                    process.kill()
        psutil.wait_procs(found, timeout=TICK_S)


def _end_on_sigterm() -> None:
    signal.signal(signal.SIGTERM, _leave)


def _leave(_number: int, _frame: FrameType | None) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    sys.exit()
