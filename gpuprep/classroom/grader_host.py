"""A process that is warm, and from which the graders of this machine are forked.

    LocalExecutor ──(control: one end of a socket a grader)──► host ──fork──► grader × N ──► workers
                                                                └─ starts ──► templates ──fork──┘

What takes long, the import of torch and of Triton, is done once for all of them: in the host for the graders, in its
templates for their workers. The host has one thread, initialises no card and runs no check; it buries its graders, says
how each of them ended, and starts templates anew that have died. It ends with the process that started it, however that
ends, and its graders and templates end with it.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import json
import os
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, NoReturn

import psutil

from gpuprep.classroom.scratch import hold
from gpuprep.confinement.processes import finish
from gpuprep.grading.births import BIRTHS, kill_orphans, package_root
from gpuprep.grading.card import card_is_likely

if TYPE_CHECKING:
    from gpuprep.grading.pool import WarmPool

FOLDER_PREFIX = "grader-"
END_LIMIT_S = 15.0
"""How long graders, and then the host, may take to end by themselves, with all their workers."""
_LAST_WORD_S = 2.0
"""How long the host may take to say how a grader ended."""
_MESSAGE_BYTES = 8192
_PR_SET_PDEATHSIG = 1
_BOOTSTRAP = (
    "import sys; sys.dont_write_bytecode = True; sys.path.append(sys.argv[1]);"
    "from gpuprep.classroom.grader_host import main; main(int(sys.argv[2]), int(sys.argv[3]), sys.argv[4])"
)


class GraderHost:
    """This side of a host.

    Args:
        scratch: where it makes a folder, in which its graders have theirs.
        device: as in `grading.session.check`.
        card: what it and its graders see of the machine's, as CUDA_VISIBLE_DEVICES; None for all.
    """

    def __init__(self, scratch: Path, device: str, card: str | None = None) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix=FOLDER_PREFIX, dir=scratch))
        self._control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._ended: dict[int, int] = {}
        environment = {
            **os.environ,
            "TMPDIR": str(self.folder),
            # A fork beside another thread could hang.
            "OMP_NUM_THREADS": "1",
            "OPENBLAS_NUM_THREADS": "1",
            **({"CUDA_VISIBLE_DEVICES": card} if card else {}),
        }
        arguments = [str(package_root()), str(theirs.fileno()), str(os.getpid()), device]
        with theirs, self._errors.open("wb") as errors:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-c", _BOOTSTRAP, *arguments],
                stdin=subprocess.DEVNULL,
                stdout=errors,
                stderr=errors,
                pass_fds=(theirs.fileno(),),
                env=environment,
                cwd="/",
                # Ctrl-C is for us to pass on.
                start_new_session=True,
            )

    @property
    def is_alive(self) -> bool:
        """False once it has ended."""
        return self._process.poll() is None

    def fork(self, connection: socket.socket, folder: Path) -> None:
        """Ask for a grader. If none comes, the other end of its connection is closed.

        Args:
            connection: the grader's end.
            folder: its own, which exists.
        """
        with contextlib.suppress(OSError):
            socket.send_fds(self._control, [str(folder).encode()], [connection.fileno()])

    def how_ended(self, pid: int, said: str) -> str:
        """How a grader ended, in words.

        Args:
            pid: of the grader; 0 where the host ended before there was one.
            said: what it printed.
        """
        code: int | None = None
        if pid:
            code = self._code_of(pid)
        if code is None:
            # It is the host that ended, and its graders with it.
            with contextlib.suppress(subprocess.TimeoutExpired):
                code = self._process.wait(_LAST_WORD_S)
        if not pid:
            said = self._errors.read_text(encoding="utf-8", errors="replace")
        how = f"was killed by signal {-code}" if code is not None and code < 0 else f"ended (exit code {code})"
        lines = said.strip().splitlines()
        return f"the grader's process {how}{': ' + lines[-1][:300] if lines else ''}"

    def _code_of(self, pid: int) -> int | None:
        deadline = time.monotonic() + _LAST_WORD_S
        while pid not in self._ended:
            self._control.settimeout(max(0.001, deadline - time.monotonic()))
            try:
                data = self._control.recv(_MESSAGE_BYTES)
            except OSError:
                break
            if not data:
                break
            number, code = json.loads(data)["ended"]
            self._ended[number] = code
        return self._ended.pop(pid, None)

    @property
    def _errors(self) -> Path:
        return self.folder / "stderr"

    def ask_to_end(self) -> None:
        """Have it end its graders, its templates and itself."""
        with contextlib.suppress(ProcessLookupError):
            self._process.send_signal(signal.SIGTERM)
        self._control.close()

    def end(self) -> None:
        """End it, by itself if it will, and remove its folder."""
        self.ask_to_end()
        try:
            self._process.wait(2 * END_LIMIT_S)
        except subprocess.TimeoutExpired:
            kill_tree(self._process.pid)
            self._process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)


def kill_tree(pid: int) -> None:
    """Kill a process and its descendants; stopped first, it starts no more of them."""
    with contextlib.suppress(psutil.Error):
        root = psutil.Process(pid)
        root.suspend()
        for process in (root, *root.children(recursive=True)):
            with contextlib.suppress(psutil.Error):
                process.kill()


def main(descriptor: int, parent: int, device: str) -> NoReturn:
    """What the host does: get warm, and fork, until nobody is there any more.

    Args:
        descriptor: an inherited socket.
        parent: the process that it ends with.
        device: what its graders will be asked to grade on.
    """
    _end_with(parent)
    control = socket.socket(fileno=descriptor)
    control.set_inheritable(False)
    hold(Path(os.environ["TMPDIR"]).parent)
    _finish(parent, partial(_serve, control, device))


def _serve(control: socket.socket, device: str) -> None:
    from gpuprep.grading.pool import WarmPool

    graders: dict[int, int] = {}
    with WarmPool() as pool:
        try:
            has_card = device != "cpu" and card_is_likely()
            pool.start("interpreted", *(("compiled", "trusted") if has_card else ()))
            _get_ready()
            pool.wait_until_warm()
            _fork_all(control, pool, graders)
        finally:
            _end_all(graders)


def _get_ready() -> None:
    """Import what a check needs, while the templates do the same."""
    gc.disable()
    import torch

    from gpuprep.grading.confining import offered
    from gpuprep.worker.template import RARELY

    torch.set_num_threads(1)
    offered()
    gc.collect()
    gc.freeze()
    gc.set_threshold(*RARELY)
    gc.enable()


def _fork_all(control: socket.socket, pool: WarmPool, graders: dict[int, int]) -> None:
    """Fork a grader whenever one is asked for. `graders`: their process ids, by descriptors of theirs."""
    events = select.poll()
    events.register(control, select.POLLIN)
    while True:
        for descriptor, _ in events.poll():
            if descriptor in graders:
                events.unregister(descriptor)
                os.close(descriptor)
                _, status = os.waitpid(pid := graders.pop(descriptor), 0)
                with BIRTHS:
                    # What a killed one left.
                    kill_orphans(set(graders.values()))
                _tell_end(control, pid, os.waitstatus_to_exitcode(status))
                continue
            data, ends, _, _ = socket.recv_fds(control, _MESSAGE_BYTES, 1, flags=socket.MSG_CMSG_CLOEXEC)
            if not data:
                return
            connection = socket.socket(fileno=ends[0])
            pool.revive()
            pid = os.fork() or finish(partial(_be_grader, control, connection, Path(data.decode()), pool))
            connection.close()
            graders[handle := os.pidfd_open(pid)] = pid
            events.register(handle, select.POLLIN)


def _tell_end(control: socket.socket, pid: int, code: int) -> None:
    # Nobody may be listening: then nobody asks.
    with contextlib.suppress(OSError):
        control.send(json.dumps({"ended": [pid, code]}).encode(), socket.MSG_DONTWAIT)


def _end_all(graders: dict[int, int]) -> None:
    for pid in graders.values():
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGTERM)
    deadline = time.monotonic() + END_LIMIT_S
    for pid in graders.values():
        while os.waitpid(pid, os.WNOHANG) == (0, 0):
            if time.monotonic() > deadline:
                kill_tree(pid)
            time.sleep(0.01)


def _be_grader(control: socket.socket, connection: socket.socket, folder: Path, pool: WarmPool) -> NoReturn:
    from gpuprep.classroom import local

    control.close()
    host = os.getppid()
    os.setsid()
    _end_with(host)
    with (folder / "stderr").open("wb") as errors:
        os.dup2(errors.fileno(), 1)
        os.dup2(errors.fileno(), 2)
    os.environ["TMPDIR"] = str(folder)
    tempfile.tempdir = None
    pool.lend()
    _finish(host, partial(local.serve, connection, pool))


def _end_with(parent: int) -> None:
    """Have a SIGTERM end this process as an exception does, and have one sent when its parent ends."""
    signal.signal(signal.SIGTERM, _leave)
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != parent:
        os._exit(0)


def _leave(_number: int, _frame: FrameType | None) -> None:
    # Once: while all is being cleared away, nothing may interrupt that.
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    sys.exit()


def _finish(parent: int, work: Callable[[], None]) -> NoReturn:
    """Do a process's work, and then end it; where its parent was killed, with what that would have cleared away."""
    code = 0
    try:
        # That is how a SIGTERM ends it.
        with contextlib.suppress(SystemExit):
            work()
    except BaseException:  # noqa: BLE001  whoever waits for it reads the last line
        traceback.print_exc()
        code = 1
    finally:
        # Not gettempdir(): once this folder is gone, that is everybody's.
        folder = Path(os.environ["TMPDIR"])
        if os.getppid() != parent and folder.name.startswith(FOLDER_PREFIX):
            shutil.rmtree(folder, ignore_errors=True)
            if not any(folder.parent.glob(f"{FOLDER_PREFIX}*")):
                shutil.rmtree(folder.parent, ignore_errors=True)
        sys.stderr.flush()
        os._exit(code)
